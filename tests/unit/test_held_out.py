"""Which positions of a context are kept out of training."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from dftt.adaptation.lessons import context_batch, is_held_out
from dftt.models.pair import Pair
from dftt.types import TTTSpec
from tests.fakes import random_prompt


def held_out(length: int, one_in: int) -> list[int]:
    return is_held_out(length, one_in).nonzero().flatten().tolist()


@pytest.mark.parametrize("length", [3, 17, 18, 34, 64, 1000])
@pytest.mark.parametrize("one_in", [2, 3, 16])
def test_held_out_positions_are_spread_and_never_neighbours(length: int, one_in: int) -> None:
    places = held_out(length, one_in)
    groups = [(place - 1) // one_in for place in places]
    assert groups == list(range((length - 2) // one_in))
    assert all(later - earlier > 1 for earlier, later in pairwise(places))
    assert all(1 <= place <= length - 2 for place in places)


def test_none_is_held_out_at_0_and_of_short_contexts() -> None:
    assert held_out(1000, 0) == held_out(17, 16) == held_out(1, 16) == []


def test_a_longer_context_holds_the_same_places_out() -> None:
    assert held_out(1000, 16)[:20] == held_out(400, 16)[:20]


@pytest.mark.parametrize("window", [0, 3, 20])
def test_training_and_validation_share_no_anchor(tiny_pair: Callable[..., Pair], window: int) -> None:
    pair, prompt = tiny_pair(), random_prompt(80)
    prefill, seen = pair.prefill(prompt), {}
    spec = TTTSpec(anchors=1000, window=window, held_out=2)
    for validation in (True, False):
        batch = context_batch(pair.draft, prefill, 80, spec, 0, validation=validation)
        seen[validation] = set(batch.anchors[0].tolist())
    assert not seen[True] & seen[False]
    assert seen[True] | seen[False] == set(range(max(1, 80 - window) if window else 1, 79))


def test_without_held_out_positions_there_is_nothing_to_validate(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair()
    with pytest.raises(ValueError, match=r"nothing to validate on: of a context of 12 tokens ttt.held_out 16"):
        context_batch(pair.draft, pair.prefill(random_prompt(12)), 12, TTTSpec(), 0, validation=True)
