"""What proposes: the draft with the keys and values of every row's context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dftt.models.acceleration import kernels_run
from dftt.models.blocks import block_input_ids, block_positions
from dftt.models.cache import Placement, RowCache
from dftt.models.draft import DFlashDraft
from dftt.models.target import Target

Draw = Callable[[Tensor, Tensor], Tensor]  # logits (R, Q, V), positions (R, Q) -> tokens (R, Q)


class Drafter:
    """What proposes; a subclass overrides `propose`, and what it needs besides. Tests script one."""

    by_kernels = False  # whether it works by kernels alone, so that a cycle may be captured
    tap_ids: tuple[int, ...] = ()  # hidden states of the target that it reads as features

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Take the features known at the start, one (T, L*D) tensor per row (T may be 0), for `capacity` positions."""

    def follow(self, tokens: Tensor) -> None:
        """Take the storage of the rows' tokens (R, S), which the engine goes on writing to."""

    def propose(self, anchor_ids: Tensor, placement: Placement, draw: Draw) -> Tensor:
        """Proposed tokens (R, Q-1) after each row's anchor (R,), drawn by `draw`, for a block placed at (R, Q)."""
        raise NotImplementedError

    def extend(self, features: Tensor, placement: Placement) -> None:
        """Take the features (R, Q, L*D) that the target has just computed."""

    def copy_rows(self, rows: Sequence[int], other: Any) -> None:
        """Take over all rows of a drafter of the same kind into these, in storage that stays where it is."""


class DFlashDrafter(Drafter):
    """Proposes blocks with the DFlash draft, and reads its slot-1 logits for guidance.

    Args:
        draft: The draft.
        target: The target.
        window: Every slot sees what is less than so many positions before it; 0 hides nothing.
        sinks: First positions of the context that a window does not hide.
    """

    by_kernels = True

    def __init__(self, draft: DFlashDraft, target: Target, *, window: int = 0, sinks: int = 0) -> None:
        self.draft, self.target, self.window, self.sinks = draft, target, window, sinks
        self.tap_ids = draft.config.tap_ids
        self._cache = RowCache(0, rows=0, capacity=0)

    def beside(self, draft: DFlashDraft) -> DFlashDrafter:
        """A drafter of another draft, which sees as much of its context as this one."""
        return DFlashDrafter(draft, self.target, window=self.window, sinks=self.sinks)

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Read the known features into a fresh cache, with scratch room for the blocks behind the context."""
        config = self.draft.config
        scratch = config.block_size * config.block_size
        self._cache = RowCache(config.num_layers, rows=len(features), capacity=capacity + scratch)
        for row, known in enumerate(features):
            if len(known):
                on_device = known.to(self.target.device)[None]  # features may be kept in host memory
                pairs = self.draft.read_context(on_device, torch.arange(len(known), device=on_device.device)[None])
                self._cache.fill_row(row, [key[0] for key, _ in pairs], [value[0] for _, value in pairs])

    def extend(self, features: Tensor, placement: Placement) -> None:
        """Write the new positions' keys and values; those of rejected tokens are overwritten by the next call."""
        self._cache.placement = placement
        for layer, (key, value) in enumerate(self.draft.read_context(features, placement.positions)):
            self._cache.update(key, value, layer)

    def copy_rows(self, rows: Sequence[int], other: DFlashDrafter) -> None:
        """Take over the keys and values of another drafter's rows."""
        self._cache.copy_rows(rows, other._cache)

    def propose(self, anchor_ids: Tensor, placement: Placement, draw: Draw) -> Tensor:
        """Tokens of slots 1 … Q-1 of one block per row."""
        positions = placement.positions
        block_size = positions.shape[1]
        used, all_visible = placement.used - block_size, placement.start is not None
        hidden = self._run(anchor_ids[:, None], positions[:, :1], block_size, used, all_visible=all_visible)
        return draw(self.target.head(hidden[:, 0, 1:]), positions[:, 1:])

    def first_slot_logits(
        self, anchor_ids: Tensor, placement: Placement, *, inclusive: bool = False
    ) -> Tensor:  # (R, N) -> (R, N, V)
        """Logits of slot 1 of a full block anchored at each given position: the draft's word on the token after it.

        The anchors' features have been read (`extend`). Where `inclusive`, blocks see the context up to their anchor
        and not only before it; the band of sliding-attention layers moves along.
        """
        block_size = self.draft.config.block_size
        # The cache already holds the anchors' own features, for the next cycle: the mask hides them from their blocks.
        ends = placement.positions + int(inclusive)
        hidden = self._run(anchor_ids, placement.positions, block_size, placement.used, context_ends=ends)
        return self.target.head(hidden[:, :, 1])

    def _run(
        self,
        anchor_ids: Tensor,
        anchors: Tensor,
        block_size: int,
        used: int,
        *,
        all_visible: bool = False,
        context_ends: Tensor | None = None,
    ) -> Tensor:
        """Hidden states (R, N, K, D) of blocks whose keys stand in the scratch room behind the used context.

        A block sees the context before its `context_ends`, by default before its anchor.
        """
        rows, num_anchors = anchors.shape
        slots = num_anchors * block_size
        scratch = torch.arange(used, used + slots, device=anchors.device).expand(rows, slots)
        self._cache.placement = Placement(scratch, used + slots, used)
        ids = block_input_ids(anchor_ids, block_size, self.draft.config.mask_token_id)
        sinks = {"sinks": self.sinks} if self.window and self.sinks else {}
        masks = self.draft.block_masks(
            anchors if context_ends is None else context_ends,
            context_slots=used,
            block_size=block_size,
            # Spans have no room for a third stretch of keys.
            layout="spans" if not sinks and kernels_run(anchors.device, self.draft.config.head_dim) else "dense",
            all_visible=all_visible,
            window=self.window,
            **sinks,
        )
        hidden = self.draft(self.target.embed(ids), block_positions(anchors, block_size), self._cache, masks)
        return hidden.unflatten(1, (num_anchors, block_size))
