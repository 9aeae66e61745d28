"""bAbI: short stories with one-word answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.evaluation.rows import phrases_of
from dftt.evaluation.suites.base import Suite, renamed

_COLUMNS = {"passage": "context"}
_FILE_ID = re.compile(r"babi/qa(\d+)/")
# Things that an answer could be confused with, by kind.
_KINDS = (
    {"bathroom", "bedroom", "cinema", "garden", "hallway", "kitchen", "office", "park", "school"},
    {"bill", "daniel", "fred", "jeff", "john", "julie", "mary", "sandra"},
    {"apple", "football", "milk"},
    {"cat", "mouse", "sheep", "wolf"},
    {"gray", "green", "white", "yellow"},
)


class Babi(Suite):
    """Passed: the answer names the right word and no other of its kind that the story or file holds against it.

    Words of the question are not held against it.
    """

    name = "babi"
    hub_id = "Muennighoff/babi"
    homepage = "https://research.facebook.com/downloads/babi/"
    licence = "CC-BY-3.0"
    citation = "Weston et al., Towards AI-Complete Question Answering, 2015, arXiv:1502.05698"
    category_keys = ("category",)
    categories: ClassVar = {f"qa{number}": () for number in range(1, 21)}

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hub's column names become ours; distractors are the row's, or the story's words of a kind."""
        row = renamed(row, _COLUMNS)
        numbered = _FILE_ID.match(str(row.get("id", "")))
        number = numbered.group(1) if numbered else row.get("task")
        row = {**row, "category": f"qa{number}"} if number is not None else row
        wrong = phrases_of(row, "distractor")
        if not {"distractor", "distractors"} & set(row):
            wrong = distractors(str(row.get("context", "")), next(iter(phrases_of(row, "answer")), ""))
        # "It was in the hall before the garden" repeats the question, and is right all the same.
        asked = re.findall(r"\w+", str(row.get("question", "")).casefold())
        return {**row, "distractors": [word for word in wrong if word.casefold() not in asked]}


def distractors(story: str, answer: str) -> list[str]:
    """Words of the story that are of the answer's kind (place, person, thing, animal, colour), in lower case."""
    kind = next((kind for kind in _KINDS if answer.casefold() in kind), set())
    words = dict.fromkeys(re.findall(r"\w+", story.casefold()))
    return [word for word in words if word in kind and word != answer.casefold()]
