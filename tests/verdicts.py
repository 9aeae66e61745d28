"""Records whose verdict is known beforehand, and how the tests ask for one."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from dftt.analysis.arm_roles import TARGET as THE_TARGET
from dftt.analysis.arm_roles import ArmPair
from dftt.analysis.comparison import Comparison, compare
from dftt.analysis.verdict import Verdict, verdicts
from dftt.types import DecodingSpec, Record, TTTSpec
from dftt.types.arms import Arm

TARGET, PLAIN, ADAPTED = Arm("target"), Arm("guided", "none", 0.3), Arm("guided", "own", 0.3)
NONE, OWN, WRONG = Arm(), Arm(ttt="own"), Arm(ttt="wrong")
GUIDANCE = (TARGET, PLAIN, ADAPTED)


def rows(*arms: Arm) -> list[Arm]:
    """Arms as arms.json gives them back."""
    return [Arm.from_json(arm.within(TTTSpec(), DecodingSpec()).to_json()) for arm in arms]


def verdict_on(question: str, records: Sequence[Record], arms: Sequence[Arm]) -> Verdict | None:
    return next((each for each in verdicts(records, arms) if each.question == question), None)


def passes(records: Sequence[Record], arm: Arm, reference: Arm) -> Comparison:
    return compare(records, ArmPair("guidance", arm.id, reference.id, THE_TARGET, "pass rate"))


def passing(rates: Mapping[str, float], *, n: int = 400, unscored: float = 0.0) -> list[Record]:
    """Records of arms that pass at these rates; a task that passes under one passes under every better one."""
    draw, records = random.Random(1), []
    for number in range(n):
        luck, lost = draw.random(), draw.random() < unscored
        for arm, rate in rates.items():
            passed = None if lost else luck < rate
            records.append(Record(f"t{number}", f"c{number // 4}", arm, 0, "", passed=passed))
    return records


def ids(*rates: float) -> dict[str, float]:
    """Rates of target, guided, and guided with TTT."""
    return {arm.id: rate for arm, rate in zip(GUIDANCE, rates, strict=True)}


def by_chance(rates: Mapping[str, float], *, n: int, seed: int = 0) -> list[Record]:
    """As passing, but each answer has luck of its own: wide intervals."""
    draw = random.Random(seed)
    return [
        Record(f"t{number}", f"c{number}", arm, 0, "", passed=draw.random() < rate)
        for number in range(n)
        for arm, rate in rates.items()
    ]


def drafting(taus: Mapping[str, float], *, n: int = 60) -> list[Record]:
    """Records of arms with about these acceptance lengths."""
    draw = random.Random(3)
    return [
        Record(f"t{number}", f"c{number}", arm, 0, "", acceptance_lengths=lengths)
        for number in range(n)
        for arm, tau in taus.items()
        if (lengths := tuple(max(1, round(draw.gauss(tau, 0.4))) for _ in range(20)))
    ]
