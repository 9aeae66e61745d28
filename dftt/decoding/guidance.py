"""How the draft steers the target."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(target: Tensor, draft: Tensor, alpha: float) -> Tensor:
    """target + alpha * (draft - target) on finite logits: bitwise the target at 0 and the draft at 1; alpha of either sign."""
    return torch.lerp(target, draft.to(target.dtype), alpha)
