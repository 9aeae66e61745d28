"""What every part of a document offers: sections of text, and questions on them with sums, answers and rubrics."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dftt.scoring.phrases import contains_phrase
from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.spec import WorldsSpec

_NUMBER = re.compile(r"\d+")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True)
class Question:
    """One question on a document, and all that is known about its answers."""

    text: str
    answer: str  # digits, a name or a phrase
    evidence: tuple[str, ...]  # passages that the answer follows from; each stands in the document once
    kind: str = ""  # the type of the answer, in words ("quarry"); empty for a number
    unit: str = ""  # of a number
    working: str = ""  # leads from the evidence to a number ("4 * 9 + 5"); empty where the answer is read off
    prior: str = ""  # what common knowledge would answer; empty where it knows nothing
    entities: tuple[str, ...] = ()  # wrong answers of the same type, which hold for other entries of the document
    options: tuple[str, ...] = ()  # the answers that the question itself offers
    bridges: tuple[str, ...] = ()  # names that join the facts, to be named in the answer
    hops: int = 1  # facts joined
    sums: int = 0  # sums made

    @property
    def request(self) -> str:
        """What the answer must hold besides, or the form it must have, for the rubrics to read it; may be empty."""
        requests = []
        if self.bridges:
            links = "the name that links" if len(self.bridges) == 1 else f"the {len(self.bridges)} names that link"
            requests.append(f"Begin with {links} the facts.")
        if self.working:
            requests.append("End with the resulting number.")
        return " ".join(requests)

    @property
    def reference(self) -> str:
        """A right answer, in full."""
        bridges = f"By way of {' and '.join(self.bridges)}: " if self.bridges else ""
        working = f"{self.working} = " if self.working else ""
        return f"{bridges}{working}{self.answer}{f' {self.unit}' if self.unit else ''}."

    @property
    def chance(self) -> float:
        """How often an answer that ignores the document is right: by guessing among the options."""
        return 1 / len(self.options) if self.options else 0.0

    @property
    def ignoring(self) -> tuple[str, ...]:
        """The prior as it may be written: small numbers also as a word."""
        return _written(self.prior, self.kind) if self.prior else ()

    def is_sound(self) -> bool:
        """Whether the answer can be told from what is wrong, and the question does not give it away.

        A right working must not pass through the number that common knowledge would give, since that number fails a
        rubric; entities that are the answer by coincidence make the class of an error undecidable.
        """
        if self.answer == self.prior or self.answer in self.entities:
            return False
        if not self.kind:
            asked = _NUMBER.findall(self.text)
            passed = {*asked, *_NUMBER.findall(self.working), *map(str, _results(self.working))}
            return self.answer not in asked and self.prior not in passed
        if self.options:
            return True
        named = " ".join((self.text, *self.bridges))
        return not any(contains_phrase(named, phrase) for phrase in (self.answer, self.prior))


@dataclass(frozen=True)
class Section:
    """A heading and the paragraphs under it; no fact is split between paragraphs."""

    heading: str
    paragraphs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What the parts of one document share: the spec, a stream of draws, the names used, and the world's own name."""

    spec: WorldsSpec
    draw: Draw
    names: Names
    world: str


class Part(ABC):
    """Facts of one kind, drawn when it is made; where they contradict common knowledge, `conflict` is true.

    Args:
        data: Its texts, from the vocabulary.
        setting: What it shares with the other parts of the document.
    """

    conflict: bool = False

    def __init__(self, data: Any, setting: Setting) -> None:
        self.data, self.spec, self.world = data, setting.spec, setting.world
        self.draw_facts(setting.draw, setting.names)

    @abstractmethod
    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw the facts and keep them."""

    @abstractmethod
    def sections(self) -> list[Section]:
        """The text that states the facts."""

    @abstractmethod
    def ask(self, draw: Draw) -> Question:
        """A question on the facts, at the spec's difficulty; the caller draws again where it is not sound."""


def rubrics(question: Question) -> tuple[Mapping[str, Any], ...]:
    """Checkable rubrics of a question, each with its wording for a judge (`rubric_criteria`)."""
    answer = question.answer
    # The way to a computed number passes other numbers, so the last one counts; one that is read off stands anywhere.
    made: list[Mapping[str, Any]]
    if question.working:
        wording = f"The response should end with the number {answer}."
        made = [{"type": "number", "value": int(answer), "tolerance": 0, "rubric_criteria": wording}]
    else:
        made = [
            _phrases("contains", _written(answer, question.kind), f"The response should give {answer!r} as the answer.")
        ]
    if question.prior:
        wording = f"The response should not give {question.prior!r}, which holds outside this document."
        made.append(_phrases("excludes", question.ignoring, wording))
    if others := _others(question):
        wording = f"The response should not give another {question.kind or 'number'} of the document instead."
        made.append(_phrases("excludes", others, wording))
    made += [_phrases("contains", (name,), f"The response should name {name!r}.") for name in question.bridges]
    return tuple(made)


def _phrases(kind: str, phrases: tuple[str, ...], wording: str) -> Mapping[str, Any]:
    return {"type": kind, "any_of": list(phrases), "rubric_criteria": wording}


def _others(question: Question) -> tuple[str, ...]:
    """Wrong answers that a right one has no reason to hold; the prior has a rubric of its own."""
    if question.working:
        return ()
    wrong = dict.fromkeys((*question.options, *question.entities))
    named = " ".join((question.answer, *question.bridges, "" if question.options else question.text))
    return tuple(name for name in wrong if name not in question.ignoring and not contains_phrase(named, name))


def _written(answer: str, kind: str) -> tuple[str, ...]:
    """An answer as it is; a number also in words where it is small."""
    return (answer, _WORDS[int(answer)]) if not kind and int(answer) in range(len(_WORDS)) else (answer,)


def extend(text: str, working: str, unit: str, count: int, draw: Draw) -> tuple[str, str]:
    """Question and working with up to two more sums: something is added, then something taken off."""
    if count >= 1:
        more = draw.integer(11, 39)
        text, working = f"{text} Add {more} {unit} to that.", f"{working} + {more}"
    if count >= 2:
        less = draw.integer(2, 10)
        text, working = f"{text} Then take {less} {unit} off.", f"{working} - {less}"
    return text, working


def value(working: str) -> int:
    """The result of a working such as "4 * 9 + 5 - 3"."""
    return _results(working)[-1]


def _results(working: str) -> list[int]:
    """Every number that working out "2 * 9 + 5 - 3" from left to right passes through, the result last."""
    results, total = [], 0
    for sign, term in re.findall(r"(?:^|([+-]) )([\d* ]*\d)", working):
        product = math.prod(map(int, term.split(" * ")))
        total += -product if sign == "-" else product
        results += [product, total]
    return results
