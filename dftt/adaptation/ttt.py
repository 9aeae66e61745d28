"""Test-time training: a few LoRA steps of the draft on the context at hand, or on what the target writes about it."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
from dftt.models.lora import Adapter
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import Prefill, Prompt, TTTSpec

logger = logging.getLogger(__name__)
# Of an adaptation whose seconds are bounded: steps that compile and capture, and those behind them that tell the pace.
_SLOW_STEPS, _PACE_STEPS = 2, 3

OnStep = Callable[[int, float], None]


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
        study: Tokens of each text that the target wrote about the context, where it was asked to.
        study_seconds: Wall-clock time of writing them.
    """

    adapter: Adapter
    losses: tuple[float, ...]
    seconds: float
    peak_bytes: int
    stopped: str = ""
    fallbacks: tuple[str, ...] = ()
    study: tuple[tuple[int, ...], ...] = ()
    study_seconds: float = 0.0


@torch.inference_mode(False)
def ttt_adapt(
    pair: Pair,
    prompt: Prompt,
    spec: TTTSpec,
    *,
    prefill: Prefill | None = None,
    initial: Adapter | None = None,
    study: Study | None = None,
    on_step: OnStep | None = None,
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
            shape than the spec asks for, the spec is to learn from an answer, or self-study has no room or no prompts.
        MemoryError: If the context does not fit the memory in the cheapest way either.
    """
    check_start(initial, spec)
    if spec.learns("generation"):
        raise ValueError(
            f"ttt_adapt learns before an answer, from context or self_study; got ttt.learns_from {spec.learns_from!r}"
        )
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
            adaptation = _adapt(pair, prefill, length, cheaper, initial, on_step, study)
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
    on_step: OnStep | None,
    study: Study | None,
) -> Adaptation:
    draft, target = pair.draft, pair.target
    with learning_adapter(draft, spec, initial) as parameters:
        begun = time.perf_counter()
        if target.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(target.device)
        learnable = outside_inference_mode(prefill)
        on_device = replace(learnable, features=learnable.features.to(target.device))  # they may be in host memory
        draft.checkpointing = spec.checkpointing
        try:
            with torch.enable_grad(), reused(draft):
                steps = Steps(draft, target, parameters, spec, capture=capture_for(target.device, spec.steps))
                lessons = Lessons(draft, on_device, context_length, spec, study)
                _train(steps, lessons, on_step, allowed=spec.seconds - study.seconds if study and spec.seconds else 0.0)
        finally:
            draft.checkpointing = False
        adaptation = steps.adaptation(time.perf_counter() - begun)
    if study is None:
        return adaptation
    return replace(adaptation, study=study.answers(), study_seconds=study.seconds)


@contextmanager
def learning_adapter(draft: DFlashDraft, spec: TTTSpec, initial: Adapter | None) -> Iterator[list[nn.Parameter]]:
    """The parameters of a fresh adapter on the draft, or of `initial`; afterwards the draft is bitwise what it was.

    No other thread decodes with the draft or adapts it meanwhile.
    """
    with lora.only_user(draft):
        parameters = lora.attach_(
            draft, rank=spec.rank, lora_alpha=spec.lora_alpha, modules=spec.modules, seed=spec.seed
        )
        try:
            if initial is not None:
                lora.load_weights_(draft, initial.weights)
            yield parameters
        finally:
            lora.detach_(draft)


def outside_inference_mode(prefill: Prefill) -> Prefill:
    """The prefill, with copies of the tensors that autograd would refuse because they were made in inference mode."""
    features, hidden = (
        tensor.clone() if tensor.is_inference() else tensor for tensor in (prefill.features, prefill.hidden)
    )
    return replace(prefill, features=features, hidden=hidden)


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

    def adaptation(self, seconds: float) -> Adaptation:
        """The adapter as it is now, and what the steps cost: so many seconds so far."""
        spec = self.spec
        on_card = self.target.device.type == "cuda"
        return Adaptation(
            adapter=Adapter(spec.rank, spec.lora_alpha, spec.modules, lora.read_weights(self.draft)),
            losses=tuple(self.losses),
            seconds=seconds,
            peak_bytes=torch.cuda.max_memory_allocated(self.target.device)
            if on_card
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            stopped=self.watch.stopped,
        )

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


def _train(steps: Steps, lessons: Iterable[BlockBatch], on_step: OnStep | None, *, allowed: float) -> None:
    """All steps, or as many as fit in the seconds that are allowed (0: all), by the pace of the first ones."""
    begun, slow = time.perf_counter(), 0.0
    for done, batch in enumerate(lessons, 1):
        if done > steps.spec.steps:
            break
        if steps.take(batch) and on_step is not None:
            on_step(done - 1, steps.losses[-1])
        if steps.watch.stopped:
            break
        passed = time.perf_counter() - begun
        if done == _SLOW_STEPS:
            slow = passed
        if allowed and done == _SLOW_STEPS + _PACE_STEPS:
            steps.shorten(done + max(0, int((allowed - passed) / (passed - slow) * _PACE_STEPS)))
    steps.watch.check_update()
