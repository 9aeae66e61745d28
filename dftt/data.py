"""Lightning data modules: contexts with their tasks, and training corpora."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from dftt.adaptation.corpus.tokens import CorpusBatch, TokenCorpus, collate, plan_batches
from dftt.evaluation.tasks import demo_tasks, group_by_context, load_tasks, tasks_from_documents
from dftt.types import Task

DEMO = "demo"


@dataclass(frozen=True)
class ContextItem:
    """A context with its tasks, and the next context, which serves as the wrong one.

    Args:
        context_id: Id of the context.
        tasks: Tasks that share it.
        other_id: Id of the next context, empty where there is only one.
        other_tasks: Its tasks.
    """

    context_id: str
    tasks: tuple[Task, ...]
    other_id: str
    other_tasks: tuple[Task, ...]


class ContextDataModule(L.LightningDataModule):
    """Contexts with tasks: `fit` adapts to one of them, `test` measures on all, `predict` answers.

    Args:
        path: JSONL(.gz) file in the CL-bench schema (messages, rubrics, metadata) or of a checkable suite; or documents
            (a text or Markdown file, or JSONL rows with id and text), then give questions; or `demo` for the documents
            that ship with the project.
        questions: Questions asked on every document.
        context_ids: Use these contexts only; `fit` needs one where the file has several.
        max_contexts: Use the first so many contexts; 0 uses all.
        max_tasks: Use the first so many tasks of each context; 0 uses all.
    """

    def __init__(
        self,
        path: str = DEMO,
        questions: list[str] | None = None,
        context_ids: list[str] | None = None,
        max_contexts: int = 0,
        max_tasks: int = 0,
    ) -> None:
        super().__init__()
        self.path = path
        tasks = _read(path, questions or [])
        groups = group_by_context(tasks)
        for name in context_ids or []:
            if name not in groups:
                raise ValueError(
                    f"data.context_ids: no context {name!r} in {path}; it has {', '.join(list(groups)[:5])}"
                )
        groups = {name: groups[name] for name in context_ids} if context_ids else groups
        chosen = list(groups.items())[: max_contexts or None]
        self.contexts = {name: tuple(members[: max_tasks or None]) for name, members in chosen}

    @property
    def tasks(self) -> list[Task]:
        """All tasks, in order."""
        return [task for members in self.contexts.values() for task in members]

    def items(self) -> list[ContextItem]:
        """All contexts in order, each with the next one as its wrong context."""
        names = list(self.contexts)
        others = [*names[1:], names[0]] if len(names) > 1 else [""]
        return [
            ContextItem(name, self.contexts[name], other, self.contexts.get(other, ()))
            for name, other in zip(names, others, strict=True)
        ]

    def only_context(self) -> ContextItem:
        """The context that `fit` adapts to; ValueError where there are several."""
        if len(self.contexts) != 1:
            raise ValueError(
                f"fit adapts to one context, {self.path} has {len(self.contexts)}: "
                f"choose one with --data.context_ids, such as [{next(iter(self.contexts))}]"
            )
        return self.items()[0]

    def train_dataloader(self) -> DataLoader:
        """The one context to adapt to, as many times as the trainer has steps."""
        return _loader(_Repeat(self.only_context()))

    def val_dataloader(self) -> DataLoader:
        """Each context once."""
        return _loader(_Items(self.items()))

    def test_dataloader(self) -> DataLoader:
        """This process's share of the contexts."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return _loader(_Items(self.items()[rank::world]))

    def predict_dataloader(self) -> DataLoader:
        """As test_dataloader."""
        return self.test_dataloader()


class CorpusDataModule(L.LightningDataModule):
    """Token corpora written by `python -m dftt.synthesise`, in batches of sequences of similar length.

    Args:
        paths: Corpus files (safetensors).
        tokens_per_batch: Padded tokens per batch.
        anchors_per_batch: Blocks per batch, spread evenly over its sequences.
        val_sequences: Sequences kept back for validation, the same ones whatever the seed.
        seed: Seeds order and anchors.
    """

    def __init__(
        self,
        paths: list[str],
        tokens_per_batch: int = 32768,
        anchors_per_batch: int = 2048,
        val_sequences: int = 256,
        seed: int = 1,
    ) -> None:
        super().__init__()
        for path in paths:
            if not Path(path).is_file():
                raise ValueError(f"data.paths: no file at {path}; write one with python -m dftt.synthesise")
        if not paths:
            raise ValueError("data.paths is empty: give at least one corpus file")
        self.paths = paths
        self.tokens_per_batch = tokens_per_batch
        self.anchors_per_batch = anchors_per_batch
        self.val_sequences = val_sequences
        self.seed = seed

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Read the files and split off the validation sequences."""
        corpus = TokenCorpus.load(*self.paths)
        if len(corpus) <= self.val_sequences:
            raise ValueError(
                f"corpus has {len(corpus)} sequences, data.val_sequences keeps {self.val_sequences} of them back"
            )
        sequences = list(corpus)
        held_out = set(
            torch.randperm(len(sequences), generator=torch.Generator().manual_seed(0))[: self.val_sequences].tolist()
        )
        self._train = [sequence for index, sequence in enumerate(sequences) if index not in held_out]
        self._val = [sequences[index] for index in sorted(held_out)]

    def train_dataloader(self) -> DataLoader:
        """Batches of an epoch, newly ordered and with new anchors each time."""
        epoch = self.trainer.current_epoch if self.trainer else 0
        return _loader(self._batches(self._train, self.seed * 1_000_003 + epoch), workers=4)

    def val_dataloader(self) -> DataLoader:
        """The held-out batches, with the same anchors every time."""
        return _loader(self._batches(self._val, 0))

    def _batches(self, sequences: Sequence[tuple[torch.Tensor, torch.Tensor]], seed: int) -> _CorpusBatches:
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.tensor([len(tokens) for tokens, _ in sequences])
        plan = plan_batches(lengths, tokens_per_batch=self.tokens_per_batch, generator=generator)
        return _CorpusBatches(sequences, plan, self.anchors_per_batch, seed)


class _CorpusBatches(Dataset):
    """Collated batches of a plan; batch i draws its anchors from (seed, i), whichever worker makes it."""

    def __init__(
        self,
        sequences: Sequence[tuple[torch.Tensor, torch.Tensor]],
        plan: Sequence[Sequence[int]],
        anchors_per_batch: int,
        seed: int,
    ) -> None:
        self.sequences, self.plan, self.anchors_per_batch, self.seed = sequences, plan, anchors_per_batch, seed

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> CorpusBatch:
        generator = torch.Generator().manual_seed(self.seed * 7_919 + index)
        rows = [self.sequences[number] for number in self.plan[index]]
        return collate(rows, anchors_per_batch=self.anchors_per_batch, generator=generator)


class _Items(Dataset):
    """A list as a dataset."""

    def __init__(self, items: Sequence[ContextItem]) -> None:
        self.contexts = items

    def __len__(self) -> int:
        return len(self.contexts)

    def __getitem__(self, index: int) -> ContextItem:
        return self.contexts[index]


class _Repeat(torch.utils.data.IterableDataset):
    """One context for ever; trainer.max_steps says how often."""

    def __init__(self, item: ContextItem) -> None:
        self.item = item

    def __iter__(self) -> Iterator[ContextItem]:
        while True:
            yield self.item


def _loader(dataset: Dataset, *, workers: int = 0) -> DataLoader:
    # Datasets hand out finished batches; a worker process pays only where collating long batches would hold up a card.
    workers = workers if torch.cuda.is_available() else 0
    return DataLoader(dataset, batch_size=None, num_workers=workers)


def _read(path: str, questions: Sequence[str]) -> list[Task]:
    if path == DEMO:
        return demo_tasks()
    if not questions and path.endswith((".jsonl", ".jsonl.gz")):
        return load_tasks(path)
    return tasks_from_documents(path, questions)
