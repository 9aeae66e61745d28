"""Ranks decide who knows a token; buckets, intervals and sentences are made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from dftt_tools.diagnostic.comparing import ALL, LEVELS, MISSED, RANKED_FIRST, Tokens, compare_all
from dftt_tools.diagnostic.forcing import BASE, NOISE, OWN, TARGET, WRONG, ForcedAnswer
from dftt_tools.diagnostic.questions import Question
from dftt_tools.diagnostic.reading import Reading, read, read_slots
from dftt_tools.diagnostic.wording import conclude, format_all

LENGTH = 4


def forced(context: str, logits: Mapping[str, Tensor]) -> ForcedAnswer:
    """An answer of token 0 throughout, each source giving logits (N, V) by one slot."""
    length = len(next(iter(logits.values())))
    token_ids = torch.zeros(length, dtype=torch.long)
    readings = {source: read(lambda hidden: hidden, given, token_ids) for source, given in logits.items()}
    return ForcedAnswer(Question(context, context, (1,), (0,) * length, None), readings, torch.zeros(0), {})


def ranked(rank: int, *, count: int = LENGTH, vocab: int = 20, scale: float = 1.0) -> Tensor:
    """Logits (N, V) that give token 0 this rank; a larger scale makes them sharper."""
    others = [score for score in range(vocab, 0, -1) if score != vocab + 1 - rank]
    return scale * torch.tensor([vocab + 1.0 - rank, *others]).expand(count, -1)


def many(contexts: int = 10, **ranks: int) -> list[ForcedAnswer]:
    return [forced(f"c{n}", {source: ranked(rank) for source, rank in ranks.items()}) for n in range(contexts)]


def rows(answers: list[ForcedAnswer]) -> dict[tuple[str, str, int, str], dict[str, object]]:
    made = compare_all(Tokens.of(answers))
    return {(each.source, each.against, each.slot, each.bucket): each.to_json() for each in made}


def test_the_best_token_has_rank_one_among_equals() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [2.0, 3.0, 1.0], [1.0, 1.0, 1.0], [0.0, 5.0, 5.0]])
    reading = read(lambda hidden: hidden, logits, torch.zeros(4, dtype=torch.long))
    assert reading.ranks.tolist() == [[1], [2], [1], [3]]
    assert reading.log_probs[2, 0].item() == pytest.approx(-np.log(3))
    assert reading.confidence[2, 0].item() == pytest.approx(1 / 3)
    assert reading.entropy[2, 0].item() == pytest.approx(np.log(3))


def test_a_slot_speaks_of_the_token_so_far_behind_its_anchor() -> None:
    vocab, count, block_size = 12, 5, 4
    tokens = torch.arange(count)
    hidden = torch.zeros(count, block_size, vocab)
    for block in range(count):
        for slot in range(1, block_size):
            hidden[block, slot, (block + slot - 1) % vocab] = 1.0 + block  # only there, so every place is known
    reading = read_slots(lambda states: states, hidden, tokens)
    for token in range(count):
        for slot in range(1, block_size):
            got = reading.ranks[token, slot - 1].item(), reading.log_probs[token, slot - 1].item()
            block = token - slot + 1
            if block < 0:
                assert np.isnan(got).all()
            else:
                wanted = torch.zeros(vocab).index_fill(0, torch.tensor(token), 1.0 + block).log_softmax(0)[token]
                assert got == (1, pytest.approx(wanted.item()))


def test_an_answer_shorter_than_a_block_is_read() -> None:
    reading = read_slots(lambda states: states, torch.randn(1, 8, 5), torch.tensor([2]))
    assert reading.ranks.isnan().tolist() == [[False] + [True] * 6]


def test_buckets_of_rank_and_of_confidence_each_part_all_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 9, generator=generator) * torch.linspace(0.1, 6, 400)[:, None]
    buckets = Tokens.of([forced("c", {TARGET: logits})]).buckets()
    assert set(buckets) == {ALL, RANKED_FIRST, MISSED, *LEVELS}
    for parts in ((RANKED_FIRST, MISSED), LEVELS):
        assert all(buckets[part].any() for part in parts)
        assert (np.sum([buckets[part] for part in parts], axis=0) == 1).all()
    assert (buckets[RANKED_FIRST] == (logits.argmax(-1) == 0).numpy()).all()
    best = logits.softmax(-1).amax(-1).numpy()
    assert (buckets[LEVELS[1]] == ((best >= 0.3) & (best < 0.6))).all()


def test_a_flat_draft_wins_by_probability_and_loses_by_rank() -> None:
    """Phase 0: 87 % wins by probability, 18 % by rank; the draft knew nothing, it was only less sure."""
    answers = [
        forced(f"c{n}", {TARGET: ranked(3, scale=4.0), BASE: ranked(9, scale=0.01)}) for n in range(10)
    ]  # the target is sure of another token
    row = rows(answers)[BASE, TARGET, 1, ALL]
    assert (row["probability_better"], row["rank_better"], row["rank_worse"]) == (1.0, 0.0, 1.0)
    assert row["finding"] == "worse"


def test_ties_are_counted_apart() -> None:
    half = [forced(f"c{n}", {TARGET: ranked(2), BASE: ranked(2 if n % 2 else 1)}) for n in range(10)]
    row = rows(half)[BASE, TARGET, 1, ALL]
    assert (row["rank_better"], row["rank_equal"], row["rank_worse"], row["rank_net"]) == (0.5, 0.5, 0.0, 0.5)
    assert (row["tokens"], row["contexts"]) == (40, 10)
    assert (row["median_rank"], row["median_rank_against"]) == (1.5, 2.0)


@pytest.mark.parametrize(("contexts", "finding"), [(4, "cannot tell"), (7, "cannot tell"), (8, "better")])
def test_too_few_contexts_or_tokens_cannot_tell(contexts: int, finding: str) -> None:
    answers = [forced(f"c{n}", {TARGET: ranked(4), BASE: ranked(2)}) for n in range(contexts)]
    if contexts == 4:
        answers = [forced(f"c{n}", {TARGET: ranked(4, count=20), BASE: ranked(2, count=20)}) for n in range(contexts)]
    assert rows(answers)[BASE, TARGET, 1, ALL]["finding"] == finding


def test_contexts_are_resampled_not_tokens() -> None:
    alike = [forced(f"c{n}", {TARGET: ranked(3), BASE: ranked(1 if n % 2 else 5)}) for n in range(20)]
    as_one_each = [
        forced(f"c{n}", {TARGET: ranked(3, count=1), BASE: ranked(1 if n % 2 else 5, count=1)}) for n in range(20)
    ]
    wide, narrow = (rows(answers)[BASE, TARGET, 1, ALL] for answers in (alike, as_one_each))
    assert (wide["rank_net_low"], wide["rank_net_high"]) == (narrow["rank_net_low"], narrow["rank_net_high"])


def test_drafts_are_set_against_each_other_where_both_were_read() -> None:
    both = rows(many(target=3, base=2, own=1, wrong=2, noise=9))
    assert both[OWN, WRONG, 1, ALL]["finding"] == "better"
    assert both[BASE, NOISE, 1, ALL]["finding"] == "better"
    without = {pair[:2] for pair in rows(many(target=3, base=2, noise=9))}
    assert without == {(BASE, TARGET), (NOISE, TARGET), (BASE, NOISE)}


def test_the_sentences_say_what_ranks_say() -> None:
    first, second = conclude(compare_all(Tokens.of(many(target=3, base=5, own=2, wrong=2, noise=9))))
    assert first.startswith("By rank at slot 1 (all: 40 tokens of 10 contexts)")
    assert "base is behind target" in first
    assert "own is ahead of target" in first
    assert "own is not shown to differ from wrong" in first
    assert second.startswith("By rank at slot 1 (target rank > 1: 40 tokens")


def test_the_sentences_do_not_look_at_probabilities() -> None:
    def sentences(scale: float) -> list[str]:
        sources = {TARGET: ranked(3), BASE: ranked(5, scale=scale), NOISE: ranked(9, scale=scale)}
        return conclude(compare_all(Tokens.of([forced(f"c{n}", sources) for n in range(10)])))

    assert sentences(0.01) == sentences(1.0) == sentences(30.0)


def test_a_chance_find_among_several_claims_is_not_claimed() -> None:
    """Better at 44 of 70: the interval excludes 0, but two claims are made, so that p = 0.027 is too large."""
    answers = [
        forced(f"c{n}", {TARGET: ranked(3, count=1), BASE: ranked(2 if n < 44 else 4, count=1)}) for n in range(70)
    ]
    comparisons = compare_all(Tokens.of(answers))
    assert {each.finding for each in comparisons if each.bucket in (ALL, MISSED)} == {"better"}
    assert all("base is not shown to differ from target" in sentence for sentence in conclude(comparisons))


def test_a_sentence_on_too_few_tokens_claims_nothing() -> None:
    comparisons = compare_all(Tokens.of(many(contexts=3, target=3, base=1)))
    assert all("cannot tell" in sentence and "ahead" not in sentence for sentence in conclude(comparisons))
    assert "cannot tell: no rows" in format_all(comparisons, [])


def test_a_layer_counts_as_a_source_of_one_slot() -> None:
    layer = rows(many(target=3, **{"layer 2": 1}))["layer 2", TARGET, 1, ALL]
    assert (layer["top_1"], layer["finding"]) == (1.0, "better")


def test_later_slots_rest_on_the_tokens_they_reach() -> None:
    nan = torch.nan
    ranks = torch.tensor([[1.0, nan], [2.0, 1.0], [2.0, 5.0]], dtype=torch.float64)
    reading = Reading(ranks, -ranks, torch.ones(3, 2), torch.ones(3, 2))
    plain = forced("c", {TARGET: ranked(2, count=3)})
    answer = ForcedAnswer(plain.question, {**plain.readings, BASE: reading}, plain.states, {})
    row = rows([answer])[BASE, TARGET, 2, ALL]
    assert (row["tokens"], row["rank_better"], row["rank_worse"]) == (2, 0.5, 0.5)
