"""What every part of a document offers: sections of text, and questions on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.question import Question
from dftt.suites.worlds.spec import WorldsSpec


@dataclass(frozen=True)
class Section:
    """A heading and the paragraphs under it; no fact is split between paragraphs."""

    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What the parts of one document share: the spec, a stream of draws, the names used, and the world's own name."""

    spec: WorldsSpec
    draw: Draw
    names: Names
    world: str


class Part(Protocol):
    """Facts of one kind, drawn when it is made: `Part(data, setting)`. With `conflict`, all questions have a prior."""

    @property
    def conflict(self) -> bool:
        """Whether the facts contradict common knowledge."""
        ...

    def sections(self) -> list[Section]:
        """The text that states the facts."""
        ...

    def ask(self, draw: Draw) -> Question:
        """A question on the facts, at the spec's difficulty; the caller draws again where it is not sound."""
        ...
