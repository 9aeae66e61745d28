"""What self-study costs: writing texts about a context, and steps on them, ours and written plainly.

python -m benchmarks.self_study --shape qwen3-8b --contexts 8192 --samples 128 --tokens 160 --out results/self_study
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.peak import peak_during
from benchmarks.plain import filled_cache, stock_model
from benchmarks.plain_adapt import PlainAdaptation
from benchmarks.report import Report, finish, gigabytes, shape_arguments, use_threads
from benchmarks.shapes import build_pair, default_dtype, random_prefill
from benchmarks.timing import synchronise
from dftt.adaptation.lessons import Lessons
from dftt.adaptation.self_study import Study, write_rows
from dftt.adaptation.ttt import ttt_adapt
from dftt.models.pair import Pair
from dftt.types import LORA_MODULES, Prefill, Prompt, TTTSpec

ASKED = 24  # tokens of an instruction
PLAIN_ROWS, PLAIN_STEPS = 8, 20  # what the plain sides are timed at: theirs grow in proportion
MODULES = {
    "all": LORA_MODULES,
    "without fc": tuple(name for name in LORA_MODULES if name != "fc"),
    "fc, q, k, v": ("fc", "q_proj", "k_proj", "v_proj"),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = shape_arguments("Seconds and memory of self-study on random weights.")
    parser.add_argument("--samples", type=int, default=128, help="texts")
    parser.add_argument("--tokens", type=int, default=160, help="tokens of each")
    parser.add_argument("--steps", type=int, default=300, help="optimiser steps")
    parser.add_argument("--anchors", type=int, default=64, help="blocks per step")
    parser.add_argument("--rank", type=int, default=16, help="rank of LoRA")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> Report:
    """Measure all contexts and report."""
    options = parse(arguments)
    use_threads(options)
    device = torch.device(options.device)
    dtype = default_dtype(device, options.dtype)
    pair = build_pair(options.shape, device=device, dtype=dtype, block_size=options.block_size)
    settings = {name: getattr(options, name) for name in ("samples", "tokens", "steps", "anchors", "rank")}
    return finish(
        Report(
            f"Self-study, {options.shape} shape, random weights",
            {"precision": str(dtype).removeprefix("torch."), "block": pair.draft.config.block_size, **settings},
            [line for context in options.contexts for line in measure(pair, context, options)],
            [
                "Ours: the second of two runs, compiling and capturing of kernels left out of the first line.",
                f"Plain writing: generate of transformers, {PLAIN_ROWS} rows at a time, a copy of the context each.",
                f"Plain steps: eager autograd, {PLAIN_STEPS} steps timed, the rest in proportion.",
                "Added memory: peak above what was allocated before (on a CPU, of the whole process so far).",
            ],
        ),
        options,
    )


def measure(pair: Pair, context: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Lines of writing and of steps by modules, at this context."""
    prefill = random_prefill(pair, context)
    spec = TTTSpec(
        steps=options.steps,
        anchors=options.anchors,
        rank=options.rank,
        lora_alpha=2.0 * options.rank,
        learns_from="self_study",
        study_samples=options.samples,
        study_tokens=options.tokens,
    )
    studies: list[Study] = []
    generator = torch.Generator().manual_seed(0)
    asked = torch.randint(0, pair.target.vocab_size, (options.samples, ASKED), generator=generator).tolist()
    ours = _twice(lambda: studies.append(write_rows(pair, prefill, asked, spec)), pair)
    plain = _plain_writing(pair, prefill, options)
    lines = [_line(context, "writing", ours, plain)]
    study = studies[-1]
    lessons = Lessons(pair.draft, prefill, context, spec, study)
    for name, modules in MODULES.items():
        made = replace(spec, modules=modules)
        adapt = partial(ttt_adapt, pair, Prompt(prefill.input_ids), made, prefill=prefill, study=study)
        ours = _twice(adapt, pair)
        lines.append(_line(context, f"steps, {name}", ours, _plain_steps(pair, lessons, made)))
    return lines


def _line(context: int, what: str, ours: tuple[float, int | None], plain: float | None) -> dict[str, Any]:
    seconds, added = ours
    return {
        "context": context,
        "what": what,
        "ours, s": seconds,
        "plain, s": plain,
        "ratio": None if plain is None else plain / seconds,
        "added memory, GB": None if added is None else gigabytes(added),
    }


def _twice(run: Callable[[], object], pair: Pair) -> tuple[float, int | None]:
    """Seconds of a second run, and the bytes that it adds at its peak."""
    run()
    synchronise(pair.target.device)
    begun = time.perf_counter()

    def timed() -> None:
        run()
        synchronise(pair.target.device)

    peak = peak_during(timed, pair.target.device)
    return time.perf_counter() - begun, None if peak is None else peak[1] - peak[0]


def _plain_writing(pair: Pair, prefill: Prefill, options: argparse.Namespace) -> float | None:
    """Seconds of `generate` for all texts, from those of the rows that are made at a time."""
    model, rows = pair.target.model, PLAIN_ROWS
    ids = torch.tensor([[*prefill.input_ids, *([1] * ASKED)]] * rows, device=pair.target.device)
    cache, tokens = filled_cache(prefill, rows), options.tokens
    with stock_model(model), torch.no_grad():
        synchronise(pair.target.device)
        begun = time.perf_counter()
        model.generate(ids, past_key_values=cache, do_sample=True, max_new_tokens=tokens, min_new_tokens=tokens)
        synchronise(pair.target.device)
    return (time.perf_counter() - begun) * options.samples / rows


def _plain_steps(pair: Pair, lessons: Lessons, spec: TTTSpec) -> float | None:
    """Seconds of all steps in eager autograd, from those of some; None where they do not fit."""
    loop = PlainAdaptation(pair, lessons, spec)
    try:
        loop.step()
        synchronise(pair.target.device)
        begun = time.perf_counter()
        for _ in range(PLAIN_STEPS):
            loop.step()
        synchronise(pair.target.device)
        return (time.perf_counter() - begun) * spec.steps / PLAIN_STEPS
    except torch.OutOfMemoryError:
        return None
    finally:
        loop.close()


if __name__ == "__main__":
    main()
