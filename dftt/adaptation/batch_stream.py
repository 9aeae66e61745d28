"""All batches that training over a corpus ever takes, by number: what a run that was killed goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dftt.adaptation.token_corpus import CorpusBatch, collate, plan_batches


class BatchStream(Dataset):
    """Batch i of an endless stream: pass after pass over the sequences, each in a new order and with new anchors.

    A batch depends on the seed and its number alone, so it is the same whoever makes it, and whenever.

    Args:
        sequences: (tokens, supervised) of each.
        tokens_per_batch: Padded tokens per batch.
        anchors_per_batch: Blocks per batch.
        seed: Seeds order and anchors.
    """

    def __init__(
        self,
        sequences: Sequence[tuple[Tensor, Tensor]],
        *,
        tokens_per_batch: int,
        anchors_per_batch: int,
        seed: int,
    ) -> None:
        self.sequences, self.seed = sequences, seed
        self.tokens_per_batch, self.anchors_per_batch = tokens_per_batch, anchors_per_batch
        self._ends: list[int] = []  # number of the first batch after each pass
        self._plan: tuple[int, list[list[int]]] = (-1, [])  # the pass used last, and its batches

    def __len__(self) -> int:
        """Batches of the first pass; passes differ by a few."""
        return len(self._batches(0))

    def __getitem__(self, number: int) -> CorpusBatch:
        """Batch `number`, collated."""
        over, index = self._find(number)
        generator = torch.Generator().manual_seed(self._seed_of(over) * 7_919 + index)
        rows = [self.sequences[sequence] for sequence in self._batches(over)[index]]
        return collate(rows, anchors_per_batch=self.anchors_per_batch, generator=generator)

    def _find(self, number: int) -> tuple[int, int]:
        """The pass that a batch belongs to, and its place there."""
        while not self._ends or self._ends[-1] <= number:
            start = self._ends[-1] if self._ends else 0
            self._ends.append(start + len(self._batches(len(self._ends))))
        over = next(place for place, end in enumerate(self._ends) if number < end)
        return over, number - (self._ends[over - 1] if over else 0)

    def _batches(self, over: int) -> list[list[int]]:
        if self._plan[0] != over:
            lengths = torch.tensor([len(tokens) for tokens, _ in self.sequences])
            generator = torch.Generator().manual_seed(self._seed_of(over))
            self._plan = over, plan_batches(lengths, tokens_per_batch=self.tokens_per_batch, generator=generator)
        return self._plan[1]

    def _seed_of(self, over: int) -> int:
        return self.seed * 1_000_003 + over


def numbers(start: int, *, rank: int = 0, processes: int = 1) -> Iterator[int]:
    """Numbers of the batches that one of the processes takes, without end, where all together have taken `start`."""
    number = start + rank
    while True:
        yield number
        number += processes
