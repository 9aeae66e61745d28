"""Gradients of one step of test-time training: plainly, or replayed as one CUDA graph.

A step is over a thousand kernels, most of them of a few microseconds: up to contexts of about 8k tokens, launching them
takes a host longer than a card needs to run them. All steps of an adaptation have the same shapes and read the same
features, so the first one can be captured and the others replayed on blocks that are copied to where it read its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from dftt.adaptation.fallback import is_out_of_memory
from dftt.adaptation.losses import BlockBatch
from dftt.models.acceleration import as_graph, is_wanted

logger = logging.getLogger(__name__)

Outcome = tuple[Tensor, Tensor]  # loss, and norm of the gradients before clipping
Gradients = Callable[[BlockBatch], Outcome]
Replay = Callable[[], Outcome]
Capture = Callable[[Replay, torch.device], Replay]

FEWEST_STEPS = 10  # of an adaptation that a capture pays for: it takes about as long as three plain steps


def capture_for(device: torch.device, steps: int) -> Capture | None:
    """`as_graph` where it pays; DFTT_GRAPHS=0 in the environment forbids it."""
    return as_graph if steps >= FEWEST_STEPS and is_wanted("DFTT_GRAPHS", device) else None


class CapturedGradients:
    """Computes gradients on its own copy of each batch; the features, which no step changes, are read where they are.

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
            own = {field.name: getattr(batch, field.name).clone() for field in fields(batch)}
            self._batch = own_batch = replace(batch, **{**own, "features": batch.features})
            self._replay = self._captured(own_batch)
        if self._replay is None:
            return self._compute(batch)
        for field in fields(batch):
            if field.name != "features":
                getattr(self._batch, field.name).copy_(getattr(batch, field.name))
        return self._replay()

    def _captured(self, batch: BlockBatch) -> Replay | None:
        try:
            return self._capture(partial(self._compute, batch), batch.features.device)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            logger.warning(
                "a step of adaptation cannot be captured here (%s); running it plainly", str(error).split("\n")[0]
            )
            return None


def _alike(batch: BlockBatch, other: BlockBatch) -> bool:
    """Whether a batch has the shapes of another and reads the very same features."""
    same_place = batch.features.data_ptr() == other.features.data_ptr()
    return same_place and all(
        getattr(batch, field.name).shape == getattr(other, field.name).shape for field in fields(batch)
    )
