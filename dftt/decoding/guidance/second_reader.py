"""A model that reads another prompt, or the same one, beside the target: it has keys and values of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from dftt.decoding.guidance.step import Step
from dftt.models.cache import Placement, RowCache, place
from dftt.models.target import PREFILL_CHUNK, Target


class SecondReader:
    """Logits of a model behind its own prompts, followed by the tokens that are being verified.

    Without context, it is the target behind the question alone; as an amateur, another model behind the same prompt.

    Args:
        model: What reads.
        prompts: The target's prompts, one per row.
        own: What it reads instead, one per row. Each ends with the last token of the row's prompt, which is the first
            one that is verified.

    Raises:
        ValueError: If a row's two prompts end differently.
    """

    taps: tuple[int, ...] = ()

    def __init__(self, model: Target, prompts: Sequence[Sequence[int]], own: Sequence[Sequence[int]]) -> None:
        for prompt, other in zip(prompts, own, strict=True):
            if other[-1] != prompt[-1]:
                raise ValueError(
                    f"the prompt without context ends in token {other[-1]}, the prompt in {prompt[-1]}: both must end "
                    "alike (encode both with the chat template, or leave out the context at the beginning only)"
                )
        self.model, self.own = model, own
        # How far a token stands to the left of where it stands in the target's row.
        shifts = [len(prompt) - len(other) for prompt, other in zip(prompts, own, strict=True)]
        self._least = min(shifts)
        self._one_shift = len(set(shifts)) == 1
        self._shifts = torch.tensor(shifts, device=model.device)[:, None]
        self._cache = RowCache(0, rows=0, capacity=0)

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:  # noqa: ARG002 - a source's signature
        """Read the prompts, all rows at once, right-padded."""
        longest = max(map(len, self.own))
        tokens = torch.zeros(len(self.own), longest, dtype=torch.long, device=self.model.device)
        for row, ids in enumerate(self.own):
            tokens[row, : len(ids)] = torch.tensor(ids, device=tokens.device)
        self._cache = RowCache(self.model.num_layers, rows=len(self.own), capacity=capacity - self._least)
        for start in range(0, longest, PREFILL_CHUNK):
            chunk = tokens[:, start : start + PREFILL_CHUNK]
            at = place([start] * len(self.own), chunk.shape[1], device=tokens.device)
            self.model.forward(chunk, at, self._cache, tap_ids=())

    def extend(self, features: Tensor, at: Placement) -> None:
        """Nothing to take: it reads tokens."""

    def copy_rows(self, rows: Sequence[int], other: Self) -> None:
        """Take over what another reader has read.

        Raises:
            ValueError: If one of its prompts is closer in length to the target's than any that this one began with:
                there may be no room for its row.
        """
        if other._least < self._least:
            raise ValueError(
                f"a prompt is {other._least} tokens shorter without context, and the rows were made for at least "
                f"{self._least}: begin with the row whose prompts differ least"
            )
        self._one_shift = self._one_shift and other._one_shift and other._least == self._least
        self._shifts[rows] = other._shifts
        self._cache.copy_rows(rows, other._cache)

    def logits(self, step: Step) -> Tensor:
        """Logits after each position, the verified tokens standing behind its own prompts."""
        start = step.at.start - self._least if self._one_shift and step.at.start is not None else None
        at = Placement(step.at.positions - self._shifts, step.at.used - self._least, start)
        hidden, _ = self.model.forward(step.block, at, self._cache, tap_ids=())
        return self.model.head(hidden)
