"""bAbI: short stories with one-word answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.suites.base import Suite
from dftt.suites.rows import phrases_of

_FILE_ID = re.compile(r"babi/qa(\d+)/")
# What an answer could be confused with, by kind.
_KINDS: tuple[frozenset[str], ...] = tuple(
    frozenset(words.split())
    for words in (
        "bathroom bedroom cinema garden hallway kitchen office park school",
        "antoine bernhard bill brian daniel emily fred gertrude greg jason jeff jessica john julie julius lily mary "
        "sandra sumit winona yann",
        "apple football milk pajamas",
        "cat cats frog lion mouse mice rhino sheep swan wolf wolves",
        "gray green white yellow blue red",
        "bored hungry thirsty tired",
    )
)
# Answers to choose from, whether the story has them or not.
_CLOSED: tuple[frozenset[str], ...] = (frozenset({"yes", "no", "maybe"}), frozenset({"none", "one", "two", "three"}))


class Babi(Suite):
    """Passed: the answer states the right word and no other of its kind that the story has.

    The story, and not the file's one distractor, says which words those are: otherwise an answer that names every other
    place would pass. Words of the question are not held against it.
    """

    name = "babi"
    hub_id = "Muennighoff/babi"
    homepage = "https://research.facebook.com/downloads/babi/"
    licence = "CC-BY-3.0"
    citation = "Weston et al., Towards AI-Complete Question Answering, 2015, arXiv:1502.05698"
    columns: ClassVar = {"passage": "context"}

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The story's other words of the answer's kind must not be stated."""
        numbered = _FILE_ID.match(str(row.get("id", "")))
        number = numbered.group(1) if numbered else row.get("task")
        row = {**row, "category": f"qa{number}"} if number is not None else row
        story, question = (str(row.get(key, "")) for key in ("context", "question"))
        answer = next(iter(phrases_of(row, "answer")), "")
        # "It was in the hall before the garden" repeats the question, and is right all the same.
        asked = re.findall(r"\w+", question.casefold())
        wrong = [word for word in others_of_kind(story, answer) if word not in asked]
        rubrics = [{"type": "contains", "any_of": [answer], "question": question}] if answer else []
        if wrong:
            rubrics.append({"type": "excludes", "any_of": wrong, "question": question})
        kept = {key: value for key, value in row.items() if key not in ("distractor", "distractors")}
        return {"rubrics": rubrics, **kept, "entities": wrong}


def others_of_kind(story: str, answer: str) -> list[str]:
    """Words of the story that are of the answer's kind (place, person, thing, animal, colour), in lower case."""
    answer = answer.casefold()
    closed = next((kind for kind in _CLOSED if answer in kind), frozenset[str]())
    kind = next((kind for kind in _KINDS if answer in kind), frozenset[str]())
    found = dict.fromkeys(word for word in re.findall(r"\w+", story.casefold()) if word in kind)
    return [word for word in (*found, *sorted(closed)) if word != answer]
