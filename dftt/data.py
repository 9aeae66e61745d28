"""Lightning data modules: contexts with their tasks, and training corpora."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from dftt.adaptation.token_corpus import BatchStream, TokenCorpus, numbers
from dftt.suites.registry import get_suite
from dftt.suites.rows import holds_rows
from dftt.suites.shared_context import check_contexts
from dftt.suites.subsets import check_buckets, fraction_of, of_categories, of_lengths
from dftt.suites.tasks import LENGTH_BUCKETS, ContextItem, group_by_context, load_tasks, tasks_from_documents
from dftt.suites.worlds import WorldsSpec, generate_tasks
from dftt.types import Task
from dftt.types.checks import at_least, whole
from dftt.types.learning import MAX_SEED

DEMO = "demo"
DEMO_WORLDS = WorldsSpec(contexts=2, tasks=3)


class ContextDataModule(L.LightningDataModule):
    """Contexts with tasks: `fit` adapts to one of them, `test` measures on all, `predict` answers.

    Args:
        path: File of rows (.jsonl, .ndjson, .json; .gz too) in the CL-bench schema (messages, rubrics, metadata) or of
            a checkable suite; or documents (a text or Markdown file, or rows with id and text), then give questions; or
            `demo` for two generated documents of three questions each. With a suite: a file of its rows or a
            folder in the hub's layout. By default `demo`, and with a suite its own source.
        suite: Read and score the rows as the authors of a suite do: clbench, gsm8k, math500, humaneval, mbpp, mtbench,
            nqswap, babi, memotrap, worlds, documents. CL-bench is for evaluation only.
        suites: Several suites at once, each with its file or folder, or null for its own source; instead of path and
            suite.
        questions: Questions asked on every document; on the command line a JSON list.
        context_ids: Use these contexts only; `fit` needs one where the file has several.
        categories: Use the contexts of these categories only.
        fraction: Use so large a part of the contexts of each category, at least one of each.
        subset_seed: Seeds the choice of that part.
        length_buckets: Use the tasks with prompts of these lengths only: 0-4k, 4-8k, 8-16k, 16-32k, 32-64k, 64k+.
        context: A document to ask about, or a file of rows with context and question; instead of path and suite.
        question: Asked on the document, beside those of questions.
        max_contexts: Use the first so many contexts; 0 uses all.
        max_tasks: Use the first so many tasks of each context; 0 uses all.
        shard: [number, of how many]: `test` and `predict` take this share of the contexts, counted from 0, for jobs
            that know nothing of each other. All of them may name one evaluator.run_dir; each writes files of its own.
    """

    def __init__(
        self,
        path: str = "",
        suite: str | None = None,
        suites: dict[str, str | None] | None = None,
        questions: list[str] | None = None,
        context_ids: list[str] | None = None,
        categories: list[str] | None = None,
        fraction: float = 1.0,
        subset_seed: int = 0,
        length_buckets: list[str] | None = None,
        max_contexts: int = 0,
        max_tasks: int = 0,
        context: str = "",
        question: str = "",
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        if not 0 <= shard[0] < shard[1]:
            raise ValueError(f"data.shard must be [number, of how many], counted from 0, such as [0, 4]; got {shard}")
        for name, most in (("max_contexts", max_contexts), ("max_tasks", max_tasks)):
            at_least(f"data.{name}", most, 0)
        check_buckets(length_buckets or [])
        self.shard, self.length_buckets = shard, length_buckets
        # Free text has no null among its types, which would make the parser read it as YAML: empty is not given.
        path = "" if path == DEMO else path
        questions = [*(questions or []), *([question] if question else [])]
        _check_one_source({"context": context, "path": path, "suite": suite, "suites": suites, "questions": questions})
        self.source = ", ".join(suites) if suites else context or path or suite or DEMO
        tasks = _read_all(suites) if suites else _read(context or path, suite, questions)
        groups = group_by_context(tasks)
        if absent := [name for name in context_ids or [] if name not in groups]:
            raise ValueError(
                f"data.context_ids: no context {absent[0]!r} in {self.source}; it has {', '.join(list(groups)[:5])}"
            )
        groups = {name: groups[name] for name in context_ids} if context_ids else groups
        chosen = fraction_of(of_categories(groups, categories) if categories else groups, fraction, seed=subset_seed)
        self.contexts: Mapping[str, Sequence[Task]] = {
            name: tuple(members[: max_tasks or None]) for name, members in list(chosen.items())[: max_contexts or None]
        }

    def keep_lengths(self, length_of: Callable[[Task], int]) -> None:
        """Drop the tasks that are not in length_buckets; called by whoever has the target's tokenizer."""
        self.contexts = of_lengths(self.contexts, self.length_buckets or LENGTH_BUCKETS, length_of)

    @property
    def tasks(self) -> list[Task]:
        """All tasks, in order."""
        return [task for members in self.contexts.values() for task in members]

    def items(self) -> list[ContextItem]:
        """All contexts in order."""
        return [ContextItem(name, tuple(tasks), self.contexts) for name, tasks in self.contexts.items()]

    def measured(self, limit: int | float | None) -> list[ContextItem]:
        """The contexts that all processes and jobs together measure, where each takes as much of its share as a limit
        on batches lets it: so many of them, or such a part.
        """
        items, count = self.items(), self.share()[1]
        shares = [range(number, len(items), count) for number in range(count)]
        return [items[place] for place in sorted(place for share in shares for place in share[: _most(limit, share)])]

    def only_context(self) -> ContextItem:
        """The context that `fit` adapts to; ValueError where there are several."""
        if len(self.contexts) != 1:
            raise ValueError(
                f"fit adapts to one context, {self.source} has {len(self.contexts)}: "
                f"choose one with --data.context_ids, such as [{next(iter(self.contexts))}]"
            )
        return self.items()[0]

    def train_dataloader(self) -> DataLoader:
        """The one context to adapt to, as many times as the trainer has steps."""
        return _loader(_Repeat(self.only_context()))

    def val_dataloader(self) -> DataLoader:
        """Each context once."""
        return _loader(self.items())

    def share(self) -> tuple[int, int]:
        """This process's share of the contexts: its number, and of how many, over all jobs and their processes."""
        (rank, world), (number, count) = _process(self), self.shard
        return number * world + rank, count * world

    def test_dataloader(self) -> DataLoader:
        """This process's share of the contexts, none of them twice."""
        items = self.items()
        share = range(self.share()[0], len(items), self.share()[1])
        return _loader(items, sampler=_Chosen(items, lambda: share, len(share)))

    def predict_dataloader(self) -> DataLoader:
        """As test_dataloader."""
        return self.test_dataloader()


class CorpusDataModule(L.LightningDataModule):
    """Token corpora written by `python -m dftt_tools.synthesise`, in batches of sequences of similar length.

    A checkpoint says how many batches were taken: a run that goes on from it takes the ones that follow.

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
        if not paths:
            raise ValueError("data.paths is empty: give at least one corpus file")
        if absent := [path for path in paths if not Path(path).is_file()]:
            raise ValueError(f"data.paths: no file at {absent[0]}; write one with python -m dftt_tools.synthesise")
        whole("data.tokens_per_batch", tokens_per_batch, 1)
        whole("data.anchors_per_batch", anchors_per_batch, 1)
        whole("data.val_sequences", val_sequences, 0)
        whole("data.seed", seed, 0, MAX_SEED)
        self.paths, self.val_sequences, self.seed = paths, val_sequences, seed
        self.tokens_per_batch, self.anchors_per_batch = tokens_per_batch, anchors_per_batch
        self._digest = ""
        self._resumed = {"taken": 0, "steps": 0}  # batches of all processes, and of each, when the checkpoint was saved

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Read the files and split off the validation sequences."""
        corpus, kept = TokenCorpus.load(*self.paths), self.val_sequences
        if len(corpus) <= kept:
            raise ValueError(f"corpus has {len(corpus)} sequences, data.val_sequences keeps {kept} of them back")
        sequences = list(corpus)
        order = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(0))
        held_out = set(order[:kept].tolist())
        self._train = [sequence for index, sequence in enumerate(sequences) if index not in held_out]
        self._val = [sequences[index] for index in sorted(held_out)]
        self._digest = corpus.digest

    def train_dataloader(self) -> DataLoader:
        """Batches of the stream from where training stands, shared out over the processes; always in a new order."""
        stream, (rank, processes) = self._stream(self._train, self.seed), _process(self)
        sampler = _Chosen(
            stream,
            lambda: numbers(self._taken(), rank=rank, processes=processes),
            max(1, len(stream) // processes),  # what Lightning calls an epoch
        )
        return _loader(stream, workers=4, sampler=sampler)

    def val_dataloader(self) -> DataLoader:
        """The held-out batches, with the same anchors every time."""
        return _loader(self._stream(self._val, 0))

    def state_dict(self) -> dict[str, Any]:
        """How many batches were taken, and what decides which they were."""
        return {"taken": self._taken(), "steps": self._steps(), "decided_by": self._decided_by()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint's run stood.

        Raises:
            ValueError: If this run's batches are others.
        """
        if self.trainer is None or self.trainer.state.fn != "fit":
            return
        stored, own = state_dict["decided_by"], self._decided_by()
        if wrong := [f"data.{name} is {own[name]}, there {stored[name]}" for name in own if own[name] != stored[name]]:
            raise ValueError(
                f"the checkpoint's run took other batches ({'; '.join(wrong)}): resume with the same data settings"
            )
        self._resumed = {"taken": state_dict["taken"], "steps": state_dict["steps"]}

    def _decided_by(self) -> dict[str, Any]:
        settings = ("tokens_per_batch", "anchors_per_batch", "val_sequences", "seed")
        return {"paths": self._digest} | {name: getattr(self, name) for name in settings}

    def _stream(self, sequences: Sequence[tuple[torch.Tensor, torch.Tensor]], seed: int) -> BatchStream:
        sizes = {"tokens_per_batch": self.tokens_per_batch, "anchors_per_batch": self.anchors_per_batch}
        return BatchStream(sequences, **sizes, seed=seed)

    def _steps(self) -> int:
        """Batches that this process is done with, those before a resumed checkpoint included."""
        if self.trainer is None:
            return 0
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # pyright: ignore[reportAttributeAccessIssue]

    def _taken(self) -> int:
        """Batches that all processes together are done with."""
        return self._resumed["taken"] + (self._steps() - self._resumed["steps"]) * _process(self)[1]


class _Chosen(DistributedSampler):
    """Numbers of what this process takes; of this class, since Lightning shares out what any other sampler gives.

    Args:
        source: What the numbers are of.
        numbers: Makes them, as the loader begins.
        length: At most so many; a resumed epoch needs fewer, which Lightning counts.
    """

    def __init__(self, source: Any, numbers: Callable[[], Iterable[int]], length: int) -> None:
        super().__init__(source, num_replicas=1, rank=0, shuffle=False)
        self.numbers, self.length = numbers, length

    def __iter__(self) -> Iterator[int]:
        return islice(self.numbers(), self.length)

    def __len__(self) -> int:
        return self.length


class _Repeat(torch.utils.data.IterableDataset):
    """One context for ever; trainer.max_steps says how often."""

    def __init__(self, item: ContextItem) -> None:
        self.item = item

    def __iter__(self) -> Iterator[ContextItem]:
        while True:
            yield self.item


def _process(module: L.LightningDataModule) -> tuple[int, int]:
    """Number of this process, and of how many."""
    return (module.trainer.global_rank, module.trainer.world_size) if module.trainer else (0, 1)


def _loader(
    dataset: Dataset | Sequence[ContextItem], *, workers: int = 0, sampler: DistributedSampler | None = None
) -> DataLoader:
    # Datasets hand out finished batches; a worker process pays only where collating long batches would hold up a card.
    workers = workers if torch.cuda.is_available() else 0
    return DataLoader(cast(Dataset, dataset), batch_size=None, num_workers=workers, sampler=sampler)


def _most(limit: int | float | None, share: Sequence[int]) -> int:
    """How many batches of a share a limit of Lightning's lets pass."""
    return len(share) if limit is None else int(len(share) * limit) if isinstance(limit, float) else limit


def _check_one_source(given: Mapping[str, Any]) -> None:
    """Refuse settings of which one would be left unread beside another."""
    for first, others in (("suites", ("path", "suite", "questions", "context")), ("context", ("suite",))):
        if given[first] and (unread := [name for name in others if given[name]]):
            raise ValueError(
                f"data.{first} stands alone, but data.{unread[0]} is given too: give one of them; null takes away the "
                "suite or suites of a config"
            )


def _read_all(suites: Mapping[str, str | None]) -> list[Task]:
    tasks = [task for name, path in suites.items() for task in get_suite(name).tasks(path)]
    if len({task.task_id for task in tasks}) < len(tasks):
        raise ValueError(f"data.suites {', '.join(suites)} have tasks of the same id; run them as studies of their own")
    check_contexts((f"suite {task.metadata['suite']}, task {task.task_id}", task) for task in tasks)
    return tasks


def _read(path: str, suite: str | None, questions: Sequence[str]) -> list[Task]:
    if suite is not None:
        return get_suite(suite).tasks(path or None, questions)
    if not path:
        if questions:
            raise ValueError(f"data.question {questions[0]!r} is asked on no document; give one with data.context")
        return list(generate_tasks(DEMO_WORLDS))
    if not questions and holds_rows(path):
        return load_tasks(path)
    return tasks_from_documents(path, questions)
