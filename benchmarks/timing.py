"""Timing of two or more sides in one process, in turns, so that a change of clock or load meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Side = Callable[[int], list[float]]  # runs so many cycles and returns the seconds of each, in order


@dataclass(frozen=True)
class Timing:
    """Seconds per cycle.

    Args:
        median: Median over all timed cycles.
        mean: Their mean.
        least: Shortest one.
        cycles: How many were timed.
    """

    median: float
    mean: float
    least: float
    cycles: int


def alternate(sides: Mapping[str, Side], *, cycles: int, rounds: int = 3, warmup: int = 3) -> dict[str, Timing]:
    """Timing of every side: some untimed cycles each, then `rounds` turns that share at least `cycles` cycles.

    Raises:
        ValueError: If fewer than one cycle or round is asked for.
    """
    if cycles < 1 or rounds < 1:
        raise ValueError(f"cycles and rounds must be >= 1, got {cycles} and {rounds}")
    for side in sides.values():
        side(warmup)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            seconds[name] += side(-(-cycles // rounds))
    return {
        name: Timing(statistics.median(each), statistics.fmean(each), min(each), len(each))
        for name, each in seconds.items()
    }


def repeated(step: Callable[[], object], device: torch.device) -> Side:
    """The side that calls `step` once a cycle and waits for the device before and after."""

    def side(cycles: int) -> list[float]:
        seconds = []
        for _ in range(cycles):
            synchronise(device)
            begun = time.perf_counter()
            step()
            synchronise(device)
            seconds.append(time.perf_counter() - begun)
        return seconds

    return side


def synchronise(device: torch.device) -> None:
    """Wait until the device has done everything asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def copy_bandwidth(device: torch.device, *, size: int | None = None) -> float:
    """Bytes per second of a device copy, read and written bytes both counted."""
    size = size or ((2 << 30) if device.type == "cuda" else (256 << 20))
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timing = alternate({"copy": repeated(lambda: target.copy_(source), device)}, cycles=12)["copy"]
    return 2 * size / timing.median
