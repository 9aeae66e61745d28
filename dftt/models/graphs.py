"""CUDA graphs, captured while nothing else can touch the card."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
