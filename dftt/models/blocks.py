"""Anchors, blocks and the mask that says what a block may look at. Decoding, training and guidance share all three.

A block of size K opens at an anchor: slot 0 holds the anchor token, slots 1..K-1 hold the mask token, and slot k stands
at position anchor + k. The rule of the mask: a query of block j sees context positions < anchor_j (strictly: the target
has not yet read the anchor when a block is proposed) and every slot of its own block (of a causal one, those up to
itself), nothing else.

Several texts may go on from one context (self-study): they stand behind each other in the keys, all of them at the
positions after the context, and a block sees the context and its own text before its anchor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dftt.models.acceleration import compiled


def select_anchors(
    *,
    context_length: int,
    num_anchors: int,
    window: int = 0,
    allowed: Tensor | None = None,  # (T,), bool
    generator: torch.Generator,
) -> Tensor:  # (N,) sorted, distinct
    """Positions that may open a block, drawn uniformly without replacement, sorted; all of them where fewer than asked.

    An anchor needs a feature before it and a label after it, so it lies in [1, context_length - 2].

    Args:
        context_length: Tokens of the context.
        num_anchors: How many to draw.
        window: Draw from the last so many context tokens only; 0 draws from all.
        allowed: Which positions may be drawn; by default all.
        generator: Source of randomness, on the CPU.

    Raises:
        ValueError: If the context is too short for a single anchor.
    """
    first = max(1, context_length - window) if window else 1
    positions = torch.arange(first, max(first, context_length - 1))
    if allowed is not None:
        positions = positions[allowed[positions]]
    if len(positions) < 1:
        raise ValueError(
            f"context of {context_length} tokens (window {window or 'whole'}) is too short to adapt to: "
            "it needs at least 3 tokens, and a window of at least 3"
        )
    drawn = torch.randperm(len(positions), generator=generator)[:num_anchors]
    return positions[drawn].sort().values


def block_positions(anchors: Tensor, block_size: int) -> Tensor:  # (R, N) -> (R, N*K)
    """Absolute position of every slot of every block."""
    slots = torch.arange(block_size, device=anchors.device)
    return (anchors[:, :, None] + slots).flatten(1)


def block_input_ids(anchor_ids: Tensor, block_size: int, mask_token_id: int) -> Tensor:  # (R, N) -> (R, N*K)
    """Anchor token in slot 0, the mask token in all others."""
    ids = anchor_ids.new_full((*anchor_ids.shape, block_size), mask_token_id)
    ids[..., 0] = anchor_ids
    return ids.flatten(1)


def is_visible(
    query_block: Tensor,  # number of the query's block
    query_anchor: Tensor,  # position of its anchor
    query_slot: Tensor,  # its slot in the block
    key_index: Tensor,
    *,
    context_slots: int,
    block_size: int,
    sliding_window: int | None,
    anchored_window: int | None = None,
    causal: bool = False,
    text_start: Tensor | int = 0,
    shared: int = 0,
    sinks: int = 0,
) -> Tensor:
    """The rule of the mask, elementwise; keys are `context_slots` read positions, then the blocks' slots in order.

    Args:
        context_slots: How many of the first keys are tokens that were read; by default at positions 0, 1, ...
        block_size: Slots per block.
        sliding_window: Band of a sliding-attention layer, behind which context is hidden; None for full attention.
        anchored_window: The same for all slots alike: how many positions before the anchor are seen.
        causal: Whether a slot sees of its block only itself and the slots before it.
        text_start: Index of the first key of the query's own text, which stands at position `shared`.
        shared: How many of the first keys, at positions 0, 1, ..., come before every text.
        sinks: First positions that a band does not hide.
    """
    position = key_index + (shared - text_start)  # of a key of the query's own text
    in_text = (key_index >= text_start) & (key_index < context_slots) & (position < query_anchor)
    in_context = in_text | (key_index < shared)
    position = torch.where(key_index < shared, key_index, position)
    if sliding_window is not None:
        near = position > query_anchor + query_slot - sliding_window
        in_context = in_context & (near | (position < sinks))
    if anchored_window is not None:
        in_context = in_context & (position >= query_anchor - anchored_window)
    in_own_block = (key_index >= context_slots) & ((key_index - context_slots) // block_size == query_block)
    if causal:
        in_own_block = in_own_block & ((key_index - context_slots) % block_size <= query_slot)
    return in_context | in_own_block


def dense_block_mask(anchors: Tensor, *, block_size: int, context_slots: int, **rule: Any) -> Tensor:
    """`is_visible` of anchors (R, N) as an explicit mask (R, 1, N*K, context_slots + N*K), bool.

    `rule` is what else `_by_number` takes.
    """
    rows, num_anchors = anchors.shape
    queries = torch.arange(num_anchors * block_size, device=anchors.device)
    keys = torch.arange(context_slots + num_anchors * block_size, device=anchors.device)
    visible = _by_number(anchors, block_size=block_size, context_slots=context_slots, **rule)
    return visible(torch.arange(rows, device=anchors.device)[:, None, None, None], None, queries[:, None], keys)


def flex_block_mask(anchors: Tensor, *, block_size: int, context_slots: int, **rule: Any) -> Any:
    """`is_visible` of anchors (R, N) as a FlexAttention BlockMask, which skips the tiles that nobody may look at."""
    from torch.nn.attention.flex_attention import create_block_mask

    rows, num_anchors = anchors.shape
    queries = num_anchors * block_size
    visible = _by_number(anchors, block_size=block_size, context_slots=context_slots, **rule)
    build = compiled(create_block_mask)  # uncompiled, it writes out the whole dense mask first
    return build(visible, rows, None, queries, context_slots + queries, device=anchors.device)


def _by_number(
    anchors: Tensor,  # (R, N)
    *,
    block_size: int,
    context_slots: int,
    sliding_window: int | None = None,
    anchored_window: int | None = None,
    causal: bool = False,
    text_starts: Tensor | None = None,  # (R, N)
    shared: int = 0,
    sinks: int = 0,
) -> Callable[..., Tensor]:
    """`is_visible` as FlexAttention asks for it: by the numbers of row, head, query and key."""

    def visible(row: Tensor, _head: Tensor | None, query: Tensor, key: Tensor) -> Tensor:
        block = query // block_size
        return is_visible(
            block,
            anchors[row, block],
            query % block_size,
            key,
            context_slots=context_slots,
            block_size=block_size,
            sliding_window=sliding_window,
            anchored_window=anchored_window,
            causal=causal,
            text_start=0 if text_starts is None else text_starts[row, block],
            shared=shared,
            sinks=sinks,
        )

    return visible
