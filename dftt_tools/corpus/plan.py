"""The plan of an invented document, and its sentences.

Sentences come from templates whose slots are filled from word banks; `{a}` and `{b}` are two things of the cast.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from dftt_tools.corpus.cast import WORDS, Cast, Names
from dftt_tools.corpus.genres import GENRES
from dftt_tools.corpus.spelling import camel, capital, plural
from dftt_tools.corpus.wordbank import wordbank

Item = TypeVar("Item")
_CAPITALISED = re.compile(r"^(The|A|An|It|There|This|When|If|Every|Both|In|At|To|Of|Once|Some|Nobody|Neither) ")


class World:
    """The plan of one document and the means to write it; also the mapping that fills a template's slots."""

    def __init__(self, seed: int, num_sections: int) -> None:
        self.rng = random.Random(f"world {seed}")
        self.genre = list(GENRES.values())[seed % len(GENRES)]
        names = Names(self.rng, self.genre.naming)
        self.numbered = self.rng.random() < 0.6
        cast = Cast(self.rng, self.genre, names, max(4, min(18, num_sections)))
        self.things = cast.things
        self.first, self.second = self.things[:2]
        self.decks: dict[int, list[Any]] = {}
        self.banks: dict[str, Sequence[str]] = {
            **WORDS,
            **wordbank("phrases.yaml"),
            "person": cast.people,
            "place": cast.places,
            "actor": self.genre.actors,
            "object": self.genre.objects,
            "objects": [plural(noun) for noun in self.genre.objects],
            "event": self.genre.events,
        }
        self.makers: dict[str, Callable[[], object]] = {
            "a": lambda: self.first,
            "b": lambda: self.second,
            "n": lambda: self.rng.randint(2, 12),
            "small": lambda: self.rng.randint(0, 4),
            "big": lambda: self.rng.choice((10, 25, 50)) * self.rng.randint(2, 40),
            "act": self.action,
            "ref": self.reference,
            "ref_cap": lambda: capital(self.reference()),
            "adj_cap": lambda: self.rng.choice(WORDS["adj"]).title(),
            "noun_cap": lambda: self.rng.choice(WORDS["noun"]).title(),
            "camel": lambda: camel(str(self.first)),
        }
        self.title = self.fill(self.rng.choice(self.genre.titles))
        self.headings = self.plan_headings(num_sections)

    def __getitem__(self, slot: str) -> object:
        if slot in self.makers:
            return self.makers[slot]()
        text = self.draw(self.banks[slot])
        return text.format_map(self) if "{" in text else text

    def fill(self, template: str) -> str:
        """The template with every slot filled."""
        return template.format_map(self)

    def draw(self, bank: Sequence[Item]) -> Item:
        """A member of the bank; none comes twice before all have come once."""
        deck = self.decks.setdefault(id(bank), [])
        if not deck:
            deck.extend(self.rng.sample(bank, len(bank)))
        return deck.pop()

    def plan_headings(self, count: int) -> list[str]:
        """The document's section headings: the genre's own, in order, then one for each further thing."""
        own = self.genre.headings
        chosen = sorted(self.rng.sample(range(len(own)), min(count, len(own))))
        headings: list[str] = []
        for place, index in enumerate(chosen):
            self.first = self.things[place % len(self.things)]
            heading = capital(self.fill(own[index]))
            headings.append(heading if heading not in headings else f"More on {self.first}")
        extra = [f"{thing.name} ({thing.code})" for thing in self.things]
        headings += extra[: count - len(headings)]
        return headings

    def action(self) -> str:
        """A verb phrase of the genre, sometimes with its manner."""
        text = self.fill(self.draw(self.genre.acts))
        return f"{text} {self['manner']}" if self.rng.random() < 0.2 else text

    def reference(self) -> str:
        """Words that name a section of this document."""
        index = self.rng.randrange(len(self.headings))
        return f"section {index + 1}" if self.numbered else f'"{self.headings[index].replace("`", "")}"'

    def focus(self, section: int) -> None:
        """Choose the two things that the next sentence may name; mostly the section's own."""
        near = section % len(self.things)
        self.first = self.things[near] if self.rng.random() < 0.55 else self.rng.choice(self.things)
        self.second = self.rng.choice(self.things)
        if self.second is self.first:
            self.second = self.things[self.things.index(self.first) - 1]

    def sentence(self, section: int) -> str:
        """One sentence about the section's things."""
        self.focus(section)
        own = self.rng.random() < 0.45
        text = self.fill(self.draw(self.genre.sentences if own else wordbank("sentences.txt")))
        roll = self.rng.random()
        if roll < 0.16 and _CAPITALISED.match(text):
            text = f"{self['lead']}, {text[0].lower()}{text[1:]}"
        elif roll > 0.86 and text.endswith(".") and "; " not in text and ": " not in text:
            text = f"{text[:-1]}, {self['tail']}."
        return capital(text)

    def paragraph(self, section: int, sentences: int = 0) -> str:
        """A few sentences on one line."""
        return " ".join(self.sentence(section) for _ in range(sentences or self.rng.randint(3, 6)))
