"""The DFlash draft network: a few transformer layers that read the target's tapped hidden states.

Described in arXiv 2602.06036, section 3; state-dict names are those of the published z-lab checkpoints. The draft owns
no embeddings and no head: it borrows the target's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP, Qwen3RotaryEmbedding, rotate_half

from dftt.models.acceleration import compiled
from dftt.models.attention import grouped_attention
from dftt.models.blocks import dense_block_mask, flex_block_mask
from dftt.models.spans import block_spans

FULL, SLIDING = "full_attention", "sliding_attention"
MaskLayout = Literal["dense", "flex", "spans"]


@dataclass(frozen=True)
class DraftConfig:
    """Shape of a draft and what it expects of its target; ValueError where the two cannot be."""

    hidden_size: int  # equal to the target's
    num_layers: int
    num_heads: int  # of queries
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int | None  # rows of the target's embedding; None where its checkpoint does not say
    num_target_layers: int | None  # of the target it was made for; None where its checkpoint does not say
    tap_ids: tuple[int, ...]  # hidden states it reads: 0 is the embedding output, i the output of layer i (from 1)
    block_size: int  # slots per block, anchor included
    mask_token_id: int  # fills the slots after the anchor
    rms_norm_eps: float = 1e-6
    # Rotary settings as transformers writes them.
    rope_parameters: Mapping[str, Any] = field(default_factory=lambda: {"rope_theta": 10000.0, "rope_type": "default"})
    sliding_rope_parameters: Mapping[str, Any] | None = None  # of the sliding layers, where they have others
    max_position_embeddings: int = 32768
    layer_types: tuple[str, ...] = ()  # full_attention or sliding_attention per layer; empty means full everywhere
    sliding_window: int | None = None  # band of the sliding layers
    window_from_anchor: bool = False  # whether the band is so many positions before the anchor, for all slots alike
    causal_types: tuple[str, ...] = ()  # types of the layers in which a slot sees no slot after itself
    attention_bias: bool = False  # whether q, k, v and o have biases
    hidden_act: str = "silu"  # of the gate

    def __post_init__(self) -> None:
        object.__setattr__(self, "tap_ids", tuple(self.tap_ids))
        object.__setattr__(self, "layer_types", tuple(self.layer_types) or (FULL,) * self.num_layers)
        object.__setattr__(self, "causal_types", tuple(sorted({*self.causal_types} & {*self.layer_types})))
        if self.block_size < 2:
            raise ValueError(f"block_size must be >= 2 (the anchor and at least one proposal), got {self.block_size}")
        if len(self.layer_types) != self.num_layers:
            raise ValueError(f"draft has {self.num_layers} layers but {len(self.layer_types)} layer_types")
        if not set(self.layer_types) <= {FULL, SLIDING}:
            raise ValueError(f"layer_types must be {FULL} or {SLIDING}, got {self.layer_types}")
        if SLIDING in self.layer_types and not self.sliding_window:
            raise ValueError("draft has sliding_attention layers but no sliding_window")


def default_tap_ids(num_target_layers: int, num_taps: int = 5) -> tuple[int, ...]:
    """Hidden-state indices of evenly spread layers, by the published drafts' rule: layer ids 1 … n-3, plus one."""
    if num_taps == 1:
        return (num_target_layers // 2 + 1,)
    span = num_target_layers - 4
    return tuple(round(1 + span * tap / (num_taps - 1)) + 1 for tap in range(num_taps))


def tap_places(taps: str | int, num_taps: int) -> tuple[int, ...]:
    """Places of the taps that are kept, 0 the shallowest: all, shallow, deep (before and behind the middle), or one.

    ValueError if there is no such tap, or too few to leave some out.
    """
    half = num_taps // 2
    named = {"all": range(num_taps), "shallow": range(half), "deep": range(num_taps - half, num_taps)}
    places = tuple(named[taps]) if isinstance(taps, str) else (taps,)
    if not places or max(places) >= num_taps:
        raise ValueError(
            f"taps {taps} leaves no layer: the draft reads {num_taps} layers, give one of 0 to {num_taps - 1}"
        )
    return places


class DraftContext(Protocol):
    """Keys and values of the context; `RowCache` is one, too."""

    def update(self, key: Tensor, value: Tensor, layer: int, /) -> tuple[Tensor, Tensor]:
        """A layer's keys and values (R, Hkv, S, Dh), the context's and then these of the blocks."""
        ...


class GradContext:
    """Context keys and values that gradients flow through; joined by concatenation."""

    def __init__(self, keys_values: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.keys_values = keys_values

    def update(self, key: Tensor, value: Tensor, layer: int, /) -> tuple[Tensor, Tensor]:
        """As `DraftContext.update`."""
        context_key, context_value = self.keys_values[layer]
        return torch.cat([context_key, key], dim=2), torch.cat([context_value, value], dim=2)


class DFlashDraft(nn.Module):
    """The draft. `read_context` turns features into keys and values; `forward` runs blocks against them."""

    def __init__(self, config: DraftConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False  # recompute activations in the backward pass instead of keeping them
        # Embedding and head that its checkpoint holds beside it, by name, until they are compared with the target's.
        self.own_vocabulary: dict[str, Tensor] = {}
        self.kept_features: Tensor | None = None  # (L*D,): 1 where features are read, 0 where not; None reads all
        self.fc = nn.Linear(len(config.tap_ids) * config.hidden_size, config.hidden_size, bias=False)
        self.hidden_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.layers = nn.ModuleList(DraftLayer(config, index) for index in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary = Qwen3RotaryEmbedding(_qwen3_config(config, config.rope_parameters))
        self.rotary.requires_grad_(False)
        self.sliding_rotary = None
        if config.sliding_rope_parameters is not None:
            self.sliding_rotary = Qwen3RotaryEmbedding(_qwen3_config(config, config.sliding_rope_parameters))
            self.sliding_rotary.requires_grad_(False)

    def reset_parameters(self, std: float = 0.02) -> None:
        """Draw all projections from a normal distribution and set the norms to one."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, RMSNorm):
                nn.init.ones_(module.weight)

    def read_context(self, features: Tensor, positions: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of context, one (R, Hkv, T, Dh) pair per layer, from hidden_norm(fc(features)).

        Features (R, T, L*D) stand at positions (R, T) or (1, T).
        """
        if self.kept_features is not None:
            features = features * self.kept_features.to(features)
        hidden = self._run(lambda: self.hidden_norm(self.fc(features)))
        rotary = self._rotary(hidden, positions)
        return [self._run(layer.self_attn.keys_values, hidden, rotary[kind]) for layer, kind in self._typed_layers()]

    def forward(self, embeddings: Tensor, positions: Tensor, context: DraftContext, masks: Mapping[str, Any]) -> Tensor:
        """Hidden states (R, Q, D) of all slots after the last norm; the target's head turns them into logits.

        The blocks' input ids, embedded by the target, (R, Q, D), stand at positions (R, Q). `masks` gives per layer
        type a boolean mask, spans, a FlexAttention BlockMask, or None where every key may be seen.
        """
        hidden = embeddings
        rotary = self._rotary(hidden, positions)
        for layer, kind in self._typed_layers():
            hidden = self._run(layer, hidden, rotary[kind], context, masks[kind])
        return self.norm(hidden)

    def block_masks(
        self,
        anchors: Tensor,  # (R, N)
        *,
        context_slots: int,
        block_size: int | None = None,
        layout: MaskLayout = "dense",
        all_visible: bool = False,
        window: int = 0,
        **rule: Any,
    ) -> dict[str, Any]:
        """The mask of each layer type that the draft has, for blocks opened at `anchors`.

        Args:
            anchors: Anchor positions.
            context_slots: Context keys that come before the blocks' keys.
            block_size: Slots per block; the draft's own where not given.
            layout: Explicit masks (dense), FlexAttention masks, or spans for the kernels of decoding.
            all_visible: The caller knows that the rule hides nothing (one block, context exactly up to its anchor), so
                that full-attention layers need no mask.
            window: Band of all layers, as that of sliding ones; 0 where there is none.
            rule: What else the masks of `blocks` take: `text_starts` and `shared` of blocks that open in texts behind a
                context, `sinks` of a band.
        """
        build = {"dense": dense_block_mask, "flex": flex_block_mask, "spans": block_spans}[layout]
        size = block_size or self.config.block_size
        masks: dict[str, Any] = {}
        for kind in dict.fromkeys(self.config.layer_types):
            hides = self._hides(kind, window)
            if all_visible and not hides and layout == "dense":
                masks[kind] = None
            else:
                masks[kind] = build(anchors, block_size=size, context_slots=context_slots, **hides, **rule)
        return masks

    def _hides(self, kind: str, window: int) -> dict[str, Any]:
        """What a layer type hides beside the rule of blocks: a band, later slots; empty where nothing."""
        own = self.config.sliding_window if kind == SLIDING else None
        bands = [window or None, None if self.config.window_from_anchor else own]
        hides = {
            "sliding_window": min(filter(None, bands), default=None),
            "anchored_window": own if self.config.window_from_anchor else None,
            "causal": kind in self.config.causal_types or None,
        }
        return {name: value for name, value in hides.items() if value is not None}

    def _rotary(self, hidden: Tensor, positions: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Cosines and sines of each layer type."""
        common = self.rotary(hidden, positions)
        sliding = common if self.sliding_rotary is None else self.sliding_rotary(hidden, positions)
        return {FULL: common, SLIDING: sliding}

    def _typed_layers(self) -> Iterator[tuple[DraftLayer, str]]:
        return zip(self.draft_layers(), self.config.layer_types, strict=True)

    def _run(self, part: Callable[..., Any], *inputs: Any) -> Any:
        """A part of the network, its activations kept for the backward pass or not."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)
        return part(*inputs)

    def draft_layers(self) -> list[DraftLayer]:
        """The layers, typed."""
        return cast(list[DraftLayer], list(self.layers))


class DraftLayer(nn.Module):
    """Pre-norm transformer layer whose keys come from the context and from the blocks."""

    def __init__(self, config: DraftConfig, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = DraftAttention(config, index)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Qwen3MLP(_qwen3_config(config, config.rope_parameters))

    def forward(self, hidden: Tensor, rotary: tuple[Tensor, Tensor], context: DraftContext, mask: Any) -> Tensor:
        """Attention and MLP, each with its residual."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), rotary, context, mask)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class DraftAttention(nn.Module):
    """Grouped-query attention with normalised queries and keys (as Qwen3), bidirectional where the mask allows."""

    def __init__(self, config: DraftConfig, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_dim = config.head_dim
        query_width, key_width = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, query_width, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, key_width, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, key_width, bias=bias)
        self.o_proj = nn.Linear(query_width, config.hidden_size, bias=bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def keys_values(self, hidden: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Rotated keys and plain values of `hidden` (R, T, D): (R, Hkv, T, Dh) each."""
        key = self.k_norm(self._heads(self.k_proj(hidden)))
        value = self._heads(self.v_proj(hidden))
        return _rotate(key, rotary).to(value.dtype), value

    def forward(self, hidden: Tensor, rotary: tuple[Tensor, Tensor], context: DraftContext, mask: Any) -> Tensor:
        """Attention output of the blocks' slots, (R, Q, D)."""
        normed_query = self.q_norm(self._heads(self.q_proj(hidden)))
        key, value = self.keys_values(hidden, rotary)
        query = _rotate(normed_query, rotary).to(value.dtype)
        key, value = context.update(key, value, self.index)
        scale = self.head_dim**-0.5
        if mask is None or isinstance(mask, Tensor):
            out = grouped_attention(query, key, value, mask, scale=scale)
        else:
            from torch.nn.attention.flex_attention import flex_attention  # loads the compiler

            out = compiled(flex_attention)(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))

    def _heads(self, projected: Tensor) -> Tensor:  # (R, T, H*Dh) -> (R, H, T, Dh)
        return projected.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 or better and scaled afterwards (as Qwen3)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: Tensor) -> Tensor:
        """`hidden` normalised over its last dimension."""
        if hidden.is_cuda and hidden.dtype == self.weight.dtype:
            # One kernel instead of eight.
            return nn.functional.rms_norm(hidden, self.weight.shape, self.weight, self.eps)
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed.to(hidden.dtype)


def _rotate(states: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    # transformers rotates queries and keys together; here they come apart, since context keys have no queries.
    cos, sin = (part[:, None] for part in rotary)
    return states * cos + rotate_half(states) * sin


def _qwen3_config(config: DraftConfig, rope: Mapping[str, Any]) -> Qwen3Config:
    """What transformers' rotary embedding and MLP ask for."""
    return Qwen3Config(
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_attention_heads=config.num_heads,
        head_dim=config.head_dim,
        hidden_act=config.hidden_act,
        max_position_embeddings=config.max_position_embeddings,
        rope_parameters=dict(rope),
    )


@contextmanager
def tapped(draft: DFlashDraft, taps: str | int) -> Iterator[None]:
    """Inside the block, the draft reads zeros in place of all other taps, also while it learns."""
    if taps == "all":
        yield
        return
    kept = torch.zeros(len(draft.config.tap_ids))
    kept[list(tap_places(taps, len(kept)))] = 1.0
    # Beside the weights: a captured pass may not copy from the CPU.
    draft.kept_features = kept.repeat_interleave(draft.config.hidden_size).to(next(draft.parameters()).device)
    try:
        yield
    finally:
        draft.kept_features = None
