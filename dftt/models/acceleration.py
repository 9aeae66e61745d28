"""What makes passes faster on a card where it runs there: Triton kernels, compiled functions and CUDA graphs.

Each has a plain counterpart that gives the same, and gives way to it where the environment says 0: DFTT_KERNELS (our
kernels of attention), DFTT_FLEX (FlexAttention), DFTT_COMPILE (the fused loss), DFTT_GRAPHS (CUDA graphs). DFTT_CACHE
names the folder where unpacked models are kept. No other file reads these variables.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Switch = Literal["DFTT_KERNELS", "DFTT_FLEX", "DFTT_COMPILE", "DFTT_GRAPHS"]


def cache_folder() -> Path:
    """Where unpacked models are kept: DFTT_CACHE, else dftt in XDG_CACHE_HOME, else in ~/.cache."""
    return Path(os.environ.get("DFTT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dftt")


def is_wanted(switch: Switch, device: torch.device) -> bool:
    """Whether the device is a card and the environment does not turn this off."""
    return device.type == "cuda" and os.environ.get(switch) != "0"


def runs(trial: Callable[[], Any], otherwise: str) -> bool:
    """Whether a trial goes through; else `otherwise` is logged, with the reason in place of its %s."""
    try:
        trial()
    except Exception as error:  # compilers raise anything
        logger.warning(otherwise, str(error).partition("\n")[0])
        return False
    return True


@lru_cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled once for all shapes."""
    return torch.compile(function, dynamic=True)


def kernels_run(device: torch.device, head_dim: int) -> bool:
    """Whether the kernels of `span_attention` compile and run: on CUDA, for head widths that are powers of two."""
    fits = head_dim >= 16 and head_dim & (head_dim - 1) == 0
    return fits and is_wanted("DFTT_KERNELS", device) and _kernels_tried(head_dim)


def flex_compiles(device: torch.device, head_dim: int) -> bool:
    """Whether FlexAttention compiles and runs: on CUDA, for head widths that its kernels take."""
    return is_wanted("DFTT_FLEX", device) and _flex_tried(head_dim)


@lru_cache
def _kernels_tried(head_dim: int) -> bool:
    def trial() -> None:
        from dftt.models.span_attention import span_attention, write_rows
        from dftt.models.spans import causal_spans

        states = torch.ones(1, 1, 2, head_dim, device="cuda", dtype=torch.bfloat16)
        positions = torch.arange(2, device="cuda")[None]
        keys, values = torch.zeros_like(states), torch.zeros_like(states)
        write_rows(keys, values, states, states, positions)
        if not torch.allclose(span_attention(states, keys, values, causal_spans(positions), scale=1.0), states):
            raise RuntimeError("wrong result on a trial input")

    return runs(trial, "Triton kernels are not available (%s); using explicit masks")


@lru_cache
def _flex_tried(head_dim: int) -> bool:
    def trial() -> None:
        from torch.nn.attention.flex_attention import flex_attention

        from dftt.models.blocks import flex_block_mask

        mask = flex_block_mask(torch.tensor([[4]], device="cuda"), block_size=4, context_slots=8)
        queries = torch.ones(1, 2, 4, head_dim, device="cuda", dtype=torch.bfloat16)
        keys = torch.ones(1, 1, 12, head_dim, device="cuda", dtype=torch.bfloat16)
        compiled(flex_attention)(queries, keys, keys, block_mask=mask, enable_gqa=True)

    return runs(trial, "FlexAttention is not available (%s); using explicit masks")


@contextmanager
def capturing(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """`torch.cuda.graph` with the garbage collector held back.

    Were the collector to free another graph in the middle, the card would refuse, and the capture be lost.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        with torch.cuda.graph(graph):
            yield
    finally:
        if collects:
            gc.enable()


def as_graph(compute: Callable[[], Result], device: torch.device) -> Callable[[], Result]:
    """The computation, captured; each call overwrites what the capture returned."""
    with torch.cuda.device(device):  # a capture is of the current card
        # Kernels are compiled and libraries set up in a plain run, beside the current stream: gradients that the
        # current one had begun to accumulate would tie the capture to it.
        beside = torch.cuda.Stream(device)
        beside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(beside):
            compute()
        torch.cuda.current_stream(device).wait_stream(beside)
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        with capturing(graph):
            outcome = compute()

    def replay() -> Result:
        with torch.cuda.device(device):
            graph.replay()
        return outcome

    return replay
