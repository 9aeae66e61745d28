"""How the draft steers the target."""

from __future__ import annotations

import torch
from torch import Tensor


def interpolate(target: Tensor, draft: Tensor, alpha: float) -> Tensor:
    """target + alpha * (draft - target) on finite logits, alpha of any sign: bitwise target at 0, draft at 1."""
    return torch.lerp(target, draft.to(target.dtype), alpha)
