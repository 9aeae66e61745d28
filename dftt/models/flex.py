"""Whether FlexAttention can be used here, tried once per device kind and head width."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

import torch

logger = logging.getLogger(__name__)


def flex_compiles(device: torch.device, head_dim: int) -> bool:
    """True where FlexAttention compiles and runs: on CUDA, for head widths its kernels take; else masks are explicit.

    DFTT_FLEX=0 in the environment turns it off.
    """
    return os.environ.get("DFTT_FLEX") != "0" and device.type == "cuda" and _tried(head_dim)


@lru_cache
def _tried(head_dim: int) -> bool:
    from dftt.models.blocks import flex_block_mask
    from dftt.models.draft import flex_attention

    try:
        mask = flex_block_mask(torch.tensor([[4]], device="cuda"), block_size=4, context_slots=8)
        queries = torch.ones(1, 2, 4, head_dim, device="cuda", dtype=torch.bfloat16)
        keys = torch.ones(1, 1, 12, head_dim, device="cuda", dtype=torch.bfloat16)
        flex_attention()(queries, keys, keys, block_mask=mask, enable_gqa=True)
    except Exception as error:  # compilers raise anything; the explicit mask gives the same result
        logger.warning("FlexAttention is not available (%s); using explicit masks", str(error).splitlines()[0])
        return False
    return True
