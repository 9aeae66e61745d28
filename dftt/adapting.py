"""Prefills and adaptations of a study, each made once for all arms that need it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dftt.adaptation.ttt import Adaptation
from dftt.evaluation.records import spec_hash
from dftt.models.lora import Adapter
from dftt.models.taps import tapped
from dftt.models.target import encode
from dftt.module import DraftTTTModule
from dftt.progress import StudyProgress
from dftt.study import Arm
from dftt.types import Prefill, Prompt, Task, TTTSpec
from dftt.types.arms import Source


@dataclass(frozen=True)
class Contexts:
    """A context, and the one that serves as the wrong one.

    Args:
        own: The context at hand.
        other: Another one; None where there is none.
        other_id: Its id.
    """

    own: Prompt
    other: Prompt | None = None
    other_id: str = ""


class ContextAdapter:
    """Reads contexts and adapts to them, each once for all arms.

    The wrong context of each is the next one, and that of the last is the first: so adaptations are kept until the next
    context is done with, and those to the first one for good.

    Args:
        module: Target and draft, the draft bare.
        progress: Is told of every adaptation.
    """

    def __init__(self, module: DraftTTTModule, progress: StudyProgress) -> None:
        self.module, self.progress = module, progress
        self.initial: Adapter | None = None
        self._adaptations: dict[tuple[tuple[int, ...], str], Adaptation] = {}  # by context and settings
        self._first: tuple[int, ...] = ()
        self._prefills: dict[tuple[int, ...], Prefill] = {}

    def encode(self, tasks: Sequence[Task]) -> list[list[int]]:
        """Token ids of the tasks' prompts."""
        return [encode(self.module.pair.target.tokenizer, task.messages) for task in tasks]

    def begin(self, context: Prompt) -> Prefill:
        """The prefill of a context; what belongs to contexts before it is dropped."""
        own = context.input_ids
        self._first = self._first or own
        self._prefills = {ids: kept for ids, kept in self._prefills.items() if ids == own}
        self._adaptations = {key: kept for key, kept in self._adaptations.items() if key[0] in (own, self._first)}
        return self.prefill(context)

    def prefill(self, context: Prompt) -> Prefill:
        """The prefill of a context, made once until the next one begins."""
        if context.input_ids not in self._prefills:
            self._prefills[context.input_ids] = self._read(context)
        return self._prefills[context.input_ids]

    def decodes_under(self, arm: Arm, contexts: Contexts) -> Adaptation | None:
        """The adaptation that an arm's first answer begins under; None where nothing is learnt before it."""
        only_later = arm.ttt_spec(self.module.ttt).learns_from == "generation"
        return None if arm.ttt == "none" or only_later else self.adaptation(arm, contexts, to=arm.ttt)

    def adaptation(self, arm: Arm, contexts: Contexts, *, to: Source) -> Adaptation:
        """An adaptation with an arm's settings, made once for all arms of the same.

        Args:
            arm: The arm.
            contexts: The context at hand, and another one.
            to: Which of them: own, wrong, or own with its tokens shuffled.
        """
        spec, context = arm.ttt_spec(self.module.ttt).before_answer(), contexts.own
        if to == "wrong":
            if contexts.other is None:
                raise ValueError(f"arm {arm.id} needs at least two contexts: there is no other one to adapt to")
            context = contexts.other
        if to == "shuffled":
            context = shuffled(context, seed=spec.seed)
        key = context.input_ids, spec_hash({"ttt": spec, "taps": arm.taps})
        if key not in self._adaptations:
            self.progress.note(f"adapting for {arm.id}")
            # A shuffled context is no one's prompt, so its prefill is not worth keeping.
            prefill = self._read(context) if to == "shuffled" else self.prefill(context)
            self._adaptations[key] = self._adapt(arm, prefill, spec, self.initial)
        return self._adaptations[key]

    def next_round(self, arm: Arm, number: int, earlier: Adaptation, said: Prompt, known: Prefill) -> Adaptation:
        """The adaptation of a later round: the one before it, led on over context and answer.

        Args:
            arm: The arm.
            number: The round, counted from 0.
            earlier: The adaptation of the round before.
            said: Prompt and answer.
            known: The context's prefill.
        """
        prefix = known if said.input_ids[: len(known)] == known.input_ids and len(known) < len(said) else None
        spec = arm.ttt_spec(self.module.ttt, number=number)
        return self._adapt(arm, self._read(said, prefix=prefix), spec, earlier.adapter)

    def _read(self, context: Prompt, *, prefix: Prefill | None = None) -> Prefill:
        with self.module.trainer.precision_plugin.forward_context():
            return self.module.pair.prefill(context, prefix=prefix)

    def _adapt(self, arm: Arm, prefill: Prefill, spec: TTTSpec, initial: Adapter | None) -> Adaptation:
        with tapped(self.module.pair.draft, arm.taps):
            return self.module.adapt(prefill, len(prefill), spec=spec, initial=initial)


def shuffled(context: Prompt, *, seed: int) -> Prompt:
    """The context's tokens in a random order that depends on the seed alone."""
    tokens = list(context.input_ids)
    random.Random(seed).shuffle(tokens)
    return Prompt(tuple(tokens))
