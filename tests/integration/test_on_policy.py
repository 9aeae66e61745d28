"""Learning from an answer while it is decoded: the tokens stay the target's, and the draft is what it has become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

import dftt.adaptation.online
from dftt.adaptation.lessons import context_batch
from dftt.adaptation.losses import BlockBatch
from dftt.adaptation.online import learning
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.models.lora import Adapter, applied, load_weights_
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, Prefill, Prompt, TTTSpec
from tests.commands import Commands
from tests.fakes import random_prompt
from tests.integration.test_evaluator import records_of

SPEC = DecodingSpec(max_new_tokens=40, ignore_eos=True)
TTT = TTTSpec(steps=9, lr=2e-2, anchors=8, learns_from="generation", every=8)
Made = Callable[..., tuple[Pair, Prompt]]


class Swap:
    """Puts another adapter on the draft once, and remembers the text so far."""

    seconds = 0.0

    def __init__(self, pair: Pair, adapter: Adapter, after: int) -> None:
        self.pair, self.adapter, self.left = pair, adapter, after
        self.text: Prefill | None = None
        self.answer_length = 0

    def is_due(self, new_tokens: int) -> bool:
        self.left -= new_tokens
        return self.text is None and self.left <= 0

    def learn(self, text: Prefill, answer_length: int) -> None:
        self.text = replace(text, features=text.features.clone(), hidden=text.hidden.clone())
        self.answer_length = answer_length
        load_weights_(self.pair.draft, self.adapter.weights)


def swapped(pair: Pair, prompt: Prompt) -> tuple[Generation, Swap, Adapter]:
    """An answer during which the draft changes from one adapter to another."""
    before = ttt_adapt(pair, random_prompt(30, seed=5), TTTSpec(steps=6, lr=2e-2)).adapter
    spec = DecodingSpec("target", 40, ignore_eos=True)
    said = Prompt(prompt.input_ids + generate(pair, prompt, spec).token_ids)
    after = ttt_adapt(pair, said, TTTSpec(steps=40, lr=2e-2)).adapter
    swap = Swap(pair, after, after=10)
    with applied(pair.draft, before):
        made = generate(pair, prompt, SPEC, learner=swap)
    return made, swap, after


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("prefilled", [0, 6, 10])
def test_the_tokens_are_the_targets(good_pair: Made, temperature: float, prefilled: int) -> None:
    pair, prompt = good_pair()
    spec = replace(SPEC, temperature=temperature)
    plain = generate(pair, prompt, replace(spec, mode="target"))
    prefill = pair.prefill(Prompt(prompt.input_ids[:prefilled])) if prefilled else None
    with learning(pair, TTT, answer_tokens=40) as learner:
        made = generate(pair, prompt, spec, learner=learner, prefill=prefill)
        adaptation = learner.adaptation
    assert made.token_ids == plain.token_ids
    assert len(adaptation.losses) >= 7  # an answer may end just before its last update
    assert any(tensor.any() for name, tensor in adaptation.adapter.weights.items() if "lora_B" in name)


def test_the_draft_is_bitwise_what_it_was_afterwards(good_pair: Made) -> None:
    pair, prompt = good_pair()
    before = {name: tensor.clone() for name, tensor in pair.draft.state_dict().items()}
    with learning(pair, TTT, answer_tokens=40) as learner:
        generate(pair, prompt, SPEC, learner=learner)
    after = pair.draft.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_an_updated_draft_proposes_as_a_fresh_one_under_it(good_pair: Made) -> None:
    """Its keys and values of the whole text depend on the adapter, so they are read anew."""
    pair, prompt = good_pair()
    made, swap, adapter = swapped(pair, prompt)
    assert swap.text is not None
    rest = replace(SPEC, max_new_tokens=40 - swap.answer_length)
    with applied(pair.draft, adapter):
        fresh = generate(pair, Prompt(swap.text.input_ids), rest)
    steps = len(fresh.acceptance_lengths)
    assert steps < len(made.acceptance_lengths)
    assert made.acceptance_lengths[-steps:] == fresh.acceptance_lengths
    assert made.token_ids[swap.answer_length :] == fresh.token_ids


def test_the_target_teaches_the_text_so_far(good_pair: Made) -> None:
    pair, prompt = good_pair(dtype="float64")
    _, swap, _ = swapped(pair, prompt)
    assert swap.text is not None
    whole = pair.prefill(Prompt(swap.text.input_ids))
    assert swap.text.input_ids[: len(prompt)] == prompt.input_ids
    torch.testing.assert_close(swap.text.features, whole.features)
    torch.testing.assert_close(swap.text.hidden, whole.hidden)


def test_blocks_are_opened_within_the_answer(good_pair: Made) -> None:
    pair, prompt = good_pair()
    anchors: list[Tensor] = []

    def spied(*arguments: object) -> BlockBatch:
        batch = context_batch(*arguments)  # pyright: ignore[reportArgumentType]
        anchors.append(batch.anchors)
        return batch

    spec = replace(TTT, anchors=100)
    with (
        patch.object(dftt.adaptation.online, "context_batch", spied),
        learning(pair, spec, answer_tokens=40) as learner,
    ):
        generate(pair, prompt, SPEC, learner=learner)
    assert min(int(each.min()) for each in anchors) == len(prompt)
    assert anchors[-1].shape[1] > anchors[0].shape[1]  # the answer grows


def test_the_updates_share_out_the_steps(good_pair: Made) -> None:
    pair, _ = good_pair()
    text = pair.prefill(random_prompt(40))
    with learning(pair, TTT, answer_tokens=34) as learner:  # four updates
        assert not learner.is_due(7)
        assert learner.is_due(1)
        learner.learn(text, 30)
        assert len(learner.steps.losses) == 3
        assert learner.is_due(17)  # two at once
        learner.learn(text, 30)
        assert len(learner.steps.losses) == 7
        assert learner.is_due(7)
        learner.learn(text, 30)
        assert not learner.is_due(100)
        assert len(learner.adaptation.losses) == 9


def test_a_spec_divides_its_steps_between_context_and_answer() -> None:
    spec = replace(TTT, learns_from="context+generation", steps=9)
    assert (spec.before_answer().steps, spec.steps_of("generation")) == (5, 4)
    assert spec.before_answer() == TTTSpec(steps=5, lr=2e-2, anchors=8)
    assert (TTT.before_answer().steps, TTT.steps_of("generation")) == (0, 9)


def test_what_cannot_learn_from_an_answer_is_refused(good_pair: Made) -> None:
    pair, prompt = good_pair()
    with pytest.raises(ValueError, match=r"learns before an answer.*got ttt.learns_from 'generation'"):
        ttt_adapt(pair, prompt, TTT)
    with learning(pair, TTT, answer_tokens=40) as learner:
        with pytest.raises(ValueError, match="one answer at a time, in mode speculative; got 2 prompts"):
            generate(pair, [prompt, prompt], SPEC, learner=learner)
        with pytest.raises(ValueError, match="mode guided"):
            generate(pair, prompt, replace(SPEC, mode="guided"), learner=learner)
    other = ttt_adapt(pair, prompt, TTTSpec(steps=1, rank=2)).adapter
    with pytest.raises(ValueError, match="ttt asks for others"), learning(pair, TTT, answer_tokens=40, initial=other):
        pass


def test_a_study_compares_what_is_learnt_from_at_equal_steps(commands: Commands) -> None:
    flags = (
        "--evaluator.decoding.max_new_tokens=22",
        "--evaluator.decoding.ignore_eos=true",
        *("--model.ttt.anchors=4", "--model.ttt.steps=8", "--model.ttt.lr=0.02", "--model.ttt.every=4"),
        "--evaluator.arms=[{mode: speculative, ttt: own, ttt_overrides: {steps: 4}}]",
        "--evaluator.grid={ttt: [none, own], learns_from: [context, generation, context+generation]}",
    )
    records = records_of(commands("test", *flags, data=commands.contexts("rules", tasks=1)))
    arms = {arm: record for (_, arm), record in records.items()}
    half, both = arms["speculative+own,steps=4"], arms["speculative+own,learns_from=context+generation"]
    during = arms["speculative+own,learns_from=generation"]
    assert len(arms) == 5
    assert len({record.token_ids for record in arms.values()}) == 1
    assert both.adaptation["losses"][:4] == half.adaptation["losses"]  # one adaptation for both
    assert 6 <= during.adaptation["steps"] <= 8
    assert 7 <= both.adaptation["steps"] <= 8
    assert during.adaptation["seconds"] > 0
    assert during.adaptation["settings"]["learns_from"] == "generation"
    assert during.adaptation["settings"]["every"] == 4
