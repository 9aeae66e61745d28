"""Which arms of a study play which part in the text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dftt.evaluation.arm_roles import ArmRow, alike
from dftt.evaluation.verdict import QUESTIONS
from paper.quantities import Parts, comparison_name
from paper.studies import Selection, Study
from paper.trace import Ledger, Source


@dataclass(frozen=True)
class Pair:
    """An arm and the one that it is compared with."""

    arm: str
    reference: str


@dataclass(frozen=True)
class Trio:
    """The arms that the verdict on tau rests on: without TTT, adapted to the own context and, if there, to another."""

    none: str
    own: str
    wrong: str | None


# -- questions ---------------------------------------------------------------------------------------------------------


def tau_source(study: Study) -> Source:
    """The verdict on tau, from the lossless arms."""
    return _verdict(study, "tau", (row for row in study.arms if row["mode"] == "speculative"))


def questions_of(ledger: Ledger, study: Study) -> dict[str, Source]:
    """The questions that a study can answer: tau, guidance, controls, baselines."""
    asked = {"tau": tau_source(study)}
    if any(record.passed is not None for record in study.run.records):
        asked |= {question: _verdict(study, question, study.arms) for question in QUESTIONS if question != "tau"}
    return {name: source for name, source in asked.items() if ledger.parts(source).get("comparisons")}


def question_of(ledger: Ledger, study: Study, pair: Pair) -> Source | None:
    """The question about answers that a pair was compared for."""
    for name, source in questions_of(ledger, study).items():
        if name != "tau" and comparison_name(pair.arm, pair.reference, "estimate") in ledger.parts(source):
            return source
    return None


def asks_tau(ledger: Ledger, study: Study) -> bool:
    """Whether a study can answer what TTT does to tau."""
    return "tau" in questions_of(ledger, study)


# -- pairs -------------------------------------------------------------------------------------------------------------


def pairs_of(parts: Parts) -> list[Pair]:
    """The comparisons among the parts of a verdict, in its order."""
    found = []
    for name in parts:
        arm, against, rest = name.partition(" against ")
        reference, _, part = rest.rpartition(": ")
        if against and part == "estimate":
            found.append(Pair(arm, reference))
    return found


def of_kind(study: Study, pairs: Sequence[Pair], arm: str, reference: str) -> list[Pair]:
    """The pairs whose drafts were adapted to this and that: none, own, wrong or shuffled."""
    return [
        pair for pair in pairs if (study.row(pair.arm)["ttt"], study.row(pair.reference)["ttt"]) == (arm, reference)
    ]


def largest(parts: Parts, pairs: Sequence[Pair]) -> Pair | None:
    """The pair with the largest effect; None where there is none."""
    return max(pairs, key=lambda pair: _effect(parts, pair), default=None)


def trio_of(ledger: Ledger, study: Study) -> Trio | None:
    """The arms that the verdict on tau rests on; None where the study does not ask it."""
    if not asks_tau(ledger, study):
        return None
    parts = ledger.parts(tau_source(study))
    pairs = pairs_of(parts)
    best = largest(parts, of_kind(study, pairs, "own", "none"))
    if best is None:
        return None
    controls = [pair for pair in of_kind(study, pairs, "own", "wrong") if pair.arm == best.arm]
    return Trio(best.reference, best.arm, controls[0].reference if controls else None)


def base_of(study: Study, row: ArmRow) -> ArmRow | None:
    """The arm of the same mode and settings without TTT; None for an arm without TTT itself."""
    return None if row["ttt"] == "none" else alike(study.arms, row, ttt="none")


def _verdict(study: Study, question: str, rows: Iterable[ArmRow]) -> Source:
    return Source(study, "verdict", Selection(tuple(row["id"] for row in rows)), {"question": question})


def _effect(parts: Parts, pair: Pair) -> float:
    value = parts.get(comparison_name(pair.arm, pair.reference, "estimate"))
    return float(value) if isinstance(value, float | int) else -math.inf
