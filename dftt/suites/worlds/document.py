"""The text of a document: the sections of its parts, between them as much other prose as its length asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.vocabulary import vocabulary

# Tokens of a word, of a capitalised word (most are invented names), of a digit and of another mark, fitted to SmolLM2's
# tokenizer on 144 documents of 1k and 4k tokens; the sums were within 7 % of its counts.
_PIECES = tuple(
    (re.compile(pattern), tokens)
    for pattern, tokens in ((r"\b[a-z]+\b", 1.1), (r"[A-Z][a-z]*", 2.2), (r"\d", 1.9), (r"[^\w\s]", 1.0))
)
_TOLERANCE = 0.1  # half a paragraph is missing or too much at the end
_PARAGRAPHS = 6  # of a section of prose

Measure = Callable[[str], float]


def estimate_tokens(text: str) -> float:
    """Tokens of an English text, from its words, names, digits and marks."""
    return sum(weight * len(pattern.findall(text)) for pattern, weight in _PIECES)


def write_document(
    genre: Mapping[str, Any], sections: Sequence[Section], setting: Setting, measure: Measure = estimate_tokens
) -> str:
    """A Markdown document that holds all sections, in random order, and is about `spec.length` tokens long.

    Raises:
        ValueError: The facts alone are longer than asked for.
    """
    title = f"# {setting.draw.pick(genre['titles']).format(w=setting.world)}"
    opening = " ".join(sentence.format(w=setting.world) for sentence in genre["opening"])

    def text(sections: Sequence[Section]) -> str:
        numbered = (
            "\n\n".join((f"## {number}. {section.heading}", *section.paragraphs))
            for number, section in enumerate(sections, start=1)
        )
        return "\n\n".join((title, opening, *numbered))

    used = measure(text(sections))
    if used > setting.spec.length * (1 + _TOLERANCE):
        raise ValueError(
            f"worlds.length {setting.spec.length} is too short: the facts of a document take {used:.0f} tokens; "
            "ask for more length or fewer distractors"
        )
    prose = _prose(genre, setting, setting.spec.length - used, measure)
    return text(setting.draw.shuffled([*sections, *prose]))


def _prose(genre: Mapping[str, Any], setting: Setting, room: float, measure: Measure) -> list[Section]:
    """Sections without facts that fill the room."""
    headings = setting.draw.shuffled(genre["headings"])
    sections: list[Section] = []
    paragraph = _paragraph(genre, setting)
    while room > measure(paragraph) / 2:
        if not sections or len(sections[-1].paragraphs) == _PARAGRAPHS:
            volume, index = divmod(len(sections), len(headings))
            heading = headings[index] if volume == 0 else f"{headings[index]}, as told by {setting.names.person()}"
            sections.append(Section(heading))
            room -= measure(f"## 10. {heading}\n\n")
        sections[-1] = Section(sections[-1].heading, (*sections[-1].paragraphs, paragraph))
        room -= measure(f"{paragraph}\n\n")
        paragraph = _paragraph(genre, setting)
    return sections


def _paragraph(genre: Mapping[str, Any], setting: Setting) -> str:
    """Three sentences without a digit, so that no number of theirs is taken for a fact."""
    draw, shared = setting.draw, vocabulary("prose")
    return " ".join(
        pattern.format(
            person=setting.names.person(),
            place=setting.names.word(),
            matter=draw.pick(genre["matters"]),
            deed=draw.pick(shared["deeds"]),
            season=draw.pick(shared["seasons"]),
            view=draw.pick(shared["views"]),
            witness=draw.pick(shared["witnesses"]),
        )
        for pattern in draw.sample(shared["patterns"], 3)
    )
