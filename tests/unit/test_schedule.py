"""The scheduler against every fixed size, on scripted acceptance."""

import random
from collections.abc import Callable, Sequence

import pytest

from dftt.decoding.schedule import BlockScheduler

SIZES = (1, 2, 4, 6, 8, 12, 16)
FLAT = {size: 10 + 0.1 * size for size in SIZES}  # a card at one row: width is almost free
STEEP = {size: 10 + 2.5 * size for size in SIZES}  # many rows, or a CPU: width costs
DRAFT = {size: (10 if size == 1 else 16) + 0.4 * size for size in SIZES}  # proposing costs something by itself
CYCLES = 3000


def even(chance: float) -> Callable[[int], list[float]]:
    return lambda _: [chance] * 15


def fading(_: int) -> list[float]:
    return [0.9 * 0.85**slot for slot in range(15)]


def turning(cycle: int) -> list[float]:
    return [0.9 if cycle < CYCLES // 2 else 0.4] * 15


def committed(chances: Sequence[float], size: int, draws: random.Random) -> int:
    count = 1
    while count < size and draws.random() < chances[count - 1]:
        count += 1
    return count


def rate(choose: Callable[[], int], observe, costs, acceptance, *, rows: int = 1) -> float:
    """Tokens a second over a fixed number of cycles' worth of time."""
    draws, tokens, seconds = random.Random(5), 0, 0.0
    for cycle in range(CYCLES):
        size = choose()
        counts = [committed(acceptance(cycle), size, draws) for _ in range(rows)]
        observe(size, counts)
        tokens += sum(counts)
        seconds += costs[size]
    return tokens / seconds


@pytest.mark.parametrize("costs", [FLAT, STEEP, DRAFT], ids=["flat", "steep", "draft"])
@pytest.mark.parametrize(
    "acceptance",
    [even(0.05), even(0.4), even(0.65), even(0.9), fading, turning],
    ids=["hardly", "low", "middle", "high", "fading", "turning"],
)
@pytest.mark.parametrize("rows", [1, 8])
def test_never_more_than_3_percent_behind_the_best_fixed_size(costs, acceptance, rows: int) -> None:
    scheduler = BlockScheduler({rows: costs})
    scheduled = rate(lambda: scheduler.choose(rows), scheduler.observe, costs, acceptance, rows=rows)
    fixed = max(rate(lambda size=size: size, lambda *_: None, costs, acceptance, rows=rows) for size in SIZES)
    assert scheduled >= 0.97 * fixed


def test_it_gains_where_no_fixed_size_fits_all_along() -> None:
    scheduler = BlockScheduler({1: STEEP})
    scheduled = rate(lambda: scheduler.choose(1), scheduler.observe, STEEP, turning)
    fixed = max(rate(lambda size=size: size, lambda *_: None, STEEP, turning) for size in SIZES)
    assert scheduled > fixed


def test_expected_tokens_are_those_of_the_acceptance_seen() -> None:
    scheduler, draws = BlockScheduler({1: FLAT}, memory=100_000), random.Random(0)
    for _ in range(20_000):
        scheduler.observe(16, [committed([0.8] * 15, 16, draws)])
    wanted = {size: sum(0.8**slot for slot in range(size)) for size in SIZES}
    assert scheduler.expected_tokens() == pytest.approx(wanted, rel=0.02)


def test_each_row_count_has_its_own_choice() -> None:
    scheduler = BlockScheduler({1: FLAT, 8: STEEP})
    for _ in range(500):
        scheduler.observe(16, [committed([0.6] * 15, 16, random.Random(_))])
    while scheduler.choose(1) == scheduler.largest:
        pass  # the first cycles probe
    one, three, eight, many = (scheduler.choose(rows) for rows in (1, 3, 8, 50))
    assert one > eight
    assert three == eight == many


@pytest.mark.parametrize(
    ("costs", "options", "message"),
    [
        ({}, {}, "same block sizes"),
        ({1: {}}, {}, "same block sizes"),
        ({1: {2: 1.0}, 8: {4: 1.0}}, {}, "same block sizes"),
        ({1: {2: 0.0}}, {}, "positive"),
        ({1: {2: 1.0}}, {"memory": 0}, "memory"),
        ({1: {2: 1.0}}, {"probing": 1.0}, "probing"),
    ],
)
def test_bad_costs_and_options_are_refused(costs, options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlockScheduler(costs, **options)
