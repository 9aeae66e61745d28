"""A decoding cycle as one CUDA graph: a launch per cycle instead of one per kernel.

At one row a cycle is thousands of kernels of a few microseconds each, so a host that launches them one by one is what
the card waits for. The graph is captured once per engine and block size; what changes from cycle to cycle (where each
row stands) lies in device memory that the graph reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dftt.models.acceleration import capturing, is_wanted

Cycle = Callable[[Tensor], Tensor]  # first position of each row (R,) -> what the host needs to know
Run = Callable[[Sequence[int]], Tensor]

MAX_ROWS = 64  # beyond that the kernels are long enough to hide their launches


class CapturedCycle:
    """Replays a cycle that was captured on first use.

    The cycle must be a function of the starts and of tensors that stay where they are, must not wait for the device,
    and must do no harm when run twice from the same starts.
    """

    def __init__(self, cycle: Cycle, rows: int, device: torch.device) -> None:
        self._starts = torch.zeros(rows, dtype=torch.long, device=device)
        self._cycle = cycle
        self._graph: torch.cuda.CUDAGraph | None = None
        self._outcome = torch.empty(0)

    def __call__(self, starts: Sequence[int]) -> Tensor:
        """Outcome of the cycle from these starts."""
        self._starts.copy_(torch.tensor(starts))
        with torch.cuda.device_of(self._starts):  # a capture is of the current card
            if self._graph is None:
                # Kernels are compiled and libraries set up in a plain run; none of that may happen during capture.
                self._cycle(self._starts)
                torch.cuda.synchronize(self._starts.device)
                self._graph = torch.cuda.CUDAGraph()
                with capturing(self._graph):
                    self._outcome = self._cycle(self._starts)
            self._graph.replay()
        return self._outcome


def plain_cycle(cycle: Cycle, rows: int, device: torch.device) -> Run:  # noqa: ARG001 - the signature of CapturedCycle
    """The same cycle without a graph: what CapturedCycle is checked against."""
    return lambda starts: cycle(torch.tensor(starts, device=device))


def capture_for(device: torch.device, rows: int) -> type[CapturedCycle] | None:
    """CapturedCycle where graphs pay: on CUDA, for up to MAX_ROWS rows; DFTT_GRAPHS=0 in the environment forbids it."""
    return CapturedCycle if rows <= MAX_ROWS and is_wanted("DFTT_GRAPHS", device) else None
