"""Lossless decoding whose draft learns from the answer on the way: between cycles, so no token depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.recording import Recorder
from dftt.decoding.schedule import BlockScheduler
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

        `text` has all tokens that the target has read, with features and final hidden states, but no keys and values;
        the last `answer_length` tokens are the answer's.
        """
        ...


def learning_engine(
    pair: Pair,
    spec: DecodingSpec,
    drafter: DFlashDrafter,
    prompts: Sequence[Sequence[int]],
    prefills: Sequence[Prefill | None],
    keys: Sequence[int],
    learner: Learner,
    *,
    scheduler: BlockScheduler | None = None,
) -> Engine:
    """An engine of one row whose draft, that of the pair, learns after each cycle where the learner says so.

    Raises:
        ValueError: If there are several rows, or the mode is not speculative.
    """
    if len(prompts) != 1 or spec.mode != "speculative":
        raise ValueError(
            f"a draft learns from one answer at a time, in mode speculative; got {len(prompts)} prompts and mode "
            f"{spec.mode}"
        )
    width = len(prompts[0]) + spec.max_new_tokens + spec.block_size
    observer = _Learning(pair, drafter, learner, prompts[0], prefills[0], width)
    return Engine(pair.target, drafter, spec, prompts, prefills, keys, scheduler=scheduler, observer=observer)


class _Learning(Recorder):
    """Lets the learner learn between cycles, and the drafter read everything again under the weights learnt."""

    by_kernels = False  # the draft's weights and what it has read change between cycles

    def __init__(
        self,
        pair: Pair,
        drafter: DFlashDrafter,
        learner: Learner,
        prompt: Sequence[int],
        prefill: Prefill | None,
        width: int,
    ) -> None:
        super().__init__(pair, 1, width)
        self.drafter, self.learner, self.prompt = drafter, learner, tuple(prompt)
        if prefill is not None:
            self.features[0, : len(prefill)] = prefill.features
            self.hidden[0, : len(prefill)] = prefill.hidden

    @torch.no_grad()
    def after_cycle(self, engine: Engine) -> None:
        """An update where it is due."""
        (row,) = engine.rows
        known = row.length - 1  # the target has yet to read the last token
        answered = known - row.prompt_length
        if row.finish_reason or not self.learner.is_due(row.acceptance_lengths[-1]) or answered < _LEAST:
            return
        ids = (*self.prompt, *engine.new_tokens(0))[:known]
        self.learner.learn(Prefill(ids, self.features[0, :known], self.hidden[0, :known], (), ()), answered)
        # Each key and value depends on fc, and on its layer's own projections.
        self.drafter.begin([self.features[0, :known]], capacity=self.features.shape[1])
