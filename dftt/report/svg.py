"""A drawing as SVG: inside the page it takes the page's colours, as a file of its own it is light."""

from __future__ import annotations

from dftt.report.drawing import FONT_SIZE, Box, Dot, Drawing, Label, Line, Path, Shape
from dftt.report.markup import Markup, join, tag
from dftt.report.palette import LIGHT

_FONT = "system-ui, 'DejaVu Sans', Arial, sans-serif"


def inline_svg(drawing: Drawing, title: str) -> Markup:
    """The drawing as an element of the page, in the page's colours."""
    return _svg(drawing, title, {name: f"var(--{name})" for name in LIGHT})


def svg_file(drawing: Drawing, title: str) -> str:
    """The drawing as a file, on white."""
    body = _svg(drawing, title, LIGHT, xmlns="http://www.w3.org/2000/svg", width=drawing.width, height=drawing.height)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _svg(drawing: Drawing, title: str, colours: dict[str, str], **attributes: str | float) -> Markup:
    background = tag("rect", width="100%", height="100%", style=f"fill:{colours['paper']}")
    return tag(
        "svg",
        tag("title", title),
        background if "xmlns" in attributes else None,
        [_shape(shape, colours) for shape in drawing.shapes],
        viewBox=f"0 0 {drawing.width:g} {drawing.height:g}",
        role="img",
        aria_label=title,
        font_family=_FONT,
        font_size=FONT_SIZE,
        style=None
        if "xmlns" in attributes
        else f"min-width:{min(drawing.width, 480):g}px;max-width:{drawing.width:g}px",
        **attributes,
    )


def _shape(shape: Shape, colours: dict[str, str]) -> Markup:
    colour = colours[shape.colour]
    match shape:
        case Line():
            ends = {"x1": _n(shape.x1), "y1": _n(shape.y1), "x2": _n(shape.x2), "y2": _n(shape.y2)}
            return tag("line", style=_stroke(colour, shape.width, shape.dashed), **ends)
        case Path():
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
            return tag("polyline", points=points, fill="none", style=_stroke(colour, shape.width, shape.dashed))
        case Box():
            place = {"x": _n(shape.x), "y": _n(shape.y), "width": _n(shape.width), "height": _n(shape.height)}
            return tag("rect", _note(shape.note), style=f"fill:{colour}", **place)
        case Dot():
            place = {"cx": _n(shape.x), "cy": _n(shape.y), "r": _n(shape.radius)}
            return tag("circle", _note(shape.note), style=f"fill:{colour}", **place)
        case Label():
            return tag(
                "text", shape.text, x=_n(shape.x), y=_n(shape.y), text_anchor=shape.anchor, style=f"fill:{colour}"
            )


def _note(text: str) -> Markup:
    return tag("title", text) if text else join()


def _stroke(colour: str, width: float, dashed: bool) -> str:
    return f"stroke:{colour};stroke-width:{width:g}" + (";stroke-dasharray:5 4" if dashed else "")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
