"""A picture as a few kinds of shapes, so that SVG and PNG are two ways of writing the same thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Line:
    """A straight stroke in a palette colour."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str = "grid"
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Path:
    """A stroke through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 2.0
    dashed: bool = False


@dataclass(frozen=True)
class Box:
    """A filled rectangle; `note` is shown where a pointer rests."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    note: str = ""


@dataclass(frozen=True)
class Dot:
    """A filled circle; `note` is shown where a pointer rests."""

    x: float
    y: float
    radius: float
    colour: str
    note: str = ""


@dataclass(frozen=True)
class Label:
    """Text whose baseline begins, is centred or ends at a point."""

    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    colour: str = "ink"


Shape = Line | Path | Box | Dot | Label
FONT_SIZE = 13
LETTER = 8.2  # width of a letter at that size, generous: system fonts may be wide


@dataclass
class Drawing:
    """Shapes on a sheet, later ones on top.

    Args:
        width: Of the sheet, in pixels.
        height: As width.
        shapes: What is drawn.
    """

    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Draw these on top."""
        self.shapes.extend(shapes)
