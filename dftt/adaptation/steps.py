"""Optimiser steps: their gradients, plain or replayed as one CUDA graph, AdamW and its schedules, and how they end.

A step of test-time training is over a thousand kernels, most of them of a few microseconds: up to contexts of about 8k
tokens, launching them takes a host longer than a card needs to run them. All steps of an adaptation have the same
shapes and read the same features, so the first one can be captured and the others replayed on blocks that are copied
to where it read its own.
"""

from __future__ import annotations

import logging
import math
import resource
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dftt.adaptation.losses import BlockBatch, block_loss
from dftt.adaptation.watch import Watch
from dftt.models import lora
from dftt.models.acceleration import as_graph, is_wanted
from dftt.models.draft import DFlashDraft
from dftt.models.lora import Adaptation, Adapter
from dftt.models.target import Target
from dftt.types import TrainingSpec, TTTSpec

logger = logging.getLogger(__name__)

Outcome = tuple[Tensor, Tensor]  # loss, and norm of the gradients before clipping
Gradients = Callable[[BlockBatch], Outcome]
Replay = Callable[[], Outcome]
Capture = Callable[[Replay, torch.device], Replay]

FEWEST_STEPS = 10  # of an adaptation that a capture pays for: it takes about as long as three plain steps
# All of a batch but the features, which no step changes.
_COPIED = tuple(field.name for field in fields(BlockBatch) if field.name != "features")


def capture_for(device: torch.device, steps: int) -> Capture | None:
    """`as_graph` where it pays; DFTT_GRAPHS=0 in the environment forbids it."""
    return as_graph if steps >= FEWEST_STEPS and is_wanted("DFTT_GRAPHS", device) else None


class Steps:
    """Optimiser steps on the adapter that a draft carries, as long as its watch allows them.

    `capture` makes the gradients of a step ready for replay, where all steps have batches of one shape.
    """

    def __init__(
        self,
        draft: DFlashDraft,
        target: Target,
        parameters: list[nn.Parameter],
        spec: TTTSpec,
        *,
        capture: Capture | None = None,
    ) -> None:
        self.draft, self.target, self.spec = draft, target, spec
        compute = partial(_gradients, draft, target, parameters, spec)
        self._gradients = compute if capture is None else CapturedGradients(compute, capture)
        self.losses: list[float] = []  # before each step
        self.watch = Watch(parameters, spec.patience)
        self._optimizer, self._schedule = make_optimizer(parameters, spec)

    def take(self, batch: BlockBatch) -> bool:
        """One step; False where it could not be taken, and the weights are those before it."""
        loss, norm = self._gradients(batch)
        value = loss.item()
        if not self.watch.allows(value, norm.item()):
            return False
        self._optimizer.step()
        self._schedule.step()
        self.losses.append(value)
        return True

    def adaptation(self, seconds: float) -> Adaptation:
        """The adapter as it is now, and what the steps cost: so many seconds so far."""
        spec, device = self.spec, self.target.device
        adapter = Adapter(spec.rank, spec.lora_alpha, spec.modules, lora.read_weights(self.draft))
        if device.type == "cuda":
            peak = int(torch.cuda.max_memory_allocated(device))
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Adaptation(adapter, tuple(self.losses), seconds, peak, self.watch.stopped)

    def shorten(self, steps: int) -> None:
        """Take no more than so many steps in all; the schedule of the rate ends with the last of them."""
        self.spec = spec = replace(self.spec, steps=min(steps, self.spec.steps))
        self._schedule.lr_lambdas = [lambda step: lr_factor(step, spec)]


def _gradients(
    draft: DFlashDraft, target: Target, parameters: list[nn.Parameter], spec: TTTSpec, batch: BlockBatch
) -> tuple[Tensor, Tensor]:
    """Loss, and norm of the gradients before they are clipped and left in the parameters."""
    loss = block_loss(draft, target, batch, loss=spec.loss).loss
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    return loss.detach(), nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)


class CapturedGradients:
    """Computes gradients on its own copy of each batch, so that what was captured for the first can be replayed.

    What computes leaves the gradients in the parameters, new ones each time, without waiting for the device. Where the
    capture fails, it says so once and computes plainly.
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


def make_optimizer(parameters: Sequence[nn.Parameter], spec: TTTSpec) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """AdamW without weight decay, and its schedule, advanced once a step."""
    optimizer = torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=0.0)
    return optimizer, LambdaLR(optimizer, lambda step: lr_factor(step, spec))


def make_corpus_optimizer(
    parameters: Sequence[nn.Parameter], spec: TrainingSpec, steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """AdamW with weight decay on matrices, and a warm-up and cosine over so many steps, advanced once a step."""
    groups = [
        {"params": [parameter for parameter in parameters if parameter.dim() > 1], "weight_decay": spec.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=spec.lr, betas=(0.9, spec.beta2))

    def factor(step: int) -> float:
        warm, progress = _warm_and_progress(step, spec.warmup, steps - spec.warmup)
        return warm * (spec.decay + (1 - spec.decay) * 0.5 * (1 + math.cos(math.pi * progress)))

    return optimizer, LambdaLR(optimizer, factor)


def lr_factor(step: int, spec: TTTSpec) -> float:
    """Linear warm-up over spec.warmup steps, then linear decay to spec.decay at the last step."""
    warm, progress = _warm_and_progress(step, spec.warmup, spec.steps - 1 - spec.warmup)
    return warm * (1 - (1 - spec.decay) * progress)


def _warm_and_progress(step: int, warmup: int, rest: int) -> tuple[float, float]:
    """How far the warm-up has come, and the `rest` of the steps behind it, from 0 to 1 each."""
    return min(1.0, (step + 1) / (warmup + 1)), min(1.0, max(0, step - warmup) / max(1, rest))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the card, or the CPU's allocator, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)
