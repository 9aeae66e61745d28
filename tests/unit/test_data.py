"""The data modules: which contexts, in which order, and batches of a corpus."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from dftt.adaptation.token_corpus import CorpusBatch, TokenCorpus
from dftt.data import ContextDataModule, CorpusDataModule
from dftt.suites.worlds import CATEGORIES


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Three contexts of two tasks each."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"{context} {task}"}],
            "metadata": {"task_id": f"{context}{task}", "context_id": context},
        }
        for context in "abc"
        for task in (1, 2)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def test_the_others_of_a_context_begin_with_the_next(path: str) -> None:
    items = ContextDataModule(path).items()
    assert [[name for name, _ in item.others()] for item in items] == [["b", "c"], ["c", "a"], ["a", "b"]]
    assert [task.task_id for task in next(items[2].others())[1]] == ["a1", "a2"]


def test_a_lone_context_has_no_others(path: str) -> None:
    (item,) = ContextDataModule(path, max_contexts=1).items()
    assert list(item.others()) == []


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        ({}, ["a1", "a2", "b1", "b2", "c1", "c2"]),
        ({"max_contexts": 2}, ["a1", "a2", "b1", "b2"]),
        ({"max_tasks": 1}, ["a1", "b1", "c1"]),
        ({"context_ids": ["c", "a"]}, ["c1", "c2", "a1", "a2"]),
        ({"context_ids": ["c", "a"], "max_contexts": 1, "max_tasks": 1}, ["c1"]),
    ],
)
def test_choice_of_contexts_and_tasks(path: str, options: dict[str, Any], tasks: list[str]) -> None:
    module = ContextDataModule(path, **options)
    assert [task.task_id for item in module.items() for task in item.tasks] == tasks


def test_unknown_context_id_names_those_there_are(path: str) -> None:
    with pytest.raises(ValueError, match=r"no context 'z' in .*; it has a, b, c"):
        ContextDataModule(path, context_ids=["z"])


def test_fit_gets_its_one_context_for_ever(path: str) -> None:
    loader = ContextDataModule(path, context_ids=["b"]).train_dataloader()
    assert [item.context_id for item in islice(loader, 5)] == ["b"] * 5


def test_fit_on_several_contexts_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"fit adapts to one context, .* has 3: .*--data.context_ids, such as \[a\]"):
        ContextDataModule(path).train_dataloader()


def test_processes_share_the_contexts_and_keep_their_wrong_ones(path: str) -> None:
    module = ContextDataModule(path)
    seen = []
    for rank in (0, 1):
        module.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        seen.append([(item.context_id, next(item.others())[0]) for item in module.test_dataloader()])
    assert seen == [[("a", "b"), ("c", "a")], [("b", "c")]]


def test_two_generated_documents_are_the_default() -> None:
    module = ContextDataModule()
    assert [len(tasks) for tasks in module.contexts.values()] == [3, 3]
    categories = {task.metadata["context_category"] for task in module.tasks}
    assert len(categories) == 2
    assert categories < set(CATEGORIES)


def test_a_generated_suite_needs_no_file_and_may_be_one_category() -> None:
    module = ContextDataModule(suite="worlds", categories=[CATEGORIES[-1]])
    assert {task.metadata["context_category"] for task in module.tasks} == {CATEGORIES[-1]}
    assert len(module.contexts) == 5


@pytest.mark.parametrize("given", [{"path": "rows.jsonl"}, {"suite": "gsm8k"}, {"suites": {"gsm8k": None}}])
def test_a_document_beside_other_data_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    """The path and the suite were dropped without a word."""
    (tmp_path / "pump.md").write_text("The pump has two valves.")
    with pytest.raises(ValueError, match=r"data\.\w+ stands alone, but data\.\w+ is given too"):
        ContextDataModule(context=str(tmp_path / "pump.md"), question="How many?", **given)


def test_a_document_takes_the_place_of_the_demo(tmp_path: Path) -> None:
    (tmp_path / "pump.md").write_text("The pump has two valves.")
    module = ContextDataModule(path="demo", context=str(tmp_path / "pump.md"), question="How many?")
    assert list(module.contexts) == ["pump"]


def test_text_file_with_questions(tmp_path: Path) -> None:
    (tmp_path / "pump.md").write_text("The pump has two valves.")
    (item,) = ContextDataModule(str(tmp_path / "pump.md"), questions=["How many?", "Why?"]).items()
    assert item.context_id == "pump"
    assert [task.messages[-1]["content"].endswith("?") for task in item.tasks] == [True, True]


# -- corpora ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    """Twenty sequences; the first token of each is its number."""
    TokenCorpus.of([[n] * (10 + n) for n in range(20)], [2] * 20).save(tmp_path / "corpus.safetensors")
    return str(tmp_path / "corpus.safetensors")


def numbers(batches: list[CorpusBatch]) -> list[int]:
    """Which sequences batches hold."""
    return sorted(int(number) for batch in batches for number in batch.input_ids[:, 0])


def loaded(corpus: str, **options: Any) -> CorpusDataModule:
    """A corpus data module after setup."""
    defaults = {"tokens_per_batch": 64, "anchors_per_batch": 8, "val_sequences": 5}
    module = CorpusDataModule([corpus], **(defaults | options))
    module.setup("fit")
    return module


def test_training_and_validation_divide_the_corpus(corpus: str) -> None:
    module = loaded(corpus)
    train, held_out = numbers(list(module.train_dataloader())), numbers(list(module.val_dataloader()))
    assert len(held_out) == 5
    assert sorted(train + held_out) == list(range(20))


def test_validation_is_the_same_whatever_the_seed(corpus: str) -> None:
    one, other = (list(loaded(corpus, seed=seed).val_dataloader()) for seed in (1, 2))
    assert all(torch.equal(left.anchors, right.anchors) for left, right in zip(one, other, strict=True))
    assert all(torch.equal(left.input_ids, right.input_ids) for left, right in zip(one, other, strict=True))


def trainer_after(batches: int, *, rank: int = 0, processes: int = 1) -> Any:
    """A trainer that is done with so many batches in each process."""
    progress = SimpleNamespace(total=SimpleNamespace(processed=batches))
    fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    return SimpleNamespace(
        fit_loop=fit_loop, global_rank=rank, world_size=processes, state=SimpleNamespace(fn=TrainerFn.FITTING)
    )


def batches_after(corpus: str, batches: int, *, rank: int = 0, processes: int = 1, **options: Any) -> list[Any]:
    """What the loader gives to a process that is done with so many batches."""
    module = loaded(corpus, **options)
    module.trainer = trainer_after(batches, rank=rank, processes=processes)
    return [(batch.input_ids[:, 0].tolist(), batch.anchors.tolist()) for batch in module.train_dataloader()]


def test_epochs_and_seeds_differ_and_repeat(corpus: str) -> None:
    first = batches_after(corpus, 0)
    assert first == batches_after(corpus, 0)
    assert first != batches_after(corpus, len(first))
    assert first != batches_after(corpus, 0, seed=2)


def test_the_loader_goes_on_after_the_batches_taken(corpus: str) -> None:
    first = batches_after(corpus, 0)
    second = batches_after(corpus, len(first))
    assert batches_after(corpus, 2) == [*first[2:], *second[:2]]


def test_processes_take_turns(corpus: str) -> None:
    alone = batches_after(corpus, 4)
    shares = [batches_after(corpus, 2, rank=rank, processes=2) for rank in (0, 1)]
    taken = [batch for pair in zip(*shares, strict=True) for batch in pair]
    assert len(taken) > 3
    assert taken == alone[: len(taken)]


def test_a_checkpoint_of_two_processes_goes_on_in_one(corpus: str) -> None:
    """Of each process's batches it counts all."""
    saved, resumed = loaded(corpus), loaded(corpus)
    saved.trainer = trainer_after(3, processes=2)
    resumed.trainer = trainer_after(3)
    resumed.load_state_dict(saved.state_dict())
    got = [(batch.input_ids[:, 0].tolist(), batch.anchors.tolist()) for batch in resumed.train_dataloader()]
    assert got == batches_after(corpus, 6)


@pytest.mark.parametrize(
    ("paths", "message"), [([], "data.paths is empty"), (["absent.safetensors"], "no file at absent.safetensors")]
)
def test_absent_corpora_are_refused(paths: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorpusDataModule(paths)


def test_corpus_smaller_than_its_validation_part_is_refused(corpus: str) -> None:
    with pytest.raises(ValueError, match=r"corpus has 20 sequences, data.val_sequences keeps 20 of them back"):
        loaded(corpus, val_sequences=20)
