"""Grouped-query attention for target and draft, registered with transformers under one name."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

GROUPED_ATTENTION = "dftt_grouped"


def grouped_attention(
    query: Tensor,  # (R, H, Q, Dh)
    key: Tensor,  # (R, Hkv, S, Dh)
    value: Tensor,  # (R, Hkv, S, Dh)
    mask: Tensor | None,  # bool, broadcastable to (R, 1, Q, S), True = may look; or int32 spans; None = everything
    *,
    scale: float,
    causal: bool = False,
) -> Tensor:  # (R, H, Q, Dh)
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
    return out.reshape(rows, heads, queries, width)


def _for_transformers(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """`grouped_attention` with the signature that transformers calls; a missing mask means causal."""
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    causal = attention_mask is None and query.shape[2] > 1 and getattr(module, "is_causal", True)
    if attention_mask is not None and attention_mask.dim() == 4 and attention_mask.dtype != torch.int32:
        attention_mask = attention_mask[..., : key.shape[2]]
    out = grouped_attention(query, key, value, attention_mask, scale=scale, causal=causal)
    return out.transpose(1, 2), None


AttentionInterface.register(GROUPED_ATTENTION, _for_transformers)
AttentionMaskInterface.register(GROUPED_ATTENTION, sdpa_mask)
