"""What every part of a document offers: sections of text, and questions on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.question import Question
from dftt.suites.worlds.spec import WorldsSpec


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
