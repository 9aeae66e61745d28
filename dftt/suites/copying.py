"""Parts of a task's passage as answers: the floor that a suite's rules pass without anyone having read the question."""

from __future__ import annotations

import re
from typing import Any

from dftt.suites.questions import passage_of
from dftt.types import Task
from dftt.types.methods import CopySpec


def passage(task: Task) -> str:
    """What the user of a task says besides its question; empty where that is nothing, or the task tells no question."""
    said = passage_of(task) if task.question else ()
    return "\n\n".join(each["content"] for each in said if each["role"] == "user" and each["content"])


def sentences(text: str) -> list[str]:
    """Sentences of a text, cut behind its marks; the text itself where it has none."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part.strip(" .")] or [text]


def copied(text: str, spec: CopySpec, tokenizer: Any) -> tuple[str, tuple[int, ...]]:
    """The part of a passage that a spec names, and its token ids."""
    if spec.what == "first_tokens":
        ids = tokenizer(text, add_special_tokens=False).input_ids[: spec.tokens]
        return tokenizer.decode(ids), tuple(ids)
    part = text if spec.what == "passage" else sentences(text)[0 if spec.what == "first_sentence" else -1]
    return part, tuple(tokenizer(part, add_special_tokens=False).input_ids)
