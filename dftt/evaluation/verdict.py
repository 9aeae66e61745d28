"""The verdict of a study, by the decision tables written down before it was run.

python -m dftt.evaluation.verdict RUN_DIR [--standard RUN_DIR]

The questions: does test-time training raise tau (by 0.5), does the draft help the target answer, is what it does owed
to this context and to the draft (controls), do methods without the draft help (baselines), and, with a second study, is
tau lower on these contexts than on standard sets. An effect is claimed where its 95 % interval excludes zero and its
p-value, by Holm among all comparisons of the question, is below 0.05; "equal" is claimed where the interval lies within
a margin; anything else cannot be told.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dftt.command import command_line
from dftt.evaluation.arm_roles import (
    ArmRow,
    alike,
    guide_of,
    matched_targets,
    noise_in_place,
    other_adapters,
    target_of,
)
from dftt.evaluation.comparison import (
    MARGINS,
    MAX_UNSCORED,
    MIN_CONTEXTS,
    MIN_PAIRS,
    Comparison,
    Measure,
    adjust,
    compare,
)
from dftt.evaluation.decision_tables import baselines_line, control_line, guidance_line, highest, tau_line
from dftt.evaluation.records import load_records
from dftt.evaluation.statistics import ratio_interval
from dftt.types import Record

ARMS_FILE = "arms.json"
VERDICT_FILE = "verdict.json"


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Args:
        question: tau, guidance, controls, baselines or contexts.
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
    return [verdict for ask in QUESTIONS.values() if (verdict := ask(records, arms)) is not None]


def tau_verdict(records: Sequence[Record], arms: Sequence[ArmRow]) -> Verdict | None:
    """Whether adapting to a task's own context raises tau; None where no arm asks it."""
    owns = [arm for arm in arms if arm["mode"] == "speculative" and arm["ttt"] == "own"]
    pairs = [(arm, base) for arm in owns if (base := alike(arms, arm, ttt="none"))]
    if not pairs:
        return None
    controls = [(arm, wrong) for arm, _ in pairs if (wrong := alike(arms, arm, ttt="wrong"))]
    made = _compared(records, [*pairs, *controls], "tau")
    best = highest(made[: len(pairs)])
    among = f" (the largest of {len(pairs)} settings)" if len(pairs) > 1 else ""
    answer, text = tau_line(best)
    text += f": {best.arm} against {best.reference}{among}, tau {best.words()}"
    control = next((each for each in made[len(pairs) :] if each.arm == best.arm), None)
    if control is not None:
        specific = {"above": "is", "equal": "is not", "below": "is not"}.get(control.finding, "cannot be told to be")
        text += f"; the change {specific} owed to this context: {control.words()} against {control.reference}"
    return Verdict("tau", answer, text + ".", tuple(made))


def guidance_verdict(records: Sequence[Record], arms: Sequence[ArmRow]) -> Verdict | None:
    """Whether the draft, as it is or adapted, helps the target answer; None where no arm asks it."""
    guided = [(arm, base) for arm in arms if guide_of(arm) == "draft" and (base := target_of(arms, arm))]
    plain = [(arm, base) for arm, base in guided if arm["ttt"] == "none"]
    adapted = [(arm, base) for arm, base in guided if arm["ttt"] == "own"]
    steps = [(arm, other) for arm, _ in adapted if (other := alike(arms, arm, ttt="none"))]
    if not plain and not adapted:
        return None
    made = _compared(records, [*plain, *adapted, *steps], "pass rate")
    g, tg = made[: len(plain)], made[len(plain) : len(plain) + len(adapted)]
    answer, text, told_by = guidance_line(g, tg, made[len(plain) + len(adapted) :])
    return Verdict("guidance", answer, f"{text}: {_shown(told_by)}.", tuple(made))


def controls_verdict(records: Sequence[Record], arms: Sequence[ArmRow]) -> Verdict | None:
    """Whether what guidance by the draft does is owed to this context, and to the draft; None where no arm asks it.

    The comparisons: with the own adapter against another context's or shuffled tokens', the draft against noise as
    large, guided answers against the target's at a matched temperature; and each control against the target. Where
    no answer is scored, the verdict on guidance says so for all.
    """
    asked = [
        ("guidance by the own context's adapter", "by another text's", list(other_adapters(arms))),
        ("guidance by the draft", "noise as large", list(noise_in_place(arms))),
        ("guidance", "the target at a matched temperature", list(matched_targets(arms))),
    ]
    used = {control["id"]: control for _, _, pairs in asked for _, control in pairs if not control.get("matched_to")}
    alone = [(arm, base) for arm in used.values() if (base := target_of(arms, arm))]
    pairs = [pair for _, _, each in asked for pair in each]
    if not pairs or not _any_scored(records):
        return None
    made = _compared(records, [*pairs, *alone], "pass rate")
    rest = iter(made)
    lines = [control_line(list(islice(rest, len(each))), guided, control) for guided, control, each in asked if each]
    sentence = "Controls: " + "; ".join(f"{text}: {_shown(told_by)}" for _, text, told_by in lines) + "."
    return Verdict("controls", lines[0][0], sentence, tuple(made))


def baselines_verdict(records: Sequence[Record], arms: Sequence[ArmRow]) -> Verdict | None:
    """Whether methods that do without the draft's guidance help the target answer; None where there are none."""
    pairs = [(arm, base) for arm in arms if guide_of(arm) == "another" and (base := target_of(arms, arm))]
    if not pairs or not _any_scored(records):
        return None
    made = _compared(records, pairs, "pass rate")
    answer, text, told_by = baselines_line(made)
    return Verdict("baselines", answer, f"{text}: {_shown(told_by)}.", tuple(made))


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


QUESTIONS = {
    "tau": tau_verdict,
    "guidance": guidance_verdict,
    "controls": controls_verdict,
    "baselines": baselines_verdict,
}


def _compared(records: Sequence[Record], pairs: Sequence[tuple[ArmRow, ArmRow]], measure: Measure) -> list[Comparison]:
    """All comparisons of one question, corrected for their number."""
    return adjust([compare(records, arm["id"], reference["id"], measure) for arm, reference in pairs])


def _any_scored(records: Sequence[Record]) -> bool:
    return any(record.passed is not None for record in records)


def _shown(each: Comparison) -> str:
    return f"{each.arm} against {each.reference}, {each.words()}"


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
    """Print the verdicts of a run, as `command_line` runs commands."""
    with command_line():
        print(_judge(arguments))


def _judge(arguments: Sequence[str] | None) -> str:
    parser = argparse.ArgumentParser(description="The verdict of a study, from its records alone.")
    parser.add_argument("run", type=Path, help="folder of the study")
    parser.add_argument("--standard", type=Path, help="folder of a study on standard sets, to compare tau with")
    parser.add_argument("--arm", default="speculative+none", help="arm whose tau is compared")
    options = parser.parse_args(arguments)
    more = []
    if options.standard is not None:
        more = [contexts_verdict(load_records(options.run), load_records(options.standard), options.arm)]
    return write_verdict(options.run, more=more)


if __name__ == "__main__":
    main()
