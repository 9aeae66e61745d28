"""What is measured on distributions that are given as logits; all over the last dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:  # (..., V) -> (...)
    """Shannon entropy in nats; tokens at -inf count nothing."""
    return torch.special.entr(logits.softmax(-1)).sum(-1)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:  # (..., V), (..., V) -> (...)
    """Jensen-Shannon divergence of two distributions in bits, hence between 0 (equal) and 1 (disjoint)."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    middle = torch.logaddexp(p, q) - math.log(2)
    nats = (p.exp() * (p - middle)).sum(-1) + (q.exp() * (q - middle)).sum(-1)
    return (nats / (2 * math.log(2))).clamp(0, 1)
