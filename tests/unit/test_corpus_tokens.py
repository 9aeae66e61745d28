"""Token corpora on disk and the batches drawn from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from dftt.adaptation.token_corpus import TokenCorpus, collate, plan_batches


def generator(seed: int = 0) -> torch.Generator:
    """A seeded source."""
    return torch.Generator().manual_seed(seed)


def test_prompts_are_not_supervised() -> None:
    corpus = TokenCorpus.of([[1, 2, 3], [4, 5]], [1, 2])
    assert [(tokens.tolist(), marks.tolist()) for tokens, marks in corpus] == [
        ([1, 2, 3], [False, True, True]),
        ([4, 5], [False, False]),
    ]


def test_saved_files_load_one_after_the_other(tmp_path: Path) -> None:
    TokenCorpus.of([[1, 2, 3]], [1]).save(tmp_path / "new" / "a.safetensors")
    TokenCorpus.of([[4], [5, 6]], [0, 1]).save(tmp_path / "b.safetensors")
    corpus = TokenCorpus.load(tmp_path / "new" / "a.safetensors", tmp_path / "b.safetensors")
    assert [tokens.tolist() for tokens, _ in corpus] == [[1, 2, 3], [4], [5, 6]]
    assert [marks.tolist() for _, marks in corpus] == [[False, True, True], [True], [False, True]]


def test_files_that_are_no_corpus_are_named(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(ValueError, match=r"model.safetensors holds \['weight'\]; expected tokens"):
        TokenCorpus.load(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"text.safetensors is not a safetensors file"):
        TokenCorpus.load(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match=r"no file at .*absent"):
        TokenCorpus.load(tmp_path / "absent.safetensors")


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), seed=st.integers(0, 5))
def test_plan_holds_each_sequence_once_within_the_budget(lengths: list[int], seed: int) -> None:
    sizes = torch.tensor(lengths)
    plan = plan_batches(sizes, tokens_per_batch=100, generator=generator(seed))
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    assert all(max(lengths[index] for index in batch) * len(batch) <= 100 for batch in plan)


def test_sequence_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    plan = plan_batches(torch.tensor([5, 500, 6]), tokens_per_batch=100, generator=generator())
    assert [1] in plan


def test_plan_follows_its_seed() -> None:
    lengths = torch.arange(1, 50)
    plans = [plan_batches(lengths, tokens_per_batch=100, generator=generator(seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


def test_rows_are_padded_with_unsupervised_zeros() -> None:
    rows = list(TokenCorpus.of([[7] * 5, [8] * 70], [0, 0]))
    batch = collate(rows, anchors_per_batch=4, generator=generator())
    assert batch.input_ids.shape == (2, 128)
    assert batch.input_ids[0, 5:].eq(0).all()
    assert batch.supervised.sum(1).tolist() == [5, 70]
    assert batch.input_ids.dtype == torch.long


@given(sizes=st.lists(st.tuples(st.integers(3, 40), st.integers(0, 2)), min_size=1, max_size=5), seed=st.integers(0, 5))
def test_first_label_of_every_block_is_supervised(sizes: list[tuple[int, int]], seed: int) -> None:
    """Prompt and padding are never asked for, and position 0 has no feature before it."""
    rows = list(TokenCorpus.of([[1] * length for length, _ in sizes], [start for _, start in sizes]))
    batch = collate(rows, anchors_per_batch=12, generator=generator(seed))
    assert batch.anchors.shape == (len(rows), 12 // len(rows))
    assert batch.anchors.ge(1).all()
    assert batch.supervised.gather(1, batch.anchors + 1).all()
    assert batch.anchors.diff(dim=1).ge(0).all()


def test_anchors_repeat_only_where_a_row_has_too_few() -> None:
    rows = list(TokenCorpus.of([[1] * 6, [1] * 40], [3, 0]))
    few, many = collate(rows, anchors_per_batch=20, generator=generator()).anchors.tolist()
    assert set(few) == {2, 3, 4}
    assert len(set(many)) == 10


def test_a_row_with_nothing_to_ask_weighs_nothing() -> None:
    rows = list(TokenCorpus.of([[1] * 6], [6]))
    batch = collate(rows, anchors_per_batch=2, generator=generator())
    assert not batch.supervised.any()
    assert batch.anchors.ge(1).all()
