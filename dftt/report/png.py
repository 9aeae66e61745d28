"""A drawing as PNG, for slides and papers; SVG is the better file wherever it is accepted."""

from __future__ import annotations

import itertools
from pathlib import Path as File
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from dftt.report.drawing import FONT_SIZE, Box, Dot, Drawing, Label, Line, Path, Shape
from dftt.report.palette import LIGHT

_SCALE = 2  # pixels of the file per pixel of the drawing, shrunk from twice as many for smooth edges
_ANCHORS: dict[str, Literal["ls", "ms", "rs"]] = {"start": "ls", "middle": "ms", "end": "rs"}
# Pillow's own font, the only one that is there on every machine, has no Greek.
_SPELT = str.maketrans({"τ": "tau", "α": "alpha", "Δ": "Delta ", "−": "-", "–": "-", "·": "-", "…": "..."})


def write_png(drawing: Drawing, path: File) -> None:
    """Write the drawing, on white, at twice its size."""
    scale = 2 * _SCALE
    size = (round(drawing.width * scale), round(drawing.height * scale))
    image = Image.new("RGB", size, LIGHT["paper"])
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE * scale)
    for shape in drawing.shapes:
        _draw(pen, shape, scale, font)
    image.reduce(2).save(path)


def _draw(
    pen: ImageDraw.ImageDraw, shape: Shape, scale: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> None:
    colour = LIGHT[shape.colour]
    match shape:
        case Line():
            _stroke(pen, ((shape.x1, shape.y1), (shape.x2, shape.y2)), shape.dashed, colour, shape.width, scale)
        case Path():
            _stroke(pen, shape.points, shape.dashed, colour, shape.width, scale)
        case Box():
            corners = (shape.x, shape.y, shape.x + max(0.0, shape.width), shape.y + max(0.0, shape.height))
            pen.rectangle([value * scale for value in corners], fill=colour)
        case Dot():
            pen.circle((shape.x * scale, shape.y * scale), shape.radius * scale, fill=colour)
        case Label():
            text = shape.text.translate(_SPELT)
            pen.text((shape.x * scale, shape.y * scale), text, fill=colour, font=font, anchor=_ANCHORS[shape.anchor])


def _stroke(
    pen: ImageDraw.ImageDraw,
    points: tuple[tuple[float, float], ...],
    dashed: bool,
    colour: str,
    width: float,
    scale: int,
) -> None:
    scaled = [(x * scale, y * scale) for x, y in points]
    thick = max(1, round(width * scale))
    if not dashed:
        pen.line(scaled, fill=colour, width=thick, joint="curve")
        return
    for (x1, y1), (x2, y2) in itertools.pairwise(scaled):
        length = max(1.0, ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5)
        on, period = 5 * scale / length, 9 * scale / length
        place = 0.0
        while place < 1:
            end = min(1.0, place + on)
            pen.line(
                [(x1 + (x2 - x1) * place, y1 + (y2 - y1) * place), (x1 + (x2 - x1) * end, y1 + (y2 - y1) * end)],
                fill=colour,
                width=thick,
            )
            place += period
