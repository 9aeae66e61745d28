"""Hashes of everything that decides a record, and of nothing else: a record counts while its hash is that of today.

A hash is made of parts, which are kept beside it, so that where it differs one can say what has changed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch

from dftt.adaptation.self_study import study_instructions
from dftt.models.fingerprint import fingerprint, identify
from dftt.study import Arm
from dftt.study.adapting import ContextAdapter, Contexts
from dftt.study.guiding import Guides
from dftt.study.records import spec_hash
from dftt.suites.conversation import later_turns
from dftt.suites.copying import passage
from dftt.types import DecodingSpec, Prompt, Task, TTTSpec
from dftt.types.arms import DRAFTING

# What decoding settings decide nothing about a record of a mode.
_UNUSED = {
    "target": ("alpha", "verify_size", "guidance", *DRAFTING),
    "speculative": ("alpha", "verify_size", "guidance"),
    "rerank": ("alpha", "verify_size", "guidance"),
    "power": ("alpha", "verify_size", "guidance", "temperature", "top_p", "top_k"),
}


@dataclass(frozen=True)
class Digest:
    """The hash of a record.

    Args:
        whole: Of everything that decides the record.
        parts: Of what goes into it: `settings` (models, arithmetic, arm), `prompt` (tokens) and `context` (what else
            the arm reads or learns from); and of what the prompt was made of, `row` (messages) and `template`.
    """

    whole: str
    parts: Mapping[str, str]


class Digests:
    """Hashes of the records of a study.

    Args:
        adapter: Of the study; its module holds the pair.
        guides: Of the study.
        arms: All arms, since some are matched to others.
        decoding: Decoding settings that they share.
        rows: How many answers are decoded side by side.
    """

    def __init__(
        self, adapter: ContextAdapter, guides: Guides, arms: Sequence[Arm], decoding: DecodingSpec, rows: int = 1
    ) -> None:
        self.adapter, self.guides, self.decoding, self.rows = adapter, guides, decoding, rows
        self.arms = {arm.id: arm for arm in arms}
        self._known: dict[object, Any] = {}

    def of(
        self, arm: Arm, seed: int, task: Task, prompt: Prompt, *, contexts: Contexts, question: Prompt | None
    ) -> Digest:
        """The hash of one record.

        Args:
            arm: The arm.
            seed: The decoding seed.
            task: The task.
            prompt: Its prompt; context_length is that of the context.
            contexts: The context, and another one.
            question: The prompt without its context.
        """
        parts = {
            "settings": self._once(("settings", arm.id, seed), lambda: spec_hash(self._settings(arm, seed))),
            "prompt": spec_hash({"tokens": _digest_of(prompt.input_ids), "later_turns": later_turns(task)}),
            "context": spec_hash(
                {"passage": passage(task)} if arm.copies else self._context(arm, prompt, contexts, question)
            ),
        }
        made_of = {
            "row": spec_hash({"messages": [dict(message) for message in task.messages]}),
            "template": self._once("template", lambda: spec_hash({"template": str(self._tokenizer.chat_template)})),
        }
        return Digest(spec_hash(parts), {**parts, **made_of})

    def _settings(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Everything but prompts: the models and their arithmetic, and what the arm does with them."""
        module = self.adapter.module
        target = self._once("target", lambda: identify(module.pair.target))
        if arm.copies:  # nothing is computed; the tokenizer is the target's
            return {"target": target, "baseline": {arm.mode: arm.baseline}}
        decided_by: dict[str, Any] = {
            "target": target,
            "arithmetic": self._arithmetic(arm),
            "decoding": self._decoding(arm, seed),
        }
        if arm.mode != "target":
            initial = self.adapter.initial
            decided_by |= {
                "draft": self._once("draft", self._name_of_draft),
                "taps": arm.taps,
                "initial": [initial.digest, initial.identity] if initial else "",
            }
        if arm.baseline is not None:
            decided_by["baseline"] = {arm.mode: arm.baseline}
        if arm.ttt != "none":
            ttt = [arm.ttt_spec(module.ttt, number=number) for number in range(arm.rounds)]
            decided_by |= {"ttt": [_used(spec) for spec in ttt], "source": arm.ttt}
        if materials := self.guides.weights(arm):
            decided_by["materials"] = materials
        if arm.matched_to:
            decided_by["matched_to"] = self._settings(self.arms[arm.matched_to], seed)
        return decided_by

    def _context(self, arm: Arm, prompt: Prompt, contexts: Contexts, question: Prompt | None) -> dict[str, Any]:
        """What an arm reads or learns from besides the prompt."""
        read: dict[str, Any] = {}
        other = _digest_of(contexts.other.input_ids) if contexts.other is not None else ""
        if arm.ttt != "none" and arm.ttt_spec(self.adapter.module.ttt).learns_from != "generation":
            own = _digest_of(prompt.input_ids[: prompt.context_length])
            read["learnt"] = other if arm.ttt == "wrong" else own
        if "other" in arm.sources:
            read["other"] = other
        if "without_context" in arm.sources:
            read["question"] = _digest_of(question.input_ids) if question is not None else ""
        if arm.matched_to:
            read["matched_to"] = self._context(self.arms[arm.matched_to], prompt, contexts, question)
        return read

    def _decoding(self, arm: Arm, seed: int) -> dict[str, Any]:
        settings = asdict(arm.decoding(self.decoding, seed=seed))
        unused = (*_UNUSED.get(arm.mode, ()), *(["temperature"] if arm.matched_to else []))
        return {name: value for name, value in settings.items() if name not in unused}

    def _arithmetic(self, arm: Arm) -> dict[str, Any]:
        """How the numbers are computed: what rounds otherwise may draw other tokens."""
        module = self.adapter.module
        precision = module.trainer.precision_plugin
        exact = module.target_dtype in ("float32", "float64") and precision.precision in ("32-true", "64-true")
        return {
            "dtype": module.target_dtype,
            "precision": [type(precision).__name__, str(precision.precision)],
            "device": module.pair.target.device.type,
            "attention": str(module.pair.target.config._attn_implementation),
            "matmul": torch.get_float32_matmul_precision(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            # In single precision rows side by side draw the same tokens; in half, other shapes round otherwise.
            "rows": 1 if exact or arm.is_alone(module.ttt) else self.rows,
        }

    @property
    def _tokenizer(self) -> Any:
        return self.adapter.module.pair.target.tokenizer

    def _name_of_draft(self) -> dict[str, Any]:
        draft = self.adapter.module.pair.draft
        return {"weights": fingerprint(draft), "config": asdict(draft.config)}

    def _once(self, name: object, make: Callable[[], Any]) -> Any:
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]


@lru_cache(maxsize=16)  # all arms on a task ask for the same few
def _digest_of(tokens: tuple[int, ...]) -> str:
    return hashlib.sha256(array("q", tokens).tobytes()).hexdigest()


def _used(spec: TTTSpec) -> dict[str, Any]:
    """What of a spec decides its adapter."""
    unused = {"store"} if spec.learns("generation") else {"store", "every"}
    if not spec.learns("self_study"):
        unused |= {name for name in asdict(spec) if name.startswith("study_")} | {"seconds"}
    if spec.learns_from == "context":
        unused.add("learns_from")
    used = {name: value for name, value in asdict(spec).items() if name not in unused}
    return {**used, "study_prompts": study_instructions(spec.study_prompts)} if spec.learns("self_study") else used
