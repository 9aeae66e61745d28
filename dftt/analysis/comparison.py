"""Two arms on equal tasks and seeds: effect, interval, p-value, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dftt.analysis.arm_roles import ArmPair, Measure
from dftt.analysis.frame import Frame, pairs
from dftt.analysis.statistics import Interval, holm, paired_difference, score_interval, sign_flip_p, swapped_ratios_p
from dftt.tables import number
from dftt.types import Record

Finding = Literal["above", "below", "equal", "unclear", "too few"]

MARGINS: dict[Measure, float] = {"pass rate": 0.05, "tau": 0.1}  # an effect within them is none worth having
MIN_PAIRS = 30  # seeds of a task count once
MIN_CONTEXTS = 5
MAX_UNSCORED = 0.1
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Arm minus reference, over the pairs of answers that can be used.

    `p` is that of no difference, both arms swapped in whole contexts; NaN where there is none. Where pairs are
    unscored, it is the largest of those that they allow.
    """

    pair: ArmPair
    interval: Interval  # its n counts the pairs
    p: float
    num_tasks: int
    unusable: int  # pairs in which either answer is unscored, missing, or took no step
    at_least: float  # lower end where every unscored answer had turned out against the arm; of tau the interval's own
    at_most: float  # upper end where every unscored answer had turned out for the arm
    floor: str = ""  # "floor" or "ceiling" where both arms fail, or pass, all that is scored
    adjusted: float = math.nan  # the p-value by Holm, among the comparisons of one question

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
        pair = ArmPair(**{name: known.pop(name) for name in ArmPair.__dataclass_fields__})
        interval = Interval(**{name: known.pop(name) for name in Interval.__dataclass_fields__})
        return cls(pair, interval, **known)


def compare(records: Iterable[Record] | Frame, pair: ArmPair) -> Comparison:
    """The arm against the reference, on tasks and seeds that either of them was to answer.

    Args:
        records: Of a study, or their frame.
        pair: The two arms, and what is compared.
    """
    every = pairs(records, pair.arm, pair.reference)
    return _of_tau(pair, every) if pair.measure == "tau" else _of_passes(pair, every)


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one question, each with its p-value by Holm; those without a p-value count for nothing."""
    known = [each for each in comparisons if not math.isnan(each.p)]
    adjusted = iter(holm([each.p for each in known]))
    return [each if math.isnan(each.p) else replace(each, adjusted=next(adjusted)) for each in comparisons]


def tau_difference(both: Frame) -> Interval:
    """Tau of one arm minus that of another, of two side by side (`pairs`), where both took a step."""
    steps = {"steps_a": both["steps_a"], "steps_b": both["steps_b"]}
    return paired_difference(both["tokens_a"], both["tokens_b"], both["context_id_a"], **steps)


def _of_tau(pair: ArmPair, every: Frame) -> Comparison:
    used = every[(every["steps_a"] > 0) & (every["steps_b"] > 0)]
    steps = {"steps_a": used["steps_a"], "steps_b": used["steps_b"]}
    p = swapped_ratios_p(used["tokens_a"], used["tokens_b"], used["context_id_a"], **steps)
    interval, unusable = tau_difference(used), len(every) - len(used)
    return Comparison(pair, interval, p, used["task_id"].nunique(), unusable, interval.low, interval.high)


def _of_passes(pair: ArmPair, every: Frame) -> Comparison:
    used = every.dropna(subset=["passed_a", "passed_b"])
    interval, p = _difference(used)
    low, high, unusable = interval.low, interval.high, len(every) - len(used)
    if unusable:
        against, p_against = _difference(every.fillna({"passed_a": 0.0, "passed_b": 1.0}))
        in_favour, p_in_favour = _difference(every.fillna({"passed_a": 1.0, "passed_b": 0.0}))
        low, high = min(low, against.low), max(high, in_favour.high)
        p = max(p, p_against, p_in_favour)
    passed = set(used["passed_a"]) | set(used["passed_b"])
    floor = {(0.0,): "floor", (1.0,): "ceiling"}.get(tuple(passed), "")
    return Comparison(pair, interval, p, used["task_id"].nunique(), unusable, low, high, floor)


def _difference(both: Frame) -> tuple[Interval, float]:
    """The difference of the pass rates, and its p-value."""
    contexts = both["context_id_a"].fillna(both["context_id_b"])
    interval = paired_difference(both["passed_a"], both["passed_b"], contexts)
    if both.empty:
        return interval, math.nan
    differences = both["passed_a"] - both["passed_b"]
    means = differences.groupby(both["task_id"]).mean()
    low, high = score_interval(means[means > 0].sum(), -means[means < 0].sum(), len(means))
    return interval.widened(low, high).within(-1, 1), sign_flip_p(differences, contexts)
