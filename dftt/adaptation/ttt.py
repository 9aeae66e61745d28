"""Test-time training: a few LoRA steps of the draft on the context at hand, from the prefill alone."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from dftt.adaptation.fallback import is_out_of_memory, rungs
from dftt.adaptation.gradients import Capture, CapturedGradients, capture_for
from dftt.adaptation.losses import BlockBatch, block_loss, make_block_batch
from dftt.adaptation.reuse import reused
from dftt.models import lora
from dftt.models.blocks import select_anchors
from dftt.models.draft import DFlashDraft
from dftt.models.lora import Adapter
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import Prefill, Prompt, TTTSpec

logger = logging.getLogger(__name__)
_SMOOTHING = 0.9


@dataclass(frozen=True)
class Adaptation:
    """What `ttt_adapt` returns.

    Args:
        adapter: The adapter; decode under it by passing the adaptation on.
        losses: Loss before each step.
        seconds: Wall-clock time of the steps, the prefill excluded.
        peak_bytes: Peak memory: allocated on the card, or resident in the process on a CPU.
        stopped: Why it ended before spec.steps, empty where it did not.
        fallbacks: What was given up, in turn, because memory ran out.
    """

    adapter: Adapter
    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int
    stopped: str = ""
    fallbacks: tuple[str, ...] = ()


def ttt_adapt(
    pair: Pair,
    prompt: Prompt,
    spec: TTTSpec,
    *,
    prefill: Prefill | None = None,
    initial: Adapter | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Adaptation:
    """An adapter for the prompt's context; the pair is left bitwise as it was.

    Where memory runs out, it starts again with gradient checkpointing, then with fewer anchors, then with LoRA on fc
    only; each of these is logged and noted in the result.

    Args:
        pair: Target and draft.
        prompt: Only its first `context_length` tokens are learnt from.
        spec: How to adapt.
        prefill: A prefill that covers the context, to save reading it again.
        initial: Start from this adapter instead of a fresh one.
        on_step: Called with (step, loss) after each step.

    Raises:
        ValueError: If the context is too short to adapt to, longer than the target's window, `initial` has another
            shape than the spec asks for, or the spec is to learn from an answer.
        MemoryError: If the context does not fit the memory in the cheapest way either.
    """
    check_start(initial, spec)
    if spec.learns_from != "context":
        raise ValueError(
            f"ttt_adapt learns before an answer, from the context; got ttt.learns_from {spec.learns_from!r}"
        )
    length = prompt.context_length
    if prefill is None or prefill.input_ids[:length] != prompt.input_ids[:length]:
        prefill = pair.prefill(Prompt(prompt.input_ids[:length]))
    fallbacks: list[str] = []
    for cheaper, given_up in rungs(spec, any_modules=initial is None):
        if given_up:
            fallbacks.append(given_up)
            logger.warning("ttt_adapt ran out of memory and starts again with %s", given_up)
        try:
            with lora.only_user(pair.draft):
                adaptation = _adapt(pair, prefill, length, cheaper, initial, on_step)
            return replace(adaptation, fallbacks=tuple(fallbacks))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Out here the error, and with it the tensors of its frames, are gone.
        if pair.target.device.type == "cuda":
            torch.cuda.empty_cache()
    raise MemoryError(f"ttt_adapt: a context of {length} tokens does not fit, even with {', '.join(fallbacks)}")


def check_start(initial: Adapter | None, spec: TTTSpec) -> None:
    """Raise ValueError where an adapter to start from has another shape than the spec asks for."""
    if initial is not None and initial.identity != (spec.rank, float(spec.lora_alpha), tuple(sorted(spec.modules))):
        raise ValueError(
            f"the adapter to start from has (rank, lora_alpha, modules) {initial.identity}, ttt asks for others"
        )


def _adapt(
    pair: Pair,
    prefill: Prefill,
    context_length: int,
    spec: TTTSpec,
    initial: Adapter | None,
    on_step: Callable[[int, float], None] | None,
) -> Adaptation:
    draft, target = pair.draft, pair.target
    parameters = lora.attach_(draft, rank=spec.rank, lora_alpha=spec.lora_alpha, modules=spec.modules, seed=spec.seed)
    begun = time.perf_counter()
    if target.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(target.device)
    draft.checkpointing = spec.checkpointing
    try:
        if initial is not None:
            lora.load_weights_(draft, initial.weights)
        on_device = replace(prefill, features=prefill.features.to(target.device))  # they may be kept in host memory
        with torch.inference_mode(False), torch.enable_grad(), reused(draft):
            steps = Steps(draft, target, parameters, spec, capture=capture_for(target.device, spec.steps))
            _train(steps, on_device, context_length, on_step)
        weights = lora.read_weights(draft)
    finally:
        draft.checkpointing = False
        lora.detach_(draft)
    return Adaptation(
        adapter=Adapter(spec.rank, spec.lora_alpha, spec.modules, weights),
        losses=tuple(steps.losses),
        seconds=time.perf_counter() - begun,
        peak_bytes=peak_bytes(target.device),
        stopped=steps.stopped,
    )


def context_batch(
    draft: DFlashDraft,
    prefill: Prefill,
    context_length: int,
    spec: TTTSpec,
    step: int,
    *,
    input_ids: Tensor | None = None,  # (1, T)
) -> BlockBatch:
    """The blocks of one step. They depend on the seed and the step alone, so that a resumed run draws the same ones.

    `input_ids` are the context's tokens on the device, where they are at hand.
    """
    generator = torch.Generator().manual_seed(spec.seed * 1_000_003 + step)
    anchors = select_anchors(
        context_length=context_length, num_anchors=spec.anchors, window=spec.window, generator=generator
    )
    device = prefill.features.device
    input_ids = _ids_of(prefill, context_length) if input_ids is None else input_ids
    return make_block_batch(
        input_ids=input_ids,
        supervised=torch.ones_like(input_ids, dtype=torch.bool),
        anchors=anchors[None].to(device),
        features=prefill.features[None, :context_length],
        hidden=prefill.hidden[None, :context_length],
        block_size=draft.config.block_size,
    )


def _ids_of(prefill: Prefill, context_length: int) -> Tensor:  # (1, T)
    return torch.tensor([prefill.input_ids[:context_length]], device=prefill.features.device)


def make_optimizer(
    parameters: Sequence[nn.Parameter], spec: TTTSpec
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW without weight decay, and its schedule, advanced once a step."""
    optimizer = torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=0.0)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, spec))


def lr_factor(step: int, spec: TTTSpec) -> float:
    """Linear warm-up over spec.warmup steps, then linear decay to spec.decay at the last step."""
    warm = min(1.0, (step + 1) / (spec.warmup + 1))
    progress = min(1.0, max(0, step - spec.warmup) / max(1, spec.steps - 1 - spec.warmup))
    return warm * (1 - (1 - spec.decay) * progress)


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: allocated on the card, or resident in the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Steps:
    """Optimiser steps on an adapter, taken back where they lead to no finite number.

    Args:
        draft: Carries the adapter.
        target: The frozen target.
        parameters: The adapter's.
        spec: Rate, schedule, bound and loss.
        capture: Makes the gradients of a step ready for replay, where all steps have batches of one shape.
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
        self.draft, self.target, self.parameters, self.spec = draft, target, parameters, spec
        compute = partial(_gradients, draft, target, parameters, spec)
        self._gradients = compute if capture is None else CapturedGradients(compute, capture)
        self.losses: list[float] = []  # before each step
        self.stopped = ""  # why no more steps are to be taken
        self._optimizer, self._schedule = make_optimizer(parameters, spec)
        self._good = [parameter.detach().clone() for parameter in parameters]

    def take(self, batch: BlockBatch) -> bool:
        """One step; False where it could not be taken, and the weights are those before it."""
        loss, norm = self._gradients(batch)
        value = loss.item()
        if not torch.isfinite(norm + value):
            _copy_(self.parameters, self._good)
            self.stopped = f"non-finite loss or gradient at step {len(self.losses)}: kept the weights before it"
            logger.warning("ttt_adapt stopped: %s", self.stopped)
            return False
        # The weights that gave this finite loss are good; the update below is proven by the next step only.
        _copy_(self._good, self.parameters)
        self._optimizer.step()
        self._schedule.step()
        self.losses.append(value)
        return True

    def finish(self) -> None:
        """Take the last update back if it is not finite."""
        if not all(torch.isfinite(parameter).all() for parameter in self.parameters):
            _copy_(self.parameters, self._good)
            self.stopped = "the last update was not finite: kept the weights before it"


def _gradients(
    draft: DFlashDraft, target: Target, parameters: list[nn.Parameter], spec: TTTSpec, batch: BlockBatch
) -> tuple[Tensor, Tensor]:
    """Loss, and norm of the clipped gradients, which are left in the parameters."""
    loss = block_loss(draft, target, batch, loss=spec.loss).loss
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    return loss.detach(), nn.utils.clip_grad_norm_(parameters, spec.max_grad_norm)


def _train(
    steps: Steps,
    prefill: Prefill,
    context_length: int,
    on_step: Callable[[int, float], None] | None,
) -> None:
    spec = steps.spec
    best, best_step, smooth = float("inf"), 0, 0.0
    input_ids = _ids_of(prefill, context_length)
    for step in range(spec.steps):
        if not steps.take(context_batch(steps.draft, prefill, context_length, spec, step, input_ids=input_ids)):
            return
        value = steps.losses[-1]
        if on_step is not None:
            on_step(step, value)
        smooth = value if step == 0 else _SMOOTHING * smooth + (1 - _SMOOTHING) * value
        if smooth < best:
            best, best_step = smooth, step
        elif spec.patience and step - best_step >= spec.patience:
            steps.stopped = f"no better loss for {spec.patience} steps"
            return
    steps.finish()


@torch.no_grad()
def _copy_(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    for destination, origin in zip(to, source, strict=True):
        destination.copy_(origin)
