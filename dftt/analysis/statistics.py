"""Intervals at 95 % and p-values of answers that come in contexts: tasks on one context are alike.

Ratios and differences of ratios have the interval of Student's t with the error of a jackknife that leaves one context
out at a time, which holds for few contexts and for contexts of unequal size; `python -m benchmarks.coverage` shows how
well. Where hardly any pair differs no error can be estimated, so the difference of two pass rates is never said to be
known better than Tango's score interval of paired proportions allows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import root_scalar
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]

_LEVEL = 0.95
_MOST_ENUMERATED = 12  # contexts; 2 ** 12 swaps
_SWAPS = 9_999
_Z = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate on `n` observations of so many clusters, with its 95 % interval.

    The estimate is NaN where there are no observations, the ends where one cluster or none leaves nothing to compare.
    """

    estimate: float
    low: float
    high: float
    n: int
    num_clusters: int

    def widened(self, low: float, high: float) -> Interval:
        """The interval that holds these ends, too."""
        return replace(self, low=min(self.low, low), high=max(self.high, high))

    def within(self, least: float, most: float) -> Interval:
        """The interval without the values that cannot be."""
        return replace(self, low=max(self.low, least), high=min(self.high, most))


# -- intervals ---------------------------------------------------------------------------------------------------------


def ratio_interval(values: ArrayLike, steps: ArrayLike, clusters: ArrayLike) -> Interval:
    """Interval of Σ values / Σ steps, such as tau, by the clusters (contexts); observations without steps are left out.

    Raises:
        ValueError: The sequences differ in length.
    """
    columns = _columns(values=values, steps=steps)
    return _jackknife(columns, clusters, columns[1] > 0, _ratio)


def paired_difference(
    values_a: ArrayLike,
    values_b: ArrayLike,
    clusters: ArrayLike,
    *,
    steps_a: ArrayLike | None = None,
    steps_b: ArrayLike | None = None,
) -> Interval:
    """Interval of arm a minus arm b on paired observations, by their clusters (contexts).

    With steps, each arm is Σ values / Σ steps (tau) and pairs in which either arm has no step are left out;
    without, each arm is the mean of its values.

    Raises:
        ValueError: The sequences differ in length, or only one arm has steps.
    """
    if (steps_a is None) != (steps_b is None):
        raise ValueError("steps are given for one arm only; give steps_a and steps_b, or neither")
    ones = np.ones(np.shape(values_a)) if steps_a is None else None
    columns = _columns(
        values_a=values_a,
        steps_a=ones if steps_a is None else steps_a,
        values_b=values_b,
        steps_b=ones if steps_b is None else steps_b,
    )
    keep = (columns[1] > 0) & (columns[3] > 0)
    return _jackknife(columns, clusters, keep, lambda sums: _ratio(sums[:2]) - _ratio(sums[2:]))


def wilson_interval(passed: int, n: int) -> Interval:
    """Wilson's interval of a pass rate, of n scored answers; they count as independent, each its own cluster.

    Raises:
        ValueError: passed is not between 0 and n.
    """
    if not 0 <= passed <= n:
        raise ValueError(f"passed must be between 0 and n = {n}, got {passed}")
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0)
    rate = passed / n
    scale = 1 + _Z**2 / n
    centre = (rate + _Z**2 / (2 * n)) / scale
    half = _Z * math.sqrt(rate * (1 - rate) / n + _Z**2 / (4 * n**2)) / scale
    # Rounding must not push the ends past the estimate at rates of 0 and 1.
    return Interval(rate, max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)), n, n)


def score_interval(only_a: float, only_b: float, n: int) -> tuple[float, float]:
    """Ends of Tango's score interval of the difference of two paired pass rates (Statistics in Medicine 17, 1998).

    Without a differing pair it is ± z² / (n + z²): within 0.05 from 73 pairs on.

    Args:
        only_a: Pairs in which arm a alone passed; a pair may count in part, where it stands for several seeds.
        only_b: Pairs in which arm b alone passed.
        n: Pairs, at least 1.
    """

    def score(difference: float) -> float:
        spread = difference * (1 - difference)
        linear = (2 * n - only_a + only_b) * difference - only_a - only_b
        nuisance = (math.sqrt(max(linear**2 + 8 * n * only_b * spread, 0.0)) - linear) / (4 * n)
        variance = n * (2 * nuisance + spread)
        return (only_a - only_b - n * difference) / math.sqrt(max(variance, 1e-300))

    estimate, edge = (only_a - only_b) / n, 1 - 1e-9
    low = -1.0 if score(-edge) < _Z else root_scalar(lambda d: score(d) - _Z, bracket=(-edge, min(estimate, edge))).root
    high = 1.0 if score(edge) > -_Z else root_scalar(lambda d: score(d) + _Z, bracket=(max(estimate, -edge), edge)).root
    return float(low), float(high)


def _ratio(sums: Array) -> Array:  # (2, ...) -> (...)
    return sums[0] / sums[1]


def _columns(**named: ArrayLike | None) -> Array:
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    if len({len(values) for values in arrays.values()}) > 1:
        lengths = {name: len(values) for name, values in arrays.items()}
        raise ValueError(f"sequences must be equally long, got {lengths}")
    return np.stack(list(arrays.values()))


def _sums(columns: Array, clusters: ArrayLike) -> Array:
    """The columns, summed over each cluster."""
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    summed = [np.bincount(cluster, weights=column, minlength=len(names)) for column in columns]
    return np.stack(summed).astype(np.float64)


def _jackknife(
    columns: Array,  # (columns, observations)
    clusters: ArrayLike,
    keep: NDArray[np.bool_],
    statistic: Callable[[Array], Array],
) -> Interval:
    clusters = np.asarray(clusters)
    if len(clusters) != columns.shape[1]:
        raise ValueError(f"clusters must be as long as the values, {columns.shape[1]}, got {len(clusters)}")
    columns = columns[:, keep]
    n = columns.shape[1]
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0)
    sums = _sums(columns, clusters[keep])
    count = sums.shape[1]
    total = sums.sum(axis=1, keepdims=True)
    estimate = float(statistic(total)[0])
    if count == 1:
        return Interval(estimate, math.nan, math.nan, n, 1)
    without = statistic(total - sums)  # of all clusters but one, for each
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    half = float(stdtrit(count - 1, (1 + _LEVEL) / 2)) * error
    return Interval(estimate, estimate - half, estimate + half, n, count)


# -- tests -------------------------------------------------------------------------------------------------------------


def sign_flip_p(differences: ArrayLike, clusters: ArrayLike) -> float:
    """Two-sided exact p-value of no difference: how often the sum is as far from 0 where arms are swapped.

    Whole contexts are swapped, with all their tasks and seeds. With one pair a context it is McNemar's exact test.

    Args:
        differences: Arm a minus arm b of each pair, whole numbers such as 1 where arm a alone passed.
        clusters: Cluster (context) of each pair.
    """
    sums = _sums(_columns(differences=differences), clusters)[0].astype(int)
    chances = np.ones(1)  # of each sum from -reach to reach
    for size in abs(sums[sums != 0]):
        step = np.zeros(2 * size + 1)
        step[[0, -1]] = 0.5
        chances = np.convolve(chances, step)
    reach, found = len(chances) // 2, abs(sums.sum())
    return min(1.0, 2 * float(chances[reach + found :].sum())) if found else 1.0


def swapped_ratios_p(
    values_a: ArrayLike, values_b: ArrayLike, clusters: ArrayLike, *, steps_a: ArrayLike, steps_b: ArrayLike
) -> float:
    """As `sign_flip_p`, of the difference of two taus: exact up to 12 contexts, else from 9,999 swaps.

    Arguments are those of `paired_difference`.
    """
    sums = _sums(_columns(values_a=values_a, steps_a=steps_a, values_b=values_b, steps_b=steps_b), clusters)
    count = sums.shape[1]
    if count == 0:
        return math.nan
    if count <= _MOST_ENUMERATED:
        signs = 1.0 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    else:
        drawn = np.random.default_rng(0).integers(0, 2, (_SWAPS, count))
        signs = np.concatenate([np.ones((1, count)), 1.0 - 2 * drawn])
    middle, half = (sums[:2] + sums[2:]).sum(axis=1) / 2, (sums[:2] - sums[2:]) / 2
    moved = half @ signs.T  # (2, swaps)
    found = abs(_ratio(middle[:, None] + moved) - _ratio(middle[:, None] - moved))
    return float((found >= found[0] * (1 - 1e-12)).mean())


def student_p(interval: Interval) -> float:
    """Two-sided p-value of no effect that goes with an interval of `paired_difference`; NaN where there is none."""
    freedom = interval.num_clusters - 1
    if freedom < 1:
        return math.nan
    error = (interval.high - interval.low) / 2 / float(stdtrit(freedom, (1 + _LEVEL) / 2))
    if not error > 0:
        return float(interval.estimate == 0)
    return 2 * float(stdtr(freedom, -abs(interval.estimate) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: each below 0.05 can be claimed, whichever others are."""
    order = np.argsort(p_values, kind="stable")
    multiplied = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(multiplied))
    return adjusted.tolist()
