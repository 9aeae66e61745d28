"""The verdict of a study, by the decision tables written down before it was run.

python -m dftt.evaluation.verdict RUN_DIR [--standard RUN_DIR]

Three questions: does test-time training raise tau (by 0.5), does the draft help the target answer, and, with a second
study, is tau lower on these contexts than on standard sets. An effect is claimed where its 95 % interval excludes zero
and its p-value, by Holm among all comparisons of the question, is below 0.05; "equal" is claimed where the interval
lies within a margin; anything else cannot be told.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.evaluation.comparison import MARGINS, MAX_UNSCORED, MIN_CONTEXTS, MIN_PAIRS, Comparison, adjust, compare
from dftt.evaluation.records import load_records
from dftt.evaluation.statistics import ratio_interval
from dftt.types import GuidanceSpec, Record

ARMS_FILE = "arms.json"
VERDICT_FILE = "verdict.json"
WORTHWHILE_TAU = 0.5  # the gain in tau that was asked for beforehand

ArmRow = Mapping[str, Any]  # a line of arms.json


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Args:
        question: tau, guidance or contexts.
        answer: Short name of the line of the decision table, or "cannot tell".
        sentence: The answer with its effect, interval and n.
        comparisons: All that were made for it.
    """

    question: str
    answer: str
    sentence: str
    comparisons: tuple[Comparison, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything in it that JSON can hold."""
        return {
            "question": self.question,
            "answer": self.answer,
            "sentence": self.sentence,
            "comparisons": [each.to_json() for each in self.comparisons],
        }


def verdicts(records: Sequence[Record], arms: Sequence[ArmRow]) -> list[Verdict]:
    """The verdict on each question that the arms can answer.

    Args:
        records: Of one study.
        arms: Its arms, as arms.json lists them.
    """
    return [verdict for ask in (tau_verdict, guidance_verdict) if (verdict := ask(records, arms)) is not None]


def tau_verdict(records: Sequence[Record], arms: Sequence[ArmRow]) -> Verdict | None:
    """Whether adapting to a task's own context raises tau; None where no arm asks it."""
    pairs = [(arm, base) for arm in arms if _drafts(arm, "own") and (base := _like(arms, arm, ttt="none"))]
    if not pairs:
        return None
    against_none = [compare(records, arm["id"], base["id"], "tau") for arm, base in pairs]
    controls = [
        compare(records, arm["id"], wrong["id"], "tau") for arm, _ in pairs if (wrong := _like(arms, arm, ttt="wrong"))
    ]
    made = adjust([*against_none, *controls])
    best = max(made[: len(pairs)], key=lambda each: _or_least(each.interval.estimate))
    among = f" (the largest of {len(pairs)} settings)" if len(pairs) > 1 else ""
    answer, text = _tau_answer(best)
    text += f": {best.arm} against {best.reference}{among}, tau {best.words()}"
    control = next((each for each in made[len(pairs) :] if each.arm == best.arm), None)
    if control is not None:
        specific = {"above": "is", "equal": "is not", "below": "is not"}.get(control.finding, "cannot be told to be")
        text += f"; what it gains {specific} owed to this context: {control.words()} against {control.reference}"
    return Verdict("tau", answer, text + ".", tuple(made))


def guidance_verdict(records: Sequence[Record], arms: Sequence[ArmRow]) -> Verdict | None:
    """Whether the draft, as it is or adapted, helps the target answer; None where no arm asks it.

    Arms that are guided by something else (noise, the target without the context, an amateur) are compared elsewhere.
    """
    guided = [arm for arm in arms if arm["mode"] == "guided" and not _leaves_target(arm) and _by_draft(arm)]
    plain = [(arm, base) for arm in guided if arm["ttt"] == "none" and (base := _unguided(arms, arm))]
    adapted = [(arm, base) for arm in guided if arm["ttt"] == "own" and (base := _unguided(arms, arm))]
    steps = [(arm, other) for arm, _ in adapted if (other := _like(arms, arm, ttt="none"))]
    if not plain and not adapted:
        return None
    made = adjust([compare(records, arm["id"], base["id"], "pass rate") for arm, base in [*plain, *adapted, *steps]])
    g, tg = made[: len(plain)], made[len(plain) : len(plain) + len(adapted)]
    answer, text, told_by = _table(g, tg, made[len(plain) + len(adapted) :])
    return Verdict(
        "guidance", answer, f"{text}: {told_by.arm} against {told_by.reference}, {told_by.words()}.", tuple(made)
    )


def contexts_verdict(long: Sequence[Record], standard: Sequence[Record], arm: str) -> Verdict:
    """Whether tau is lower on one study's contexts than on another's: room for adaptation.

    Args:
        long: Records of the contexts in question.
        standard: Records of standard sets.
        arm: The arm of both that is looked at.

    Raises:
        ValueError: Either study has no record of the arm.
    """
    here, there = (_tau_of(records, arm) for records in (long, standard))
    difference = here.estimate - there.estimate
    # The two studies share no task, so their errors add up as squares.
    half = math.hypot(here.high - here.low, there.high - there.low) / 2
    words = f"tau {here.estimate:.2f} against {there.estimate:.2f}, {difference:+.2f} "
    words += f"[{difference - half:+.2f}, {difference + half:+.2f}], n = {here.n} and {there.n}"
    if min(here.n, there.n) < MIN_PAIRS or math.isnan(half):
        return Verdict("contexts", "cannot tell", f"Cannot tell whether tau is lower here ({words}): too few tasks.")
    if difference + half < 0:
        return Verdict("contexts", "lower", f"tau is lower here than on standard sets: {words}.")
    if difference - half > 0:
        return Verdict("contexts", "higher", f"tau is higher here than on standard sets: {words}.")
    return Verdict("contexts", "cannot tell", f"Cannot tell whether tau is lower here than on standard sets: {words}.")


def write_verdict(folder: Path, records: Sequence[Record] | None = None, *, more: Sequence[Verdict] = ()) -> str:
    """Write verdict.json of a run and return its sentences.

    Args:
        folder: The run; its arms.json says what the arms were.
        records: Its records; read from the folder where not given.
        more: Verdicts that need other studies too.
    """
    path = folder / ARMS_FILE
    if not path.is_file():
        raise ValueError(f"verdict: {folder} has no {ARMS_FILE}; name the folder of a study that `test` has run")
    arms = json.loads(path.read_text(encoding="utf-8"))
    made = [*verdicts(load_records(folder) if records is None else records, arms), *more]
    rows = [verdict.to_json() for verdict in made]
    rules = {"margins": MARGINS, "min_pairs": MIN_PAIRS, "min_contexts": MIN_CONTEXTS, "max_unscored": MAX_UNSCORED}
    (folder / VERDICT_FILE).write_text(
        json.dumps({"verdicts": rows, "rules": rules}, indent=2) + "\n", encoding="utf-8"
    )
    return "\n".join(verdict.sentence for verdict in made) or "No verdict: no two arms of this study answer a question."


# -- decision tables ---------------------------------------------------------------------------------------------------


def _tau_answer(best: Comparison) -> tuple[str, str]:
    if best.finding == "too few":
        return "cannot tell", f"Cannot tell whether TTT raises tau, {_why(best)}"
    if best.finding == "above":
        if best.interval.low > WORTHWHILE_TAU:
            return "worthwhile", f"TTT raises tau by more than {WORTHWHILE_TAU}"
        if best.interval.high < WORTHWHILE_TAU:
            return "small", f"TTT raises tau, by less than {WORTHWHILE_TAU}"
        return "raised", f"TTT raises tau; whether by {WORTHWHILE_TAU} cannot be told"
    if best.finding == "below":
        return "lowered", "TTT lowers tau"
    if best.finding == "equal":
        return "unchanged", "TTT leaves tau as it is"
    return "cannot tell", f"Cannot tell whether TTT raises tau, {_why(best)}"


def _table(
    plain: Sequence[Comparison], adapted: Sequence[Comparison], steps: Sequence[Comparison]
) -> tuple[str, str, Comparison]:
    """The line of the decision table that holds, in words, and the comparison that shows it best.

    Args:
        plain: Guided without TTT against the target.
        adapted: Guided with TTT against the target.
        steps: Guided with TTT against guided without.
    """
    below_of = {each.arm: each.reference for each in steps}
    helped = {each.arm for each in plain if each.finding == "above"}
    added = [each for each in steps if each.finding == "above"]
    full = [each for each in added if below_of[each.arm] in helped]
    if full:
        return "full", "(TTT + guided) > guided > baseline, the full hypothesis", _largest(full)
    won = [each for each in adapted if each.finding == "above"]
    if won and plain and all(each.finding == "equal" for each in plain):
        return "ttt", "guided ≈ baseline < (TTT + guided), so TTT is essential", _largest(won)
    if won:
        return "adapted", "(TTT + guided) > baseline; what guidance does without TTT cannot be told", _largest(won)
    if helped:
        text = "guided > baseline; that TTT adds to it is not shown"
        return "guided", text, _largest([each for each in plain if each.arm in helped])
    every = [*plain, *adapted]
    worse = [each for each in every if each.finding == "below"]
    if all(each.finding in ("equal", "below") for each in every):
        if worse:
            return "harm", "guidance helps nowhere and harms, the hypothesis fails", _largest(worse)
        return "none", "guided ≈ (TTT + guided) ≈ baseline, the hypothesis fails", _largest(every)
    widest = max(every, key=lambda each: (each.finding in ("unclear", "too few"), _or_least(_width(each))))
    return "cannot tell", f"Cannot tell whether guidance helps, {_why(widest)}", widest


def _why(each: Comparison) -> str:
    """Why nothing can be claimed, and what would help."""
    intended = each.interval.n + each.unusable
    if each.unusable > MAX_UNSCORED * intended:
        return f"{each.unusable} of {intended} pairs are unscored or missing (at most {MAX_UNSCORED:.0%} may be)"
    if each.interval.n < MIN_PAIRS:
        return f"{each.interval.n} pairs are too few (at least {MIN_PAIRS})"
    if each.interval.num_clusters < MIN_CONTEXTS:
        return f"{each.interval.num_clusters} contexts are too few (at least {MIN_CONTEXTS})"
    if each.enough <= each.interval.n:
        return f"the interval excludes neither zero, by Holm, nor effects beyond {MARGINS[each.measure]}"
    return f"the interval is too wide (about {each.enough} pairs would tell)"


def _largest(comparisons: Sequence[Comparison]) -> Comparison:
    return max(comparisons, key=lambda each: abs(each.interval.estimate))


def _width(each: Comparison) -> float:
    return each.interval.high - each.interval.low


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value


# -- which arms belong together ----------------------------------------------------------------------------------------


def _drafts(arm: ArmRow, source: str) -> bool:
    return arm["mode"] == "speculative" and arm["ttt"] == source


def _like(arms: Sequence[ArmRow], arm: ArmRow, *, ttt: str) -> ArmRow | None:
    """The arm that differs in what the draft was adapted to; how it is adapted says nothing where it is not."""
    same = ["mode", "alpha", "temperature", "top_p", "guidance", "taps"]
    same += [] if ttt == "none" else ["ttt_settings"]
    return next((each for each in arms if each["ttt"] == ttt and all(each[name] == arm[name] for name in same)), None)


def _unguided(arms: Sequence[ArmRow], arm: ArmRow) -> ArmRow | None:
    """The target's own answers at the same temperature: mode target, else lossless decoding, else alpha 0."""
    same = [each for each in arms if all(each[name] == arm[name] for name in ("temperature", "top_p"))]
    for mode in ("target", "speculative", "guided"):
        for each in same:
            if each["mode"] == mode and each["ttt"] == "none" and _leaves_target(each):
                return each
    return None


def _leaves_target(arm: ArmRow) -> bool:
    """Whether the target's own distribution is what an arm draws from."""
    return arm["alpha"] == 0


def _by_draft(arm: ArmRow) -> bool:
    """Whether a guided arm reads the draft itself."""
    rule = GuidanceSpec(**arm["guidance"])
    return "draft" in (rule.numerator, rule.reference)


def _tau_of(records: Sequence[Record], arm: str) -> Any:
    chosen = [record for record in records if record.arm == arm]
    if not chosen:
        raise ValueError(f"verdict: no record of arm {arm!r}; arms are {', '.join(sorted({r.arm for r in records}))}")
    return ratio_interval(
        [sum(record.acceptance_lengths) for record in chosen],
        [len(record.acceptance_lengths) for record in chosen],
        [record.context_id for record in chosen],
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the verdicts of a run."""
    parser = argparse.ArgumentParser(description="The verdict of a study, from its records alone.")
    parser.add_argument("run", type=Path, help="folder of the study")
    parser.add_argument("--standard", type=Path, help="folder of a study on standard sets, to compare tau with")
    parser.add_argument("--arm", default="speculative+none", help="arm whose tau is compared")
    options = parser.parse_args(arguments)
    try:
        more = []
        if options.standard is not None:
            more = [contexts_verdict(load_records(options.run), load_records(options.standard), options.arm)]
        print(write_verdict(options.run, more=more))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
