"""Reading of what a judge replies: a verdict, or the reason why it is none. Nothing here raises.

As in the official protocol, the reply must be the JSON object, in a code fence or not; what it says beside the three
keys does not matter. JSON's rules are eased where judges break them without being unclear: LaTeX's backslashes and raw
line breaks inside strings, and a score as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dftt.judges.prompt import OVERALL, RATIONALE, STATUSES
from dftt.scoring.final_answer import final_answer

_FENCED = re.compile(r"\A```(?:json)?[ \t]*\n(.*)\n[ \t]*```\Z", re.DOTALL | re.IGNORECASE)
_WORDS = {"yes": True, "no": False}
_SCORES = {0: False, 1: True, "0": False, "1": True}
# An escape of JSON's, or a lone backslash.
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|\\')


@dataclass(frozen=True)
class Verdict:
    """A judge's readable reply.

    Args:
        statuses: Per rubric, in order.
        overall: The overall score as the judge gave it.
        rationale: Why.
    """

    statuses: tuple[bool, ...]
    overall: bool
    rationale: str

    @property
    def passed(self) -> bool:
        """The overall score recomputed from the statuses."""
        return all(self.statuses)


@dataclass(frozen=True)
class Unreadable:
    """A reply that is no verdict, or none that counts.

    Args:
        reason: What is wrong with it.
    """

    reason: str


def parse_verdict(reply: str, num_rubrics: int) -> Verdict | Unreadable:
    """The verdict of a reply that is nothing but the JSON object asked for, in a code fence or not.

    Args:
        reply: What the judge wrote; thinking before it is dropped.
        num_rubrics: How many statuses there must be.
    """
    row = read_object(reply, (RATIONALE, STATUSES, OVERALL))
    if isinstance(row, Unreadable):
        return row
    rationale, statuses, overall = row[RATIONALE], row[STATUSES], row[OVERALL]
    if not isinstance(rationale, str):
        return Unreadable(f"{RATIONALE!r} is not a string")
    if not isinstance(statuses, list) or len(statuses) != num_rubrics:
        given = f"{len(statuses)} statuses" if isinstance(statuses, list) else "no list of statuses"
        return Unreadable(f"{given} for {num_rubrics} rubrics")
    words = [status.strip().lower() if isinstance(status, str) else status for status in statuses]
    for number, word in enumerate(words, start=1):
        if not isinstance(word, str) or word not in _WORDS:
            return Unreadable(f"status {number} is {_short(statuses[number - 1])}, neither yes nor no")
    score = overall.strip() if isinstance(overall, str) else overall
    if isinstance(score, bool) or not isinstance(score, int | float | str) or score not in _SCORES:
        return Unreadable(f"{OVERALL!r} is {_short(overall)}, neither 0 nor 1")
    return Verdict(tuple(_WORDS[word] for word in words), _SCORES[score], rationale)


def read_object(reply: str, keys: Sequence[str]) -> Mapping[str, Any] | Unreadable:
    """The JSON object that a reply consists of, with at least these keys."""
    text = _unfenced(reply)
    if not text:
        return Unreadable("empty reply")
    try:
        row = _loads(text)
    # A reply of many brackets exhausts the decoder's stack.
    except (ValueError, RecursionError) as error:
        return Unreadable(f"not a JSON object alone ({error})")
    if not isinstance(row, dict):
        return Unreadable(f"JSON, but a {type(row).__name__} and no object")
    if missing := sorted(set(keys) - set(row)):
        return Unreadable(f"keys {_short(sorted(row))} without {', '.join(missing)}")
    return row


def is_echo(reply: str, answer: str) -> bool:
    """Whether the judge's JSON stands in the answer itself: then it was copied from there, and is no verdict."""
    return _squeezed(_unfenced(reply)) in _squeezed(answer)


def _loads(text: str) -> Any:
    """The JSON value; lone backslashes count as written, and raw control characters may stand in strings."""
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, strict=False)
    except json.JSONDecodeError as error:
        if "escape" not in error.msg:
            raise
    doubled = _ESCAPE.sub(lambda found: found[0] if len(found[0]) > 1 else "\\\\", text)
    return json.loads(doubled, object_pairs_hook=_without_repeats, strict=False)


def _unfenced(reply: str) -> str:
    text = final_answer(reply)
    fenced = _FENCED.match(text)
    return (fenced[1] if fenced else text).strip()


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key occurs twice")
    return row


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
