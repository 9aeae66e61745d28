"""Scores by program: rubrics that need no judge.

A checkable rubric is a mapping with a `type`:

- `{"type": "contains", "any_of": ["hallway"]}`: the answer holds at least one of the phrases.
- `{"type": "excludes", "any_of": ["bathroom"]}`: the answer holds none of them.
- `{"type": "number", "value": 18, "tolerance": 0}`: the last number of the answer is the value.
- `{"type": "regex", "pattern": "^yes"}`: the pattern occurs in the answer, whatever the case.
- `{"type": "strict-match", "value": "18"}`, `{"type": "flexible-extract", "value": "18"}`: the rules by which
  lm-evaluation-harness scores GSM8K. Both compare texts, so 18 and 18.00 are two answers.

A phrase counts where the answer states it; phrases.py says what that means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dftt.scoring.final_answer import final_answer
from dftt.scoring.phrases import has_words, names, plain, states, without_thousands
from dftt.types import Score, Task

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
# What the harness takes out of both sides before they are compared, in its order.
_IGNORED = tuple(map(re.compile, (",", r"\$", r"(?s).*#### ", r"\.$")))
# A minus after a word or a bracket is no sign; digits after a letter belong to a name such as H2.
_NUMBER = re.compile(r"(?<![\w.])(?:(?<![)\]])-)?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?")

# A number before another one, with nothing but a separator between them.
_LISTED = re.compile(r"\d[\s*_$]*(?:[,;/]|,?\s(?:and|or)\b|\s)[\s*_$]*$")


def score(task: Task, answer: str) -> Score:
    """As `score_rubrics`, of a task's rubrics."""
    return score_rubrics(task.rubrics, answer)


def score_rubrics(rubrics: Sequence[Any], answer: str) -> Score:
    """Score of an answer: passed when all rubrics are fulfilled, unscored (None) when a program cannot tell.

    An empty answer fulfils nothing, and thinking is not looked at. Without rubrics, or with one that only a judge can
    read, it is unscored.

    Raises:
        ValueError: A mapping among the rubrics is not a checkable rubric.
    """
    if not rubrics:
        return Score(passed=None, explanation="no rubrics")
    answer = final_answer(answer)
    if not answer:
        return Score(passed=False, statuses=(False,) * len(rubrics), explanation="empty answer")
    read = [read_rubric(rubric) for rubric in rubrics]
    statuses = []
    for number, rubric in enumerate(read, start=1):
        if isinstance(rubric, str):
            return Score(passed=None, explanation=f"rubric {number} needs a judge")
        statuses.append(check(rubric, answer))
    failed = [str(number) for number, status in enumerate(statuses, start=1) if not status]
    explanation = f"not fulfilled: rubric {', '.join(failed)}" if failed else ""
    return Score(passed=not failed, statuses=tuple(statuses), explanation=explanation)


def check(rubric: Mapping[str, Any], answer: str) -> bool:
    """Whether an answer fulfils a checkable rubric that `read_rubric` has let through."""
    return _KINDS[rubric["type"]][1](rubric, answer)


def read_rubric(rubric: object) -> str | Mapping[str, Any]:
    """A string (also of CL-bench's `{"rubric_criteria": "..."}`) for a judge, or a checkable mapping with valid values.

    Raises:
        ValueError: It is none of these, or a value in it is not accepted.
    """
    if isinstance(rubric, str):
        return rubric
    if not isinstance(rubric, Mapping):
        raise ValueError(f"rubric must be a string or a mapping, got {type(rubric).__name__}")
    if "type" not in rubric:
        criteria = rubric.get("rubric_criteria")
        if not isinstance(criteria, str):
            raise ValueError(f"rubric has neither `type` nor `rubric_criteria`, only {sorted(rubric)}")
        return criteria
    kind = rubric["type"]
    if kind not in _KINDS:
        raise ValueError(f"rubric type {kind!r} is unknown; choose from {', '.join(_KINDS)}")
    _KINDS[kind][0](rubric)
    return rubric


def last_number(text: str) -> float | None:
    """The last number written in digits, thousands separators allowed; None where there is none."""
    found = _NUMBER.findall(without_thousands(text))
    return float(found[-1]) if found else None


def strict_match(answer: str, reference: str) -> bool:
    """Whether the number after the first "#### " is the reference; false where none stands right behind one."""
    found = _STRICT.search(answer)
    return found is not None and _bare(found[1]) == _bare(reference)


def flexible_extract(answer: str, reference: str) -> bool:
    """Whether the last number of the answer is the reference; false where there is none."""
    found = _FLEXIBLE.findall(answer)
    return bool(found) and _bare(found[-1]) == _bare(reference)


def _bare(number: str) -> str:
    for pattern in _IGNORED:
        number = pattern.sub("", number)
    return number.strip().lower()


NUMBER_RULES: dict[str, Callable[[str, str], bool]] = {
    "strict-match": strict_match,
    "flexible-extract": flexible_extract,
}


def _read_phrases(rubric: Mapping[str, Any]) -> None:
    phrases = rubric.get("any_of")
    if not isinstance(phrases, list | tuple) or not phrases:
        raise ValueError(f"rubric {rubric['type']}: `any_of` must be a non-empty list of phrases, got {phrases!r}")
    for phrase in phrases:
        if not isinstance(phrase, str) or not has_words(phrase):
            raise ValueError(f"rubric {rubric['type']}: a phrase must hold a letter or digit, got {phrase!r}")


def _read_number(rubric: Mapping[str, Any]) -> None:
    for name, value in (("value", rubric.get("value")), ("tolerance", rubric.get("tolerance", 0))):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"rubric number: `{name}` must be a finite number, got {value!r}")
    if rubric.get("tolerance", 0) < 0:
        raise ValueError(f"rubric number: `tolerance` must be >= 0, got {rubric['tolerance']}")


def _read_regex(rubric: Mapping[str, Any]) -> None:
    pattern = rubric.get("pattern")
    if not isinstance(pattern, str):
        raise ValueError(f"rubric regex: `pattern` must be a string, got {pattern!r}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"rubric regex: {pattern!r} is not a regular expression ({error})") from None


def _contains(rubric: Mapping[str, Any], answer: str) -> bool:
    return any(states(answer, phrase, rubric.get("question", "")) for phrase in rubric["any_of"])


def _excludes(rubric: Mapping[str, Any], answer: str) -> bool:
    return not any(names(answer, phrase, rubric.get("question", "")) for phrase in rubric["any_of"])


def _number(rubric: Mapping[str, Any], answer: str) -> bool:
    """Whether the last number is the value, is stated, and is not the end of a list of numbers."""
    found = last_number(answer)
    if found is None or abs(found - rubric["value"]) > rubric.get("tolerance", 0):
        return False
    text = without_thousands(answer)
    last = list(_NUMBER.finditer(text))[-1]
    return states(answer, last.group()) and _LISTED.search(text[: last.start()]) is None


def _regex(rubric: Mapping[str, Any], answer: str) -> bool:
    return re.search(rubric["pattern"], plain(answer), re.IGNORECASE) is not None


def _read_value(rubric: Mapping[str, Any]) -> None:
    if not isinstance(rubric.get("value"), str) or not rubric["value"].strip():
        raise ValueError(f"rubric {rubric['type']}: `value` must be a number as text, got {rubric.get('value')!r}")


def _number_rule(rubric: Mapping[str, Any], answer: str) -> bool:
    return NUMBER_RULES[rubric["type"]](answer, rubric["value"])


# What reads a rubric of each type, and what checks an answer by it.
_KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], None], Callable[[Mapping[str, Any], str], bool]]] = {
    "contains": (_read_phrases, _contains),
    "excludes": (_read_phrases, _excludes),
    "number": (_read_number, _number),
    "regex": (_read_regex, _regex),
    **dict.fromkeys(NUMBER_RULES, (_read_value, _number_rule)),
}
