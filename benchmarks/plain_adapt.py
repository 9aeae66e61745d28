"""The plain side of adaptation: test-time training as an eager autograd loop that computes everything at every step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dftt.adaptation.lessons import Lessons
from dftt.adaptation.losses import BlockBatch
from dftt.adaptation.steps import make_optimizer
from dftt.models import lora
from dftt.models.blocks import block_input_ids, block_positions
from dftt.models.draft import GradContext
from dftt.models.pair import Pair
from dftt.types import TTTSpec


class PlainAdaptation:
    """Steps of LoRA on the draft, one a call of `step`; `close` takes the adapter off.

    Args:
        pair: Target and draft.
        lessons: The batch of each step.
        spec: How to adapt; its loss is kl.
    """

    def __init__(self, pair: Pair, lessons: Lessons, spec: TTTSpec) -> None:
        self.pair, self.lessons, self.spec = pair, lessons, spec
        self.parameters = lora.attach_(
            pair.draft, rank=spec.rank, lora_alpha=spec.lora_alpha, modules=spec.modules, seed=spec.seed
        )
        self.optimizer, self.schedule = make_optimizer(self.parameters, spec)
        self.done = 0

    def step(self) -> float:
        """One optimiser step; returns the loss before it."""
        loss = plain_loss(self.pair, self.lessons.batch(self.done))
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.spec.max_grad_norm)
        self.optimizer.step()
        self.schedule.step()
        self.done += 1
        return loss.item()

    def close(self) -> None:
        """Take the adapter off the draft."""
        lora.detach_(self.pair.draft)


def plain_loss(pair: Pair, batch: BlockBatch) -> Tensor:
    """KL(target || draft) with the logits of all slots at once, under an explicit mask."""
    draft, head = pair.draft, pair.target.head
    size, length, behind = draft.config.block_size, batch.features.shape[1], batch.texts.shape[1]
    features = torch.cat([batch.features, batch.texts], dim=1)
    positions = torch.cat([torch.arange(length, device=features.device)[None], batch.text_positions], dim=1)
    context = GradContext(draft.read_context(features, positions))
    ids = block_input_ids(batch.anchor_ids, size, draft.config.mask_token_id)
    texts = {"text_starts": batch.text_starts, "shared": length} if behind else {}
    masks = draft.block_masks(batch.anchors, context_slots=length + behind, **texts)
    hidden = draft(pair.target.embed(ids), block_positions(batch.anchors, size), context, masks)
    slots = hidden.unflatten(1, (batch.anchors.shape[1], size))[:, :, 1:]
    with torch.no_grad():
        teacher = F.log_softmax(head(batch.teacher).float(), dim=-1)
    learner = F.log_softmax(head(slots).float(), dim=-1)
    divergence = F.kl_div(learner, teacher, reduction="none", log_target=True).sum(-1)
    return (divergence * batch.weights).sum() / batch.weights.sum()
