"""The cycle that a CUDA graph replays, run without one: starts in device memory, readers that see the whole cache."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dftt.decoding.captured import plain_cycle
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.generate import resolve_sizes
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt
from tests.fakes import random_prompt

FAMILIES = ["llama", "qwen3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3-sliding", "qwen3-moe"))]


def decode(
    pair: Pair, prompts: Sequence[Prompt], spec: DecodingSpec, capture: Any
) -> list[tuple[list[int], list[int]]]:
    """New tokens and acceptance lengths of each row."""
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    drafter = None if spec.mode == "target" else DFlashDrafter(pair.draft, pair.target)
    ids = [prompt.input_ids for prompt in prompts]
    engine = Engine(pair.target, drafter, spec, ids, [None] * len(ids), range(len(ids)), capture=capture)
    while engine.active:
        engine.step()
    return [(engine.new_tokens(row), engine.rows[row].acceptance_lengths) for row in range(len(ids))]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["target", "speculative", "guided"])
def test_replayed_cycles_give_the_same_tokens(good_pair: Callable[..., Any], family: str, mode: str) -> None:
    pair, prompt = good_pair(family, dtype="float64")
    prompts = [prompt, random_prompt(9), random_prompt(23, seed=4)]
    for temperature in (0.0, 0.8):
        spec = DecodingSpec(mode, max_new_tokens=24, temperature=temperature, ignore_eos=True)  # pyright: ignore[reportArgumentType]
        spec = replace(spec, alpha=0.5) if mode == "guided" else spec
        assert decode(pair, prompts, spec, plain_cycle) == decode(pair, prompts, spec, None)


def test_an_engine_goes_without_the_garbage_collector(good_pair: Callable[..., Any]) -> None:
    """Or captured cycles and caches would pile up, and be freed in the middle of another capture."""
    pair, prompt = good_pair("qwen3")
    spec = resolve_sizes(DecodingSpec(max_new_tokens=24, ignore_eos=True), pair.draft.config.block_size)
    gc.disable()
    try:
        drafter = DFlashDrafter(pair.draft, pair.target)
        engine = Engine(pair.target, drafter, spec, [prompt.input_ids], [None], [0], capture=plain_cycle)
        engine.step()
        left = weakref.ref(engine)
        del engine
        assert left() is None
    finally:
        gc.enable()


def test_a_cycle_may_run_twice_from_the_same_starts(good_pair: Callable[..., Any]) -> None:
    """Capture runs a cycle once before it records it."""
    pair, prompt = good_pair("qwen3", dtype="float64")

    def twice(cycle: Callable[[Tensor], Tensor], rows: int, device: torch.device) -> Callable[[Sequence[int]], Tensor]:
        run = plain_cycle(cycle, rows, device)

        def again(starts: Sequence[int]) -> Tensor:
            run(starts)
            return run(starts)

        return again

    spec = DecodingSpec(max_new_tokens=24, ignore_eos=True)
    assert decode(pair, [prompt], spec, twice) == decode(pair, [prompt], spec, None)
