"""The compute budget of adaptation: what each part costs, and after how many tokens an adaptation has paid for itself.

python -m benchmarks.budget --shape qwen3-8b --contexts 1024 8192 32768 --out results/budget
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.adapt import our_side
from benchmarks.report import Report, finish, gigabytes, milliseconds, shape_arguments, use_threads
from benchmarks.shapes import build_pair, cycle_bytes, default_dtype
from benchmarks.sides import engine, passes, replayed, stepping
from benchmarks.timing import alternate, repeated
from dftt.models.pair import Pair
from dftt.types import Prompt, TTTSpec


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = shape_arguments("What prefill, draft, cycle and adaptation cost, on random weights.")
    parser.add_argument("--anchors", type=int, default=64, help="blocks per step of adaptation")
    parser.add_argument("--steps", type=int, default=100, help="steps of the adaptation that has to pay")
    parser.add_argument("--tau", type=float, default=3.0, help="acceptance length without adaptation")
    parser.add_argument("--gains", type=float, nargs="+", default=[0.1, 0.3, 1.0], help="gains in acceptance length")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> Report:
    """Measure all contexts and report."""
    options = parse(arguments)
    use_threads(options)
    device = torch.device(options.device)
    dtype = default_dtype(device, options.dtype)
    pair = build_pair(options.shape, device=device, dtype=dtype, block_size=options.block_size)
    rows = [measure(pair, context, options) for context in options.contexts]
    return finish(
        Report(
            f"Compute budget, {options.shape} shape, random weights",
            {
                "precision": str(dtype).removeprefix("torch."),
                "block": pair.draft.config.block_size,
                "anchors": options.anchors,
                "adaptation, steps": options.steps,
                "τ before": options.tau,
            },
            rows,
            [
                "Break-even: tokens after which the adaptation's seconds are won back by the higher acceptance length, "
                "at the measured cycle time; one row.",
                "The acceptance lengths are assumed, not measured: the weights are random.",
            ],
        ),
        options,
    )


def measure(pair: Pair, context: int, options: argparse.Namespace) -> dict[str, Any]:
    """The line of one context."""
    device, size = pair.target.device, pair.draft.config.block_size
    generator = torch.Generator().manual_seed(context)
    prompt = Prompt(tuple(torch.randint(0, pair.target.vocab_size, (context,), generator=generator).tolist()))
    prefill = pair.prefill(prompt)
    reading = alternate({"": repeated(lambda: pair.prefill(prompt), device)}, cycles=3, rounds=1, warmup=1)[""].median
    cycle = engine(pair, prefill, mode="speculative", rows=1, block_size=size, committed=round(options.tau))
    sides = {
        **{name: repeated(replayed(run, device), device) for name, run in passes(pair, prefill, size).items()},
        "cycle": stepping(cycle),
    }
    times = {name: timing.median for name, timing in alternate(sides, cycles=options.cycles).items()}
    adapting = {"step": our_side(pair, prefill, TTTSpec(anchors=options.anchors))}
    times["step"] = alternate(adapting, cycles=options.steps, rounds=1)["step"].mean
    parts = cycle_bytes(pair, context=context, rows=1)
    return {
        "context": context,
        "prefill, s": reading,
        "draft, ms": milliseconds(times["draft"]),
        "verify, ms": milliseconds(times["verify"]),
        "cycle, ms": milliseconds(times["cycle"]),
        "TTT step, ms": milliseconds(times["step"]),
        "TTT steps per prefill": reading / times["step"],
        "target, GB": gigabytes(sum(parameter.nbytes for parameter in pair.target.model.parameters())),
        "draft, GB": gigabytes(parts["draft weights"]),
        "target keys and values, GB": gigabytes(parts["target keys and values"]),
        "draft keys and values, GB": gigabytes(parts["draft keys and values"]),
        "features, GB": gigabytes(prefill.features.nbytes),
        **{
            f"break-even at +{gain:g}, tokens": math.ceil(
                break_even(options.steps * times["step"], times["cycle"], options.tau, options.tau + gain)
            )
            for gain in options.gains
        },
    }


def break_even(adaptation: float, cycle: float, before: float, after: float) -> float:
    """Tokens after which `adaptation` seconds are won back, where `cycle` seconds commit `after` instead of `before`.

    Raises:
        ValueError: If the acceptance length does not rise: then it is never won back.
    """
    if not after > before >= 1:
        raise ValueError(f"break-even needs 1 <= before < after, got {before} and {after}")
    return adaptation / (cycle / before - cycle / after)


if __name__ == "__main__":
    main()
