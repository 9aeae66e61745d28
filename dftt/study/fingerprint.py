"""Fingerprint of a record's inputs; a stored record is reused only if it still matches.

It is made of parts, which are kept beside it, so that where it differs one can say what has changed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch

from dftt.adaptation.self_study import study_instructions
from dftt.models.fingerprint import fingerprint, identify
from dftt.models.lora import Adapter
from dftt.study.records import Key, spec_hash
from dftt.study.spec import Asked, Contexts, Fingerprint, Study
from dftt.suites.conversation import later_turns
from dftt.suites.copying import passage
from dftt.types import TTTSpec
from dftt.types.arms import DRAFTING, Arm

# Fields of a draft's config that came later, and what holds of all drafts before: records of these still count.
_NEWER = {"sliding_rope_parameters": None, "window_from_anchor": False, "causal_types": (), "hidden_act": "silu"}
# Decoding settings that change no token of a mode.
_UNUSED = {
    "target": ("alpha", "verify_size", "guidance", *DRAFTING),
    "speculative": ("alpha", "verify_size", "guidance"),
    "rerank": ("alpha", "verify_size", "guidance"),
    "power": ("alpha", "verify_size", "guidance", "temperature", "top_p", "top_k"),
}


class Fingerprints:
    """The fingerprints of a study's records, each computed once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.known: dict[Key, Fingerprint] = {}
        self._hashes: dict[object, Any] = {}

    def of(self, arm: Arm, seed: int, asked: Asked, contexts: Contexts) -> Fingerprint:
        """The fingerprint of one record."""
        task, once = asked.task, self._once
        key = task.task_id, arm.id, seed
        if key not in self.known:
            read = {"passage": passage(task)} if arm.copies else self._read(arm, asked, contexts)
            parts = {
                "settings": once(("settings", arm.id, seed), lambda: spec_hash(self._settings(arm, seed))),
                "prompt": once(("prompt", task.task_id), lambda: _of_prompt(asked)),
                "context": spec_hash(read),
            }
            made_of = {
                "row": once(("row", task.task_id), lambda: spec_hash({"messages": [*map(dict, task.messages)]})),
                "template": once("template", lambda: spec_hash({"template": self._template()})),
            }
            self.known[key] = Fingerprint(spec_hash(parts), {**parts, **made_of})
        return self.known[key]

    def _settings(self, arm: Arm, seed: int) -> dict[str, Any]:
        """All that decides a record but its prompts: the models and their arithmetic, and what the arm does."""
        study = self.study
        target = self._once("target", lambda: identify(study.pair.target))
        if arm.copies:  # nothing is computed; the tokenizer is the target's
            return {"target": target, "baseline": {arm.mode: arm.baseline}}
        settings: dict[str, Any] = {
            "target": target,
            "arithmetic": self._arithmetic(arm),
            "decoding": self._decoding(arm, seed),
        }
        if arm.mode != "target":
            settings |= {"draft": self._once("draft", self._draft), "taps": arm.taps, "initial": _of(study.initial)}
        if arm.baseline is not None:
            settings["baseline"] = {arm.mode: arm.baseline}
        if arm.ttt != "none":
            specs = [arm.ttt_spec(study.ttt, number=number) for number in range(arm.rounds)]
            settings |= {"ttt": [_used(spec) for spec in specs], "source": arm.ttt}
        materials: dict[str, Any] = {"generic": _of(study.generic)} if "generic" in arm.sources else {}
        if "amateur" in arm.sources:
            materials["amateur"] = self._once("amateur", lambda: identify(study.amateur_model))
        if materials:
            settings["materials"] = materials
        if arm.matched_to:
            settings["matched_to"] = self._settings(study.arm(arm.matched_to), seed)
        return settings

    def _read(self, arm: Arm, asked: Asked, contexts: Contexts) -> dict[str, Any]:
        """What an arm reads or learns from besides the prompt."""
        read: dict[str, Any] = {}
        prompt, question = asked.prompt, asked.question
        other = _of_tokens(contexts.other.input_ids) if contexts.other is not None else ""
        if arm.ttt != "none" and arm.ttt_spec(self.study.ttt).learns_from != "generation":
            own = _of_tokens(prompt.input_ids[: prompt.context_length])
            read["learnt"] = other if arm.ttt == "wrong" else own
        if "other" in arm.sources:
            read["other"] = other
        if "without_context" in arm.sources:
            read["question"] = _of_tokens(question.input_ids) if question is not None else ""
        if arm.matched_to:
            read["matched_to"] = self._read(self.study.arm(arm.matched_to), asked, contexts)
        return read

    def _decoding(self, arm: Arm, seed: int) -> dict[str, Any]:
        settings = asdict(arm.decoding(self.study.decoding, seed=seed))
        unused = (*_UNUSED.get(arm.mode, ()), *(["temperature"] if arm.matched_to else []))
        return {name: value for name, value in settings.items() if name not in unused}

    def _arithmetic(self, arm: Arm) -> dict[str, Any]:
        """How the numbers are computed: what rounds otherwise may draw other tokens."""
        study, target = self.study, self.study.pair.target
        exact = study.dtype in ("float32", "float64") and study.precision[1] in ("32-true", "64-true")
        return {
            "dtype": study.dtype,
            "precision": study.precision,
            "device": target.device.type,
            "attention": str(target.config._attn_implementation),
            "matmul": torch.get_float32_matmul_precision(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            # In single precision rows side by side draw the same tokens; in half, other shapes round otherwise.
            "rows": 1 if exact or arm.is_alone(study.ttt) else study.rows,
        }

    def _draft(self) -> dict[str, Any]:
        draft = self.study.pair.draft
        config = {name: value for name, value in asdict(draft.config).items() if _NEWER.get(name, ...) != value}
        return {"weights": fingerprint(draft), "config": config}

    def _template(self) -> str:
        return str(self.study.pair.target.tokenizer.chat_template)

    def _once(self, name: object, make: Callable[[], Any]) -> Any:
        if name not in self._hashes:
            self._hashes[name] = make()
        return self._hashes[name]


def _of(adapter: Adapter | None) -> list[Any] | str:
    return [adapter.digest, adapter.identity] if adapter is not None else ""


def _of_prompt(asked: Asked) -> str:
    return spec_hash({"tokens": _of_tokens(asked.prompt.input_ids), "later_turns": later_turns(asked.task)})


@lru_cache(maxsize=16)  # the contexts at hand, for all arms
def _of_tokens(tokens: tuple[int, ...]) -> str:
    return hashlib.sha256(array("q", tokens).tobytes()).hexdigest()


def _used(spec: TTTSpec) -> dict[str, Any]:
    """The settings that decide an adapter of this spec."""
    unused = {"store"} if spec.learns("generation") else {"store", "every"}
    if not spec.learns("self_study"):
        unused |= {name for name in asdict(spec) if name.startswith("study_")} | {"seconds"}
    if spec.learns_from == "context":
        unused.add("learns_from")
    used = {name: value for name, value in asdict(spec).items() if name not in unused}
    return {**used, "study_prompts": study_instructions(spec.study_prompts)} if spec.learns("self_study") else used
