import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftt.analysis.statistics import (
    Interval,
    holm,
    paired_difference,
    ratio_interval,
    score_interval,
    sign_flip_p,
    student_p,
    swapped_ratios_p,
    wilson_interval,
)

CLUSTERS = ["a", "a", "b", "b", "c", "d"]


def test_ratio_is_made_from_sums():
    interval = ratio_interval([8, 2, 3, 5, 6, 4], [2, 1, 1, 2, 2, 4], CLUSTERS)
    assert interval.estimate == pytest.approx(28 / 12)
    assert (interval.n, interval.num_clusters) == (6, 4)
    assert interval.low < interval.estimate < interval.high


def test_order_of_observations_does_not_change_the_interval():
    order = [5, 0, 3, 1, 4, 2]
    values = [1, 2, 3, 4, 5, 6]
    shuffled = ratio_interval([values[i] for i in order], [1] * 6, [CLUSTERS[i] for i in order])
    assert shuffled == ratio_interval(values, [1] * 6, CLUSTERS)


def test_one_cluster_has_no_interval():
    interval = ratio_interval([4, 6], [2, 2], ["a", "a"])
    assert interval.estimate == 2.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_nothing_observed_is_nan():
    interval = ratio_interval([], [], [])
    assert math.isnan(interval.estimate)
    assert (interval.n, interval.num_clusters) == (0, 0)


def test_observations_without_steps_are_left_out():
    interval = ratio_interval([4, 0, 6], [2, 0, 2], ["a", "b", "c"])
    assert (interval.estimate, interval.n, interval.num_clusters) == (2.5, 2, 2)


def test_clusters_widen_the_interval_of_repeated_observations():
    values = np.repeat(np.random.default_rng(0).integers(1, 9, 20), 10).tolist()
    alone = ratio_interval(values, [1] * 200, [str(i) for i in range(200)])
    clustered = ratio_interval(values, [1] * 200, [str(i // 10) for i in range(200)])
    assert clustered.high - clustered.low > 2 * (alone.high - alone.low)


def test_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        means = np.repeat(rng.normal(3, 1, 40), 3)
        values = (means + rng.normal(0, 0.5, 120)).tolist()
        clusters = [str(i // 3) for i in range(120)]
        interval = ratio_interval(values, [1] * 120, clusters)
        covered += interval.low <= 3 <= interval.high
    assert 178 <= covered <= 198


def test_difference_of_equal_arms_is_exactly_zero():
    values = [1, 2, 3, 4, 5, 6]
    interval = paired_difference(values, values, CLUSTERS)
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_constant_shift_has_no_width_because_arms_share_clusters():
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    interval = paired_difference([value + 2 for value in values], values, CLUSTERS)
    assert (interval.low, interval.high) == pytest.approx((2, 2))


def test_difference_of_taus_is_the_difference_of_ratios_of_sums():
    interval = paired_difference([8, 3], [4, 2], ["a", "b"], steps_a=[2, 2], steps_b=[4, 1])
    assert interval.estimate == pytest.approx(11 / 4 - 6 / 5)


def test_pairs_without_steps_in_either_arm_are_left_out():
    interval = paired_difference([8, 3, 5], [4, 0, 5], ["a", "b", "c"], steps_a=[2, 1, 1], steps_b=[2, 0, 1])
    assert (interval.n, interval.num_clusters) == (2, 2)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50), st.sampled_from("abcd")), min_size=1, max_size=12))
def test_swapping_arms_flips_the_interval(rows):
    a, b, clusters = ([row[i] for row in rows] for i in range(3))
    forward = paired_difference(a, b, clusters)
    backward = paired_difference(b, a, clusters)
    assert forward.estimate == pytest.approx(-backward.estimate)
    assert forward.low == pytest.approx(-backward.high, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ratio_interval([1], [1, 2], ["a"]), "equally long"),
        (lambda: ratio_interval([1, 2], [1, 2], ["a"]), "clusters must be as long"),
        (lambda: paired_difference([1], [1], ["a"], steps_a=[1]), "one arm only"),
        (lambda: wilson_interval(3, 2), "between 0 and n = 2"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wilson_interval_of_a_known_case():
    interval = wilson_interval(5, 10)
    assert (interval.low, interval.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_its_estimate_and_has_width(case):
    interval = wilson_interval(*case)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.low < interval.high


def test_wilson_interval_of_nothing_is_nan():
    assert math.isnan(wilson_interval(0, 0).estimate)


# -- few pairs that differ --------------------------------------------------------------------------------------------


def test_without_a_differing_pair_73_pairs_reach_the_margin() -> None:
    assert score_interval(0, 0, 30) == pytest.approx((-0.1135, 0.1135), abs=1e-4)
    assert score_interval(0, 0, 72)[1] > 0.05 > score_interval(0, 0, 73)[1]


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "ends"),
    [(0, 12, 44, (-0.414, -0.160)), (12, 2, 14, (0.274, 0.893)), (1, 0, 30, (-0.0863, 0.1671))],
)
def test_score_interval_of_known_cases(only_a: int, only_b: int, n: int, ends: tuple[float, float]) -> None:
    """Made by solving Tango's equation on a fine grid, its nuisance found by maximising the likelihood."""
    low, high = score_interval(only_a, only_b, n)
    assert (low, high) == pytest.approx(by_grid(only_a, only_b, n), abs=2e-3)
    mirrored = score_interval(only_b, only_a, n)
    assert (low, high) == pytest.approx((-mirrored[1], -mirrored[0]))


def by_grid(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """All differences that the score test does not refuse."""
    kept = []
    for difference in np.linspace(-0.999, 0.999, 1999):
        p_b = np.linspace(max(0.0, -difference), (1 - difference) / 2, 4001)[1:-1]
        p_a = p_b + difference
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = np.log(np.maximum(1 - p_a - p_b, 1e-300))
            likelihood = only_a * np.log(p_a) + only_b * np.log(p_b) + (n - only_a - only_b) * rest
        best = p_b[np.nanargmax(likelihood)]
        variance = n * (2 * best + difference - difference**2)
        if abs(only_a - only_b - n * difference) <= 1.959964 * math.sqrt(variance):
            kept.append(difference)
    return min(kept), max(kept)


# -- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (1, 9, 0.021484375), (9, 1, 0.021484375), (4, 4, 1.0)]
)
def test_with_a_pair_a_context_swapping_is_mcnemars_test(only_a: int, only_b: int, p: float) -> None:
    differences = [1] * only_a + [-1] * only_b + [0] * 3
    assert sign_flip_p(differences, [str(number) for number in range(len(differences))]) == pytest.approx(p)


def test_contexts_are_swapped_as_a_whole() -> None:
    """Twelve tasks of one context that all gain are one observation, not twelve."""
    assert sign_flip_p([1] * 12, ["a"] * 12) == 1.0
    assert sign_flip_p([1] * 12, list("aaabbbcccddd")) == pytest.approx(2 / 2**4)


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from("abcdef")), min_size=1, max_size=15))
def test_swapping_is_enumerated(rows: list[tuple[int, str]]) -> None:
    sums: dict[str, int] = {}
    for difference, cluster in rows:
        sums[cluster] = sums.get(cluster, 0) + difference
    signs = itertools.product((1, -1), repeat=len(sums))
    totals = [abs(sum(sign * each for sign, each in zip(row, sums.values(), strict=True))) for row in signs]
    expected = sum(total >= abs(sum(sums.values())) for total in totals) / len(totals)
    assert sign_flip_p([d for d, _ in rows], [c for _, c in rows]) == pytest.approx(expected)


def test_swapping_ratios_is_enumerated() -> None:
    """Ten contexts of unequal steps, against a loop over all swaps."""
    rng = np.random.default_rng(3)
    pairs = [tuple(map(int, (*rng.integers(8, 60, 2), *rng.integers(2, 9, 2)))) for _ in range(10)]
    found = []
    for swaps in itertools.product((False, True), repeat=10):
        arms = [(b, a, d, c) if swap else (a, b, c, d) for swap, (a, b, c, d) in zip(swaps, pairs, strict=True)]
        sums = [sum(column) for column in zip(*arms, strict=True)]
        found.append(abs(sums[0] / sums[2] - sums[1] / sums[3]))
    a, b, c, d = ([pair[place] for pair in pairs] for place in range(4))
    p = swapped_ratios_p(a, b, list("abcdefghij"), steps_a=c, steps_b=d)
    assert p == pytest.approx(sum(each >= found[0] - 1e-12 for each in found) / len(found))


def test_five_contexts_can_show_nothing() -> None:
    assert swapped_ratios_p([9] * 5, [2] * 5, list("abcde"), steps_a=[1] * 5, steps_b=[1] * 5) == 2 / 2**5


def test_thousands_of_contexts_are_no_trouble() -> None:
    assert 0 < sign_flip_p([1] * 2200 + [-1] * 2000, [str(number) for number in range(4200)]) < 0.01


def test_holm_multiplies_the_smallest_most_and_keeps_the_order() -> None:
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_students_p_goes_with_its_interval() -> None:
    """2.262 is Student's quantile at 9 degrees of freedom: an interval that touches zero has p = 0.05."""
    assert student_p(Interval(2.262, 0.0, 4.524, 20, 10)) == pytest.approx(0.05, abs=1e-3)
    assert student_p(Interval(0.0, -1.0, 1.0, 10, 10)) == 1.0
    assert math.isnan(student_p(Interval(1.0, math.nan, math.nan, 1, 1)))


def test_equal_contexts_have_students_interval() -> None:
    """With contexts of one observation it is the textbook interval of a mean: 3 ± 2.776 sqrt(2.5 / 5)."""
    interval = paired_difference([1, 2, 3, 4, 5], [0] * 5, list("abcde"))
    assert (interval.low, interval.high) == pytest.approx((3 - 1.9633, 3 + 1.9633), abs=1e-3)
