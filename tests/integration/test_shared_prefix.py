"""Rows of one context, its keys and values stored once, against the same rows with a copy each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dftt.decoding.captured import plain_cycle
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.generate import resolve_sizes
from dftt.decoding.queue import decode_queue
from dftt.decoding.sampling import sample_key
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, GuidanceSpec, Prompt
from tests.fakes import random_prompt

CONTEXT = random_prompt(70, seed=1)
PROMPTS = [Prompt(CONTEXT.input_ids + random_prompt(length, seed=length).input_ids) for length in (1, 9, 4, 16, 1, 3)]
SPEC = DecodingSpec(max_new_tokens=10, ignore_eos=True)
MODES = {
    "target": replace(SPEC, mode="target"),
    "speculative": SPEC,
    "guided": replace(SPEC, mode="guided", alpha=0.4, temperature=0.8),
    "early exit": replace(SPEC, mode="guided", guidance=GuidanceSpec("dola", alpha=0.5)),
}


def make(pair: Pair, prompts: Sequence[Prompt], spec: DecodingSpec, *, shared: int, **options: Any) -> Engine:
    """An engine whose rows all have a prefill of the context."""
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    ids, prefill = [prompt.input_ids for prompt in prompts], pair.prefill(CONTEXT)
    keys = [sample_key(spec.seed, repr(each)) for each in ids]
    drafter = None if spec.mode == "target" else DFlashDrafter(pair.draft, pair.target)
    return Engine(pair.target, drafter, spec, ids, [prefill] * len(ids), keys, shared=shared, **options)


def decode(pair: Pair, spec: DecodingSpec, *, rows: int, **options: Any) -> list[list[int]]:
    """New tokens of all prompts, decoded in so many rows."""
    longest = max(map(len, PROMPTS))
    engine = make(pair, PROMPTS[:rows], spec, longest_prompt=longest, **options)
    start = lambda numbers: make(pair, [PROMPTS[number] for number in numbers], spec, **options)  # noqa: E731
    found = {each.request: each.token_ids for each in decode_queue(engine, range(len(PROMPTS)), start)}
    return [found[number] for number in range(len(PROMPTS))]


@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-sliding"])
@pytest.mark.parametrize("mode", MODES)
def test_tasks_of_one_context_are_decoded_as_with_a_copy_each(
    tiny_pair: Callable[..., Pair], family: str, mode: str
) -> None:
    pair, spec = tiny_pair(family), MODES[mode]
    copied = decode(pair, spec, rows=6, shared=0)
    assert decode(pair, spec, rows=6, shared=64) == copied
    assert decode(pair, spec, rows=2, shared=64) == copied


def test_replayed_cycles_give_the_same_tokens(tiny_pair) -> None:
    pair = tiny_pair("qwen3", dtype="float64")
    replayed = decode(pair, SPEC, rows=2, shared=64, capture=plain_cycle)
    assert replayed == decode(pair, SPEC, rows=2, shared=0)


def test_a_prompt_may_be_the_context(tiny_pair) -> None:
    pair = tiny_pair("qwen3")
    spec, found = MODES["early exit"], []
    for shared in (64, 0):
        engine = make(pair, [CONTEXT, PROMPTS[1]], spec, shared=shared)
        while engine.active:
            engine.step()
        found.append([engine.new_tokens(row) for row in (0, 1)])
    assert found[0] == found[1]


def test_the_context_is_stored_once(tiny_pair) -> None:
    shared, copied = (make(tiny_pair("qwen3"), PROMPTS, SPEC, shared=shared)._cache for shared in (64, 0))
    sizes = [cache._row_layers[0].written()[0].untyped_storage().nbytes() for cache in (shared, copied)]
    assert sizes[1] - sizes[0] == 5 * 64 * (2 * 8 * 4)  # rows x positions x (heads x width x bytes)


@pytest.mark.parametrize(
    ("shared", "prompts"), [(63, PROMPTS), (128, [random_prompt(130)] * 2), (64, [PROMPTS[0], random_prompt(70)])]
)
def test_what_prompts_or_prefills_do_not_share_is_refused(tiny_pair, shared: int, prompts: list[Prompt]) -> None:
    with pytest.raises(ValueError, match=f"shared is {shared}: it must be a multiple of 64, and"):
        make(tiny_pair("qwen3"), prompts, SPEC, shared=shared)
