"""Two arms on equal tasks and seeds: effect, interval, p-value, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dftt.evaluation.statistics import Interval, holm, mcnemar, normal_p, paired_difference
from dftt.evaluation.summary import number
from dftt.types import Record

Measure = Literal["pass rate", "tau"]
Finding = Literal["above", "below", "equal", "unclear", "too few"]

MARGINS: dict[str, float] = {"pass rate": 0.05, "tau": 0.1}  # an effect within them is none worth having
MIN_PAIRS = 30
MIN_CONTEXTS = 5
MAX_UNSCORED = 0.1
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Arm minus reference.

    Args:
        arm: Id of the arm.
        reference: Id of the arm it is compared with.
        measure: pass rate, or tau.
        interval: The difference, contexts resampled; its n counts the pairs used.
        p: Exact McNemar for pass rates, the interval's own for tau; NaN where there is none.
        unusable: Pairs in which either answer is unscored, missing, or took no step.
        adjusted: The p-value by Holm, among the comparisons of one question.
    """

    arm: str
    reference: str
    measure: Measure
    interval: Interval
    p: float
    unusable: int
    adjusted: float = math.nan

    @property
    def finding(self) -> Finding:
        """Whether the arm is above, below or equal (within the margin), or why that cannot be told."""
        low, high, margin = self.interval.low, self.interval.high, MARGINS[self.measure]
        intended = self.interval.n + self.unusable
        if (
            self.interval.n < MIN_PAIRS
            or self.interval.num_clusters < MIN_CONTEXTS
            or self.unusable > MAX_UNSCORED * intended
        ):
            return "too few"
        if self.adjusted < _LEVEL and low > 0:
            return "above"
        if self.adjusted < _LEVEL and high < 0:
            return "below"
        return "equal" if -margin < low and high < margin else "unclear"

    @property
    def excludes_gain(self) -> bool:
        """Whether the arm is not above the reference by as much as the margin."""
        return self.finding != "too few" and self.interval.high < MARGINS[self.measure]

    @property
    def enough(self) -> int:
        """About how many usable pairs would narrow the interval to the margin."""
        half = (self.interval.high - self.interval.low) / 2
        if not half > 0:
            return MIN_PAIRS
        return max(MIN_PAIRS, math.ceil(self.interval.n * (half / MARGINS[self.measure]) ** 2))

    def words(self) -> str:
        """Effect, interval and n, for a sentence."""
        each = self.interval
        if each.n == 0:
            return "no pairs"
        unit = "" if self.measure == "tau" else " pass rate"
        if math.isnan(each.low):
            return f"{each.estimate:+.2f}{unit}, no interval, n = {each.n}"
        return f"{each.estimate:+.2f}{unit} [{each.low:+.2f}, {each.high:+.2f}], n = {each.n}"

    def to_json(self) -> dict[str, Any]:
        """Everything about it that JSON can hold."""
        row = asdict(self) | {"finding": self.finding, "p": number(self.p), "adjusted": number(self.adjusted)}
        interval = {name: number(value) for name, value in row.pop("interval").items()}
        return row | interval


def compare(records: Sequence[Record], arm: str, reference: str, measure: Measure) -> Comparison:
    """The arm against the reference, on tasks and seeds that either of them was to answer."""
    left = {(each.task_id, each.seed): each for each in records if each.arm == arm}
    right = {(each.task_id, each.seed): each for each in records if each.arm == reference}
    both = [(left[key], right[key]) for key in sorted(left.keys() & right.keys())]
    usable = [pair for pair in both if all(_usable(record, measure) for record in pair)]
    clusters = [a.context_id for a, _ in usable]
    if measure == "tau":
        interval = paired_difference(
            [sum(a.acceptance_lengths) for a, _ in usable],
            [sum(b.acceptance_lengths) for _, b in usable],
            clusters,
            steps_a=[len(a.acceptance_lengths) for a, _ in usable],
            steps_b=[len(b.acceptance_lengths) for _, b in usable],
        )
        p = normal_p(interval)
    else:
        passes = [(bool(a.passed), bool(b.passed)) for a, b in usable]
        interval = paired_difference([a for a, _ in passes], [b for _, b in passes], clusters)
        p = mcnemar(sum(a and not b for a, b in passes), sum(b and not a for a, b in passes))
    return Comparison(arm, reference, measure, interval, p, len(left.keys() | right.keys()) - len(usable))


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one question, each with its p-value by Holm; those without a p-value count for nothing."""
    known = [each for each in comparisons if not math.isnan(each.p)]
    adjusted = iter(holm([each.p for each in known]))
    return [each if math.isnan(each.p) else replace(each, adjusted=next(adjusted)) for each in comparisons]


def _usable(record: Record, measure: Measure) -> bool:
    return bool(record.acceptance_lengths) if measure == "tau" else record.passed is not None
