"""Which positions of a context open no block in training, so that validation can ask there."""

from __future__ import annotations

import torch
from torch import Tensor


def is_held_out(context_length: int, one_in: int) -> Tensor:  # (T,), bool
    """One place of each `one_in` consecutive ones that can be anchors, never two neighbours; none where one_in is 0.

    They depend on nothing but the length: whatever seed, window or number of anchors an adapter was made with, it has
    opened no block at any of them. Their tokens are still labels of the blocks before them.
    """
    held_out = torch.zeros(context_length, dtype=torch.bool)
    groups = max(0, context_length - 2) // one_in if one_in else 0
    places = torch.randint(one_in - 1, (groups,), generator=torch.Generator().manual_seed(0)) if groups else 0
    held_out[1 + one_in * torch.arange(groups) + places] = True
    return held_out
