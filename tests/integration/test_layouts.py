"""Training and decoding lay blocks out differently and must give the same logits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dftt.adaptation.losses import run_blocks
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.drafter import DFlashDrafter, Draw
from dftt.decoding.generate import generate
from dftt.models.cache import Placement, place
from dftt.models.draft import FULL, SLIDING
from dftt.models.lora import applied
from dftt.models.pair import Pair
from dftt.types import LORA_MODULES, DecodingSpec, Prompt, TTTSpec
from tests.fakes import random_prompt

CPU = torch.device("cpu")


class Settings(dict[str, Any]):
    """Hashable, as the fixture's keywords must be."""

    def __hash__(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return id(self)


ROPE = Settings(rope_theta=100.0, rope_type="default")
DRAFTS: dict[str, dict[str, Any]] = {
    "full": {},
    "sliding": {"layer_types": (FULL, SLIDING), "sliding_window": 5},
    "block of 7": {"block_size": 7},
    "causal": {"causal_types": (FULL,)},
    "causal where it slides": {"layer_types": (FULL, SLIDING), "sliding_window": 5, "causal_types": (SLIDING,)},
    "from the anchor": {
        "layer_types": (FULL, SLIDING),
        "sliding_window": 5,
        "causal_types": (SLIDING,),
        "window_from_anchor": True,
    },
    "two ropes": {"layer_types": (FULL, SLIDING), "sliding_window": 5, "sliding_rope_parameters": ROPE},
}


def training_logits(pair: Pair, ids: Sequence[int], anchors: Sequence[int]) -> Tensor:
    """Logits (N, K, V) of all slots of blocks at `anchors`, in one pass under the training mask."""
    with torch.no_grad():
        hidden = run_blocks(
            pair.draft,
            pair.target,
            features=pair.prefill(Prompt(tuple(ids))).features[None],
            anchors=torch.tensor([anchors]),
            anchor_ids=torch.tensor([[ids[anchor] for anchor in anchors]]),
        )
        return pair.target.head(hidden)[0]


def proposed_logits(drafter: DFlashDrafter, anchor_ids: list[int], anchors: list[int], count: int) -> Tensor:
    """Logits (R, count, V) that `propose` draws from."""
    seen = []

    def capture(logits: Tensor, positions: Tensor) -> Tensor:
        assert positions.tolist() == [[anchor + slot for slot in range(1, count + 1)] for anchor in anchors]
        seen.append(logits)
        return logits.argmax(-1)

    with torch.no_grad():
        drafter.propose(torch.tensor(anchor_ids), place(anchors, count + 1, device=CPU), capture)
    return seen[0]


class Spy(DFlashDrafter):
    """Keeps what `propose` draws from, per anchor."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.draft, pair.target)
        self.seen: dict[int, Tensor] = {}

    def propose(self, anchor_ids: Tensor, placement: Placement, draw: Draw) -> Tensor:
        def keep(logits: Tensor, positions: Tensor) -> Tensor:
            self.seen[int(placement.positions[0, 0])] = logits[0]
            return draw(logits, positions)

        return super().propose(anchor_ids, placement, keep)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-moe"])
def test_every_slot_of_a_block_gets_the_trained_logits(tiny_pair, family: str, draft: str) -> None:
    """The defect behind drafts that train to 98 % and accept nothing when served."""
    pair: Pair = tiny_pair(family, dtype="float64", **DRAFTS[draft])
    ids, block_size = random_prompt(30).input_ids, pair.draft.config.block_size
    anchors = [1, 2, 6, 13, 20, 29]
    expected = training_logits(pair, ids, anchors)[:, 1:]
    features = pair.prefill(Prompt(ids)).features
    for number, anchor in enumerate(anchors):
        drafter = DFlashDrafter(pair.draft, pair.target)
        drafter.begin([features[:anchor]], capacity=60)
        got = proposed_logits(drafter, [ids[anchor]], [anchor], block_size - 1)
        torch.testing.assert_close(got[0], expected[number], atol=1e-9, rtol=0)


@pytest.mark.parametrize("draft", DRAFTS)
def test_every_draft_decodes_the_targets_own_tokens(tiny_pair, draft: str) -> None:
    pair: Pair = tiny_pair("qwen3", **DRAFTS[draft])
    prompt, spec = random_prompt(12), DecodingSpec(max_new_tokens=30, ignore_eos=True)
    alone = generate(pair, prompt, replace(spec, mode="target"))
    assert generate(pair, prompt, spec).token_ids == alone.token_ids


@pytest.mark.parametrize("draft", DRAFTS)
def test_every_draft_learns_a_context(tiny_pair, draft: str) -> None:
    losses = ttt_adapt(tiny_pair("qwen3", **DRAFTS[draft]), random_prompt(30), TTTSpec(steps=12, lr=2e-2)).losses
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("draft", DRAFTS)
def test_rows_apart_get_the_logits_they_were_trained_with(tiny_pair, draft: str) -> None:
    pair: Pair = tiny_pair("qwen3", dtype="float64", **DRAFTS[draft])
    ids, anchors, count = random_prompt(30).input_ids, [20, 3, 11], pair.draft.config.block_size - 1
    features = pair.prefill(Prompt(ids)).features
    drafter = DFlashDrafter(pair.draft, pair.target)
    drafter.begin([features[:anchor] for anchor in anchors], capacity=60)
    got = proposed_logits(drafter, [ids[anchor] for anchor in anchors], anchors, count)
    torch.testing.assert_close(got, training_logits(pair, ids, anchors)[:, 1:], atol=1e-9, rtol=0)


@pytest.mark.parametrize("draft", DRAFTS)
def test_first_slots_are_slot_one_of_the_training_layout(tiny_pair, draft: str) -> None:
    """The cache holds the anchors' own features by then, and they must stay hidden."""
    pair: Pair = tiny_pair("qwen3", dtype="float64", **DRAFTS[draft])
    ids, starts = random_prompt(30).input_ids, [20, 6]
    features = pair.prefill(Prompt(ids)).features
    drafter = DFlashDrafter(pair.draft, pair.target)
    drafter.begin([features[:start] for start in starts], capacity=60)
    at = place(starts, 4, device=CPU)
    with torch.no_grad():
        proposed_logits(drafter, [ids[start] for start in starts], starts, 3)
        drafter.extend(features[at.positions], at)
        got = drafter.first_slot_logits(torch.tensor(ids)[at.positions], at)
    for row, positions in enumerate(at.positions.tolist()):
        torch.testing.assert_close(got[row], training_logits(pair, ids, positions)[:, 1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-sliding", "qwen3-moe"])
def test_a_whole_decoding_run_uses_the_training_layouts_logits(good_pair: Callable[..., Any], family: str) -> None:
    """Over accepted and rejected proposals: what a rejected token left behind never shows."""
    pair, prompt = good_pair(family, dtype="float64")
    spy = Spy(pair)
    answer = generate(pair, prompt, DecodingSpec(max_new_tokens=40, ignore_eos=True), drafter=spy)
    assert {1, 4} <= set(answer.acceptance_lengths)
    anchors = sorted(spy.seen)
    expected = training_logits(pair, prompt.input_ids + answer.token_ids, anchors)
    for number, anchor in enumerate(anchors):
        torch.testing.assert_close(spy.seen[anchor], expected[number, 1:], atol=1e-9, rtol=0)


def test_layouts_agree_under_an_adapter_too(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3", dtype="float64")
    ids = random_prompt(30).input_ids
    adapter = ttt_adapt(pair, Prompt(ids), TTTSpec(steps=10, lr=2e-2, modules=LORA_MODULES)).adapter
    base = training_logits(pair, ids, [17])
    features = pair.prefill(Prompt(ids)).features
    with applied(pair.draft, adapter):
        expected = training_logits(pair, ids, [17])
        drafter = DFlashDrafter(pair.draft, pair.target)
        drafter.begin([features[:17]], capacity=60)
        got = proposed_logits(drafter, [ids[17]], [17], 3)
    assert not torch.allclose(expected, base, atol=1e-2)
    torch.testing.assert_close(got[0], expected[0, 1:], atol=1e-9, rtol=0)
