"""Whether the Triton kernels of decoding can be used here, tried once."""

from __future__ import annotations

import logging
import os
from functools import lru_cache

import torch

logger = logging.getLogger(__name__)


def kernels_run(device: torch.device, head_dim: int) -> bool:
    """True where the kernels of `span_attention` compile and run: on CUDA, for head widths that are powers of two.

    DFTT_KERNELS=0 in the environment turns them off; masks are then explicit and attention is PyTorch's.
    """
    wanted = device.type == "cuda" and os.environ.get("DFTT_KERNELS") != "0"
    return wanted and head_dim >= 16 and head_dim & (head_dim - 1) == 0 and _tried(head_dim)


@lru_cache
def _tried(head_dim: int) -> bool:
    from dftt.models.spans import causal_spans

    try:
        from dftt.models.span_attention import span_attention, write_rows

        states = torch.ones(1, 1, 2, head_dim, device="cuda", dtype=torch.bfloat16)
        positions = torch.arange(2, device="cuda")[None]
        keys, values = torch.zeros_like(states), torch.zeros_like(states)
        write_rows(keys, values, states, states, positions)
        out = span_attention(states, keys, values, causal_spans(positions), scale=1.0)
        if not torch.allclose(out, states):
            raise RuntimeError("wrong result on a trial input")
    except Exception as error:  # compilers raise anything; explicit masks give the same result
        logger.warning("Triton kernels are not available (%s); using explicit masks", error)
        return False
    return True
