"""The people, places and things of an invented world, drawn once, so that their facts stay the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dftt_tools.corpus.genres import Genre
from dftt_tools.corpus.wordbank import wordbank

WORDS: dict[str, list[str]] = wordbank("words.yaml")


@dataclass
class Thing:
    """One entry of a document's cast; its facts stay the same wherever it is named."""

    name: str
    kind: str
    code: str
    number: int
    unit: str
    limit: int
    days: int
    year: int
    owner: str
    place: str
    trait: str
    colour: str
    material: str

    def __str__(self) -> str:
        return self.name


class Names:
    """Invents names in the sounds of one world, none twice."""

    def __init__(self, rng: random.Random, naming: str) -> None:
        self.rng, self.naming = rng, naming
        sounds = rng.choice(wordbank("sounds.yaml"))
        self.onsets, self.vowels, self.codas = (sounds[part].split() for part in ("onsets", "vowels", "codas"))
        self.used: set[str] = set()

    def word(self, syllables: int) -> str:
        """An invented capitalised word."""
        while True:
            parts = [self.rng.choice(self.onsets) + self.rng.choice(self.vowels) for _ in range(syllables)]
            name = ("".join(parts) + (self.rng.choice(self.codas) if self.rng.random() < 0.7 else "")).title()
            if name not in self.used and len(name) > 2:
                self.used.add(name)
                return name
            syllables += 1

    def thing(self) -> str:
        """A name for a thing in the genre's manner."""
        while True:
            adjective, noun = self.rng.choice(WORDS["adj"]), self.rng.choice(WORDS["noun"])
            if self.naming == "snake":
                name = f"{self.rng.choice(WORDS['verb'])}_{noun}"
            elif self.naming == "invented":
                return self.word(self.rng.choice((2, 2, 3)))
            else:
                name = f"{adjective} {noun}".title() if self.rng.random() < 0.6 else f"{self.word(2)} {noun.title()}"
            if name not in self.used:
                self.used.add(name)
                return name


class Cast:
    """Seven people, six places and some things of one world."""

    def __init__(self, rng: random.Random, genre: Genre, names: Names, num_things: int) -> None:
        self.people = [f"{names.word(2)} {names.word(rng.choice((1, 2, 3)))}" for _ in range(7)]
        self.places = [names.word(rng.choice((2, 3))) for _ in range(6)]
        self.things = [self._thing(rng, genre, names) for _ in range(num_things)]

    def _thing(self, rng: random.Random, genre: Genre, names: Names) -> Thing:
        return Thing(
            name=names.thing(),
            kind=rng.choice(genre.kinds),
            code=f"{''.join(rng.choices('ABCDEFGHKLMNPRSTVW', k=2))}-{rng.randint(100, 999)}",
            number=rng.choice((1, 2, 5, 10)) * rng.randint(2, 48),
            unit=rng.choice(genre.units),
            limit=rng.randint(2, 20),
            days=rng.choice((3, 5, 7, 10, 14, 21, 28, 30, 45, 60, 90)),
            year=rng.randint(1102, 1987),
            owner=rng.choice(self.people),
            place=rng.choice(self.places),
            trait=rng.choice(WORDS["adj"]),
            colour=rng.choice(WORDS["colour"]),
            material=rng.choice(WORDS["material"]),
        )
