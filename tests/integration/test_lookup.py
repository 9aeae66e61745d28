"""Lookup and hybrid drafting: lossless, and what they propose, against a search written the plain way."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.decoding.lookup import Lookup
from dftt.models.cache import place
from dftt.models.draft import FULL, SLIDING
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt, TTTSpec
from tests.fakes import random_prompt

GOLDEN = DecodingSpec("target", max_new_tokens=48, ignore_eos=True)


def plain_lookup(row: Sequence[int], texts: Sequence[Sequence[int]], longest: int, count: int) -> list[int] | None:
    """What follows the last place of the longest suffix of a row; its own places before those of other texts."""
    for length in range(min(longest, len(row)), 0, -1):
        suffix = list(row[-length:])
        for end in range(len(row) - 2, length - 2, -1):
            if list(row[end - length + 1 : end + 1]) == suffix:
                circle = row[end + 1 :]
                return [circle[step % len(circle)] for step in range(count)]
        for text in reversed(texts):
            for end in range(len(text) - 1, length - 2, -1):
                if list(text[end - length + 1 : end + 1]) == suffix:
                    return list(text[end + 1 : end + 1 + count])
    return None


def test_proposals_are_those_of_a_plain_search() -> None:
    rng = random.Random(0)
    found = 0
    for _ in range(300):
        alphabet = rng.choice([2, 4, 9])
        rows = [[rng.randrange(alphabet) for _ in range(rng.randrange(1, 25))] for _ in range(2)]
        texts = [[rng.randrange(alphabet) for _ in range(rng.randrange(1, 9))] for _ in range(rng.randrange(3))]
        longest, count = rng.randrange(1, 7), rng.randrange(1, 6)
        tokens = torch.randint(0, alphabet, (2, 40))  # what lies behind a row's end must not matter
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
        lookup = Lookup(longest, texts)
        lookup.follow(tokens)
        at = place([len(row) - 1 for row in rows], count + 1, device=torch.device("cpu"))
        proposed = lookup.propose(torch.empty(0), at, lambda logits, _: logits).tolist()
        for row, got in zip(rows, proposed, strict=True):
            if (expected := plain_lookup(row, texts, longest, count)) is not None:
                found += 1
                assert got[: len(expected)] == expected
    assert found > 400


@pytest.mark.parametrize("drafter", ["lookup", "hybrid"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-sliding"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_tokens_are_those_of_the_target(
    good_pair: Callable[..., tuple[Pair, Prompt]], family: str, drafter: str, temperature: float
) -> None:
    pair, prompt = good_pair(family, dtype="float64")
    spec = replace(GOLDEN, temperature=temperature, seed=3)
    alone = generate(pair, prompt, spec)
    for length in (1, 7, 48):
        fast = generate(pair, prompt, replace(spec, mode="speculative", drafter=drafter, max_new_tokens=length))
        assert fast.token_ids == alone.token_ids[:length]


def looping(pair: Pair, prompt: Prompt) -> Prompt:
    """The prompt and the target's answer twice, so that the answer to come has been seen."""
    answer = generate(pair, prompt, GOLDEN).token_ids
    return Prompt(prompt.input_ids + answer + prompt.input_ids + answer[:3])


def test_hybrid_keeps_the_longer_branch(good_pair: Callable[..., tuple[Pair, Prompt]]) -> None:
    """Every cycle commits what the better of both would have, each asked alone at the same place."""
    pair, prompt = good_pair("qwen3", dtype="float64")
    prompt = looping(pair, prompt)
    hybrid = generate(pair, prompt, replace(GOLDEN, mode="speculative", drafter="hybrid"))
    position, by_lookup = len(prompt) + 1, 0
    ids = prompt.input_ids + hybrid.token_ids
    for committed in hybrid.acceptance_lengths:
        if position - len(prompt) + 2 * 4 > len(hybrid.token_ids):
            break
        here, alone = Prompt(ids[: position - 1]), {}
        for drafter in ("draft", "lookup"):
            spec = replace(GOLDEN, mode="speculative", drafter=drafter, max_new_tokens=9)
            made = generate(pair, here, spec)
            assert made.token_ids[0] == ids[position - 1]
            alone[drafter] = made.acceptance_lengths[0]
        assert committed == max(alone.values())
        by_lookup += alone["lookup"] > alone["draft"]
        position += committed
    assert by_lookup > 0


@pytest.mark.parametrize("drafter", ["lookup", "hybrid"])
def test_rows_and_refills_change_no_token(tiny_pair: Callable[..., Pair], drafter: str) -> None:
    pair = tiny_pair("qwen3", dtype="float64")
    prompts = [random_prompt(length, seed=length) for length in (5, 17, 9, 30, 12)]
    spec = replace(GOLDEN, mode="speculative", drafter=drafter, temperature=0.7, max_new_tokens=20, ignore_eos=False)
    alone = [generate(pair, prompt, replace(spec, mode="target", drafter="draft")) for prompt in prompts]
    for rows in (None, 2):
        together = generate(pair, prompts, spec, rows=rows)
        assert [each.token_ids for each in together] == [each.token_ids for each in alone]


@pytest.mark.parametrize("drafter", ["lookup", "hybrid"])
def test_an_end_inside_a_block_ends_the_answer(good_pair: Callable[..., tuple[Pair, Prompt]], drafter: str) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    prompt = looping(pair, prompt)
    plain = generate(pair, prompt, GOLDEN).token_ids
    for place_of_end in range(2, 12):
        end = plain[place_of_end]
        spec = replace(GOLDEN, ignore_eos=False, eos_token_ids=(end,))
        expected = generate(pair, prompt, spec)
        made = generate(pair, prompt, replace(spec, mode="speculative", drafter=drafter))
        assert (made.token_ids, made.finish_reason) == (expected.token_ids, expected.finish_reason)


def test_texts_of_self_study_are_looked_up(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3", dtype="float64")
    prompt = random_prompt(30, seed=9)
    answer = generate(pair, prompt, GOLDEN).token_ids
    spec = TTTSpec(steps=0, learns_from="self_study", study_samples=2, study_tokens=8)
    adaptation = replace(ttt_adapt(pair, prompt, spec), study=(answer,))
    speculative = replace(GOLDEN, mode="speculative", drafter="lookup", max_new_tokens=12)
    without = generate(pair, prompt, speculative, adaptation=adaptation)
    looked_up = generate(pair, prompt, replace(speculative, lookup_study=True), adaptation=adaptation)
    assert looked_up.token_ids == without.token_ids == answer[:12]
    assert looked_up.tau > without.tau


@pytest.mark.parametrize("sinks", [0, 2])
def test_a_draft_window_hides_what_lies_further_back(tiny_pair: Callable[..., Pair], sinks: int) -> None:
    """A window of n equals a draft whose layers all slide by n; first positions that stay visible change something."""
    pair = tiny_pair("qwen3", dtype="float64")
    sliding = tiny_pair("qwen3", dtype="float64", layer_types=(SLIDING, SLIDING), sliding_window=7)
    full = tiny_pair("qwen3", dtype="float64", layer_types=(FULL, FULL))
    prompt, spec = random_prompt(40, seed=2), replace(GOLDEN, mode="speculative")
    assert all(torch.equal(a, b) for a, b in zip(sliding.draft.parameters(), full.draft.parameters(), strict=True))
    windowed = generate(full, prompt, replace(spec, draft_window=7, draft_sinks=sinks))
    assert windowed.token_ids == generate(pair, prompt, GOLDEN).token_ids
    if not sinks:
        assert windowed.acceptance_lengths == generate(sliding, prompt, spec).acceptance_lengths


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"drafter": "luck"}, "decoding.drafter: unknown 'luck'; choose from draft, lookup, hybrid"),
        ({"drafter": "hybrid", "mode": "guided"}, "decoding.drafter hybrid needs mode speculative, got mode guided"),
        ({"lookup_study": True}, "decoding.lookup_study needs decoding.drafter lookup or hybrid, got draft"),
        ({"draft_sinks": 4}, "decoding.draft_sinks 4 need a decoding.draft_window"),
        ({"lookup_suffix": 0}, "decoding.lookup_suffix must be >= 1, got 0"),
        ({"draft_window": -1}, "decoding.draft_window must be >= 0, got -1"),
    ],
)
def test_senseless_drafters_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DecodingSpec(**settings)
