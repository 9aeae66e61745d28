"""Lossless decoding whose draft learns from the answer on the way: between cycles, so no token depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.models.cache import Placement
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prefill

_LEAST = 2  # tokens of an answer: one to open a block at, one to ask for


class Learner(Protocol):
    """What changes the draft; `dftt.adaptation.online` has one."""

    @property
    def seconds(self) -> float:
        """Time spent in `learn` so far."""
        ...

    def is_due(self, new_tokens: int) -> bool:
        """Told of every cycle's tokens; whether `learn` is to be called."""
        ...

    def learn(self, text: Prefill, answer_length: int) -> None:
        """Change the draft in place.

        Args:
            text: All tokens that the target has read, with its features and final hidden states; no keys and values.
            answer_length: How many of the last ones are the answer's.
        """
        ...


class LearningEngine(Engine):
    """An engine of one row, mode speculative, with the pair's own draft.

    Args:
        pair: Target and draft.
        spec: As Engine.
        prompts: As Engine.
        prefills: As Engine.
        keys: As Engine.
        learner: Learns.
        options: As Engine.

    Raises:
        ValueError: If there are several rows, or another mode.
    """

    def __init__(
        self,
        pair: Pair,
        spec: DecodingSpec,
        prompts: Sequence[Sequence[int]],
        prefills: Sequence[Prefill | None],
        keys: Sequence[int],
        learner: Learner,
        **options: Any,
    ) -> None:
        if len(prompts) != 1 or spec.mode != "speculative":
            raise ValueError(
                f"a draft learns from one answer at a time, in mode speculative; got {len(prompts)} prompts and mode "
                f"{spec.mode}"
            )
        self._learner, self._memory = learner, _Remembering(pair)
        self._hidden = torch.empty(0)
        super().__init__(pair.target, self._memory, spec, prompts, prefills, keys, **options)
        self._capture = None  # the draft's weights and what it has read change between cycles

    @torch.no_grad()
    def step(self) -> None:
        """One cycle, and an update where it is due."""
        (row,) = self.rows
        before = row.length
        super().step()
        known = row.length - 1  # the target has yet to read the last token
        if row.finish_reason or not self._learner.is_due(row.length - before) or known - row.prompt_length < _LEAST:
            return
        text = Prefill(
            input_ids=tuple(self._tokens[0, :known].tolist()),
            features=self._memory.features[:known],
            hidden=self._hidden[:known],
            keys=(),
            values=(),
        )
        self._learner.learn(text, known - row.prompt_length)
        self._memory.read_again(known)

    def _read_prompts(
        self, prefills: Sequence[Prefill | None], known: Sequence[int], longest_rest: int, capacity: int
    ) -> Tensor:
        self._hidden = torch.zeros(
            capacity, self.target.hidden_size, dtype=self.target.dtype, device=self.target.device
        )
        for prefill in prefills:
            if prefill is not None:
                self._hidden[: len(prefill)] = prefill.hidden
        return super()._read_prompts(prefills, known, longest_rest, capacity)

    def _read(self, block: Tensor, at: Placement) -> tuple[Tensor, Tensor]:
        hidden, early = super()._read(block, at)
        self._hidden[at.positions[0]] = hidden[0]
        return hidden, early


class _Remembering(DFlashDrafter):
    """A drafter that keeps the features it reads, to read them again once the draft has changed."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.draft, pair.target)
        self.features = torch.empty(0)  # (capacity, L*D)

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """As a drafter, of one row."""
        width = len(self.draft.config.tap_ids) * self.target.hidden_size
        self.features = torch.zeros(capacity, width, dtype=self.target.dtype, device=self.target.device)
        if len(features[0]):
            self.features[: len(features[0])] = features[0]
        super().begin(features, capacity=capacity)

    def extend(self, features: Tensor, placement: Placement) -> None:
        """As a drafter."""
        self.features[placement.positions[0]] = features[0]
        super().extend(features, placement)

    def read_again(self, known: int) -> None:
        """All keys and values of the first positions anew: each depends on fc, and on its layer's own projections."""
        super().begin([self.features[:known]], capacity=len(self.features))
