"""Loss and gradient of slots in closed form, from logits: cross-entropy to the text, KL(target || draft), half of each.

With q = softmax(draft logits) and p = softmax(target logits), the gradient for the draft's logits is q - onehot(label)
for the cross-entropy and q - p for the divergence (Hinton et al. 2015, section 2). Written out, one fused kernel can
read the logits and write the gradient; by autograd, some twenty passes over them would be needed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from dftt.models.acceleration import compiled, is_wanted, runs
from dftt.types import LossName

SlotLoss = Callable[[Tensor, Tensor, Tensor, Tensor, LossName], tuple[Tensor, Tensor, Tensor]]


def _between(log_draft: Tensor, teacher_logits: Tensor, labels: Tensor, *, ce: float) -> tuple[Tensor, Tensor]:
    """So much of the cross-entropy to the labels, and the rest of the divergence from the target."""
    value, gradient = torch.zeros_like(log_draft[:, 0]), log_draft.exp()
    if ce < 1:
        log_target = F.log_softmax(teacher_logits.to(log_draft.dtype), dim=-1)
        target = log_target.exp()
        value = value + (1 - ce) * (target * (log_target - log_draft)).sum(-1)
        gradient = gradient - (1 - ce) * target
    if ce > 0:
        value = value - ce * log_draft.gather(1, labels[:, None])[:, 0]
        onehot = torch.arange(log_draft.shape[1], device=log_draft.device) == labels[:, None]
        gradient = gradient - ce * onehot
    return value, gradient


# Log-probabilities of the draft (M, V), logits of the target (M, V), labels (M,) -> loss (M,), and its gradient for the
# draft's logits (M, V).
LOSSES: dict[LossName, Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "ce": partial(_between, ce=1.0),
    "kl": partial(_between, ce=0.0),
    "mixed": partial(_between, ce=0.5),
}


def slot_loss(device: torch.device) -> SlotLoss:
    """`plain_slot_loss`, fused by the compiler on CUDA; DFTT_COMPILE=0 in the environment turns that off."""
    return compiled(plain_slot_loss) if is_wanted("DFTT_COMPILE", device) and _compiles() else plain_slot_loss


def plain_slot_loss(
    logits: Tensor,  # (M, V)
    teacher_logits: Tensor,  # (M, V)
    labels: Tensor,  # (M,)
    weights: Tensor,  # (M,)
    loss: LossName,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted loss (M,), whether both prefer the same token (M,), and the gradient for `logits` (M, V)."""
    log_draft = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)
    value, gradient = LOSSES[loss](log_draft, teacher_logits, labels)
    correct = logits.argmax(-1) == teacher_logits.argmax(-1)
    return value * weights, correct, (gradient * weights[:, None]).to(logits.dtype)


@lru_cache(maxsize=1)
def _compiles() -> bool:
    def trial() -> None:
        logits = torch.ones(3, 17, device="cuda", dtype=torch.bfloat16)
        labels, weights = torch.zeros(3, dtype=torch.long, device="cuda"), torch.ones(3, device="cuda")
        compiled(plain_slot_loss)(logits, logits, labels, weights, "mixed")

    return runs(trial, "the loss does not compile here (%s); running it plainly")
