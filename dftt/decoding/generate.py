"""The public functions: one prompt or many, under an adapter or not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol, cast, overload

from dftt.decoding.drafter import DFlashDrafter, Drafter
from dftt.decoding.engine import Engine
from dftt.decoding.guidance.materials import Materials
from dftt.decoding.on_policy import Learner, LearningEngine
from dftt.decoding.sampling import sample_key
from dftt.decoding.schedule import BlockScheduler
from dftt.models.lora import Adapter, applied
from dftt.models.pair import Pair
from dftt.models.target import check_window
from dftt.types import DecodingSpec, Generation, Prefill, Prompt

OnTokens = Callable[[int, list[int]], None]


class HasAdapter(Protocol):
    """Anything that carries an adapter, such as an Adaptation."""

    @property
    def adapter(self) -> Adapter:
        """The adapter to decode under."""
        ...


@overload
def generate(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec = ...,
    *,
    adaptation: HasAdapter | None = ...,
    prefill: Prefill | Sequence[Prefill] | None = ...,
    sample_names: Sequence[str] | None = ...,
    drafter: Drafter | None = ...,
    materials: Materials | None = ...,
    scheduler: BlockScheduler | None = ...,
    learner: Learner | None = ...,
    on_tokens: OnTokens | None = ...,
) -> Generation: ...


@overload
def generate(
    pair: Pair,
    prompt: Sequence[Prompt],
    spec: DecodingSpec = ...,
    *,
    adaptation: HasAdapter | None = ...,
    prefill: Prefill | Sequence[Prefill] | None = ...,
    sample_names: Sequence[str] | None = ...,
    drafter: Drafter | None = ...,
    materials: Materials | None = ...,
    scheduler: BlockScheduler | None = ...,
    learner: Learner | None = ...,
    on_tokens: OnTokens | None = ...,
) -> list[Generation]: ...


def generate(
    pair: Pair,
    prompt: Prompt | Sequence[Prompt],
    spec: DecodingSpec = DecodingSpec(),
    *,
    adaptation: HasAdapter | None = None,
    prefill: Prefill | Sequence[Prefill] | None = None,
    sample_names: Sequence[str] | None = None,
    drafter: Drafter | None = None,
    materials: Materials | None = None,
    scheduler: BlockScheduler | None = None,
    learner: Learner | None = None,
    on_tokens: OnTokens | None = None,
) -> Generation | list[Generation]:
    """Decode one prompt, or several as rows of one batch.

    Args:
        pair: Target and draft.
        prompt: A prompt, or several.
        spec: How to decode.
        adaptation: Decode under this adapter; the pair is the base pair again afterwards.
        prefill: Prefills of the prompts, or of their first tokens (the rest is read then); made here where not given.
        sample_names: One name per prompt that keys its noise; by default the prompt's own tokens, so that a prompt
            draws the same tokens wherever and beside whatever it is decoded.
        drafter: Proposes instead of the pair's draft.
        materials: What the rule of guidance needs besides the pair, such as the prompt without its context.
        scheduler: Chooses the block size of every cycle; it may be kept for the next prompts.
        learner: Changes the draft on the way, from the tokens that have been verified; one prompt, mode speculative.
        on_tokens: Called with (row, new token ids) after every cycle, for streaming.

    Raises:
        ValueError: If a prompt and its answer do not fit the target's window, the spec does not fit the draft, or the
            rule of guidance lacks a material, or a learner is given with another mode, or with several prompts.
    """
    prompts = [prompt] if isinstance(prompt, Prompt) else list(prompt)
    if not prompts:
        raise ValueError("no prompt given: pass at least one")
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    for each in prompts:
        check_window(pair.target.window, len(each), spec.max_new_tokens)
    prefills = _matching(prompts, prefill)
    names = sample_names or [hashlib.sha256(repr(each.input_ids).encode()).hexdigest() for each in prompts]
    if drafter is None and spec.mode != "target":
        drafter = DFlashDrafter(pair.draft, pair.target)
    with applied(pair.draft, adaptation.adapter if adaptation is not None else None):
        keys = [sample_key(spec.seed, name) for name in names]
        ids = [each.input_ids for each in prompts]
        if learner is None:
            engine = Engine(pair.target, drafter, spec, ids, prefills, keys, materials=materials, scheduler=scheduler)
        else:
            if not isinstance(drafter, DFlashDrafter):
                raise ValueError("a learner changes the pair's draft: leave drafter out, and use mode speculative")
            engine = LearningEngine(pair, spec, ids, prefills, keys, learner, scheduler=scheduler)
        learnt = learner.seconds if learner is not None else 0.0
        begun = time.perf_counter()  # prompts are read by now
        _run(engine, on_tokens)
    seconds = time.perf_counter() - begun - (learner.seconds - learnt if learner is not None else 0.0)
    generations = [_generation(pair, engine, index, seconds) for index in range(len(prompts))]
    return generations[0] if isinstance(prompt, Prompt) else generations


def guided_generate(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    *,
    adaptation: HasAdapter | None = None,
    prefill: Prefill | None = None,
    materials: Materials | None = None,
) -> Generation:
    """`generate` in mode guided: at every position target + alpha * (draft - target), or what spec.guidance says."""
    spec = replace(spec, mode="guided")
    return generate(pair, prompt, spec, adaptation=adaptation, prefill=prefill, materials=materials)


def resolve_sizes(spec: DecodingSpec, trained: int) -> DecodingSpec:
    """The spec with its block and verify sizes filled in.

    Raises:
        ValueError: If either is larger than the block the draft was trained with.
    """
    block = spec.block_size or trained
    verify = spec.verify_size or block
    for name, size in (("block_size", block), ("verify_size", verify)):
        if size > trained:
            raise ValueError(f"decoding.{name} is {size}, but the draft was trained with blocks of {trained}")
    return replace(spec, block_size=block, verify_size=verify)


def _matching(prompts: Sequence[Prompt], prefill: Prefill | Sequence[Prefill] | None) -> list[Prefill | None]:
    """One prefill per prompt, or None; ValueError where one is not of the prompt's first tokens."""
    given: list[Prefill | None] = (
        [prefill] * len(prompts) if prefill is None or isinstance(prefill, Prefill) else list(prefill)
    )
    if len(given) != len(prompts):
        raise ValueError(f"{len(given)} prefills given for {len(prompts)} prompts: give one for each, or one for all")
    for each, known in zip(prompts, given, strict=True):
        if known is not None and each.input_ids[: len(known)] != known.input_ids:
            raise ValueError(
                f"a prefill of {len(known)} tokens is not of the first tokens of its prompt ({len(each)} tokens)"
            )
    return given


def _run(engine: Engine, on_tokens: OnTokens | None) -> None:
    sent = [0] * len(engine.rows)
    while True:
        if on_tokens is not None:
            for row in range(len(sent)):
                tokens = engine.new_tokens(row)
                if tokens[sent[row] :]:
                    on_tokens(row, tokens[sent[row] :])
                sent[row] = len(tokens)
        if not engine.active:
            return
        engine.step()


def _generation(pair: Pair, engine: Engine, index: int, seconds: float) -> Generation:
    row = engine.rows[index]
    tokens = engine.new_tokens(index)
    return Generation(
        text=pair.target.tokenizer.decode(tokens, skip_special_tokens=True),
        token_ids=tuple(tokens),
        acceptance_lengths=tuple(row.acceptance_lengths),
        finish_reason=cast(Literal["eos", "length"], row.finish_reason),
        target_calls=row.target_calls,
        seconds=seconds,
    )
