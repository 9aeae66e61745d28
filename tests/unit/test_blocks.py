from collections.abc import Callable
from typing import Any

import pytest
import torch

from dftt.adaptation.losses import run_blocks
from dftt.models.blocks import block_input_ids, block_positions, dense_block_mask, flex_block_mask, select_anchors
from dftt.models.pair import Pair
from tests.fakes import MASK_ID, random_prompt


def anchors_of(context_length: int, num_anchors: int, *, window: int = 0, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    drawn = select_anchors(context_length=context_length, num_anchors=num_anchors, window=window, generator=generator)
    return drawn.tolist()


def naive_mask(anchors: list[int], block_size: int, context_slots: int, window: int | None) -> list[list[bool]]:
    """The rule of the block mask, one pair of query and key at a time."""
    rows = []
    for block, anchor in enumerate(anchors):
        for slot in range(block_size):
            context = [
                key < anchor and (window is None or anchor + slot - key < window) for key in range(context_slots)
            ]
            blocks = [other == block for other in range(len(anchors)) for _ in range(block_size)]
            rows.append(context + blocks)
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_anchors_are_sorted_and_distinct(seed: int) -> None:
    drawn = anchors_of(40, 16, seed=seed)
    assert len(drawn) == 16
    assert drawn == sorted(set(drawn))


@pytest.mark.parametrize(("length", "window"), [(3, 0), (10, 0), (10, 2), (10, 5), (10, 9), (10, 10), (10, 500)])
def test_anchors_reach_every_place_that_can_be_learnt(length: int, window: int) -> None:
    first = max(1, length - window) if window else 1
    assert anchors_of(length, 1000, window=window) == list(range(first, length - 1))


def test_anchors_are_drawn_uniformly() -> None:
    counts = torch.zeros(12)
    for seed in range(3000):
        counts[anchors_of(12, 2, seed=seed)] += 1
    # 600 expected at each of 10 places, standard deviation 22.
    assert (counts[1:11] - 600).abs().max() < 110


def test_anchors_follow_the_generator() -> None:
    assert anchors_of(100, 8, seed=1) == anchors_of(100, 8, seed=1)
    assert anchors_of(100, 8, seed=1) != anchors_of(100, 8, seed=2)


@pytest.mark.parametrize(("length", "window"), [(1, 0), (2, 0), (2, 2), (50, 1)])
def test_a_context_without_room_for_an_anchor_is_refused(length: int, window: int) -> None:
    with pytest.raises(ValueError, match=f"context of {length} tokens .* is too short to adapt to"):
        anchors_of(length, 4, window=window)


def test_slots_stand_behind_their_anchor() -> None:
    assert block_positions(torch.tensor([[2, 7]]), 3).tolist() == [[2, 3, 4, 7, 8, 9]]


def test_a_block_holds_its_anchor_and_masks() -> None:
    assert block_input_ids(torch.tensor([[5, 6]]), 3, 99).tolist() == [[5, 99, 99, 6, 99, 99]]


def test_mask_of_two_blocks_written_by_hand() -> None:
    mask = dense_block_mask(torch.tensor([[1, 3]]), block_size=2, context_slots=4)
    assert mask.int().tolist() == [
        [
            [
                # context   block 0  block 1
                [1, 0, 0, 0, 1, 1, 0, 0],
                [1, 0, 0, 0, 1, 1, 0, 0],
                [1, 1, 1, 0, 0, 0, 1, 1],
                [1, 1, 1, 0, 0, 0, 1, 1],
            ]
        ]
    ]


def test_mask_of_a_sliding_layer_written_by_hand() -> None:
    mask = dense_block_mask(torch.tensor([[3]]), block_size=2, context_slots=5, sliding_window=3)
    assert mask.int().tolist() == [[[[0, 1, 1, 0, 0, 1, 1], [0, 0, 1, 0, 0, 1, 1]]]]


def test_masks_of_causal_blocks_written_by_hand() -> None:
    """With two positions before the anchor for both slots, not one fewer for the second."""
    mask = dense_block_mask(torch.tensor([[3]]), block_size=2, context_slots=5, anchored_window=2, causal=True)
    assert mask.int().tolist() == [[[[0, 1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 0, 1, 1]]]]


@pytest.mark.parametrize("window", [None, 1, 4, 100])
@pytest.mark.parametrize("block_size", [2, 5])
def test_dense_mask_is_the_rule_for_every_row(block_size: int, window: int | None) -> None:
    anchors = [[1, 4, 9], [2, 3, 11]]
    mask = dense_block_mask(torch.tensor(anchors), block_size=block_size, context_slots=12, sliding_window=window)
    assert mask[:, 0].tolist() == [naive_mask(row, block_size, 12, window) for row in anchors]


@pytest.fixture
def blocks(tiny_pair: Callable[..., Pair]) -> Callable[..., torch.Tensor]:
    """Hidden states (N, K, D) of blocks at 4, 9 and 15 in a context of 24 tokens, with changes."""
    pair = tiny_pair("qwen3")
    prompt = random_prompt(24)
    features = pair.prefill(prompt).features

    def run(*, noise_from: int = 24, first_anchor_id: int = prompt.input_ids[4]) -> torch.Tensor:
        changed = features.clone()
        changed[noise_from:] += 1.0
        ids = [first_anchor_id, prompt.input_ids[9], prompt.input_ids[15]]
        anchors = torch.tensor([[4, 9, 15]])
        return run_blocks(
            pair.draft, pair.target, features=changed[None], anchors=anchors, anchor_ids=torch.tensor([ids])
        )[0]

    return run


@pytest.mark.parametrize(("block", "anchor"), [(0, 4), (1, 9), (2, 15)])
def test_context_from_the_anchor_on_never_reaches_a_block(blocks, block: int, anchor: int) -> None:
    assert torch.equal(blocks(noise_from=anchor)[block], blocks()[block])


@pytest.mark.parametrize(("block", "anchor"), [(0, 4), (1, 9), (2, 15)])
def test_the_token_before_the_anchor_reaches_a_block(blocks, block: int, anchor: int) -> None:
    assert not torch.allclose(blocks(noise_from=anchor - 1)[block], blocks()[block], atol=1e-3)


def test_another_block_never_reaches_a_block(blocks) -> None:
    """Cross-block leaks were a cause of drafts that train to 98 % and serve at 10 % (SpecForge 470)."""
    changed, plain = blocks(first_anchor_id=MASK_ID), blocks()
    assert not torch.allclose(changed[0], plain[0], atol=1e-3)
    assert torch.equal(changed[1:], plain[1:])


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("texts", [{}, {"text_starts": torch.tensor([[6, 6, 15], [6, 15, 15]]), "shared": 6}])
def test_the_flex_mask_follows_the_rule_of_the_dense_one(
    monkeypatch: pytest.MonkeyPatch, window: int | None, causal: bool, texts: dict[str, Any]
) -> None:
    monkeypatch.setattr("dftt.models.blocks.compiled", lambda function: function)
    anchors = torch.tensor([[3, 9, 14], [7, 8, 12]])
    settings: dict[str, Any] = {"block_size": 4, "context_slots": 24, "sliding_window": window, **texts}
    settings |= {"causal": True, "anchored_window": 3} if causal else {}
    dense, flex = dense_block_mask(anchors, **settings), flex_block_mask(anchors, **settings)
    for row in range(2):
        for query in range(12):
            seen = [bool(flex.mask_mod(*map(torch.tensor, (row, 0, query, key)))) for key in range(36)]
            assert dense[row, 0, query].tolist() == seen
