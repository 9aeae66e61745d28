"""The report's drawings for TeX: strokes and areas as a PDF of their own, words set by TeX on top of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as File

from dftt.report.drawing import Box, Dot, Drawing, Label, Line, Path, Shape
from dftt.report.palette import LIGHT
from paper.tex import escape

_ARC = 0.5523  # of a radius: where the handles of a quarter circle lie


def write_figure(drawing: Drawing, folder: File, name: str) -> None:
    """Write NAME.pdf and NAME.tex, which shows it over the width of the line; paths are from the folder's parent."""
    (folder / f"{name}.pdf").write_bytes(pdf(drawing))
    words = [_word(shape, drawing.height) for shape in drawing.shapes if isinstance(shape, Label)]
    width, height = _n(drawing.width), _n(drawing.height)
    lines = [
        f"\\setlength{{\\unitlength}}{{\\dimexpr\\linewidth/{round(drawing.width)}\\relax}}%",
        f"\\begin{{picture}}({width},{height})\\footnotesize",
        f"\\put(0,0){{\\includegraphics[width={width}\\unitlength]{{{folder.name}/{name}.pdf}}}}",
        *words,
        "\\end{picture}",
    ]
    (folder / f"{name}.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pdf(drawing: Drawing) -> bytes:
    """A PDF of one page with everything of a drawing but its words."""
    content = "\n".join(_stroke(shape, drawing.height) for shape in drawing.shapes if not isinstance(shape, Label))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /Resources << >> /Contents 4 0 R "
        f"/MediaBox [0 0 {_n(drawing.width)} {_n(drawing.height)}] >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
    ]
    text, places = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(text))
        text += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    text += f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R >>\n"
    return f"{text}startxref\n{text.index('xref')}\n%%EOF\n".encode("ascii")


def _word(label: Label, height: float) -> str:
    """A label whose baseline begins, is centred or ends at its point."""
    text = f"\\textcolor[HTML]{{{LIGHT[label.colour][1:].upper()}}}{{{escape(label.text)}}}"
    before, after = {"start": ("", "\\hss"), "middle": ("\\hss", "\\hss"), "end": ("\\hss", "")}[label.anchor]
    return f"\\put({_n(label.x)},{_n(height - label.y)}){{\\hbox to 0pt{{{before}{text}{after}}}}}"


def _stroke(shape: Shape, height: float) -> str:
    """A shape in the page's own language, whose y goes up."""
    match shape:
        case Line():
            ends = ((shape.x1, shape.y1), (shape.x2, shape.y2))
            return _path(ends, height, shape.colour, shape.width, shape.dashed)
        case Path():
            return _path(shape.points, height, shape.colour, shape.width, shape.dashed)
        case Box():
            corner = f"{_n(shape.x)} {_n(height - shape.y - shape.height)}"
            return f"{_colour(shape.colour)} rg {corner} {_n(max(0.0, shape.width))} {_n(shape.height)} re f"
        case Dot():
            return f"{_colour(shape.colour)} rg {' '.join(_circle(shape, height))} f"
        case _:
            return ""


def _path(points: tuple[tuple[float, float], ...], height: float, colour: str, width: float, dashed: bool) -> str:
    places = [f"{_n(x)} {_n(height - y)}" for x, y in points]
    drawn = " ".join(f"{place} {'l' if number else 'm'}" for number, place in enumerate(places))
    return f"{_colour(colour)} RG {_n(width)} w 1 j [{'5 4' if dashed else ''}] 0 d {drawn} S"


def _circle(dot: Dot, height: float) -> Iterator[str]:
    x, y, r, h = dot.x, height - dot.y, dot.radius, dot.radius * _ARC
    yield f"{_n(x + r)} {_n(y)} m"
    quarters = (
        (x + r, y + h, x + h, y + r, x, y + r),
        (x - h, y + r, x - r, y + h, x - r, y),
        (x - r, y - h, x - h, y - r, x, y - r),
        (x + h, y - r, x + r, y - h, x + r, y),
    )
    for quarter in quarters:
        yield f"{' '.join(map(_n, quarter))} c"


def _colour(name: str) -> str:
    red, green, blue = (int(LIGHT[name][at : at + 2], 16) / 255 for at in (1, 3, 5))
    return f"{red:.3f} {green:.3f} {blue:.3f}"


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
