"""What a cycle of each block size costs here: measured on the pair itself, for the block-size scheduler."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from dftt.decoding.drafters import make_drafters
from dftt.decoding.engine import Engine
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt

_WARMUP = 2


def measure_costs(
    pair: Pair, sizes: Sequence[int], *, rows: Sequence[int] = (1,), context_length: int = 256, cycles: int = 7
) -> dict[int, dict[int, float]]:
    """Median seconds of a cycle by row count and block size; 1 stands for plain autoregression.

    Args:
        sizes: Block sizes, from 1 to the draft's own.
        rows: Row counts.
        context_length: Tokens of the random context that is decoded behind.
        cycles: Timed cycles of each; the sizes take turns.

    Raises:
        ValueError: If a size is none that the draft can decode with.
    """
    trained = pair.draft.config.block_size
    for size in sizes:
        if not 1 <= size <= trained:
            raise ValueError(f"block size {size}: this draft decodes with sizes from 1 (plain) to {trained}")
    generator = torch.Generator().manual_seed(0)
    ids = tuple(torch.randint(0, pair.target.vocab_size, (context_length,), generator=generator).tolist())
    prefill = pair.prefill(Prompt(ids))
    measured = {}
    for count in rows:
        engines = {}
        for size in sizes:
            spec = DecodingSpec("target", (cycles + _WARMUP + 1) * size, ignore_eos=True)
            if size > 1:
                spec = replace(spec, mode="speculative", block_size=size)
            drafter, _ = make_drafters(pair, spec)
            engines[size] = Engine(pair.target, drafter, spec, [ids] * count, [prefill] * count, range(count))
        seconds: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(cycles + _WARMUP):
            for size, engine in engines.items():
                begun = time.perf_counter()
                engine.step()
                seconds[size].append(time.perf_counter() - begun)
        measured[count] = {size: statistics.median(each[_WARMUP:]) for size, each in seconds.items()}
    return measured
