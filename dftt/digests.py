"""Hashes of everything that decides a record, and of nothing else: a record counts while its hash is that of today."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dftt.adapting import ContextAdapter, Contexts
from dftt.evaluation.conversation import later_turns
from dftt.evaluation.records import spec_hash
from dftt.guiding import Guides
from dftt.models.fingerprint import fingerprint
from dftt.study import Arm
from dftt.types import DecodingSpec, Prompt, Task, TTTSpec

# What decoding settings decide nothing about a record of a mode.
_UNUSED = {
    "target": ("alpha", "block_size", "verify_size", "guidance"),
    "speculative": ("alpha", "verify_size", "guidance"),
    "rerank": ("alpha", "verify_size", "guidance"),
    "power": ("alpha", "verify_size", "guidance", "temperature", "top_p", "top_k"),
}


class Digests:
    """Hashes of the records of a study.

    Args:
        adapter: Of the study; its module holds the pair.
        guides: Of the study.
        arms: All arms, since some are matched to others.
        decoding: Decoding settings that they share.
    """

    def __init__(self, adapter: ContextAdapter, guides: Guides, arms: Sequence[Arm], decoding: DecodingSpec) -> None:
        self.adapter, self.guides, self.decoding = adapter, guides, decoding
        self.arms = {arm.id: arm for arm in arms}
        self._weights: dict[str, str] = {}

    def of(
        self, arm: Arm, seed: int, task: Task, prompt: Prompt, *, contexts: Contexts, question: Prompt | None
    ) -> str:
        """The hash of one record.

        Args:
            arm: The arm.
            seed: The decoding seed.
            task: The task.
            prompt: Its prompt; context_length is that of the context.
            contexts: The context, and another one.
            question: The prompt without its context.
        """
        module = self.adapter.module
        decided_by: dict[str, Any] = {
            "target": self._weights_of("target"),
            "dtype": module.target_dtype,
            "prompt": _digest_of(prompt.input_ids),
            "later_turns": later_turns(task),
            "decoding": self._decoding(arm, seed),
        }
        if arm.mode != "target":
            decided_by |= {
                "draft": self._weights_of("draft"),
                "taps": arm.taps,
                "initial": self.adapter.initial.digest if self.adapter.initial else "",
            }
        if arm.baseline is not None:
            decided_by["baseline"] = {arm.mode: arm.baseline}
        if arm.ttt != "none":
            ttt = [arm.ttt_spec(module.ttt, number=number) for number in range(arm.rounds)]
            decided_by |= {"ttt": [_settings(spec) for spec in ttt], "shuffled": arm.ttt == "shuffled"}
            if ttt[0].learns_from != "generation":
                other = contexts.other.input_ids if contexts.other is not None else ()
                context = other if arm.ttt == "wrong" else prompt.input_ids[: prompt.context_length]
                decided_by["context"] = _digest_of(context)
        if materials := self.guides.decides(arm, contexts, question):
            decided_by["materials"] = {
                name: _digest_of(value.input_ids) if isinstance(value, Prompt) else value
                for name, value in materials.items()
            }
        if arm.matched_to:
            guided = self.arms[arm.matched_to]
            decided_by["matched_to"] = self.of(guided, seed, task, prompt, contexts=contexts, question=question)
        return spec_hash(decided_by)

    def _decoding(self, arm: Arm, seed: int) -> dict[str, Any]:
        settings = asdict(arm.decoding(self.decoding, seed=seed))
        unused = (*_UNUSED.get(arm.mode, ()), *(["temperature"] if arm.matched_to else []))
        return {name: value for name, value in settings.items() if name not in unused}

    def _weights_of(self, part: str) -> str:
        if part not in self._weights:
            pair = self.adapter.module.pair
            self._weights[part] = fingerprint(pair.target.model if part == "target" else pair.draft)
        return self._weights[part]


def _settings(spec: TTTSpec) -> dict[str, Any]:
    """What of a spec decides its adapter."""
    unused = {"every"} if not spec.learns("generation") else set()
    if not spec.learns("self_study"):
        unused |= {name for name in asdict(spec) if name.startswith("study_")} | {"seconds"}
    if spec.learns_from == "context":
        unused.add("learns_from")
    return {name: value for name, value in asdict(spec).items() if name not in unused}


def _digest_of(tokens: Sequence[int]) -> str:
    return hashlib.sha256(repr(tuple(tokens)).encode()).hexdigest()
