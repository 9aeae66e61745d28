"""Grouped-query attention for target and draft, registered with transformers under one name."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

GROUPED_ATTENTION = "dftt_grouped"

# What models pass beside the tensors without changing what is computed here: dropout is off in evaluation, the mask
# holds positions and windows already, and the rest is for kernels or outputs that are not used.
_WITHOUT_EFFECT = (
    "dropout position_ids cache_position sliding_window is_causal use_cache past_key_values output_attentions "
    "output_hidden_states output_router_logits logits_to_keep return_dict"
)
_NEUTRAL = frozenset(_WITHOUT_EFFECT.split())


class UnknownArgumentError(ValueError):
    """A model passes something to its attention that ours does not know."""


def grouped_attention(
    query: Tensor,  # (R, H, Q, Dh)
    key: Tensor,  # (R, Hkv, S, Dh)
    value: Tensor,  # (R, Hkv, S, Dv), as wide as the keys or not
    mask: Tensor | None,  # bool, broadcastable to (R, 1, Q, S), True = may look; or int32 spans; None = everything
    *,
    scale: float,
    causal: bool = False,
) -> Tensor:  # (R, H, Q, Dv)
    """Attention in which groups of query heads share a key head, without copying the keys for each of them."""
    if mask is not None and mask.dtype == torch.int32:
        from dftt.models.span_attention import span_attention  # needs Triton, which only some machines have

        return span_attention(query, key, value, mask, scale=scale)
    rows, heads, queries, width = query.shape
    groups = heads // key.shape[1]
    if causal:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=groups > 1)
    # The heads of a group become extra queries of their key head: (R, H, Q, Dh) -> (R, Hkv, G*Q, Dh).
    packed = query.reshape(rows, heads // groups, groups * queries, width)
    if mask is not None and groups > 1 and queries > 1:
        mask = mask.expand(rows, 1, queries, key.shape[2]).repeat(1, 1, groups, 1)
    out = F.scaled_dot_product_attention(packed, key, value, attn_mask=mask, scale=scale)
    return out.reshape(rows, heads, queries, value.shape[-1])


def _for_transformers(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """`grouped_attention` with the signature that transformers calls; a missing mask means causal."""
    unknown = [name for name, value in others.items() if name not in _NEUTRAL and value is not None]
    if unknown:
        raise UnknownArgumentError(f"passes {', '.join(sorted(unknown))} to its attention")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    causal = attention_mask is None and query.shape[2] > 1 and getattr(module, "is_causal", True)
    if attention_mask is not None and attention_mask.dim() == 4 and attention_mask.dtype != torch.int32:
        attention_mask = attention_mask[..., : key.shape[2]]
    out = grouped_attention(query, key, value, attention_mask, scale=scale, causal=causal)
    return out.transpose(1, 2).contiguous(), None  # some models view it in another shape


AttentionInterface.register(GROUPED_ATTENTION, _for_transformers)
AttentionMaskInterface.register(GROUPED_ATTENTION, sdpa_mask)
