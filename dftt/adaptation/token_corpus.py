"""Training text as token ids: files of sequences with a mark on the tokens that may be asked for, and their batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset


@dataclass(frozen=True)
class TokenCorpus:
    """Sequences of token ids, stored end to end."""

    tokens: Tensor  # (M,), int32, all token ids
    supervised: Tensor  # (M,), bool, which of them may be asked for
    lengths: Tensor  # (S,), int64, of each sequence

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]], free: Sequence[int]) -> TokenCorpus:
        """Corpus of `sequences`, of each of which the first `free[i]` tokens (a prompt) are not asked for."""
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        marks = [torch.arange(len(sequence)) >= start for sequence, start in zip(sequences, free, strict=True)]
        tokens = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.int32)
        return cls(tokens, torch.cat(marks) if marks else torch.zeros(0, dtype=torch.bool), lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def digest(self) -> str:
        """Hash of all sequences and marks."""
        return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in vars(self).values())).hexdigest()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of (tokens, supervised), one per sequence."""
        sizes = self.lengths.tolist()
        return zip(self.tokens.split(sizes), self.supervised.split(sizes), strict=True)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(vars(self), path)

    @classmethod
    def load(cls, *paths: str | Path) -> TokenCorpus:
        """All sequences of the given files, in order; ValueError naming a file that is missing or something else."""
        parts = []
        for path in paths:
            if not Path(path).is_file():
                raise ValueError(f"corpus: no file at {path}; write one with python -m dftt_tools.synthesise")
            try:
                tensors = load_file(path)
            except SafetensorError as error:
                raise ValueError(f"corpus {path} is not a safetensors file ({error})") from None
            if set(tensors) != {"tokens", "supervised", "lengths"}:
                raise ValueError(f"corpus {path} holds {sorted(tensors)}; expected tokens, supervised and lengths")
            parts.append(cls(**tensors))
        return cls(*(torch.cat(columns) for columns in zip(*(vars(part).values() for part in parts), strict=True)))


@dataclass(frozen=True)
class CorpusBatch:
    """Sequences of similar length with the anchors of their blocks."""

    input_ids: Tensor  # (R, T), right-padded
    supervised: Tensor  # (R, T), False on prompts and padding
    anchors: Tensor  # (R, N), drawn with replacement where a sequence has too few


def plan_batches(lengths: Tensor, *, tokens_per_batch: int, generator: torch.Generator) -> list[list[int]]:
    """Indices of sequences, shuffled, in batches of at most `tokens_per_batch` padded tokens and of similar lengths."""
    # Noise before sorting: batches of like lengths, but not the same neighbours in every epoch.
    noisy = lengths.float() * (1 + 0.1 * torch.rand(len(lengths), generator=generator))
    batches: list[list[int]] = []
    current: list[int] = []
    longest = 0
    for index in noisy.argsort().tolist():
        longest = max(longest, int(lengths[index]))
        if current and longest * (len(current) + 1) > tokens_per_batch:
            batches.append(current)
            current, longest = [], int(lengths[index])
        current.append(index)
    if current:
        batches.append(current)
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def collate(
    rows: Sequence[tuple[Tensor, Tensor]], *, anchors_per_batch: int, pad_to: int = 64, generator: torch.Generator
) -> CorpusBatch:
    """Pad rows of (tokens, supervised) and draw anchors, of all rows together, whose first label is supervised.

    Lengths are rounded up to a multiple of `pad_to`, so that compiled kernels meet few shapes.
    """
    width = -(-max(len(tokens) for tokens, _ in rows) // pad_to) * pad_to
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    supervised = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (tokens, marks) in enumerate(rows):
        input_ids[row, : len(tokens)] = tokens
        supervised[row, : len(marks)] = marks
    # An anchor at a is worth drawing where a + 1 may be asked for; position 0 has no feature before it.
    openers = supervised.roll(-1, dims=1)
    openers[:, -1] = openers[:, 0] = False
    count = max(1, anchors_per_batch // len(rows))
    # Uniform among a row's openers: random keys, the largest first; rows with fewer repeat from the start.
    keys = torch.rand(openers.shape, generator=generator).masked_fill(~openers, -1.0)
    order = keys.argsort(dim=1, descending=True)
    available = openers.sum(1, keepdim=True).clamp_min(1)
    picks = torch.arange(count)[None] % available
    anchors = order.gather(1, picks).clamp_min(1)
    return CorpusBatch(input_ids, supervised, anchors.sort(dim=1).values)


class BatchStream(Dataset):
    """Batch i of an endless stream: pass after pass over the sequences, each in a new order and with new anchors.

    A batch depends on the seed and its number alone, so it is the same whoever makes it, and whenever. Sequences are
    pairs of (tokens, supervised); `tokens_per_batch` counts padding too.
    """

    def __init__(
        self, sequences: Sequence[tuple[Tensor, Tensor]], *, tokens_per_batch: int, anchors_per_batch: int, seed: int
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
