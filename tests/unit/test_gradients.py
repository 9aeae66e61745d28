"""Gradients that are replayed, with a replay that runs the computation again in place of a CUDA graph."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from dftt.adaptation import ttt
from dftt.adaptation.steps import Replay
from dftt.adaptation.ttt import Adaptation, ttt_adapt
from dftt.models.pair import Pair
from dftt.types import TTTSpec
from tests.fakes import random_prompt

SPEC = TTTSpec(steps=6, anchors=5, warmup=1)
PROMPT = random_prompt(30)


class Captures:
    """Captures by writing down what is to be computed, as a graph does: it reads the tensors of that moment again."""

    def __init__(self) -> None:
        self.made = 0
        self.replayed = 0

    def __call__(self, compute: Replay, device: torch.device) -> Replay:
        self.made += 1
        compute()

        def replay() -> tuple[torch.Tensor, torch.Tensor]:
            self.replayed += 1
            return compute()

        return replay


@pytest.fixture
def pair(tiny_pair) -> Pair:
    return tiny_pair("qwen3")


def under(monkeypatch: pytest.MonkeyPatch, pair: Pair, capture, spec: TTTSpec = SPEC) -> Adaptation:
    with monkeypatch.context() as patched:
        patched.setattr(ttt, "capture_for", lambda *_: capture)
        return ttt_adapt(pair, PROMPT, spec)


def assert_same(first: Adaptation, second: Adaptation) -> None:
    assert first.losses == second.losses
    assert all(torch.equal(second.adapter.weights[name], tensor) for name, tensor in first.adapter.weights.items())


def test_replayed_steps_are_the_plain_ones(pair: Pair, monkeypatch) -> None:
    captures = Captures()
    assert_same(under(monkeypatch, pair, captures), under(monkeypatch, pair, None))
    assert (captures.made, captures.replayed) == (1, SPEC.steps)


def test_what_was_captured_goes_without_the_garbage_collector(pair: Pair, monkeypatch) -> None:
    made = []

    def capture(compute: Replay, device: torch.device) -> Replay:
        replay = Captures()(compute, device)
        made.append(weakref.ref(replay))
        return replay

    gc.disable()
    try:
        under(monkeypatch, pair, capture)
        assert [each() for each in made] == [None]
    finally:
        gc.enable()


def test_where_nothing_can_be_captured_steps_are_plain(pair: Pair, monkeypatch, caplog) -> None:
    def failing(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    adaptation = under(monkeypatch, pair, failing)
    assert_same(adaptation, under(monkeypatch, pair, None))
    assert adaptation.fallbacks == ()
    assert [record.getMessage() for record in caplog.records] == [
        "a step of adaptation cannot be captured here (operation not permitted when stream is capturing); "
        "running it plainly"
    ]


def test_a_capture_without_memory_is_tried_in_a_cheaper_way(pair: Pair, monkeypatch) -> None:
    captures = Captures()

    def scarce(compute: Replay, device: torch.device) -> Replay:
        if not pair.draft.checkpointing:
            raise torch.OutOfMemoryError
        return captures(compute, device)

    assert under(monkeypatch, pair, scarce).fallbacks == ("gradient checkpointing",)
    assert captures.made == 1


def test_a_replayed_step_that_is_not_finite_is_taken_back(pair: Pair, monkeypatch) -> None:
    def broken(compute: Replay, device: torch.device) -> Replay:
        replays = iter(range(SPEC.steps))
        return lambda: (compute()[0] * (float("nan") if next(replays) == 3 else 1.0), torch.tensor(1.0))

    adaptation = under(monkeypatch, pair, broken)
    assert len(adaptation.losses) == 3
    assert adaptation.stopped.startswith("non-finite loss or gradient at step 3")
