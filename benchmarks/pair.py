"""The bundled pair end to end on the user's prompts, and what its passes cost at each block size.

python -m benchmarks.pair --prompts gsm8k_test.jsonl --count 16
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.plain import generate_seconds
from benchmarks.report import Report, common_arguments, finish, milliseconds, use_threads
from benchmarks.sides import passes
from benchmarks.timing import Side, alternate, repeated
from dftt.decoding.generate import generate
from dftt.models import bundled
from dftt.models.pair import BUNDLED, Pair, load_pair
from dftt.types import DecodingSpec, Mode, Prompt

_MODES: tuple[Mode, ...] = ("target", "speculative")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = common_arguments("Speed of the bundled pair on CPU: prompts end to end, and the passes of a cycle.")
    parser.add_argument("--draft", help="folder of another draft for the bundled target")
    parser.add_argument("--prompts", type=Path, required=True, help="JSON lines with a question, problem or prompt")
    parser.add_argument("--count", type=int, default=16, help="how many of the first prompts")
    parser.add_argument("--new-tokens", type=int, default=128, help="tokens per answer")
    parser.add_argument("--block-sizes", type=int, nargs="+", default=[8, 10, 16], help="sizes whose passes are timed")
    parser.add_argument("--at-tau", type=float, default=2.8, help="acceptance length to work out the speed-up for")
    parser.set_defaults(device="cpu")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> tuple[Report, Report]:
    """Run both parts; returns (passes, end to end)."""
    options = parse(arguments)
    use_threads(options)
    pair = load_pair(draft=options.draft)
    prompts = read_prompts(pair, options.prompts, options.count)
    reference = AutoModelForCausalLM.from_pretrained(
        bundled.target_folder(BUNDLED), dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    setting = {"pair": f"{BUNDLED} and {options.draft or 'its draft'}", "precision": "float32"}
    of_passes = finish(_passes(pair, reference, prompts[0], options, setting), _named(options, "passes"))
    decoded = finish(_end_to_end(pair, reference, prompts, options, setting), _named(options, "prompts"))
    return of_passes, decoded


def read_prompts(pair: Pair, path: Path, count: int) -> list[Prompt]:
    """The first prompts of a file of JSON lines, as chat turns.

    Raises:
        ValueError: If a line has none of the fields that are understood.
    """
    prompts = []
    with path.open(encoding="utf-8") as lines:
        for _, line in zip(range(count), lines, strict=False):
            row = json.loads(line)
            text = next((row[field] for field in ("question", "problem", "prompt") if row.get(field)), None)
            if text is None:
                raise ValueError(f"{path}: a line has none of question, problem, prompt; it has {sorted(row)}")
            prompts.append(pair.encode([{"role": "user", "content": text}]))
    return prompts


def _passes(pair: Pair, reference: Any, prompt: Prompt, options: argparse.Namespace, setting: Any) -> Report:
    prefill = pair.prefill(prompt)
    device = pair.target.device
    sides: dict[str, Side] = {"generate": lambda cycles: generate_seconds(reference, prefill, cycles)}
    for size in [1, *options.block_sizes]:
        for name, run in passes(pair, prefill, size).items():
            sides[f"{name} {size}"] = repeated(run, device)
    times = alternate(sides, cycles=options.cycles)
    plain = times["verify 1"].median
    rows = []
    for size in options.block_sizes:
        verify, draft = times[f"verify {size}"].median, times[f"draft {size}"].median
        rows.append(
            {
                "block": size,
                "generate of transformers, ms": milliseconds(times["generate"].median),
                "autoregressive pass, ms": milliseconds(plain),
                "verify pass, ms": milliseconds(verify),
                "draft pass, ms": milliseconds(draft),
                "break-even τ": (verify + draft) / plain,
                f"speed-up at τ {options.at_tau}": options.at_tau * plain / (verify + draft),
            }
        )
    return Report(
        "Passes of the bundled pair",
        {**setting, "context": len(prompt), "cycles": times["verify 1"].cycles},
        rows,
        ["Medians, all sides in turns. A block may be larger than the draft was trained with: only its time counts."],
    )


def _end_to_end(pair: Pair, reference: Any, prompts: list[Prompt], options: argparse.Namespace, setting: Any) -> Report:
    totals = {name: [0.0, 0] for name in ("generate", *_MODES)}
    committed = steps = equal = 0
    for number, prompt in enumerate(prompts):
        prefill = pair.prefill(prompt)
        answers = {}
        # Every other prompt in the other order.
        for mode in _MODES[:: -1 if number % 2 else 1]:
            spec = DecodingSpec(mode=mode, max_new_tokens=options.new_tokens)
            answers[mode] = generate(pair, prompt, spec, prefill=prefill)
            totals[mode][0] += answers[mode].seconds
            totals[mode][1] += len(answers[mode].token_ids)
        seconds = generate_seconds(reference, prefill, len(answers["target"].token_ids))
        totals["generate"][0] += sum(seconds)
        totals["generate"][1] += len(seconds)
        equal += answers["target"].token_ids == answers["speculative"].token_ids
        committed += sum(answers["speculative"].acceptance_lengths)
        steps += len(answers["speculative"].acceptance_lengths)
    rates = {name: tokens / seconds for name, (seconds, tokens) in totals.items()}
    row = {
        "generate of transformers, tokens/s": rates["generate"],
        "autoregressive, tokens/s": rates["target"],
        "speculative, tokens/s": rates["speculative"],
        "τ": committed / steps,
        "speculative over autoregressive": rates["speculative"] / rates["target"],
        "autoregressive over generate": rates["target"] / rates["generate"],
        "equal answers": f"{equal} of {len(prompts)}",
    }
    return Report(
        "The bundled pair on prompts",
        {**setting, "prompts": f"{options.prompts.name}, first {len(prompts)}", "new tokens": options.new_tokens},
        [row],
        ["Tokens over seconds, summed over prompts; decoding only, the prefill is shared. T = 0."],
    )


def _named(options: argparse.Namespace, part: str) -> argparse.Namespace:
    out = None if options.out is None else options.out.with_name(f"{options.out.name}-{part}")
    return argparse.Namespace(**{**vars(options), "out": out})


if __name__ == "__main__":
    main()
