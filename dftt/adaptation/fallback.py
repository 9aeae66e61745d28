"""Cheaper ways to adapt, for a card that has run out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from dftt.types import TTTSpec

FEWEST_ANCHORS = 8


def rungs(spec: TTTSpec, *, any_modules: bool) -> Iterator[tuple[TTTSpec, str]]:
    """The spec, then ever cheaper ones, each with what was given up: checkpointing, fewer anchors, LoRA on fc only.

    The last is left out without `any_modules`: an adapter that starts from another one keeps its shape.
    """
    yield spec, ""
    if not spec.checkpointing:
        spec = replace(spec, checkpointing=True)
        yield spec, "gradient checkpointing"
    while spec.anchors > FEWEST_ANCHORS:
        spec = replace(spec, anchors=max(FEWEST_ANCHORS, spec.anchors // 2))
        yield spec, f"{spec.anchors} anchors"
    if any_modules and "fc" in spec.modules and len(spec.modules) > 1:
        yield replace(spec, modules=("fc",)), "LoRA on fc only"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the card, or the CPU's allocator, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
