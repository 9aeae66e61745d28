from collections.abc import Callable

import pytest
import torch

from dftt.adaptation.losses import run_blocks
from dftt.models.draft import SLIDING, DFlashDraft, default_tap_ids
from dftt.models.pair import Pair
from tests.fakes import random_prompt, tiny_draft_config

PUBLISHED_PER_LAYER = {
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "self_attn.q_norm.weight",
    "self_attn.k_norm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
}


def test_tensor_names_are_the_published_ones() -> None:
    """58 tensors for 5 layers, as llama.cpp counts them in z-lab's drafts."""
    names = set(DFlashDraft(tiny_draft_config(num_layers=5)).state_dict())
    layers = {f"layers.{layer}.{name}" for layer in range(5) for name in PUBLISHED_PER_LAYER}
    assert names == {"fc.weight", "hidden_norm.weight", "norm.weight"} | layers
    assert len(names) == 58


def test_fc_reads_all_taps_side_by_side() -> None:
    assert DFlashDraft(tiny_draft_config(taps=(1, 2, 3))).fc.weight.shape == (32, 3 * 32)


@pytest.mark.parametrize(
    ("layers", "taps", "layer_ids"),
    [
        (36, 5, [1, 9, 17, 25, 33]),
        (30, 5, [1, 8, 14, 20, 27]),
        (28, 1, [14]),
        (36, 2, [1, 33]),
    ],
)
def test_default_taps_are_the_published_layer_ids_plus_one(layers: int, taps: int, layer_ids: list[int]) -> None:
    assert [tap - 1 for tap in default_tap_ids(layers, taps)] == layer_ids


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"block_size": 1}, "block_size must be >= 2"),
        ({"layer_types": (SLIDING,)}, "2 layers but 1 layer_types"),
        ({"layer_types": (SLIDING, SLIDING)}, "no sliding_window"),
    ],
)
def test_an_impossible_shape_is_refused(overrides: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_draft_config(**overrides)


def test_context_read_in_parts_equals_context_read_at_once(tiny_pair: Callable[..., Pair]) -> None:
    draft = tiny_pair("qwen3", dtype="float64").draft
    features, positions = torch.randn(1, 20, 96, dtype=torch.float64), torch.arange(20)[None]
    whole = draft.read_context(features, positions)
    parts = [draft.read_context(features[:, part], positions[:, part]) for part in (slice(0, 7), slice(7, 20))]
    for layer, (key, value) in enumerate(whole):
        torch.testing.assert_close(torch.cat([part[layer][0] for part in parts], dim=2), key, atol=1e-12, rtol=0)
        torch.testing.assert_close(torch.cat([part[layer][1] for part in parts], dim=2), value, atol=1e-12, rtol=0)


def slot_hidden(pair: Pair, changed: int | None) -> torch.Tensor:
    """Hidden states of the block at 20, with the features of one context position changed."""
    prompt = random_prompt(24)
    features = pair.prefill(prompt).features.clone()
    if changed is not None:
        features[changed] += 1.0
    anchor_ids = torch.tensor([[prompt.input_ids[20]]])
    hidden = run_blocks(
        pair.draft, pair.target, features=features[None], anchors=torch.tensor([[20]]), anchor_ids=anchor_ids
    )
    return hidden[0, 0]


@pytest.fixture
def sliding(tiny_pair: Callable[..., Pair]) -> Pair:
    """Two sliding layers: context keys come from the features alone, so bands do not widen with depth."""
    return tiny_pair("qwen3", layer_types=(SLIDING, SLIDING), sliding_window=6)


def test_sliding_layers_look_no_further_than_their_window(sliding: Pair) -> None:
    """SDPA ignores a sliding_window argument without a mask and silently attends to everything."""
    assert torch.equal(slot_hidden(sliding, 14), slot_hidden(sliding, None))


def test_sliding_layers_look_back_as_far_as_their_window(sliding: Pair) -> None:
    assert not torch.allclose(slot_hidden(sliding, 15)[0], slot_hidden(sliding, None)[0], atol=1e-5)


def test_full_layers_beside_sliding_ones_see_everything(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3", layer_types=("full_attention", SLIDING), sliding_window=6)
    assert not torch.allclose(slot_hidden(pair, 2), slot_hidden(pair, None), atol=1e-5)


def test_slots_of_a_block_see_each_other_in_both_directions(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3", dtype="float64")
    embeddings = torch.randn(1, 4, 32, dtype=torch.float64)
    positions = torch.arange(5, 9)[None]
    features = torch.randn(1, 5, 96, dtype=torch.float64)

    class Context:
        pairs = pair.draft.read_context(features, torch.arange(5)[None])

        def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, /) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.cat([self.pairs[layer][0], key], 2), torch.cat([self.pairs[layer][1], value], 2)

    plain = pair.draft(embeddings, positions, Context(), {"full_attention": None})
    for slot in range(4):
        changed = embeddings.clone()
        changed[0, slot] += 1
        out = pair.draft(changed, positions, Context(), {"full_attention": None})
        assert ((out - plain)[0].abs().amax(-1) > 1e-6).all()
