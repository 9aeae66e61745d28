"""Intervals at 95 %: a bootstrap over clusters for ratios and differences, Wilson's for a pass rate.

Tasks on one context are alike, so whole contexts are resampled, not tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Seed = int | np.random.Generator

_Z = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Args:
        estimate: The value on all observations; NaN where there are none.
        low: Lower end; NaN where one cluster or none leaves nothing to resample.
        high: Upper end, as low.
        n: Observations used.
        num_clusters: Clusters they come from.
    """

    estimate: float
    low: float
    high: float
    n: int
    num_clusters: int


def ratio_interval(
    committed: Sequence[float],
    steps: Sequence[float],
    clusters: Sequence[str],
    *,
    num_resamples: int = 2000,
    seed: Seed = 0,
) -> Interval:
    """Interval of Σ committed / Σ steps, such as tau; observations without steps are left out.

    Args:
        committed: Numerator of each observation.
        steps: Denominator of each observation.
        clusters: Cluster (context) of each observation.
        num_resamples: Bootstrap resamples.
        seed: Seed or generator of the resamples.

    Raises:
        ValueError: The sequences differ in length, or num_resamples is below 1.
    """
    columns = _columns(committed=committed, steps=steps)
    return _bootstrap(columns, clusters, columns[1] > 0, _ratio, num_resamples, seed)


def paired_difference(
    values_a: Sequence[float],
    values_b: Sequence[float],
    clusters: Sequence[str],
    *,
    steps_a: Sequence[float] | None = None,
    steps_b: Sequence[float] | None = None,
    num_resamples: int = 2000,
    seed: Seed = 0,
) -> Interval:
    """Interval of arm a minus arm b on paired observations, both arms taken from the same resampled clusters.

    With steps, each arm is Σ values / Σ steps (tau) and pairs in which either arm has no step are left out;
    without, each arm is the mean of its values.

    Args:
        values_a: Arm a: committed tokens, or the values to average.
        values_b: Arm b, paired with values_a.
        clusters: Cluster (context) of each pair.
        steps_a: Verify steps of arm a; give both or neither.
        steps_b: Verify steps of arm b.
        num_resamples: Bootstrap resamples.
        seed: Seed or generator of the resamples.

    Raises:
        ValueError: The sequences differ in length, only one arm has steps, or num_resamples is below 1.
    """
    if (steps_a is None) != (steps_b is None):
        raise ValueError("steps are given for one arm only; give steps_a and steps_b, or neither")
    columns = _columns(
        values_a=values_a,
        steps_a=np.ones(len(values_a)) if steps_a is None else steps_a,
        values_b=values_b,
        steps_b=np.ones(len(values_b)) if steps_b is None else steps_b,
    )
    keep = (columns[1] > 0) & (columns[3] > 0)
    return _bootstrap(columns, clusters, keep, lambda sums: _ratio(sums[:2]) - _ratio(sums[2:]), num_resamples, seed)


def wilson_interval(passed: int, n: int) -> Interval:
    """Wilson's interval of a pass rate; answers count as independent, each its own cluster.

    Args:
        passed: Answers that passed.
        n: Answers that were scored.

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


def _ratio(sums: Array) -> Array:  # (2, ...) -> (...)
    return sums[0] / sums[1]


def _columns(**named: Sequence[float] | Array) -> Array:
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"sequences must be equally long, got {lengths}")
    return np.array([np.asarray(values, dtype=np.float64) for values in named.values()])


def _bootstrap(
    columns: Array,  # (columns, observations)
    clusters: Sequence[str],
    keep: NDArray[np.bool_],
    statistic: Callable[[Array], Array],
    num_resamples: int,
    seed: Seed,
) -> Interval:
    if len(clusters) != columns.shape[1]:
        raise ValueError(f"clusters must be as long as the values, {columns.shape[1]}, got {len(clusters)}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be >= 1, got {num_resamples}")
    columns = columns[:, keep]
    n = columns.shape[1]
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, 0)
    names, cluster = np.unique(np.asarray(clusters)[keep], return_inverse=True)
    sums = np.stack([np.bincount(cluster, weights=column, minlength=len(names)) for column in columns])
    estimate = float(statistic(sums.sum(axis=1)))
    if len(names) == 1:
        return Interval(estimate, math.nan, math.nan, n, 1)
    # How often each cluster is drawn; a resample's sums are then one product.
    shares = np.full(len(names), 1 / len(names))
    draws = np.random.default_rng(seed).multinomial(len(names), shares, num_resamples).astype(np.float64)
    low, high = np.percentile(statistic(sums @ draws.T), [2.5, 97.5])
    return Interval(estimate, float(low), float(high), n, len(names))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of McNemar's test; 1 where no pair disagrees.

    Args:
        only_a: Pairs in which arm a alone passed.
        only_b: Pairs in which arm b alone passed.

    Raises:
        ValueError: A count is negative.
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"counts of pairs must be >= 0, got {only_a} and {only_b}")
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, float(2 * tail / 2**n)) if n else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: each below 0.05 can be claimed, whichever others are."""
    adjusted = [1.0] * len(p_values)
    least = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = least
    return adjusted


def normal_p(interval: Interval) -> float:
    """Two-sided p-value of no effect, the interval read as that of a normal estimate; NaN where there is none."""
    error = (interval.high - interval.low) / (2 * _Z)
    if not error > 0:
        return math.nan if math.isnan(error) else float(interval.estimate == 0)
    return math.erfc(abs(interval.estimate) / error / math.sqrt(2))
