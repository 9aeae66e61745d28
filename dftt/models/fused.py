"""Root-mean-square norms of a target in one kernel each.

transformers writes them out in eight small operations, which at one row cost more in launches than in arithmetic. Every
norm is tried against PyTorch's fused one first, so that a norm with another rule (a weight counted from one, say) stays
as it is. The fused norm multiplies by the weight before it rounds, so results differ in the last bit of bfloat16.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def fuse_norms_(model: nn.Module, *, everywhere: bool = False) -> int:
    """Make every norm of a model that is a plain RMS norm a fused one, in place; returns how many.

    Names, parameters and state dict stay what they are. `everywhere` fuses on the CPU too, where it is no faster.
    """
    fused = 0
    for module in model.modules():
        eps, weight = _eps_of(module), getattr(module, "weight", None)
        if isinstance(module, FusedNorm) or eps is None or not isinstance(weight, Tensor) or weight.dim() != 1:
            continue
        if _is_rms_norm(module, weight, eps):
            module.__class__ = _fused_class(type(module))
            cast(FusedNorm, module).everywhere = everywhere
            fused += 1
    return fused


def unfuse_norms_(model: nn.Module) -> None:
    """Make every fused norm of a model what it was."""
    for module in model.modules():
        if isinstance(module, FusedNorm):
            cast(Any, module).__class__ = type(module).__bases__[1]


class FusedNorm(nn.Module):
    """Put before a norm's own class, which keeps the CPU."""

    everywhere: bool

    def forward(self, hidden: Tensor) -> Tensor:
        """The norm of `hidden` over its last dimension, times the weight."""
        if not (hidden.is_cuda or self.everywhere):
            return super().forward(hidden)
        weight = cast(Tensor, self.weight)
        return F.rms_norm(hidden, weight.shape, weight, _eps_of(self))


def _is_rms_norm(module: nn.Module, weight: Tensor, eps: float) -> bool:
    probe = torch.linspace(-3, 5, 4 * weight.numel(), device=weight.device).view(4, -1).to(weight.dtype)
    # transformers computes in float32 whatever the weights are in.
    tolerance = 4 * max(torch.finfo(weight.dtype).eps, torch.finfo(torch.float32).eps)
    try:
        own = module(probe)
    except Exception:  # a norm that takes a gate as well, or images: it may raise anything
        return False
    return torch.allclose(own, F.rms_norm(probe, weight.shape, weight, eps), rtol=tolerance, atol=tolerance)


def _eps_of(module: nn.Module) -> float | None:
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return eps if isinstance(eps, float) else None


@lru_cache
def _fused_class(norm: type[nn.Module]) -> type[nn.Module]:
    return type(f"Fused{norm.__name__}", (FusedNorm, norm), {})
