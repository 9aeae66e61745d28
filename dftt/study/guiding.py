"""What the rules of guidance of a study need besides the pair, each made once for all arms that need it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from dftt.decoding.guidance.sources import Materials
from dftt.models.fingerprint import identify
from dftt.models.lora import Adapter
from dftt.models.target import Target
from dftt.study import Arm
from dftt.study.adapting import ContextAdapter, Contexts, UnmeasurableError
from dftt.types import Prompt


class Guides:
    """Materials of guided arms, and what there is to say about them.

    Args:
        adapter: Adapts to other contexts, and knows the adapter of a checkpoint.
        amateur: Hub id or folder of the smaller model that contrastive rules need; loaded when one of them is asked.
        generic: The adapter of source generic; where not given, that of a checkpoint.
    """

    def __init__(self, adapter: ContextAdapter, *, amateur: str | None = None, generic: Adapter | None = None) -> None:
        self.adapter, self.amateur_name, self._generic = adapter, amateur, generic

    def materials(self, arm: Arm, contexts: Contexts, question: Prompt | None) -> Materials | None:
        """What an arm's rule reads besides the pair; None where that is nothing.

        Args:
            arm: The arm.
            contexts: The context at hand, and another one.
            question: The prompt without its context.

        Raises:
            UnmeasurableError: The adapter of the other context has the weights of the one that is decoded under.
        """
        adapters: dict[str, Adapter] = {}
        if "other" in arm.sources:
            adapters["other"] = self._other(arm, contexts)
        if "generic" in arm.sources and self.generic is not None:
            adapters["generic"] = self.generic
        questions = [question] if question is not None and "without_context" in arm.sources else []
        amateur = self.amateur if "amateur" in arm.sources else None
        return Materials(adapters, questions, amateur) if adapters or questions or amateur else None

    def problem(self, arm: Arm, question: Prompt | None, *, length: int) -> str:
        """Why a rule cannot be followed on a task whose prompt and answers take `length` tokens; empty where it can."""
        sources = arm.sources
        if "without_context" in sources and question is None:
            return (
                "no prompt without context: the task has none, or its question cannot be told apart from it, or the "
                "chat template refuses the question alone"
            )
        if "generic" in sources and self.generic is None:
            return "no generic adapter: the checkpoint's adapter has learnt nothing yet"
        if "amateur" in sources and length > self.amateur.window:
            return f"context too long: {length} tokens for the amateur's window of {self.amateur.window}"
        return ""

    def weights(self, arm: Arm) -> dict[str, Any]:
        """What of the materials decides a record of an arm, prompts left out, by name; weights as their hashes."""
        decided_by: dict[str, Any] = {}
        if "generic" in arm.sources:
            decided_by["generic"] = [self.generic.digest, self.generic.identity] if self.generic is not None else ""
        if "amateur" in arm.sources:
            decided_by["amateur"] = self._amateur_name
        return decided_by

    def _other(self, arm: Arm, contexts: Contexts) -> Adapter:
        """The adapter of the other context; one that equals the own would leave nothing of their difference."""
        other, own = self.adapter.adaptation(arm, contexts, to="wrong"), self.adapter.decodes_under(arm, contexts)
        if own is not None and _are_equal(own.adapter, other.adapter):
            raise UnmeasurableError(
                f"the adapters of this context and of {contexts.other_id} have equal weights: nothing is left of their "
                "difference"
            )
        return other.adapter

    @property
    def generic(self) -> Adapter | None:
        """The adapter of source generic."""
        return self._generic or self.adapter.initial

    @cached_property
    def _amateur_name(self) -> dict[str, Any]:
        return identify(self.amateur)

    @cached_property
    def amateur(self) -> Target:
        """The amateur, on the target's device and in its precision."""
        module = self.adapter.module
        return Target.load(str(self.amateur_name), device=module.pair.target.device, dtype=module.target_dtype)


def _are_equal(one: Adapter, other: Adapter) -> bool:
    return one.weights.keys() == other.weights.keys() and all(
        torch.equal(weight, other.weights[name]) for name, weight in one.weights.items()
    )
