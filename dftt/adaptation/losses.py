"""The block loss: one function for `fit`, for test-time training and for validation.

Slots 1 … K-1 of a block are asked for the tokens that follow its anchor; slot k weighs exp(-(k-1)/gamma) (DFlash,
section 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dftt.adaptation.slot_loss import slot_loss
from dftt.models.acceleration import flex_compiles
from dftt.models.blocks import block_input_ids, block_positions
from dftt.models.draft import DFlashDraft, GradContext
from dftt.models.target import Target
from dftt.types import LossName

CHUNK = 2048  # slots whose full-vocabulary logits exist at once


@dataclass(frozen=True)
class BlockBatch:
    """Blocks to learn from, with all that the loss needs of the target; what is the target's is detached.

    Blocks open in the context, or, where there are any, in texts that go on from it.
    """

    features: Tensor  # (R, T, L*D), tapped hidden states of the context
    anchors: Tensor  # (R, N), positions
    anchor_ids: Tensor  # (R, N), tokens
    labels: Tensor  # (R, N, K-1), the text's own next tokens
    weights: Tensor  # (R, N, K-1), 0 where a label lies outside what may be learnt
    teacher: Tensor  # (R, N, K-1, D), final hidden state before each label; the target's head gives the distribution
    texts: Tensor  # (R, S, L*D), features of the texts, one behind the other
    text_positions: Tensor  # (R, S), position of each of their tokens
    text_starts: Tensor  # (R, N), where in context and texts the text of each block begins


@dataclass(frozen=True)
class BlockLoss:
    """The loss of a batch and what it says about acceptance."""

    loss: Tensor  # weighted mean over labels, a scalar that gradients flow from
    correct: Tensor  # (R, N, K-1), whether a slot's most likely token is the target's
    counted: Tensor  # (R, N, K-1), which slots have a label

    @property
    def estimated_tau(self) -> Tensor:
        """Mean over blocks of 1 + the length of the correct prefix: acceptance length if every block were decoded."""
        return 1 + (self.correct & self.counted).long().cumprod(-1).sum(-1).float().mean()

    @property
    def slot_accuracy(self) -> Tensor:
        """Share of correct tokens per slot, (K-1,)."""
        counted = self.counted.flatten(0, 1).sum(0).clamp_min(1)
        return (self.correct & self.counted).flatten(0, 1).sum(0) / counted


def slot_weights(block_size: int) -> Tensor:  # (K-1,)
    """exp(-(k-1)/gamma) for slots 1 … K-1; gamma is 7, 5, 4 for blocks of 16, 10, 8 and half the block otherwise."""
    gamma = min(block_size / 2, 7.0)
    return torch.tensor([math.exp(-slot / gamma) for slot in range(block_size - 1)])


def make_block_batch(
    *,
    input_ids: Tensor,  # (R, T)
    supervised: Tensor,  # (R, T), bool: tokens that may be asked for
    anchors: Tensor,  # (R, N)
    features: Tensor,  # (R, T, L*D)
    hidden: Tensor,  # (R, T, D)
    block_size: int,
) -> BlockBatch:
    """Labels, weights and teacher states of blocks opened at `anchors`; slots past the end of the text weigh 0."""
    length = input_ids.shape[1]
    slots = torch.arange(1, block_size, device=input_ids.device)
    label_positions = anchors[:, :, None] + slots  # (R, N, K-1)
    inside = label_positions < length
    gathered = label_positions.clamp_max(length - 1)
    rows = torch.arange(input_ids.shape[0], device=input_ids.device)[:, None, None]
    weights = slot_weights(block_size).to(input_ids.device) * (inside & supervised[rows, gathered])
    return BlockBatch(
        features=features.detach(),
        anchors=anchors,
        anchor_ids=input_ids.gather(1, anchors),
        labels=input_ids[rows, gathered],
        weights=weights,
        teacher=hidden.detach()[rows, gathered - 1],
        texts=features[:, :0].detach(),
        text_positions=anchors[:, :0],
        text_starts=torch.zeros_like(anchors),
    )


def block_loss(draft: DFlashDraft, target: Target, batch: BlockBatch, *, loss: LossName) -> BlockLoss:
    """Loss of the draft on a batch of blocks, all blocks in one pass under the block mask."""
    parts = ("features", "anchors", "anchor_ids", "texts", "text_positions", "text_starts")
    hidden = run_blocks(draft, target, **{name: getattr(batch, name) for name in parts})
    wanted, teacher = hidden[:, :, 1:].flatten(0, 2), batch.teacher.flatten(0, 2)
    labels, weights = batch.labels.flatten(), batch.weights.flatten()
    total, correct = _ChunkedLoss.apply(wanted, labels, weights, teacher, target.head, loss)
    mean = total / batch.weights.sum().clamp_min(torch.finfo(torch.float32).tiny)
    return BlockLoss(mean, correct.view(batch.labels.shape), batch.weights > 0)


def run_blocks(
    draft: DFlashDraft,
    target: Target,
    *,
    features: Tensor,  # (R, T, L*D)
    anchors: Tensor,  # (R, N)
    anchor_ids: Tensor,  # (R, N)
    texts: Tensor | None = None,  # (R, S, L*D)
    text_positions: Tensor | None = None,  # (R, S)
    text_starts: Tensor | None = None,  # (R, N)
) -> Tensor:  # (R, N, K, D)
    """Final hidden states of all slots of many blocks in the training layout: one pass over context and blocks.

    Blocks open in the context, or in texts that go on from it (see BlockBatch).
    """
    config = draft.config
    length = features.shape[1]
    keys_values = draft.read_context(features, torch.arange(length, device=features.device)[None])
    behind: dict[str, Any] = {}
    if texts is not None and text_positions is not None and texts.shape[1]:
        behind = {"text_starts": text_starts, "shared": length}
        # Read apart: of the context, which stays the same, most is computed once for all steps (`reused`).
        keys_values = [
            (torch.cat([key, text_key], dim=2), torch.cat([value, text_value], dim=2))
            for (key, value), (text_key, text_value) in zip(
                keys_values, draft.read_context(texts, text_positions), strict=True
            )
        ]
    ids = block_input_ids(anchor_ids, config.block_size, config.mask_token_id)
    layout = "flex" if flex_compiles(features.device, config.head_dim) else "dense"
    masks = draft.block_masks(anchors, context_slots=keys_values[0][0].shape[2], layout=layout, **behind)
    positions = block_positions(anchors, config.block_size)
    hidden = draft(target.embed(ids), positions, GradContext(keys_values), masks)
    return hidden.unflatten(1, (anchors.shape[1], config.block_size))


class _ChunkedLoss(torch.autograd.Function):
    """Sum of weighted losses over slots, with at most CHUNK full-vocabulary rows alive.

    Gradients are taken chunk by chunk in the forward pass, so that the head runs once and no logits are kept.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        hidden: Tensor,  # (M, D)
        labels: Tensor,  # (M,)
        weights: Tensor,  # (M,)
        teacher: Tensor,  # (M, D)
        head: Callable[[Tensor], Tensor],
        loss: LossName,
    ) -> tuple[Tensor, Tensor]:
        wants_grad = ctx.needs_input_grad[0]
        gradients, correct = [], []
        per_slot = slot_loss(hidden.device)
        total = weights.new_zeros(())
        for rows in torch.arange(hidden.shape[0], device="cpu").split(CHUNK):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            with torch.set_grad_enabled(wants_grad):
                leaf = hidden[part].detach().requires_grad_(wants_grad)
                logits = head(leaf)
            teacher_logits = head(teacher[part])
            value, matches, gradient = per_slot(logits.detach(), teacher_logits, labels[part], weights[part], loss)
            if wants_grad:
                gradients.append(torch.autograd.grad(logits, leaf, gradient)[0])
            total = total + value.sum()
            correct.append(matches)
        ctx.save_for_backward(*([torch.cat(gradients)] if wants_grad else []))
        all_matches = torch.cat(correct)
        ctx.mark_non_differentiable(all_matches)
        return total, all_matches

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0].to(gradient.dtype), None, None, None, None, None
