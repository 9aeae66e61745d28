"""Prefills and adaptations of a study, each made once for all arms that need it."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from dftt.adaptation.store import AdapterStore
from dftt.adaptation.ttt import Adaptation
from dftt.data import ContextItem
from dftt.models.draft import tapped
from dftt.models.lora import Adapter
from dftt.models.target import encode
from dftt.module import DraftTTTModule
from dftt.study import Arm
from dftt.study.progress import StudyProgress
from dftt.study.records import spec_hash
from dftt.suites.questions import passage_of
from dftt.suites.tasks import context_of
from dftt.types import Prefill, Prompt, Task, TTTSpec
from dftt.types.arms import Source

NO_OTHER = "no other context: none of this study has another text"


class UnmeasurableError(ValueError):
    """An answer cannot be made; the message is the reason, for its record."""


@dataclass(frozen=True)
class Contexts:
    """A context, and the one that serves as the wrong one.

    Args:
        own: The context at hand.
        other: Another one; None where there is none of another text.
        other_id: Its id.
        problem: Why nothing can be measured on the context, empty where it can.
    """

    own: Prompt
    other: Prompt | None = None
    other_id: str = ""
    problem: str = ""


class ContextAdapter:
    """Reads contexts and adapts to them, each once for all arms.

    An adaptation is kept while its context is at hand, or is the wrong one of the context at hand, and no longer.

    Args:
        module: Target and draft, the draft bare.
        progress: Is told of every adaptation.
    """

    def __init__(self, module: DraftTTTModule, progress: StudyProgress) -> None:
        self.module, self.progress = module, progress
        self.initial: Adapter | None = None
        self._adaptations: dict[tuple[tuple[int, ...], str], Adaptation] = {}  # by context and settings
        self._prefills: dict[tuple[int, ...], Prefill] = {}
        self._encoded: dict[str, array[int]] = {}

    def encode(self, tasks: Sequence[Task]) -> list[list[int]]:
        """Token ids of the tasks' prompts."""
        return [list(self.encode_messages(task.messages)) for task in tasks]

    def encode_messages(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of messages, the same ones for as long as this object lives: a template may read the clock."""
        name = spec_hash({"messages": [dict(message) for message in messages]})
        if name not in self._encoded:
            self._encoded[name] = array("i", encode(self.module.pair.target.tokenizer, messages))
        return tuple(self._encoded[name])

    def begin(self, contexts: Contexts) -> Prefill:
        """The prefill of the context at hand; what belongs neither to it nor to its wrong one is dropped."""
        at_hand = [context.input_ids for context in (contexts.own, contexts.other) if context is not None]
        self._prefills = {ids: kept for ids, kept in self._prefills.items() if ids == contexts.own.input_ids}
        self._adaptations = {key: kept for key, kept in self._adaptations.items() if key[0] in at_hand}
        return self.prefill(contexts.own)

    def end(self) -> None:
        """Drop all that is kept."""
        self._prefills, self._adaptations = {}, {}

    def contexts(self, item: ContextItem) -> Contexts:
        """The context of an item, and as the wrong one the next with another text.

        That is one whose passage differs, the question left out where a task tells it; where no passage does, one whose
        tokens differ. None serves where all contexts say the same.
        """
        prompts = self.encode(item.tasks)
        try:
            own = context_of(prompts)
        except ValueError as error:
            return Contexts(Prompt(tuple(prompts[0])), problem=str(error))
        name, other = self._other(item, own)
        return Contexts(own, other, name)

    def _other(self, item: ContextItem, own: Prompt) -> tuple[str, Prompt | None]:
        """Name and tokens of the context that serves as the wrong one; None where all others say the same."""
        passage, second = passage_of(item.tasks[0]), ("", None)
        for name, tasks in item.others():
            try:
                context = context_of(self.encode(tasks))
            except ValueError:
                continue
            if context.input_ids == own.input_ids:
                continue
            if not passage or passage_of(tasks[0]) != passage:
                return name, context
            second = second if second[1] else (name, context)
        return second

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
                raise UnmeasurableError(NO_OTHER)
            context = contexts.other
        if to == "shuffled":
            context = shuffled(context, seed=spec.seed)
        key = context.input_ids, spec_hash({"ttt": spec, "taps": arm.taps})
        if key not in self._adaptations:
            make = partial(self._made, arm, context, spec, to=to)
            self._adaptations[key] = self._stored(arm, context, spec, make) if spec.store else make()
        return self._adaptations[key]

    def _made(self, arm: Arm, context: Prompt, spec: TTTSpec, *, to: Source) -> Adaptation:
        """An adaptation made now."""
        self.progress.note(f"adapting for {arm.id}")
        # A shuffled context is no one's prompt, so its prefill is not worth keeping.
        prefill = self._read(context) if to == "shuffled" else self.prefill(context)
        return self._adapt(arm, prefill, spec, self.initial)

    def _stored(self, arm: Arm, context: Prompt, spec: TTTSpec, make: Callable[[], Adaptation]) -> Adaptation:
        """The adaptation that the store of its spec holds, which costs nothing now, or one made now and kept there."""
        store, initial = AdapterStore(spec.store), "" if self.initial is None else self.initial.digest
        name = store.key(self.module.pair, context.input_ids, spec, taps=arm.taps, initial=initial)
        if (found := store.find(name)) is not None:
            self.progress.note(f"adapter for {arm.id} taken from {spec.store}")
            return replace(found, seconds=0.0, study_seconds=0.0)
        made = make()
        store.keep(name, made)
        return made

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
        # Where memory ran out, the adapter has fewer modules than the arm asks for; it is led on as it is.
        spec = replace(arm.ttt_spec(self.module.ttt, number=number), modules=earlier.adapter.modules)
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
