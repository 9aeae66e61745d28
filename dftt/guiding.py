"""What the rules of guidance of a study need besides the pair, each made once for all arms that need it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from dftt.adapting import ContextAdapter, Contexts
from dftt.decoding.guidance.materials import Materials
from dftt.models.fingerprint import fingerprint
from dftt.models.lora import Adapter
from dftt.models.target import Target
from dftt.study import Arm
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
        """
        adapters: dict[str, Adapter] = {}
        if "other" in arm.sources:
            adapters["other"] = self.adapter.adaptation(arm, contexts, to="wrong").adapter
        if "generic" in arm.sources and self.generic is not None:
            adapters["generic"] = self.generic
        questions = [question] if question is not None and "without_context" in arm.sources else []
        amateur = self.amateur if "amateur" in arm.sources else None
        return Materials(adapters, questions, amateur) if adapters or questions or amateur else None

    def problem(self, arm: Arm, question: Prompt | None, *, length: int) -> str:
        """Why a rule cannot be followed on a task whose prompt and answers take `length` tokens; empty where it can."""
        sources = arm.sources
        if "without_context" in sources and question is None:
            return "no prompt without context: the task has none, or its question cannot be told apart from it"
        if "generic" in sources and self.generic is None:
            return "no generic adapter: the checkpoint's adapter has learnt nothing yet"
        if "amateur" in sources and length > self.amateur.window:
            return f"context too long: {length} tokens for the amateur's window of {self.amateur.window}"
        return ""

    def decides(self, arm: Arm, contexts: Contexts, question: Prompt | None) -> dict[str, Any]:
        """What of the materials decides a record of an arm, by name; weights as their hashes."""
        decided_by: dict[str, Any] = {}
        if "other" in arm.sources:
            decided_by["other"] = contexts.other
        if "generic" in arm.sources:
            decided_by["generic"] = self.generic.digest if self.generic is not None else ""
        if "without_context" in arm.sources:
            decided_by["without_context"] = question
        if "amateur" in arm.sources:
            decided_by["amateur"] = fingerprint(self.amateur.model)
        return decided_by

    @property
    def generic(self) -> Adapter | None:
        """The adapter of source generic."""
        return self._generic or self.adapter.initial

    @cached_property
    def amateur(self) -> Target:
        """The amateur, on the target's device and in its precision."""
        module = self.adapter.module
        return Target.load(str(self.amateur_name), device=module.pair.target.device, dtype=module.target_dtype)
