"""Gradients of one step of test-time training: plainly, or replayed as one CUDA graph.

A step is over a thousand kernels, most of them of a few microseconds: up to contexts of about 8k tokens, launching them
takes a host longer than a card needs to run them. All steps of an adaptation have the same shapes and read the same
features, so the first one can be captured and the others replayed on blocks that are copied to where it read its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from dftt.adaptation.fallback import is_out_of_memory
from dftt.adaptation.losses import BlockBatch
from dftt.models.graphs import as_graph

logger = logging.getLogger(__name__)

Outcome = tuple[Tensor, Tensor]  # loss, and norm of the gradients before clipping
Gradients = Callable[[BlockBatch], Outcome]
Replay = Callable[[], Outcome]
Capture = Callable[[Replay, torch.device], Replay]

FEWEST_STEPS = 10  # of an adaptation that a capture pays for: it takes about as long as three plain steps
_COPIED = tuple(field.name for field in fields(BlockBatch) if field.name != "features")  # which no step changes


def capture_for(device: torch.device, steps: int) -> Capture | None:
    """`as_graph` where it pays; DFTT_GRAPHS=0 in the environment forbids it."""
    wanted = device.type == "cuda" and steps >= FEWEST_STEPS and os.environ.get("DFTT_GRAPHS") != "0"
    return as_graph if wanted else None


class CapturedGradients:
    """Computes gradients on its own copy of each batch, so that what was captured for the first can be replayed.

    Where the capture fails, it says so once and computes plainly.

    Args:
        compute: Leaves the gradients of a batch in the parameters, new ones each time, without waiting for the device.
        capture: Makes a computation ready for replay.
    """

    def __init__(self, compute: Gradients, capture: Capture) -> None:
        self._compute, self._capture = compute, capture
        self._batch: BlockBatch | None = None
        self._replay: Replay | None = None

    def __call__(self, batch: BlockBatch) -> Outcome:
        """Loss and norm of the gradients of a batch."""
        if self._batch is None or not _alike(batch, self._batch):
            self._batch = replace(batch, **{name: getattr(batch, name).clone() for name in _COPIED})
            self._replay = self._captured(self._batch)
        if self._replay is None:
            return self._compute(batch)
        for name in _COPIED:
            getattr(self._batch, name).copy_(getattr(batch, name))
        return self._replay()

    def _captured(self, batch: BlockBatch) -> Replay | None:
        try:
            return self._capture(partial(self._compute, batch), batch.features.device)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).split("\n")[0]
            logger.warning("a step of adaptation cannot be captured here (%s); running it plainly", reason)
            return None


def _alike(batch: BlockBatch, other: BlockBatch) -> bool:
    """Whether a batch has the shapes of another and reads the very same features."""
    same_shapes = all(getattr(batch, name).shape == getattr(other, name).shape for name in ("features", *_COPIED))
    return same_shapes and batch.features.data_ptr() == other.features.data_ptr()
