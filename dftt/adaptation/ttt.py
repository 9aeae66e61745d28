"""Test-time training: a few LoRA steps of the draft on the context at hand, or on what the target writes about it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from dftt.adaptation.lessons import Lessons
from dftt.adaptation.losses import BlockBatch
from dftt.adaptation.reuse import reused
from dftt.adaptation.self_study import Study, write_study
from dftt.adaptation.steps import Steps, capture_for, is_out_of_memory
from dftt.models import lora
from dftt.models.draft import DFlashDraft
from dftt.models.lora import Adaptation, Adapter
from dftt.models.pair import Pair
from dftt.types import Prefill, Prompt, TTTSpec

logger = logging.getLogger(__name__)
# Of an adaptation whose seconds are bounded: steps that compile and capture, and those behind them that tell the pace.
_SLOW_STEPS, _PACE_STEPS = 2, 3
FEWEST_ANCHORS = 8  # of an adaptation that runs out of memory

OnStep = Callable[[int, float], None]


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
        prompt: Only its first `context_length` tokens are learnt from.
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
