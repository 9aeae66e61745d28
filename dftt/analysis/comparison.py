"""Two arms on equal tasks and seeds: effect, interval, p-value, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dftt.analysis.arm_roles import Measure, Pair
from dftt.analysis.statistics import Interval, holm, paired_difference, score_interval, sign_flip_p, swapped_ratios_p
from dftt.tables import number
from dftt.types import Record

Finding = Literal["above", "below", "equal", "unclear", "too few"]
Answers = Mapping[str, Mapping[tuple[str, int], Record]]  # records by arm, then by task and seed
Both = tuple[Record | None, Record | None]  # the arm's and the reference's; None where there is no record

MARGINS: dict[Measure, float] = {"pass rate": 0.05, "tau": 0.1}  # an effect within them is none worth having
MIN_PAIRS = 30  # seeds of a task count once
MIN_CONTEXTS = 5
MAX_UNSCORED = 0.1
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Arm minus reference.

    Args:
        pair: What is compared, and for which question.
        interval: The difference over the pairs that can be used; its n counts them.
        p: Of no difference, both arms swapped in whole contexts; NaN where there is none. Where pairs are unscored, the
            largest of those that they allow.
        num_tasks: Tasks that the pairs are of.
        unusable: Pairs in which either answer is unscored, missing, or took no step.
        at_least: Lower end where every unscored answer had turned out against the arm; of tau the interval's own.
        at_most: Upper end where every unscored answer had turned out for the arm.
        floor: "floor" or "ceiling" where both arms fail, or pass, all that is scored.
        adjusted: The p-value by Holm, among the comparisons of one question.
    """

    pair: Pair
    interval: Interval
    p: float
    num_tasks: int
    unusable: int
    at_least: float
    at_most: float
    floor: str = ""
    adjusted: float = math.nan

    @property
    def arm(self) -> str:
        """Id of the arm."""
        return self.pair.arm

    @property
    def reference(self) -> str:
        """Id of the arm that it is compared with."""
        return self.pair.reference

    @property
    def intended(self) -> int:
        """Pairs that were to be compared, as far as either arm has a record."""
        return self.interval.n + self.unusable

    @property
    def margin(self) -> float:
        """The largest effect that is not worth having."""
        return MARGINS[self.pair.measure]

    @property
    def finding(self) -> Finding:
        """Whether the arm is above, below or equal (within the margin), whatever the unscored; or why it is unknown."""
        if (
            self.num_tasks < MIN_PAIRS
            or self.interval.num_clusters < MIN_CONTEXTS
            or self.unusable > MAX_UNSCORED * self.intended
        ):
            return "too few"
        if self.adjusted < _LEVEL and self.at_least > 0:
            return "above"
        if self.adjusted < _LEVEL and self.at_most < 0:
            return "below"
        return "equal" if -self.margin < self.at_least and self.at_most < self.margin else "unclear"

    @property
    def excludes_gain(self) -> bool:
        """Whether the arm is not above the reference by as much as the margin."""
        return self.finding != "too few" and self.at_most < self.margin

    @property
    def enough(self) -> int:
        """About how many usable pairs would narrow the interval to the margin."""
        if self.floor:
            return next(n for n in range(MIN_PAIRS, 10**6) if score_interval(0, 0, n)[1] < self.margin)
        half = (self.interval.high - self.interval.low) / 2
        if not half > 0:
            return MIN_PAIRS
        return max(MIN_PAIRS, math.ceil(self.interval.n * (half / self.margin) ** 2))

    def words(self) -> str:
        """Effect, interval, n and what was not scored, for a sentence."""
        each = self.interval
        if each.n == 0:
            return "no pairs"
        unit = "" if self.pair.measure == "tau" else " pass rate"
        ends = "no interval" if math.isnan(each.low) else f"[{each.low:+.2f}, {each.high:+.2f}]"
        said = f"{each.estimate:+.2f}{unit}{',' if math.isnan(each.low) else ''} {ends}, n = {each.n}"
        if not self.unusable:
            return said
        if self.pair.measure == "tau":
            return f"{said} ({self.unusable} of {self.intended} pairs have no tau)"
        bound = f"[{self.at_least:+.2f}, {self.at_most:+.2f}] if their answers all failed or passed"
        return f"{said} ({self.unusable} of {self.intended} pairs are unscored: {bound})"

    def to_json(self) -> dict[str, Any]:
        """Everything about it that JSON can hold; `from_json` reads it back."""
        numbers = {name: number(getattr(self, name)) for name in ("p", "adjusted", "at_least", "at_most")}
        counts = {"num_tasks": self.num_tasks, "unusable": self.unusable, "floor": self.floor}
        interval = {name: number(value) for name, value in asdict(self.interval).items()}
        return asdict(self.pair) | interval | counts | numbers | {"finding": self.finding}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Comparison:
        """The comparison of a row written by `to_json`."""
        known: dict[str, Any] = {name: math.nan if value is None else value for name, value in row.items()}
        known.pop("finding")  # follows from the rest
        pair = Pair(**{name: known.pop(name) for name in Pair.__dataclass_fields__})
        interval = Interval(**{name: known.pop(name) for name in Interval.__dataclass_fields__})
        return cls(pair, interval, **known)


def answers_of(records: Iterable[Record]) -> Answers:
    """Records by arm, then by task and seed."""
    answers: dict[str, dict[tuple[str, int], Record]] = {}
    for record in records:
        answers.setdefault(record.arm, {})[record.task_id, record.seed] = record
    return answers


def compare(answers: Answers, pair: Pair) -> Comparison:
    """The arm against the reference, on tasks and seeds that either of them was to answer."""
    left, right = answers.get(pair.arm, {}), answers.get(pair.reference, {})
    every = [(left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys())]
    return _of_tau(pair, every) if pair.measure == "tau" else _of_passes(pair, every)


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one question, each with its p-value by Holm; those without a p-value count for nothing."""
    known = [each for each in comparisons if not math.isnan(each.p)]
    adjusted = iter(holm([each.p for each in known]))
    return [each if math.isnan(each.p) else replace(each, adjusted=next(adjusted)) for each in comparisons]


def _of_tau(pair: Pair, every: Sequence[Both]) -> Comparison:
    used = [(a, b) for a, b in every if a and b and a.acceptance_lengths and b.acceptance_lengths]
    tokens_a, tokens_b = (
        [sum(each.acceptance_lengths) for each in arm] for arm in ([a for a, _ in used], [b for _, b in used])
    )
    steps_a, steps_b = (
        [len(each.acceptance_lengths) for each in arm] for arm in ([a for a, _ in used], [b for _, b in used])
    )
    contexts = [a.context_id for a, _ in used]
    interval = paired_difference(tokens_a, tokens_b, contexts, steps_a=steps_a, steps_b=steps_b)
    p = swapped_ratios_p(tokens_a, tokens_b, contexts, steps_a=steps_a, steps_b=steps_b)
    tasks, unusable = len({a.task_id for a, _ in used}), len(every) - len(used)
    return Comparison(pair, interval, p, tasks, unusable, interval.low, interval.high)


def _of_passes(pair: Pair, every: Sequence[Both]) -> Comparison:
    used = [(a, b) for a, b in every if a and b and a.passed is not None and b.passed is not None]
    interval, p = _difference(used, unscored=(False, False))
    low, high, passed = interval.low, interval.high, [bool(record.passed) for both in used for record in both]
    unusable = len(every) - len(used)
    if unusable:
        against, p_against = _difference(every, unscored=(False, True))
        in_favour, p_in_favour = _difference(every, unscored=(True, False))
        low, high = min(low, against.low), max(high, in_favour.high)
        p = max(p, p_against, p_in_favour)
    floor = "" if not passed else "floor" if not any(passed) else "ceiling" if all(passed) else ""
    return Comparison(pair, interval, p, len({a.task_id for a, _ in used}), unusable, low, high, floor)


def _difference(pairs: Sequence[Both], *, unscored: tuple[bool, bool]) -> tuple[Interval, float]:
    """The difference of the pass rates and its p-value, with these values for an unscored answer of either arm."""
    passes = [tuple(map(_passed, pair, unscored)) for pair in pairs]
    told = [a or b for a, b in pairs]
    clusters = [record.context_id for record in told if record]
    interval = paired_difference([a for a, _ in passes], [b for _, b in passes], clusters)
    if not passes:
        return interval, math.nan
    by_task: dict[str, list[int]] = {}
    for record, (a, b) in zip(told, passes, strict=True):
        by_task.setdefault(record.task_id if record else "", []).append(a - b)
    means = [sum(each) / len(each) for each in by_task.values()]
    low, high = score_interval(sum(m for m in means if m > 0), -sum(m for m in means if m < 0), len(means))
    return interval.widened(low, high).within(-1, 1), sign_flip_p([a - b for a, b in passes], clusters)


def _passed(record: Record | None, otherwise: bool) -> bool:
    return otherwise if record is None or record.passed is None else record.passed
