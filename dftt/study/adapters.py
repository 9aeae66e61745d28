"""Prefills and adaptations of a study, each made once for all arms that need it."""

from __future__ import annotations

import random
from dataclasses import replace

import torch

from dftt.adaptation.store import AdapterStore
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.guidance.sources import Materials
from dftt.models.draft import tapped
from dftt.models.lora import Adaptation, Adapter
from dftt.study.progress import StudyProgress
from dftt.study.records import spec_hash
from dftt.study.spec import NO_OTHER, Contexts, Study, UnmeasurableError
from dftt.types import Prefill, Prompt, TTTSpec
from dftt.types.arms import Arm, Source


class Adapters:
    """Reads contexts and adapts to them, each once for all arms.

    An adaptation is kept while its context is at hand, or is the wrong one of the context at hand, and no longer.

    Args:
        study: Pair and settings.
        progress: Is told of every adaptation.
    """

    def __init__(self, study: Study, progress: StudyProgress) -> None:
        self.study, self.progress = study, progress
        self._adaptations: dict[tuple[tuple[int, ...], str], Adaptation] = {}  # by context and settings
        self._prefills: dict[tuple[int, ...], Prefill] = {}

    def begin(self, contexts: Contexts) -> None:
        """Read the context at hand, and drop what belongs neither to it nor to its wrong one."""
        at_hand = [context.input_ids for context in (contexts.own, contexts.other) if context is not None]
        self._prefills = {ids: kept for ids, kept in self._prefills.items() if ids == contexts.own.input_ids}
        self._adaptations = {key: kept for key, kept in self._adaptations.items() if key[0] in at_hand}
        self.prefill(contexts.own)

    def end(self) -> None:
        """Drop all that is kept."""
        self._prefills, self._adaptations = {}, {}

    def prefill(self, context: Prompt) -> Prefill:
        """The prefill of a context, made once until the next one begins."""
        if context.input_ids not in self._prefills:
            self._prefills[context.input_ids] = self.study.pair.prefill(context)
        return self._prefills[context.input_ids]

    def before_answer(self, arm: Arm, contexts: Contexts) -> Adaptation | None:
        """The adaptation that an arm's first answer begins under; None where nothing is learnt before it."""
        only_later = arm.ttt_spec(self.study.ttt).learns_from == "generation"
        return None if arm.ttt == "none" or only_later else self.adaptation(arm, contexts, to=arm.ttt)

    def adaptation(self, arm: Arm, contexts: Contexts, *, to: Source) -> Adaptation:
        """An adaptation with an arm's settings to its own context, the wrong one or the own one shuffled; made once
        for all arms of the same settings.
        """
        spec, context = arm.ttt_spec(self.study.ttt).before_answer(), contexts.own
        if to == "wrong":
            if contexts.other is None:
                raise UnmeasurableError(NO_OTHER)
            context = contexts.other
        if to == "shuffled":
            context = shuffled(context, seed=spec.seed)
        key = context.input_ids, spec_hash({"ttt": spec, "taps": arm.taps})
        if key not in self._adaptations:
            self._adaptations[key] = self._found_or_made(arm, context, spec, is_kept=to != "shuffled")
        return self._adaptations[key]

    def next_round(self, arm: Arm, number: int, earlier: Adaptation, said: Prompt, known: Prefill) -> Adaptation:
        """The adaptation of a round `number` > 0: the earlier one, led on over all that was said, prompt and answer, of
        which a prefill of the first tokens is known.
        """
        prefix = known if said.input_ids[: len(known)] == known.input_ids and len(known) < len(said) else None
        # Where memory ran out, the adapter has fewer modules than the arm asks for; it is led on as it is.
        spec = replace(arm.ttt_spec(self.study.ttt, number=number), modules=earlier.adapter.modules)
        return self._adapt(arm, self.study.pair.prefill(said, prefix=prefix), spec, earlier.adapter)

    def materials(self, arm: Arm, contexts: Contexts, question: Prompt | None) -> Materials | None:
        """What an arm's rule of guidance reads besides the pair; None where that is nothing.

        Raises:
            UnmeasurableError: The adapter of the other context has the weights of the one that is decoded under.
        """
        sources, study = arm.sources, self.study
        adapters: dict[str, Adapter] = {"other": self._other(arm, contexts)} if "other" in sources else {}
        if "generic" in sources and study.generic is not None:
            adapters["generic"] = study.generic
        questions = [question] if question is not None and "without_context" in sources else []
        amateur = study.amateur_model if "amateur" in sources else None
        return Materials(adapters, questions, amateur) if adapters or questions or amateur else None

    def _other(self, arm: Arm, contexts: Contexts) -> Adapter:
        """The adapter of the other context; one that equals the own would leave nothing of their difference."""
        other, own = self.adaptation(arm, contexts, to="wrong"), self.before_answer(arm, contexts)
        if own is not None and _are_equal(own.adapter, other.adapter):
            raise UnmeasurableError(
                f"the adapters of this context and of {contexts.other_id} have equal weights: nothing is left of their "
                "difference"
            )
        return other.adapter

    def _found_or_made(self, arm: Arm, context: Prompt, spec: TTTSpec, *, is_kept: bool) -> Adaptation:
        """The adaptation that the store of its spec holds, which costs nothing now, or one made now and kept there."""
        pair, initial = self.study.pair, self.study.initial
        store, name = AdapterStore(spec.store) if spec.store else None, ""
        if store is not None:
            digest = "" if initial is None else initial.digest
            name = store.key(pair, context.input_ids, spec, taps=arm.taps, initial=digest)
            if (found := store.find(name)) is not None:
                self.progress.note(f"adapter for {arm.id} taken from {spec.store}")
                return replace(found, seconds=0.0, study_seconds=0.0)
        self.progress.note(f"adapting for {arm.id}")
        # A shuffled context is no one's prompt, so its prefill is not worth keeping.
        made = self._adapt(arm, self.prefill(context) if is_kept else pair.prefill(context), spec, initial)
        if store is not None:
            store.keep(name, made)
        return made

    def _adapt(self, arm: Arm, prefill: Prefill, spec: TTTSpec, initial: Adapter | None) -> Adaptation:
        pair = self.study.pair
        with tapped(pair.draft, arm.taps):
            prompt = Prompt(prefill.input_ids, len(prefill))
            return ttt_adapt(pair, prompt, replace(spec, store=""), prefill=prefill, initial=initial)


def shuffled(context: Prompt, *, seed: int) -> Prompt:
    """The context's tokens in a random order that depends on the seed alone."""
    tokens = list(context.input_ids)
    random.Random(seed).shuffle(tokens)
    return Prompt(tuple(tokens))


def _are_equal(one: Adapter, other: Adapter) -> bool:
    return one.weights.keys() == other.weights.keys() and all(
        torch.equal(weight, other.weights[name]) for name, weight in one.weights.items()
    )
