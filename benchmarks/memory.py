"""Peak memory of prefill, decoding and adaptation against the length of the context, ours and plain.

python -m benchmarks.memory --shape qwen3-8b --contexts 1024 8192 32768 90000 --out results/memory
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from benchmarks.peak import peak_during
from benchmarks.plain import stock_model
from benchmarks.report import Report, finish, gigabytes, shape_arguments, use_threads
from benchmarks.shapes import build_pair, default_dtype
from dftt.adaptation.steps import FEWEST_STEPS
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.generate import resolve_sizes
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt, TTTSpec


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = shape_arguments("Peak memory by context length, on random weights.")
    parser.add_argument("--anchors", type=int, default=64, help="blocks per step of adaptation")
    parser.add_argument("--new-tokens", type=int, default=32, help="tokens decoded after the prompt")
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
            f"Peak memory, {options.shape} shape, random weights",
            {"precision": str(dtype).removeprefix("torch."), "anchors": options.anchors},
            rows,
            [
                "Plain prefill: one pass with DynamicCache, stock SDPA and all hidden states kept.",
                "On a CPU the peak is that of the whole process so far: read the first line that reaches it.",
            ],
        ),
        options,
    )


def measure(pair: Pair, context: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One line per kind of work at this context."""
    generator = torch.Generator().manual_seed(context)
    prompt = Prompt(tuple(torch.randint(0, pair.target.vocab_size, (context,), generator=generator).tolist()))
    spec = DecodingSpec(max_new_tokens=options.new_tokens, ignore_eos=True)
    adapting = TTTSpec(steps=FEWEST_STEPS, anchors=options.anchors)  # enough to be captured where steps are
    host = torch.device("cpu")
    works: dict[str, Callable[[], object]] = {
        "ours, prefill": lambda: pair.prefill(prompt),
        "ours, prefill with features in host memory": lambda: pair.prefill(prompt, features_on=host),
        "ours, prompt read and decoded": lambda: read_and_decode(pair, prompt, spec),
        "ours, prefill and adaptation": lambda: ttt_adapt(pair, prompt, adapting),
        "plain, prefill": lambda: plain_prefill(pair, prompt),
    }
    return [_line(context, name, peak_during(work, pair.target.device)) for name, work in works.items()]


def read_and_decode(pair: Pair, prompt: Prompt, spec: DecodingSpec) -> tuple[int, ...]:
    """New tokens of a prompt, the prefill made inside the engine: nothing is held twice."""
    resolved = resolve_sizes(spec, pair.draft.config.block_size)
    drafter = DFlashDrafter(pair.draft, pair.target)
    engine = Engine(pair.target, drafter, resolved, [prompt.input_ids], [None], [0])
    while engine.active:
        engine.step()
    return tuple(engine.new_tokens(0))


@torch.no_grad()
def plain_prefill(pair: Pair, prompt: Prompt) -> torch.Tensor:
    """The prompt read as the published loop does: logits of its last token, and features out of all hidden states."""
    model = pair.target.model
    with stock_model(model):
        out = model(
            torch.tensor([prompt.input_ids], device=pair.target.device),
            past_key_values=DynamicCache(),
            use_cache=True,
            output_hidden_states=True,
            logits_to_keep=1,
        )
    return torch.cat([out.hidden_states[tap] for tap in pair.draft.config.tap_ids], dim=-1)


def _line(context: int, name: str, peak: tuple[int, int] | None) -> dict[str, Any]:
    return {
        "context": context,
        "work": name,
        "before, GB": None if peak is None else gigabytes(peak[0]),
        "peak, GB": "out of memory" if peak is None else gigabytes(peak[1]),
    }


if __name__ == "__main__":
    main()
