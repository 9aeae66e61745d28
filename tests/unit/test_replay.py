"""Replaying an answer gives the distributions that it was drawn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.decoding.replay import TokenTrace, replay
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt, TTTSpec

LENGTH = 24
Made = Callable[..., tuple[Pair, Prompt]]


def traced(pair: Pair, prompt: Prompt, **options: object) -> tuple[TokenTrace, ...]:
    spec = DecodingSpec(max_new_tokens=LENGTH, ignore_eos=True, **options)  # pyright: ignore[reportArgumentType]
    return replay(pair, prompt, spec, generate(pair, prompt, spec))


@pytest.mark.parametrize("mode", ["target", "speculative"])
def test_a_greedy_answer_is_the_targets_best_at_every_position(good_pair: Made, mode: str) -> None:
    tokens = traced(*good_pair(), mode=mode)
    assert len(tokens) == LENGTH
    assert [token.target.token_ids[0] for token in tokens] == [token.token_id for token in tokens]
    assert all(token.guided is None for token in tokens)


@pytest.mark.parametrize("alpha", [-0.5, 0.4, 1.0])
@pytest.mark.parametrize("verify_size", [1, 4])
def test_a_greedy_guided_answer_is_the_guided_best(good_pair: Made, alpha: float, verify_size: int) -> None:
    tokens = traced(*good_pair(), mode="guided", alpha=alpha, verify_size=verify_size)
    for token in tokens:
        assert token.guided is not None
        assert token.draft is not None
        assert token.guided.token_ids[0] == token.token_id
        if alpha == 1.0:
            assert token.guided == token.draft


def test_accepted_proposals_are_the_drafts_best(good_pair: Made) -> None:
    tokens = traced(*good_pair(), mode="speculative")
    block = good_pair()[0].draft.config.block_size
    assert {token.accepted for token in tokens} == {True, False}
    for token in tokens:
        if token.slot in (0, block):
            assert token.draft is None
        else:
            assert token.draft is not None
            assert (token.draft.token_ids[0] == token.token_id) == token.accepted


def test_slots_follow_the_acceptance_lengths(good_pair: Made) -> None:
    pair, prompt = good_pair()
    spec = DecodingSpec(mode="speculative", max_new_tokens=LENGTH, ignore_eos=True)
    generation = generate(pair, prompt, spec)
    slots = [0, *(slot for length in generation.acceptance_lengths for slot in range(1, length + 1))]
    assert [token.slot for token in replay(pair, prompt, spec, generation)] == slots[:LENGTH]


def test_sampled_answers_are_replayed_token_for_token(good_pair: Made) -> None:
    pair, prompt = good_pair()
    spec = DecodingSpec(mode="guided", alpha=0.3, temperature=0.8, max_new_tokens=LENGTH, ignore_eos=True)
    generation = generate(pair, prompt, spec)
    tokens = replay(pair, prompt, spec, generation)
    assert tuple(token.token_id for token in tokens) == generation.token_ids
    assert any(token.token_id != token.guided.token_ids[0] for token in tokens if token.guided)


def test_an_adaptation_changes_the_draft_and_leaves_the_target(good_pair: Made) -> None:
    pair, prompt = good_pair()
    # At alpha 0 a guided answer asks no draft.
    spec = DecodingSpec(mode="guided", alpha=0.3, max_new_tokens=8, ignore_eos=True)
    adaptation = ttt_adapt(pair, prompt, TTTSpec(steps=5, anchors=4, lr=0.01))
    generation = generate(pair, prompt, spec)
    base, adapted = (replay(pair, prompt, spec, generation, adaptation=each) for each in (None, adaptation))
    assert [token.target for token in base] == [token.target for token in adapted]
    assert all(a.draft != b.draft for a, b in zip(base, adapted, strict=True))


def test_lengths_of_another_spec_are_refused(good_pair: Made) -> None:
    pair, prompt = good_pair()
    spec = DecodingSpec(mode="speculative", max_new_tokens=LENGTH, ignore_eos=True)
    generation = generate(pair, prompt, spec)
    with pytest.raises(ValueError, match="give the spec it was decoded with"):
        replay(pair, prompt, spec, replace(generation, acceptance_lengths=(99,)))
    with pytest.raises(ValueError, match="top_k must be >= 1, got 0"):
        replay(pair, prompt, spec, generation, top_k=0)
