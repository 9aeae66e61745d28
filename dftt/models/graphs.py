"""CUDA graphs, captured while nothing else can touch the card."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")


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
    # Kernels are compiled and libraries set up in a plain run, beside the current stream: gradients that the current
    # one had begun to accumulate would tie the capture to it.
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
        graph.replay()
        return outcome

    return replay
