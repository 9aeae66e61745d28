"""Which arms of a study play which part in the text: what the verdict compared, and which of it the text is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dftt.analysis.arm_roles import NO_TTT, OTHER_TTT, ArmPair, Measure
from dftt.analysis.comparison import Comparison
from dftt.analysis.verdict import QUESTIONS, Verdict
from paper.studies import Study
from paper.trace import Source


@dataclass(frozen=True)
class Trio:
    """The arms that the verdict on tau rests on: without TTT, adapted to the own context and, if there, to another."""

    none: str
    own: str
    wrong: str | None


def verdict_of(study: Study, question: str) -> Verdict | None:
    """The verdict of a study on a question; None where it has none."""
    return next((each for each in study.run.judgement.verdicts if each.question == question), None)


def verdict_source(study: Study, question: str) -> Source:
    """The source of the numbers of a verdict."""
    return Source(study, "verdict", arguments={"question": question})


def questions_of(study: Study) -> list[str]:
    """The questions that a study answers; those about answers only where some are scored."""
    scored = any(record.passed is not None for record in study.run.records)
    return [name for name in QUESTIONS if verdict_of(study, name) is not None and (scored or name == "tau")]


def pair_of(study: Study, arm: str, against: str, measure: Measure) -> ArmPair | None:
    """What the verdict holds an arm against, of that kind; None where nothing."""
    found = study.run.comparison(arm, against, measure)
    return None if found is None else found.pair


def of_kind(study: Study, question: str, against: str, ttt: str = "") -> list[Comparison]:
    """The comparisons of a question with that kind of reference; of arms adapted to this alone, where it is given."""
    verdict = verdict_of(study, question)
    every = verdict.comparisons if verdict else ()
    return [each for each in every if each.pair.against == against and ttt in ("", study.arm(each.arm).ttt)]


def largest(comparisons: Sequence[Comparison]) -> ArmPair | None:
    """The pair with the largest effect, of those that are surely above where there are any; None of none."""
    sure = [each for each in comparisons if each.finding == "above"]
    best = max(sure or comparisons, key=lambda each: each.interval.estimate, default=None)
    return None if best is None else best.pair


def trio_of(study: Study) -> Trio | None:
    """The arms that the verdict on tau rests on; None where the study does not ask it."""
    best = largest(of_kind(study, "tau", NO_TTT, "own"))
    if best is None:
        return None
    control = pair_of(study, best.arm, OTHER_TTT, "tau")
    return Trio(best.reference, best.arm, control.reference if control else None)
