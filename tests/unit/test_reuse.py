"""Leaving out repeated work changes no bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from dftt.adaptation import ttt
from dftt.adaptation.reuse import reused
from dftt.adaptation.ttt import ttt_adapt
from dftt.models.draft import DFlashDraft
from dftt.models.lora import attach_, detach_
from dftt.models.pair import Pair
from dftt.types import LORA_MODULES, TTTSpec
from tests.fakes import random_prompt

SPEC = TTTSpec(steps=5, warmup=1, anchors=4)
QKV = ("q_proj", "k_proj", "v_proj")


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Pair:
    """The tiny Qwen3 pair."""
    return tiny_pair("qwen3")


@contextmanager
def nothing_reused(draft: DFlashDraft) -> Iterator[None]:
    yield


@contextmanager
def counted(module: torch.nn.Module) -> Iterator[list[int]]:
    """Inputs, by token count, that a module has worked on."""
    seen: list[int] = []
    own = module.forward
    module.forward = lambda states: seen.append(states.shape[1]) or own(states)
    yield seen
    del module.forward


@pytest.mark.parametrize("modules", [("fc", *QKV), QKV, ("fc",), ("q_proj", "o_proj")], ids="+".join)
def test_adaptation_is_bitwise_what_it_is_without(pair: Pair, modules, monkeypatch) -> None:
    spec = TTTSpec(steps=5, warmup=1, anchors=4, modules=modules)
    with_reuse = ttt_adapt(pair, random_prompt(40), spec)
    monkeypatch.setattr(ttt, "reused", nothing_reused)
    without = ttt_adapt(pair, random_prompt(40), spec)
    assert with_reuse.losses == without.losses
    for name, tensor in without.adapter.weights.items():
        assert torch.equal(with_reuse.adapter.weights[name], tensor)


def test_the_context_passes_fc_once(pair: Pair) -> None:
    with counted(pair.draft.fc) as seen:
        ttt_adapt(pair, random_prompt(40), SPEC)
    assert seen == [40]


def test_without_lora_on_fc_the_context_is_read_once(pair: Pair) -> None:
    attention = pair.draft.draft_layers()[1].self_attn
    with counted(attention.k_proj) as keys, counted(attention.v_proj) as values:
        ttt_adapt(pair, random_prompt(40), TTTSpec(steps=5, warmup=1, anchors=4, modules=("q_proj",)))
    assert keys.count(40) == values.count(40) == 1
    assert len(keys) == 1 + 5  # and the blocks' own, at every step


def test_changed_features_are_read_again(pair: Pair) -> None:
    features = torch.randn(1, 6, 3 * 32)
    positions = torch.arange(6)[None]
    with torch.no_grad(), reused(pair.draft):
        pair.draft.read_context(features, positions)
        features += 1
        got = pair.draft.read_context(features, positions)
    with torch.no_grad():
        wanted = pair.draft.read_context(features, positions)
    assert torch.equal(got[0][0], wanted[0][0])


def test_nothing_is_left_behind(pair: Pair) -> None:
    with reused(pair.draft):
        assert "forward" in pair.draft.fc.__dict__
    assert not any("forward" in module.__dict__ for module in pair.draft.modules())


@pytest.mark.parametrize("modules", [("fc", *QKV), LORA_MODULES], ids=["some", "all"])
def test_checkpointing_changes_no_bit(pair: Pair, modules) -> None:
    spec = TTTSpec(steps=5, warmup=1, anchors=4, modules=modules)
    with counted(pair.draft.draft_layers()[0].mlp) as plain_passes:
        plain = ttt_adapt(pair, random_prompt(40), spec)
    with counted(pair.draft.draft_layers()[0].mlp) as passes:
        recomputed = ttt_adapt(pair, random_prompt(40), replace(spec, checkpointing=True))
    assert len(passes) > len(plain_passes)  # it did recompute
    assert recomputed.losses == plain.losses
    assert recomputed.adapter.weights.keys() == plain.adapter.weights.keys()
    assert all(torch.equal(recomputed.adapter.weights[name], tensor) for name, tensor in plain.adapter.weights.items())
    assert not pair.draft.checkpointing


def test_checkpointing_keeps_less(pair: Pair) -> None:
    def kept(checkpointing: bool) -> int:
        pair.draft.checkpointing = checkpointing
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            pair.draft.read_context(torch.randn(1, 50, 3 * 32), torch.arange(50)[None])
        return sum(sizes)

    attach_(pair.draft, rank=2, lora_alpha=4, modules=("fc", "q_proj"), seed=0)
    try:
        assert kept(True) < kept(False)
    finally:
        pair.draft.checkpointing = False
        detach_(pair.draft)
