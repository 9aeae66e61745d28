"""Scores by program: rubrics that need no judge.

A checkable rubric is a mapping with a `type`:

- `{"type": "contains", "any_of": ["hallway"]}`: the answer holds at least one of the phrases.
- `{"type": "excludes", "any_of": ["bathroom"]}`: the answer holds none of them.
- `{"type": "number", "value": 18, "tolerance": 0}`: the last number of the answer is the value.
- `{"type": "regex", "pattern": "^yes"}`: the pattern occurs in the answer, whatever the case.

Phrases are compared word by word after Unicode normalisation (NFKC), without case, articles and punctuation
around words. Words are what spaces separate, so phrases inside unspaced scripts are not found.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dftt.evaluation.final_answer import final_answer
from dftt.types import Score, Task

ARTICLES = frozenset({"a", "an", "the"})

# NFKC leaves typographic quotes, dashes and the minus sign as they are.
_PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": " - ", "−": "-"})  # noqa: RUF001
_AROUND_WORD = re.compile(r"^[\W_]+|[\W_]+$")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A minus after a word or a bracket is no sign; digits after a letter belong to a name such as H2.
_NUMBER = re.compile(r"(?<![\w.])(?:(?<![)\]])-)?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?")


def score(task: Task, answer: str) -> Score:
    """Score of an answer: passed when all rubrics are fulfilled, unscored (None) when a program cannot tell.

    An empty answer fulfils nothing. A task without rubrics, or with one that only a judge can read, is
    unscored.

    Args:
        task: Its rubrics are strings (for a judge) or checkable mappings.
        answer: The decoded text.

    Raises:
        ValueError: A mapping among the rubrics is not a checkable rubric.
    """
    return score_rubrics(task.rubrics, answer)


def score_rubrics(rubrics: Sequence[Any], answer: str) -> Score:
    """As `score`, of rubrics alone.

    Args:
        rubrics: Strings (for a judge) or checkable mappings.
        answer: The decoded text; thinking in it is not looked at.

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
    return _CHECKS[rubric["type"]](rubric, answer)


def read_rubric(rubric: object) -> str | Mapping[str, Any]:
    """A rubric as `score` uses it: a string for a judge, or a checkable mapping whose values are valid.

    Args:
        rubric: A string, CL-bench's `{"rubric_criteria": "..."}`, or a checkable mapping.

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
    if kind not in _CHECKS:
        raise ValueError(f"rubric type {kind!r} is unknown; choose from {', '.join(_CHECKS)}")
    _READERS[kind](rubric)
    return rubric


def contains_phrase(text: str, phrase: str) -> bool:
    """Whether the phrase occurs in the text as whole words; "12" is neither in "112" nor in "12.5"."""
    words = _words(phrase)
    # The option "A" is nothing but an article: then articles count, and case tells the two apart.
    articles_only = all(word.casefold() in ARTICLES for word in words)
    wanted = _join(words, articles_only)
    if not wanted:
        return False
    before = r"(?<!\d[.,])" if wanted[0].isdigit() else ""
    after = r"(?![.,]\d)" if wanted[-1].isdigit() else ""
    pattern = rf"(?<![^\W_]){before}{re.escape(wanted)}(?![^\W_]){after}"
    return re.search(pattern, _join(_words(text), articles_only)) is not None


def last_number(text: str) -> float | None:
    """The last number written in digits, thousands separators allowed; None where there is none."""
    found = _NUMBER.findall(_THOUSANDS.sub("", _plain(text)))
    return float(found[-1]) if found else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_PLAIN)


def _words(text: str) -> list[str]:
    plain = _THOUSANDS.sub("", _plain(text))
    stripped = (_AROUND_WORD.sub("", word) for word in plain.split())
    return [word for word in stripped if word]


def _join(words: list[str], as_written: bool) -> str:
    if as_written:
        return " ".join(words)
    return " ".join(word for word in map(str.casefold, words) if word not in ARTICLES)


def _read_phrases(rubric: Mapping[str, Any]) -> None:
    phrases = rubric.get("any_of")
    if not isinstance(phrases, list | tuple) or not phrases:
        raise ValueError(f"rubric {rubric['type']}: `any_of` must be a non-empty list of phrases, got {phrases!r}")
    for phrase in phrases:
        if not isinstance(phrase, str) or not _words(phrase):
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
    return any(contains_phrase(answer, phrase) for phrase in rubric["any_of"])


def _excludes(rubric: Mapping[str, Any], answer: str) -> bool:
    return not _contains(rubric, answer)


def _number(rubric: Mapping[str, Any], answer: str) -> bool:
    found = last_number(answer)
    return found is not None and abs(found - rubric["value"]) <= rubric.get("tolerance", 0)


def _regex(rubric: Mapping[str, Any], answer: str) -> bool:
    return re.search(rubric["pattern"], _plain(answer), re.IGNORECASE) is not None


_CHECKS: dict[str, Callable[[Mapping[str, Any], str], bool]] = {
    "contains": _contains,
    "excludes": _excludes,
    "number": _number,
    "regex": _regex,
}
_READERS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "contains": _read_phrases,
    "excludes": _read_phrases,
    "number": _read_number,
    "regex": _read_regex,
}
