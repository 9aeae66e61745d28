"""The stream of batches that training over a corpus takes."""

from itertools import islice

import pytest
import torch

from dftt.adaptation.token_corpus import BatchStream, CorpusBatch, numbers


def stream(*, seed: int = 1, count: int = 12) -> BatchStream:
    """Sequences of 20 to 64 tokens, each with a first token of its own."""
    sequences = [
        (torch.full((20 + 4 * number,), number), torch.ones(20 + 4 * number, dtype=torch.bool))
        for number in range(count)
    ]
    return BatchStream(sequences, tokens_per_batch=120, anchors_per_batch=8, seed=seed)


def equal(one: CorpusBatch, two: CorpusBatch) -> bool:
    return torch.equal(one.input_ids, two.input_ids) and torch.equal(one.anchors, two.anchors)


def sequences_of(batch: CorpusBatch) -> list[int]:
    return batch.input_ids[:, 0].tolist()


def test_a_batch_depends_on_its_number_alone() -> None:
    whole = stream()
    batches = [whole[number] for number in range(30)]
    assert all(equal(stream()[number], batches[number]) for number in (29, 0, 13))
    assert all(equal(whole[number], batches[number]) for number in (29, 0, 13))


def test_each_pass_takes_every_sequence_in_another_order() -> None:
    batches = stream()
    taken = [sequence for number in range(60) for sequence in sequences_of(batches[number])]
    passes = [taken[start : start + 12] for start in range(0, len(taken) - 12, 12)]
    assert len(passes) > 5
    assert all(sorted(each) == list(range(12)) for each in passes)
    assert len({tuple(each) for each in passes}) == len(passes)


def test_the_length_is_that_of_the_first_pass() -> None:
    batches = stream()
    first = [sequence for number in range(len(batches)) for sequence in sequences_of(batches[number])]
    assert sorted(first) == list(range(12))
    assert len(stream(count=0)) == 0


def test_another_seed_gives_other_batches() -> None:
    one, two = stream(seed=1), stream(seed=2)
    assert not all(equal(one[number], two[number]) for number in range(len(one)))


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 6])
def test_processes_share_the_numbers_out(processes: int, start: int) -> None:
    shares = [list(islice(numbers(start, rank=rank, processes=processes), 5)) for rank in range(processes)]
    assert sorted(number for share in shares for number in share) == list(range(start, start + 5 * processes))
