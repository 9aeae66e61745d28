"""Our side of a comparison: engines behind a random prefill that commit a scripted number of tokens a cycle."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.plain import PlainLoop, generate_seconds, stock_model
from benchmarks.timing import Side, repeated
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.models.acceleration import as_graph
from dftt.models.cache import RowCache, place_on_device
from dftt.models.packed import unpack_
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import DecodingSpec, Mode, Prefill

ALPHA = 0.3
SLACK = 96  # cycles that a side may run, all rounds together


def scripted(committed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """An acceptance that always keeps committed - 1 proposals, at no less work than the real one."""

    def accept(proposed: Tensor, drawn: Tensor) -> Tensor:
        agree = (proposed == drawn[:, : proposed.shape[1]]).long().cumprod(-1).sum(-1)
        return agree * 0 + min(committed - 1, proposed.shape[1])

    return accept


def engine(
    pair: Pair, prefill: Prefill, *, mode: Mode, rows: int, block_size: int, committed: int, verify_size: int = 0
) -> Engine:
    """An engine with `rows` rows behind the prefill; its acceptance is scripted."""
    limit = SLACK * (committed if mode != "target" else 1)
    spec = DecodingSpec(
        mode=mode,
        max_new_tokens=limit,
        alpha=ALPHA,
        block_size=block_size,
        verify_size=verify_size or block_size,
        ignore_eos=True,
    )
    drafter = None if mode == "target" else DFlashDrafter(pair.draft, pair.target)
    ids = [prefill.input_ids] * rows
    return Engine(pair.target, drafter, spec, ids, [prefill] * rows, range(rows), accept=scripted(committed))


def stepping(made: Engine) -> Side:
    """The side that steps an engine."""
    return repeated(made.step, made.target.device)


def replayed(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """A computation as a cycle of ours runs it: on a card as a graph, elsewhere as it is."""
    return as_graph(run, device) if device.type == "cuda" else run


def plain_pair(pair: Pair) -> Pair:
    """The pair for the plain sides: itself on a card, a copy with plain linears on a CPU."""
    if pair.target.device.type != "cpu":
        return pair
    model, draft = copy.deepcopy(pair.target.model), copy.deepcopy(pair.draft)
    unpack_(model)
    unpack_(draft)
    return Pair(Target(model, pair.target.tokenizer, pair.target.name), draft)


def plain_loop(pair: Pair, prefill: Prefill, *, block_size: int, committed: int) -> PlainLoop:
    """The published loop behind the prefill."""
    return PlainLoop(pair.target.model, pair.draft, prefill, 0, block_size=block_size, committed=committed)


def plain_side(pair: Pair, step: Callable[[], object]) -> Side:
    """The side that repeats a step of the plain loop, as transformers has it."""
    timed = repeated(step, pair.target.device)

    def side(cycles: int) -> list[float]:
        with stock_model(pair.target.model):
            return timed(cycles)

    return side


def generate_side(pair: Pair, prefill: Prefill) -> Side:
    """The side of transformers' `generate`."""

    def side(cycles: int) -> list[float]:
        with stock_model(pair.target.model), torch.no_grad():
            return generate_seconds(pair.target.model, prefill, cycles)

    return side


def passes(pair: Pair, prefill: Prefill, size: int) -> dict[str, Callable[[], object]]:
    """The passes of one cycle behind a prefill: the target over `size` tokens, and the draft's block of that size."""
    anchor, taps = len(prefill), pair.draft.config.tap_ids if size > 1 else ()
    cache = RowCache(pair.target.num_layers, rows=1, capacity=anchor + size)
    cache.fill_row(0, prefill.keys, prefill.values)
    drafter = DFlashDrafter(pair.draft, pair.target)
    drafter.begin([prefill.features], capacity=anchor + size)
    at = place_on_device(torch.tensor([anchor], device=pair.target.device), size, capacity=cache.capacity)
    tokens = torch.tensor([prefill.input_ids[:size]], device=pair.target.device)

    @torch.no_grad()
    def verify() -> torch.Tensor:
        hidden, _ = pair.target.forward(tokens, at, cache, tap_ids=taps)
        return pair.target.head(hidden).argmax(-1)

    @torch.no_grad()
    def propose() -> torch.Tensor:
        return drafter.propose(tokens[:, 0], at, lambda logits, _: logits.argmax(-1))

    return {"verify": verify} if size == 1 else {"verify": verify, "draft": propose}
