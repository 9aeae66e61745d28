"""All benchmarks of a named shape in one command; what fails is reported at the end and loses nothing else.

    python -m benchmarks.everything --shape qwen3-8b --out results

Writes OUT/<name>.json and OUT/<name>.md as soon as each is measured: decoding by context and by rows, adaptation,
memory, compute budget; and how each cost grows with the context (`benchmarks.growth`).
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import adapt, budget, decode, growth, memory


def parts(contexts: Sequence[int], rows: Sequence[int]) -> dict[str, tuple[Callable[..., Any], list[str]]]:
    """Name of each part -> its command and the arguments that the shape does not decide."""
    short, every = [str(min(contexts))], [str(context) for context in contexts]
    return {
        "decode": (decode.main, ["--contexts", *every]),
        "rows": (decode.main, ["--contexts", *short, "--rows", *map(str, rows)]),
        "adapt": (adapt.main, ["--contexts", *every]),
        "memory": (memory.main, ["--contexts", *every]),
        "budget": (budget.main, ["--contexts", *every]),
    }


def parse(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """The options, and those that go to every part as they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 8192, 32768, 90000], help="context lengths")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32], help="row counts, at the shortest context")
    parser.add_argument("--only", nargs="+", default=[], help="parts to measure: decode rows adapt memory budget")
    return parser.parse_known_args(arguments)


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """Measure every part; returns the names of those that failed."""
    options, shared = parse(arguments)
    chosen = parts(options.contexts, options.rows)
    if unknown := [name for name in options.only if name not in chosen]:
        raise ValueError(f"--only: unknown {unknown[0]!r}; choose from {', '.join(chosen)}")
    failed = []
    for name, (measure, own) in chosen.items():
        if options.only and name not in options.only:
            continue
        begun = time.perf_counter()
        try:
            measure([*shared, *own, "--out", str(options.out / name)])
        except Exception:  # whatever it is, the other parts can still be measured
            traceback.print_exc()
            failed.append(name)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        print(f"{name}: {time.perf_counter() - begun:.0f} s\n", flush=True)
    if files := [
        str(path) for name in ("decode", "adapt", "memory") if (path := options.out / f"{name}.json").exists()
    ]:
        growth.main([*files, "--out", str(options.out)])
    return failed


if __name__ == "__main__":
    try:
        failures = main()
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.exit(f"failed: {', '.join(failures)}" if failures else 0)
