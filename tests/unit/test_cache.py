from collections.abc import Callable

import pytest
import torch

from dftt.models.cache import RowCache, place
from dftt.models.pair import Pair
from dftt.models.target import Target
from tests.fakes import random_prompt

CPU = torch.device("cpu")
FAMILIES = ["llama", "qwen3", "qwen3-sliding", "qwen3-moe"]


def filled(target: Target, lengths: list[int], capacity: int = 64) -> RowCache:
    """A cache whose rows hold prompts of the given lengths."""
    cache = RowCache(target.num_layers, rows=len(lengths), capacity=capacity)
    for row, length in enumerate(lengths):
        prefill = target.prefill(random_prompt(length, seed=row).input_ids, tap_ids=())
        cache.fill_row(row, prefill.keys, prefill.values)
    return cache


def read(target: Target, cache: RowCache, starts: list[int], tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        hidden, _ = target.forward(tokens, place(starts, tokens.shape[1], device=CPU), cache, tap_ids=())
    return hidden


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 5])
def test_rows_of_different_lengths_equal_separate_runs(tiny_pair, family: str, count: int) -> None:
    target = tiny_pair(family).target
    lengths = [3, 30, 17]
    new = torch.tensor([random_prompt(count, seed=10 + row).input_ids for row in range(3)])
    together = read(target, filled(target, lengths), lengths, new)
    for row, length in enumerate(lengths):
        whole = random_prompt(length, seed=row).input_ids + tuple(new[row].tolist())
        torch.testing.assert_close(together[row], target.prefill(whole, tap_ids=()).hidden[-count:], atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengths", [[20], [20, 20], [9, 20]])
def test_rejected_tokens_leave_no_trace(tiny_pair, family: str, lengths: list[int]) -> None:
    target = tiny_pair(family).target
    wrong, right = torch.full((len(lengths), 6), 5), torch.full((len(lengths), 4), 77)
    cache = filled(target, lengths)
    read(target, cache, lengths, wrong)
    after_rollback = read(target, cache, [length + 1 for length in lengths], right)
    fresh = filled(target, lengths)
    read(target, fresh, lengths, wrong[:, :1])
    expected = read(target, fresh, [length + 1 for length in lengths], right)
    torch.testing.assert_close(after_rollback, expected, atol=1e-5, rtol=0)


def test_a_pass_beyond_the_capacity_is_refused(tiny_pair: Callable[..., Pair]) -> None:
    cache = RowCache(4, rows=1, capacity=10)
    cache.placement = place([8], 2, device=CPU)
    with pytest.raises(ValueError, match="room for 10 positions a row, needs 11"):
        cache.placement = place([9], 2, device=CPU)


def test_writing_before_a_placement_is_refused() -> None:
    states = torch.zeros(1, 1, 2, 4)
    with pytest.raises(RuntimeError, match="placement must be set"):
        RowCache(1, rows=1, capacity=10).update(states, states, 0)


def test_only_the_used_part_is_returned() -> None:
    cache = RowCache(1, rows=1, capacity=10)
    cache.placement = place([0], 3, device=CPU)
    keys, values = cache.update(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 5), 0)
    assert keys.shape == (1, 2, 3, 4)
    assert values.shape == (1, 2, 3, 5)


def test_storage_is_allocated_once() -> None:
    cache = RowCache(1, rows=1, capacity=10)
    addresses = set()
    for start in (0, 3, 1, 6):
        cache.placement = place([start], 3, device=CPU)
        keys, _ = cache.update(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), 0)
        addresses.add(keys.data_ptr())
    assert len(addresses) == 1


def test_equal_starts_are_one_slice_and_others_a_scatter() -> None:
    same, different = place([4, 4], 3, device=CPU), place([4, 1], 3, device=CPU)
    assert (same.start, same.used, same.positions.tolist()) == (4, 7, [[4, 5, 6], [4, 5, 6]])
    assert (different.start, different.used, different.positions.tolist()) == (
        None,
        7,
        [[4, 5, 6], [1, 2, 3]],
    )
