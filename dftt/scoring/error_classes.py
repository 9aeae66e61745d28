"""Why an answer failed: five classes, told by program where the task's metadata allows it.

Metadata used: `answer`, `prior_answer` (what a model believes without the context), `distractors` (wrong answers that
do not come from the context) and `entities` (of the context, of the answer's kind); each a value or a list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from dftt.scoring.final_answer import final_answer
from dftt.scoring.phrases import contains_phrase, names, states
from dftt.types import Record

ErrorClass = Literal["context-ignored", "context-misused", "format", "reasoning", "refusal"]
ERROR_CLASSES: dict[ErrorClass, str] = {
    "context-ignored": "the answer rests on prior belief or on nothing, and not on what the context says",
    "context-misused": "the answer uses the context, but the wrong part of it, or takes it wrongly",
    "format": "the content is right, but its form, length or a demanded phrase is not; or there is no final answer",
    "reasoning": "the right parts of the context are used, but a step of deduction or arithmetic goes wrong",
    "refusal": "the answer declines, or claims that the question cannot be answered",
}
UNCLASSIFIED = "unclassified"

Key = tuple[str, str, int]

_TEXT = r"(?:documents?|passages?|stor(?:y|ies)|texts?|contexts?|articles?|paragraphs?|excerpts?|questions?)"
_SAID = (
    r"(?:given|stated|specified|mentioned|said|provided|named|described|explained|indicated|known|clear|listed|"
    r"included|available|possible|enough|sufficient)"
)
_SAY = (
    r"(?:say|state|mention|specify|give|tell|provide|contain|include|indicate|answer|describe|explain|name|reveal|"
    r"address|have|hold|list|show)"
)
_REFUSAL = re.compile(
    rf"\b(?:i(?:'m| am) (?:sorry|unable|not able|not sure)|"
    rf"i (?:can(?:'t|not| not)|won't|do not|don't|could not|couldn't) "
    rf"(?:help|answer|assist|provide|comply|know|have|tell|find|determine|see|say)|as an ai\b|"
    rf"{_TEXT} (?:does not|doesn't|do not|don't|did not|didn't|never) (?:\w+ly )?{_SAY}|"
    rf"(?:is|are|was|were) (?:not|never) (?:\w+ly )?{_SAID}|(?:is|are|was|were)n't (?:\w+ly )?{_SAID}|"
    rf"can(?:not|'t| not) (?:be )?(?:answer|determin|tell|told|know|infer|say|said|found|find)\w*|"
    rf"no (?:mention|information|answer|indication|way to (?:know|tell|say))|not enough information|"
    rf"insufficient information|unable to|impossible to (?:say|tell|know|answer|determine)|unanswerable|"
    rf"(?:is|are) (?:unknown|unclear))",
    re.IGNORECASE,
)


def classify(record: Record) -> ErrorClass | None:
    """Class of a failed answer, told by program; None where it did not fail or the metadata says too little.

    The prior's answer or a distractor makes it ignored, another entity of the context misused; the right answer that
    failed all the same is a matter of format, unless it stands beside something excluded; all else is reasoning.
    """
    if record.passed is not False:
        return None
    answer = final_answer(record.answer).replace("\u2019", "'")
    if not answer:
        return "format"
    right = _phrases(record.metadata, "answer")
    if not right:
        return None
    ignored = _phrases(record.metadata, "prior_answer") + _phrases(record.metadata, "distractors")
    if _holds(answer, ignored, right):
        return "context-ignored"
    if any(states(answer, phrase) for phrase in right) and not _breaks_an_exclusion(record):
        return "format"
    if _holds(answer, _phrases(record.metadata, "entities"), right):
        return "context-misused"
    return "refusal" if _REFUSAL.search(answer) else "reasoning"


def classify_all(records: Sequence[Record]) -> dict[Key, str]:
    """Class of every failed record by its key, `unclassified` where a program cannot tell."""
    return {record.key: classify(record) or UNCLASSIFIED for record in records if record.passed is False}


def _phrases(metadata: Mapping[str, object], key: str) -> list[str]:
    value = metadata.get(key)
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [str(phrase) for phrase in values if str(phrase).strip()]


def _breaks_an_exclusion(record: Record) -> bool:
    """Whether the answer also says what it must not: then the right phrase in it may be one of several guesses."""
    return any(
        not status and isinstance(rubric, Mapping) and rubric.get("type") == "excludes"
        for rubric, status in zip(record.rubrics, record.statuses, strict=False)
    )


def _holds(answer: str, phrases: Sequence[str], right: Sequence[str]) -> bool:
    """Whether the answer gives one of the phrases that is no part of a right answer, or offers it among others."""
    return any(names(answer, phrase) for phrase in phrases if not any(contains_phrase(ok, phrase) for ok in right))
