"""Peak memory of a piece of work."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable

import torch


def peak_during(work: Callable[[], object], device: torch.device) -> tuple[int, int] | None:
    """Bytes before some work and the peak during it; None where it does not fit the card.

    On a card: what torch has allocated. On a CPU: the resident set, whose peak belongs to the whole process so far.
    """
    gc.collect()
    if device.type != "cuda":
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        work()
        return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    try:
        work()
    except torch.OutOfMemoryError:
        return None
    torch.cuda.synchronize(device)
    return before, torch.cuda.max_memory_allocated(device)
