"""The verdict of a study, by the decision tables written down before it was run.

python -m dftt.analysis.verdict RUN_DIR [--standard RUN_DIR]

The questions: does test-time training raise tau (by 0.5), does the draft help the target answer, is what it does owed
to this context and to the draft (controls), do methods without the draft help (baselines), and, with a second study, is
tau lower on these contexts than on standard sets. An effect is claimed where its 95 % interval excludes zero, whatever
the unscored answers are worth, and its p-value, by Holm among all comparisons of the question, is below 0.05; "equal"
is claimed where the interval lies within a margin; anything else cannot be told.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dftt.analysis.arm_roles import MATCHED, NO_TTT, NOISE_NORM, NOISE_SPREAD, OTHER_TTT, TARGET, Question, pairs_of
from dftt.analysis.arms_file import read_arms
from dftt.analysis.comparison import MARGINS, MAX_UNSCORED, MIN_CONTEXTS, MIN_PAIRS, Comparison, adjust, compare
from dftt.analysis.decision_tables import Line, baselines_line, control_line, guidance_line, largest, tau_line
from dftt.analysis.frame import frame_of, tau_of
from dftt.analysis.rules import difference, rules
from dftt.analysis.statistics import Interval
from dftt.command import command_line
from dftt.study.manifest import Wanted, read_intended, wanted_records
from dftt.types import Record
from dftt.types.arms import Arm

VERDICT_FILE = "verdict.json"
QUESTIONS: tuple[Question, ...] = ("tau", "guidance", "controls", "baselines")
_NONE = "No verdict: no two arms of this study answer a question."
# What is set against what, in words, for each kind of control.
_CONTROLS = {
    OTHER_TTT: ("guidance by the own context's adapter", "by another text's"),
    NOISE_SPREAD: ("guidance by the draft", NOISE_SPREAD),
    NOISE_NORM: ("guidance by the draft", f"{NOISE_NORM}, which is louder than the guidance's spread"),
    MATCHED: ("guidance", MATCHED),
}


@dataclass(frozen=True)
class Verdict:
    """The answer to one question."""

    question: str  # one of QUESTIONS, or contexts
    answer: str  # short name of the line of the decision table, "cannot tell", or "unfinished"
    sentence: str  # the answer with its effect, interval and n
    comparisons: tuple[Comparison, ...] = ()  # all that were made for it

    def to_json(self) -> dict[str, Any]:
        """Everything in it that JSON can hold."""
        return {**vars(self), "comparisons": [each.to_json() for each in self.comparisons]}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Verdict:
        """The verdict of a row written by `to_json`."""
        return cls(**{**row, "comparisons": tuple(map(Comparison.from_json, row["comparisons"]))})


@dataclass(frozen=True)
class Judgement:
    """What verdict.json holds of a study: a verdict on each question that its arms can answer."""

    verdicts: tuple[Verdict, ...]
    num_records: int  # that it was made from
    notes: tuple[str, ...] = ()  # such as that it was judged by other rules than it began under

    @property
    def comparisons(self) -> list[Comparison]:
        """All that were made, question by question."""
        return [each for verdict in self.verdicts for each in verdict.comparisons]

    def __str__(self) -> str:
        """One line for each verdict and note."""
        return "\n".join([*(each.sentence for each in self.verdicts), *self.notes] if self.verdicts else [_NONE])


def verdicts(records: Sequence[Record], arms: Sequence[Arm]) -> list[Verdict]:
    """The verdict on each question that the arms can answer.

    Args:
        records: Of one study.
        arms: Its arms, what they leave to the study filled in.
    """
    asked_for, frame = pairs_of(arms), frame_of(records)
    scored = frame["passed"].notna().any()
    found = []
    for question, say in _SENTENCES.items():
        # Where no answer is scored, the verdict on guidance says so for all.
        if question in ("controls", "baselines") and not scored:
            continue
        if asked := [pair for pair in asked_for if pair.question == question]:
            made = adjust([compare(frame, pair) for pair in asked])
            answer, sentence = say(made, {arm.id: arm for arm in arms})
            found.append(Verdict(question, answer, f"{sentence}.", tuple(made)))
    return found


def _say_tau(made: Sequence[Comparison], arms: Mapping[str, Arm]) -> tuple[str, str]:
    """Whether adapting to a task's own context raises tau."""
    own = [each for each in _against(made, NO_TTT) if arms[each.arm].ttt == "own"]
    if not own:  # only what proposes was compared
        best = largest(made)
        shown = f"{best.arm} against {best.reference}, tau {best.words()}"
        return "cannot tell", f"Cannot tell whether TTT raises tau, no arm adapts to its own context: {shown}"
    answer, text, best = tau_line(own)
    text += f": {best.arm} against {best.reference}, tau {best.words()}"
    control = next((each for each in _against(made, OTHER_TTT) if each.arm == best.arm), None)
    if control is None:
        return answer, text
    specific = {"above": "is", "equal": "is not", "below": "is not"}.get(control.finding, "cannot be told to be")
    return answer, f"{text}; the change {specific} owed to this context: {control.words()} against {control.reference}"


def _say_guidance(made: Sequence[Comparison], arms: Mapping[str, Arm]) -> tuple[str, str]:
    """Whether the draft, as it is or adapted, helps the target answer."""
    against_target = _against(made, TARGET)
    plain, adapted = ([each for each in against_target if arms[each.arm].ttt == ttt] for ttt in ("none", "own"))
    return _shown(guidance_line(plain, adapted, _against(made, NO_TTT)))


def _say_controls(made: Sequence[Comparison], arms: Mapping[str, Arm]) -> tuple[str, str]:  # noqa: ARG001
    """Whether what guidance by the draft does is owed to this context, and to the draft."""
    lines = [
        _shown(control_line(found, *words)) for kind, words in _CONTROLS.items() if (found := _against(made, kind))
    ]
    return lines[0][0], "Controls: " + "; ".join(text for _, text in lines)


def _say_baselines(made: Sequence[Comparison], arms: Mapping[str, Arm]) -> tuple[str, str]:
    """Whether methods that do without the draft's guidance help the target answer; and the floor, what copying does."""
    copies = [each for each in made if arms[each.arm].copies]
    methods = [each for each in made if each not in copies]
    floor = _shown(control_line(copies, "copying a part of the passage", "the target")) if copies else ("", "")
    if not methods:
        return floor[0], f"Floor: {floor[1]}"
    answer, text = _shown(baselines_line(methods))
    return answer, f"{text}; floor: {floor[1]}" if copies else text


_SENTENCES = dict(zip(QUESTIONS, (_say_tau, _say_guidance, _say_controls, _say_baselines), strict=True))


def _against(made: Sequence[Comparison], kind: str) -> list[Comparison]:
    return [each for each in made if each.pair.against == kind]


def _shown(line: Line) -> tuple[str, str]:
    answer, text, told_by = line
    return answer, f"{text}: {told_by.arm} against {told_by.reference}, {told_by.words()}"


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
    few = min(here.num_clusters, there.num_clusters) < MIN_CONTEXTS or min(here.n, there.n) < MIN_PAIRS
    answer, sentence = "cannot tell", f"Cannot tell whether tau is lower here than on standard sets: {words}."
    if few or math.isnan(half):
        sentence = f"Cannot tell whether tau is lower here ({words}): too few tasks or contexts."
    elif abs(difference) > half:
        answer = "lower" if difference < 0 else "higher"
        sentence = f"tau is {answer} here than on standard sets: {words}."
    return Verdict("contexts", answer, sentence)


def _tau_of(records: Sequence[Record], arm: str) -> Interval:
    frame = frame_of(records)
    if arm not in (arms := sorted(frame["arm"].unique())):
        raise ValueError(f"verdict: no record of arm {arm!r}; arms are {', '.join(arms)}")
    return tau_of(frame[frame["arm"] == arm])


def judge(folder: Path, records: Sequence[Record] | None = None) -> Judgement:
    """The verdicts of a study from its records alone; those of one that lacks records are unfinished.

    Args:
        folder: The study; its arms.json says what the arms were, its study.json which records it is to have.
        records: Its records; read from the folder where not given.

    Raises:
        ValueError: A file is missing or cannot be read; the message names it.
    """
    began = read_arms(folder)
    wanted = wanted_records(folder) if records is None else Wanted(list(records), read_intended(folder), [])
    made = verdicts(wanted.records, began.arms)
    if wanted.missing and wanted.intended:
        intended = len(wanted.intended.hashes)
        so_far = f"Unfinished, {intended - len(wanted.missing)} of {intended} answers are there. So far: "
        made = [replace(each, answer="unfinished", sentence=so_far + each.sentence) for each in made]
    changed = difference(began.rules, rules())
    return Judgement(tuple(made), len(wanted.records), (changed,) if changed else ())


def write_verdict(folder: Path, records: Sequence[Record] | None = None, *, more: Sequence[Verdict] = ()) -> Judgement:
    """Write verdict.json of a study, with what `judge` and `more`, verdicts that need other studies, say; return it."""
    made = judge(folder, records)
    made = replace(made, verdicts=(*made.verdicts, *more))
    limits = {"margins": MARGINS, "min_pairs": MIN_PAIRS, "min_contexts": MIN_CONTEXTS, "max_unscored": MAX_UNSCORED}
    rows = [verdict.to_json() for verdict in made.verdicts]
    said = {"verdicts": rows, "records": made.num_records, "notes": list(made.notes), "rules": rules() | limits}
    (folder / VERDICT_FILE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return made


def read_verdict(folder: Path) -> Judgement | None:
    """What the verdict.json of a study says; None where it has none, or one of before rules 2.

    Raises:
        ValueError: It cannot be read; the message names it.
    """
    path = folder / VERDICT_FILE
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if "version" not in said.get("rules", {}):
            return None
        return Judgement(tuple(map(Verdict.from_json, said["verdicts"])), said["records"], tuple(said["notes"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); write it again by python -m dftt.analysis.verdict {folder}"
        ) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the verdicts of a run, as `command_line` runs commands."""
    with command_line():
        _judge(arguments)


def _judge(arguments: Sequence[str] | None) -> None:
    parser = argparse.ArgumentParser(description="The verdict of a study, from its records alone.")
    parser.add_argument("run", type=Path, help="folder of the study")
    parser.add_argument("--standard", type=Path, help="folder of a study on standard sets, to compare tau with")
    parser.add_argument("--arm", default=Arm().id, help="arm whose tau is compared")
    options = parser.parse_args(arguments)
    wanted, more = wanted_records(options.run), []
    if options.standard is not None:
        standard = wanted_records(options.standard).records
        more = [contexts_verdict(wanted.records, standard, options.arm)]
    print(write_verdict(options.run, wanted.records, more=more), *([wanted.note] if wanted.note else []), sep="\n")


if __name__ == "__main__":
    main()
