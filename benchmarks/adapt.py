"""Time of a test-time-training step: ours, and an eager autograd loop that computes everything at every step.

python -m benchmarks.adapt --shape qwen3-8b --contexts 1024 8192 32768 --anchors 64 --out results/adapt
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.peak import peak_during
from benchmarks.plain_adapt import PlainAdaptation
from benchmarks.report import Report, finish, gigabytes, milliseconds, shape_arguments, use_threads
from benchmarks.shapes import build_pair, default_dtype, random_prefill
from benchmarks.timing import Side, alternate, repeated, synchronise
from dftt.adaptation.lessons import Lessons
from dftt.adaptation.steps import FEWEST_STEPS
from dftt.adaptation.ttt import ttt_adapt
from dftt.models.pair import Pair
from dftt.types import Prefill, Prompt, TTTSpec


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = shape_arguments("Time of a test-time-training step on random weights: LoRA on fc, q, k and v, kl loss.")
    parser.set_defaults(cycles=300)  # three adaptations of 100 steps
    parser.add_argument("--anchors", type=int, default=64, help="blocks per step")
    parser.add_argument("--rank", type=int, default=8, help="rank of LoRA")
    parser.add_argument("--checkpointing", action="store_true", help="ours with gradient checkpointing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> Report:
    """Measure all contexts and report."""
    options = parse(arguments)
    use_threads(options)
    device = torch.device(options.device)
    dtype = default_dtype(device, options.dtype)
    pair = build_pair(options.shape, device=device, dtype=dtype, block_size=options.block_size)
    rows = [line for context in options.contexts for line in measure(pair, context, options)]
    return finish(
        Report(
            f"Test-time-training steps, {options.shape} shape, random weights",
            {
                "precision": str(dtype).removeprefix("torch."),
                "anchors": options.anchors,
                "block": pair.draft.config.block_size,
                "rank": options.rank,
                "steps": options.cycles,
            },
            rows,
            [
                "In three turns, each a whole adaptation, its first step included.",
                "Plain: the same steps in eager autograd, nothing kept between them, the logits of all slots at once.",
                "100 steps: a hundred times the mean; step: the median.",
                "Added memory: peak above what was allocated before (on a CPU, of the whole process so far).",
            ],
        ),
        options,
    )


def measure(pair: Pair, context: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One line per side at this context."""
    prefill = random_prefill(pair, context)
    spec = TTTSpec(anchors=options.anchors, rank=options.rank, lora_alpha=2 * options.rank)
    sides = {
        "ours": our_side(pair, prefill, spec, checkpointing=options.checkpointing),
        "plain": plain_side(pair, prefill, spec),
    }
    lines = []
    added = {}
    for name, side in sides.items():
        peak = peak_during(lambda side=side: side(FEWEST_STEPS), pair.target.device)
        added[name] = None if peak is None else peak[1] - peak[0]
    fitting = {name: side for name, side in sides.items() if added[name] is not None}
    times = alternate(fitting, cycles=options.cycles)
    for name in sides:
        timing, extra = times.get(name), added[name]
        lines.append(
            {
                "context": context,
                "side": name,
                "step, ms": "out of memory" if timing is None else milliseconds(timing.median),
                "shortest, ms": None if timing is None else milliseconds(timing.least),
                "100 steps, s": None if timing is None else timing.mean * 100,
                "added memory, GB": None if extra is None else gigabytes(extra),
            }
        )
    return lines


def our_side(pair: Pair, prefill: Prefill, spec: TTTSpec, *, checkpointing: bool = False) -> Side:
    """`ttt_adapt` for as many steps as there are cycles; the first reads the features and readies the others."""

    def side(cycles: int) -> list[float]:
        synchronise(pair.target.device)
        ends = [time.perf_counter()]

        def on_step(_step: int, _loss: float) -> None:
            synchronise(pair.target.device)
            ends.append(time.perf_counter())

        ours = replace(spec, steps=cycles, checkpointing=checkpointing)
        ttt_adapt(pair, Prompt(prefill.input_ids), ours, prefill=prefill, on_step=on_step)
        return [after - before for before, after in itertools.pairwise(ends)]

    return side


def plain_side(pair: Pair, prefill: Prefill, spec: TTTSpec) -> Side:
    """The eager loop; its adapter is off the draft between turns."""

    def side(cycles: int) -> list[float]:
        loop = PlainAdaptation(pair, Lessons(pair.draft, prefill, len(prefill), spec), spec)
        try:
            return repeated(loop.step, pair.target.device)(cycles)
        finally:
            loop.close()

    return side


if __name__ == "__main__":
    main()
