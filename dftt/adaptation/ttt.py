"""Test-time training: a few LoRA steps of the draft on the context at hand, or on what the target writes about it."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from dftt.adaptation.fallback import is_out_of_memory, rungs
from dftt.adaptation.gradients import Capture, CapturedGradients, capture_for
from dftt.adaptation.lessons import Lessons
from dftt.adaptation.losses import BlockBatch, block_loss
from dftt.adaptation.optimizers import lr_factor, make_optimizer
from dftt.adaptation.reuse import reused
from dftt.adaptation.self_study import Study, write_study
from dftt.adaptation.watch import Watch
from dftt.models import lora
from dftt.models.draft import DFlashDraft
from dftt.models.lora import Adaptation, Adapter
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import Prefill, Prompt, TTTSpec

logger = logging.getLogger(__name__)
_SLOW_STEPS, _PACE_STEPS = 2, 3  # of an adaptation whose seconds are bounded


@torch.inference_mode(False)
def ttt_adapt(
    pair: Pair,
    prompt: Prompt,
    spec: TTTSpec,
    *,
    prefill: Prefill | None = None,
    initial: Adapter | None = None,
    study: Study | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Adaptation:
    """An adapter for the prompt's context; the pair is left bitwise as it was, and so is every random generator.

    It may be called inside `torch.no_grad()` and `torch.inference_mode()`, with a prefill that was made there.

    Where memory runs out, it starts again with gradient checkpointing, then with fewer anchors, then with LoRA on fc
    only; each of these is logged and noted in the result.

    Args:
        pair: Target and draft.
        prompt: Only its first `context_length` tokens are learnt from.
        spec: How to adapt.
        prefill: A prefill that covers the context, to save reading it again.
        initial: Start from this adapter instead of a fresh one.
        study: What the target wrote about the context, where that is at hand; by default it writes it now.
        on_step: Called with (step, loss) after each step.

    Raises:
        ValueError: If the context is too short to adapt to, longer than the target's window, `initial` has another
            shape than the spec asks for, the spec is to learn from an answer or names a store, or self-study has no
            room or no prompts.
        MemoryError: If the context does not fit the memory in the cheapest way either.
    """
    check_start(initial, spec)
    _check_possible(spec)
    length = prompt.context_length
    if prefill is None or prefill.input_ids[:length] != prompt.input_ids[:length]:
        prefill = pair.prefill(Prompt(prompt.input_ids[:length]))
    pair.check_prefill(prefill)
    if not spec.steps_of("self_study"):
        study = None
    elif study is None:
        study = write_study(pair, prefill, length, spec)
    fallbacks: list[str] = []
    for cheaper, given_up in rungs(spec, any_modules=initial is None):
        if given_up:
            fallbacks.append(given_up)
            logger.warning("ttt_adapt ran out of memory and starts again with %s", given_up)
        try:
            with lora.only_user(pair.draft):
                adaptation = _adapt(pair, prefill, length, cheaper, initial, on_step, study)
            return replace(adaptation, fallbacks=tuple(fallbacks))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Out here the error, and with it the tensors of its frames, are gone.
        if pair.target.device.type == "cuda":
            torch.cuda.empty_cache()
    raise MemoryError(f"ttt_adapt: a context of {length} tokens does not fit, even with {', '.join(fallbacks)}")


def _check_possible(spec: TTTSpec) -> None:
    """Refuse settings that `ttt_adapt` would not follow."""
    if spec.store:
        raise ValueError(
            f"ttt_adapt keeps no adapters, but ttt.store is {spec.store!r}: leave it out, and call find and keep of "
            "dftt.adaptation.store.AdapterStore around it"
        )
    if spec.learns("generation"):
        raise ValueError(
            f"ttt_adapt learns before an answer, from context or self_study; got ttt.learns_from {spec.learns_from!r}"
        )


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
    study: Study | None,
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
        learnable = outside_inference_mode(prefill)
        on_device = replace(learnable, features=learnable.features.to(target.device))  # they may be in host memory
        with torch.enable_grad(), reused(draft):
            steps = Steps(draft, target, parameters, spec, capture=capture_for(target.device, spec.steps))
            lessons = Lessons(draft, on_device, context_length, spec, study)
            _train(steps, lessons, on_step, allowed=spec.seconds - study.seconds if study and spec.seconds else 0.0)
        weights = lora.read_weights(draft)
    finally:
        draft.checkpointing = False
        lora.detach_(draft)
    return Adaptation(
        adapter=Adapter(spec.rank, spec.lora_alpha, spec.modules, weights),
        losses=tuple(steps.losses),
        seconds=time.perf_counter() - begun,
        peak_bytes=peak_bytes(target.device),
        stopped=steps.watch.stopped,
        study=study.answers() if study is not None else (),
        study_seconds=study.seconds if study is not None else 0.0,
    )


def outside_inference_mode(prefill: Prefill) -> Prefill:
    """The prefill, with copies of the tensors that autograd would refuse because they were made in inference mode."""
    features, hidden = (
        tensor.clone() if tensor.is_inference() else tensor for tensor in (prefill.features, prefill.hidden)
    )
    return replace(prefill, features=features, hidden=hidden)


def peak_bytes(device: torch.device) -> int:
    """Peak memory so far: allocated on the card, or resident in the process on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Steps:
    """Optimiser steps on an adapter, as long as its watch allows them.

    Args:
        draft: Carries the adapter.
        target: The frozen target.
        parameters: The adapter's.
        spec: Rate, schedule, bound, patience and loss.
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


def _train(
    steps: Steps, lessons: Iterable[BlockBatch], on_step: Callable[[int, float], None] | None, *, allowed: float
) -> None:
    """All steps, or as many as fit in the seconds that are allowed (0: all)."""
    clock = _Clock(allowed)
    for step, batch in enumerate(lessons):
        if step >= steps.spec.steps:
            break
        if steps.take(batch) and on_step is not None:
            on_step(step, steps.losses[-1])
        if steps.watch.stopped:
            break
        if fitting := clock.steps_that_fit(step + 1):
            steps.shorten(fitting)
    steps.watch.check_update()


class _Clock:
    """How many steps fit in some seconds, told once from the pace of the first ones; 0 seconds allow all.

    Args:
        allowed: The seconds.
    """

    def __init__(self, allowed: float) -> None:
        self._allowed, self._begun = allowed, time.perf_counter()
        self._slow = 0.0  # what the first steps took, which compile and capture

    def steps_that_fit(self, done: int) -> int:
        """The number of steps in all, told after the _PACE_STEPS that follow the slow ones; else 0."""
        passed = time.perf_counter() - self._begun
        if done == _SLOW_STEPS:
            self._slow = passed
        if not self._allowed or done != _SLOW_STEPS + _PACE_STEPS:
            return 0
        return done + max(0, int((self._allowed - passed) / (passed - self._slow) * _PACE_STEPS))
