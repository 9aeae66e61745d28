"""Time of a decoding cycle: ours, the published loop, transformers' generate, and the floor set by the bytes read.

python -m benchmarks.decode --shape qwen3-8b --contexts 1024 8192 32768 90000 --rows 1 8 32 --out results/decode
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from benchmarks.plain import PlainLoop
from benchmarks.report import Report, finish, milliseconds, shape_arguments, use_threads
from benchmarks.shapes import build_pair, cycle_bytes, default_dtype, random_prefill
from benchmarks.sides import ALPHA, engine, generate_side, plain_loop, plain_pair, plain_side, stepping
from benchmarks.timing import Side, Timing, alternate, copy_bandwidth
from dftt.models.pair import Pair
from dftt.types import Mode, Prefill

# Sides that are timed in turns: name -> tokens that one cycle commits.
Group = Mapping[str, tuple[Callable[[], Side], int]]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = shape_arguments("Time of a decoding cycle, on random weights with scripted acceptance.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1], help="row counts; the plain sides run one row only")
    parser.add_argument("--committed", type=int, default=6, help="tokens that a speculative cycle commits (scripted)")
    parser.add_argument("--guided-committed", type=int, default=4, help="the same for a guided cycle")
    parser.add_argument("--verify-size", type=int, default=0, help="positions of a guided cycle; 0: the block size")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> Report:
    """Measure all contexts and row counts, and report."""
    options = parse(arguments)
    use_threads(options)
    device = torch.device(options.device)
    dtype = default_dtype(device, options.dtype)
    pair = build_pair(options.shape, device=device, dtype=dtype, block_size=options.block_size)
    bandwidth = copy_bandwidth(device)
    rows: list[dict[str, Any]] = []
    for context in options.contexts:
        for count in options.rows:
            rows += measure(pair, context, count, options, bandwidth)
    block_size = pair.draft.config.block_size
    return finish(
        Report(
            f"Decoding cycles, {options.shape} shape, random weights",
            {
                "precision": str(dtype).removeprefix("torch."),
                "block": block_size,
                "cycles, at least": options.cycles,
                "copy bandwidth, GB/s": bandwidth / 1e9,
            },
            rows,
            [
                f"Scripted: a speculative cycle commits {options.committed} tokens, a guided one "
                f"{options.guided_committed}, whatever was accepted; the prefill is random numbers.",
                "Floor: bytes of all weights, of the head once more, and of the keys and values, over the bandwidth of "
                "a copy measured in the same run (bytes read and written both counted).",
                "Plain: stock SDPA with repeated heads, DynamicCache, all hidden states; one row, on the same weights.",
            ],
        ),
        options,
    )


def measure(pair: Pair, context: int, rows: int, options: argparse.Namespace, bandwidth: float) -> list[dict[str, Any]]:
    """One line per side at this context and row count; a side that does not fit the memory says so."""
    lines = []
    try:
        prefill = random_prefill(pair, context)
    except torch.OutOfMemoryError:
        return [_line(context, rows, "prefill", None, 0, None)]
    floor = sum(cycle_bytes(pair, context=context, rows=rows).values()) / bandwidth
    waiting = _compared(pair, prefill, options) if rows == 1 else _alone(_ours(pair, prefill, rows, options))
    while waiting:
        group = waiting.pop(0)
        times = _timed(group, options.cycles, pair.target.device)
        if times is None and len(group) > 1:  # side by side they do not fit: one after the other
            waiting[:0] = _alone(group)
            continue
        for name, (_, tokens) in group.items():
            timing = None if times is None else times[name]
            lines.append(_line(context, rows, name, timing, tokens * rows, floor if "speculative" in name else None))
    return lines


def _timed(group: Group, cycles: int, device: torch.device) -> Mapping[str, Timing] | None:
    """Times of the sides of a group; None where they do not fit the memory together."""
    # Emptied before: each engine holds keys and values of the whole context.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return alternate({name: make() for name, (make, _) in group.items()}, cycles=cycles)
    except torch.OutOfMemoryError:
        return None


def _compared(pair: Pair, prefill: Prefill, options: argparse.Namespace) -> list[Group]:
    """One row: ours beside the plain sides."""
    ours = _ours(pair, prefill, 1, options)
    stock = plain_pair(pair)

    def plain(committed: int) -> PlainLoop:
        return plain_loop(stock, prefill, block_size=pair.draft.config.block_size, committed=committed)

    def guiding() -> Side:
        loop = plain(1)
        return plain_side(stock, lambda: loop.guide(ALPHA))

    return [
        {
            "ours, autoregressive": ours["ours, autoregressive"],
            "generate of transformers": (lambda: generate_side(stock, prefill), 1),
        },
        {
            "ours, speculative": ours["ours, speculative"],
            "plain loop, speculative": (
                lambda: plain_side(stock, plain(options.committed).speculate),
                options.committed,
            ),
        },
        {
            "ours, guided": ours["ours, guided"],
            "ours, guided token by token": ours["ours, guided token by token"],
            "plain loop, guided token by token": (guiding, 1),
        },
    ]


def _alone(group: Group) -> list[Group]:
    """Sides one after the other: the caches of several rows, or of a long context, may fill the card."""
    return [{name: side} for name, side in group.items()]


def _ours(pair: Pair, prefill: Prefill, rows: int, options: argparse.Namespace) -> Group:
    size, guided = pair.draft.config.block_size, options.guided_committed
    verify = options.verify_size or size

    def make(mode: Mode, committed: int, verify_size: int = 0) -> Callable[[], Side]:
        return lambda: stepping(
            engine(pair, prefill, mode=mode, rows=rows, block_size=size, committed=committed, verify_size=verify_size)
        )

    return {
        "ours, autoregressive": (make("target", 1), 1),
        "ours, speculative": (make("speculative", options.committed), options.committed),
        "ours, guided": (make("guided", guided, verify), guided),
        "ours, guided token by token": (make("guided", 1, 1), 1),
    }


def _line(
    context: int, rows: int, side: str, timing: Timing | None, tokens: int, floor: float | None
) -> dict[str, Any]:
    return {
        "context": context,
        "rows": rows,
        "side": side,
        "cycle, ms": "out of memory" if timing is None else milliseconds(timing.median),
        "shortest, ms": None if timing is None else milliseconds(timing.least),
        "tokens/s": None if timing is None else tokens / timing.median,
        "floor, ms": None if floor is None else milliseconds(floor),
        "times the floor": None if floor is None or timing is None else timing.median / floor,
    }


if __name__ == "__main__":
    main()
