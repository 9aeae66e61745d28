"""Masks as spans: what a query may look at, in four numbers instead of one flag per key.

A query sees keys first <= j < limit (the context before it) and lo <= j < hi (its own block, which may stand elsewhere
in the cache). Every mask of decoding has this form, so a kernel can read exactly the keys that matter, and a captured
graph can follow growing lengths, which a mask of fixed width cannot. A fifth number, where there is one, says how many
of the first keys stand in row 0 of the cache, for all rows (`RowCache.shared`).
"""

from __future__ import annotations

import torch
from torch import Tensor

KEYS_PER_TILE = 64  # that the kernel reads at once; what is shared fills whole tiles


def causal_spans(positions: Tensor, sliding_window: int | None = None, *, shared: int = 0) -> Tensor:
    """Spans (R, 1, Q, 4 or 5), int32: tokens at (R, Q) see themselves and all before, or the last of the window."""
    limit, nothing = positions + 1, torch.zeros_like(positions)
    first = nothing if sliding_window is None else (limit - sliding_window).clamp_min(0)
    return _stack(first, limit, nothing, nothing, shared=shared)


def forked_spans(positions: Tensor, fork: int, sliding_window: int | None = None, *, shared: int = 0) -> Tensor:
    """Spans as `causal_spans`, of two branches behind one token: each sees what came before, that token and itself."""
    trunk = causal_spans(positions[:, :fork], sliding_window, shared=shared)
    ends = positions[:, fork:] + 1
    lo = positions[:, fork : fork + 1].expand_as(ends)
    limit = (positions[:, :1] + 1).expand_as(ends)
    first = torch.zeros_like(ends)
    if sliding_window is not None:
        first = (ends - (fork - 1) - sliding_window).clamp_min(0)
        lo = torch.maximum(lo, ends - sliding_window)
    return torch.cat([trunk, _stack(first, limit, lo, ends, shared=shared)], dim=2)


def block_spans(
    anchors: Tensor,  # (R, N)
    *,
    block_size: int,
    context_slots: int,
    sliding_window: int | None = None,
    anchored_window: int | None = None,
    causal: bool = False,
) -> Tensor:  # (R, 1, N*K, 4)
    """`blocks.is_visible` as spans: the context before the anchor, and the own block."""
    rows, num_anchors = anchors.shape
    queries = torch.arange(num_anchors * block_size, device=anchors.device)
    limit = anchors.repeat_interleave(block_size, dim=1)
    first = torch.zeros_like(limit)
    if sliding_window is not None:
        first = (limit + queries % block_size - sliding_window + 1).clamp_min(0)
    if anchored_window is not None:
        first = torch.maximum(first, limit - anchored_window)
    lo = (context_slots + queries // block_size * block_size).expand(rows, -1)
    seen = queries % block_size + 1 if causal else block_size
    return _stack(first, limit.clamp_max(context_slots), lo, lo + seen)


def dense_of_spans(spans: Tensor, num_keys: int) -> Tensor:  # (R, 1, Q, 4 or 5) -> (R, 1, Q, num_keys), bool
    """The same masks with a flag per key."""
    keys = torch.arange(num_keys, device=spans.device)
    first, limit, lo, hi = (part[..., None] for part in spans[..., :4].unbind(-1))
    return ((keys >= first) & (keys < limit)) | ((keys >= lo) & (keys < hi))


def _stack(*parts: Tensor, shared: int = 0) -> Tensor:
    common = (torch.full_like(parts[0], shared),) if shared else ()
    return torch.stack([*parts, *common], dim=-1)[:, None].to(torch.int32)
