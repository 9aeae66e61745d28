"""Learning from an answer while it is decoded (Test-Time Speculation, arXiv 2605.09329).

Every so many tokens the draft takes some LoRA steps of the same loss as before an answer, over blocks opened within it:
verification has left the target's features and its distribution at each of these tokens behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from dftt.adaptation.lessons import context_batch
from dftt.adaptation.reuse import reused
from dftt.adaptation.ttt import Steps, check_start, learning_adapter, outside_inference_mode
from dftt.models.lora import Adaptation, Adapter
from dftt.models.pair import Pair
from dftt.types import Prefill, TTTSpec


@contextmanager
def learning(
    pair: Pair, spec: TTTSpec, *, answer_tokens: int, initial: Adapter | None = None
) -> Iterator[GenerationLearner]:
    """A learner, and the draft under the adapter that it changes; afterwards the draft is bitwise what it was.

    Args:
        spec: How to adapt; every update has its share of the steps, as if the answer grew to its full length.
        answer_tokens: That length; of a conversation, that of all answers.
        initial: Start from this adapter instead of a fresh one.

    Raises:
        ValueError: If `initial` has another shape than the spec asks for.
    """
    check_start(initial, spec)
    with learning_adapter(pair.draft, spec, initial) as parameters:
        spec = replace(spec, steps=spec.steps_of("generation"))
        with torch.inference_mode(False):  # what is made in inference mode cannot be changed outside it
            steps = Steps(pair.draft, pair.target, parameters, spec)
        yield GenerationLearner(steps, answer_tokens)


class GenerationLearner:
    """Says when an update is due, and makes it, in answers of up to `answer_tokens`; `learning` makes and ends one."""

    def __init__(self, steps: Steps, answer_tokens: int) -> None:
        self.steps, self.spec = steps, steps.spec
        self.seconds = 0.0
        # The first token belongs to no cycle, and after the last one nothing is left to decode.
        updates = max(1, (answer_tokens - 2) // self.spec.every)
        share, left = divmod(self.spec.steps, updates)
        self._shares = [share + (number < left) for number in range(updates)]
        self._since = 0  # tokens verified since the last update

    def is_due(self, new_tokens: int) -> bool:
        """Take note of so many more verified tokens; whether enough of them have come for an update."""
        self._since += new_tokens
        return self._since >= self.spec.every and any(self._shares) and not self.steps.watch.stopped

    def learn(self, text: Prefill, answer_length: int) -> None:
        """The steps that are due, over the last `answer_length` tokens of a text; the draft is changed in place."""
        begun = time.perf_counter()
        due, self._since = divmod(self._since, self.spec.every)
        count = sum(self._shares[:due])
        del self._shares[:due]
        # Every token of an answer is learnt from: nothing is ever validated there.
        within = replace(self.spec, window=min(self.spec.window or answer_length, answer_length), held_out=0)
        draft = self.steps.draft
        with torch.inference_mode(False), torch.enable_grad(), reused(draft):
            text = outside_inference_mode(text)
            for _ in range(count):
                self.steps.take(context_batch(draft, text, len(text), within, len(self.steps.losses)))
                if self.steps.watch.stopped:
                    break
            self.steps.watch.check_update()
        self.seconds += time.perf_counter() - begun

    @property
    def adaptation(self) -> Adaptation:
        """The adapter as it is now, and what the steps cost so far."""
        return self.steps.adaptation(self.seconds)
