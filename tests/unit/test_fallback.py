"""Out of memory is not the end of a study."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dftt.adaptation import steps
from dftt.adaptation.losses import block_loss
from dftt.adaptation.ttt import rungs, ttt_adapt
from dftt.models.pair import Pair
from dftt.types import TTTSpec
from tests.fakes import random_prompt

SPEC = TTTSpec(steps=3, warmup=1, anchors=20)
CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried ..."


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Pair:
    """The tiny Qwen3 pair."""
    return tiny_pair("qwen3")


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the first so many losses fail."""

    def install(times: int, error: RuntimeError) -> None:
        calls = iter(range(1000))

        def failing(*args, **kwargs):
            if next(calls) < times:
                raise error
            return block_loss(*args, **kwargs)

        monkeypatch.setattr(steps, "block_loss", failing)

    return install


def test_the_ladder_is_checkpointing_fewer_anchors_fc_only() -> None:
    steps = list(rungs(replace(SPEC, anchors=64), any_modules=True))
    assert [name for _, name in steps] == [
        "",
        "gradient checkpointing",
        "32 anchors",
        "16 anchors",
        "8 anchors",
        "LoRA on fc only",
    ]
    assert steps[0][0] == replace(SPEC, anchors=64)
    assert steps[-1][0] == replace(SPEC, anchors=8, checkpointing=True, modules=("fc",))


@pytest.mark.parametrize(
    ("spec", "any_modules", "names"),
    [
        (replace(SPEC, checkpointing=True, anchors=4), True, ["", "LoRA on fc only"]),
        (replace(SPEC, checkpointing=True, anchors=4), False, [""]),
        (replace(SPEC, checkpointing=True, anchors=4, modules=("q_proj",)), True, [""]),
    ],
)
def test_rungs_that_would_change_nothing_are_left_out(spec: TTTSpec, any_modules: bool, names: list[str]) -> None:
    assert [name for _, name in rungs(spec, any_modules=any_modules)] == names


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RuntimeError(CPU_MESSAGE)])
def test_a_full_memory_is_met_with_a_cheaper_adaptation(pair: Pair, full, error, caplog) -> None:
    full(2, error)
    with caplog.at_level(logging.WARNING, logger="dftt"):
        adapted = ttt_adapt(pair, random_prompt(60), SPEC)
    assert adapted.fallbacks == ("gradient checkpointing", "10 anchors")
    assert [record.message for record in caplog.records] == [
        "ttt_adapt ran out of memory and starts again with gradient checkpointing",
        "ttt_adapt ran out of memory and starts again with 10 anchors",
    ]


def test_a_cheaper_adaptation_is_the_one_asked_for_that_way(pair: Pair, full) -> None:
    wanted = ttt_adapt(pair, random_prompt(60), replace(SPEC, anchors=8, checkpointing=True, modules=("fc",)))
    full(4, torch.OutOfMemoryError("full"))
    adapted = ttt_adapt(pair, random_prompt(60), SPEC)
    assert adapted.adapter.modules == ("fc",)
    assert adapted.losses == wanted.losses


def test_enough_memory_gives_up_nothing(pair: Pair) -> None:
    assert ttt_adapt(pair, random_prompt(60), SPEC).fallbacks == ()


def test_a_context_that_never_fits_leaves_the_pair_clean(pair: Pair, full) -> None:
    full(100, torch.OutOfMemoryError("full"))
    with pytest.raises(MemoryError, match="60 tokens does not fit"):
        ttt_adapt(pair, random_prompt(60), SPEC)
    assert not any("lora" in name for name in pair.draft.state_dict())
    assert not pair.draft.checkpointing


def test_other_errors_are_not_swallowed(pair: Pair, full) -> None:
    full(1, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        ttt_adapt(pair, random_prompt(60), SPEC)
