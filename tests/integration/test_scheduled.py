"""Decoding with a block size that changes from cycle to cycle."""

from dataclasses import replace

import pytest

from dftt.decoding.costs import measure_costs
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.generate import generate
from dftt.decoding.schedule import BlockScheduler
from dftt.types import DecodingSpec
from tests.fakes import random_prompt

SPEC = DecodingSpec(max_new_tokens=50, ignore_eos=True)
COSTS = {1: {1: 1.0, 2: 1.1, 3: 1.2, 4: 1.3}}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_changing_sizes_are_lossless(good_pair, temperature: float) -> None:
    pair, prompt = good_pair("qwen3")
    spec = replace(SPEC, temperature=temperature)
    scheduler = BlockScheduler(COSTS, probing=0.3)
    answer = generate(pair, prompt, spec, scheduler=scheduler)
    assert answer.token_ids == generate(pair, prompt, replace(spec, mode="target")).token_ids
    assert scheduler.expected_tokens()[4] != BlockScheduler(COSTS).expected_tokens()[4]  # it has seen every cycle


def test_rows_of_different_lengths_are_lossless_too(good_pair) -> None:
    pair, prompt = good_pair("qwen3")
    prompts = [prompt, random_prompt(21, seed=9)]
    answers = generate(pair, prompts, SPEC, scheduler=BlockScheduler(COSTS, probing=0.3))
    plain = generate(pair, prompts, replace(SPEC, mode="target"))
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in plain]


def test_costs_are_measured_for_every_size_and_row_count(tiny_pair) -> None:
    costs = measure_costs(tiny_pair("qwen3"), [1, 2, 4], rows=[1, 2], context_length=20, cycles=2)
    assert {rows: list(each) for rows, each in costs.items()} == {1: [1, 2, 4], 2: [1, 2, 4]}
    assert BlockScheduler(costs).largest == 4


@pytest.mark.parametrize("size", [0, 5])
def test_a_size_the_draft_cannot_do_is_refused(tiny_pair, size: int) -> None:
    with pytest.raises(ValueError, match=f"block size {size}"):
        measure_costs(tiny_pair("qwen3"), [size])


@pytest.mark.parametrize("spec", [replace(SPEC, mode="target"), replace(SPEC, block_size=2)])
def test_a_scheduler_that_does_not_fit_the_spec_is_refused(tiny_pair, spec: DecodingSpec) -> None:
    with pytest.raises(ValueError, match="scheduler"):
        generate(tiny_pair("qwen3"), random_prompt(), spec, scheduler=BlockScheduler(COSTS))


def test_scripted_acceptance_commits_what_it_is_told(tiny_pair) -> None:
    pair, prompt = tiny_pair("qwen3"), random_prompt()
    spec = replace(SPEC, block_size=4)
    drafter = DFlashDrafter(pair.draft, pair.target)
    engine = Engine(
        pair.target,
        drafter,
        spec,
        [prompt.input_ids],
        [None],
        [0],
        accept=lambda proposed, _: proposed.new_full((1,), 2),
    )
    for _ in range(4):
        engine.step()
    assert engine.rows[0].acceptance_lengths == [3, 3, 3, 3]
