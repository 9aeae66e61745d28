"""Three kinds of charts by matplotlib, and a figure: a chart with the numbers that it shows."""

from __future__ import annotations

import csv
import io
import math
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from dftt.report.words import visible

Row = Mapping[str, Any]
# The light colours of the style sheet, by what they mean: a page puts its own in their places.
_CSS = files("dftt.report").joinpath("assets", "report.css").read_text(encoding="utf-8")
LIGHT = dict(re.findall(r"--(\w+):light-dark\((#\w{6})", _CSS))
SERIES = [LIGHT[f"series{n}"] for n in range(8)]  # they come round again after the eighth
_WIDTH, _ROW, _LETTER = 7.6, 0.3, 0.075  # inches; a letter may be wider in the page than here
_LETTERS = 50  # of a label's line
_FOR_CHARTS = ("label", "series", "group")  # columns that are no numbers behind a chart
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, and has Greek
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "text.color": LIGHT["ink"],
    **dict.fromkeys(("axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), LIGHT["muted"]),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), LIGHT["grid"]),
    **dict.fromkeys(("axes.facecolor", "figure.facecolor"), LIGHT["paper"]),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "svg.fonttype": "none",  # words stay words: they are found, read aloud, and take the page's colours
    "pdf.fonttype": 42,
}
_NO_DATES = {
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Figure:
    """A chart and the rows behind it, all with the same names; its files are called `name`."""

    name: str
    title: str
    rows: Sequence[Row]
    drawing: Drawing

    @property
    def numbers(self) -> list[Row]:
        """The rows without what only the chart needs."""
        return [{name: value for name, value in row.items() if name not in _FOR_CHARTS} for row in self.rows]

    @cached_property
    def svg(self) -> str:
        """The chart as the text of an SVG file."""
        svg = self.written("svg").decode()
        end = svg.index(">", svg.index("<svg")) + 1
        return f"{svg[:end]}<title>{escape(self.title)}</title>{svg[end:]}"

    def inline(self) -> Markup:
        """The chart as an element of the page, in the page's colours, its ids its own."""
        return Markup(re.sub(r"<[^>]*>", self._in_page, self.svg[self.svg.index("<svg") :]))

    def save(self, folder: Path, formats: Sequence[Literal["svg", "png", "pdf"]] = ("svg", "png")) -> None:
        """Write the chart and, as CSV, its numbers into a folder that exists; the same bytes for the same numbers."""
        for each in formats:
            written = self.svg.encode() if each == "svg" else self.written(each)
            (folder / f"{self.name}.{each}").write_bytes(written)
        with (folder / f"{self.name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self.numbers[0]))
            writer.writeheader()
            writer.writerows(self.numbers)

    def written(self, format: Literal["svg", "png", "pdf"]) -> bytes:
        """The chart as a file."""
        buffer = io.BytesIO()
        with matplotlib.rc_context({**_STYLE, "svg.hashsalt": self.name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a box stands for it
            self.drawing.savefig(buffer, format=format, dpi=150, metadata=_NO_DATES[format])
        return buffer.getvalue()

    def _in_page(self, tag: re.Match[str]) -> str:
        """A tag of the file as the page has it."""
        text = tag[0].replace("<svg ", '<svg role="img" ').replace("xlink:href", "href")
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", text)
        for name, colour in LIGHT.items():
            text = text.replace(colour, f"var(--{name})")
        return text


@matplotlib.rc_context(_STYLE)
def intervals(rows: Sequence[Row], *, value: str, axis: str, zero: bool = False) -> Drawing:
    """One line of the chart for each row, from top to bottom: a dot, and a stroke over its interval.

    Args:
        rows: Each with `label`, `low` and `high`, None where there is no interval; `series` chooses the colour, and
            neighbours of one `group` stand under its name.
        value: Column of the numbers.
        axis: What the numbers are.
        zero: Mark "no difference" by a dashed line.
    """
    places, heads, y = [], [], 0
    for before, row in zip([{}, *rows], rows, strict=False):
        if row.get("group") != before.get("group"):
            heads.append((y, row["group"]))
            y += 1
        places.append(y)
        y += 1
    drawing, axes = _sheet_of_rows(places, [row["label"] for row in rows], y, axis)
    for y, row in zip(places, rows, strict=True):
        colour = SERIES[row.get("series", 0)]
        if row["low"] is not None:
            axes.hlines(y, row["low"], row["high"], colors=colour, linewidth=2)
        if row[value] is None:
            axes.text(0.01, y, "no number", transform=axes.get_yaxis_transform(), va="center", color=LIGHT["muted"])
        else:
            axes.plot(row[value], y, "o", color=colour, markersize=5)
    if zero:
        axes.axvline(0, color=LIGHT["muted"], linestyle="--", linewidth=1)
    at_the_left = blended_transform_factory(drawing.transFigure, axes.transData)
    for y, group in heads:
        axes.text(0.02, y, _line(group, 90), transform=at_the_left, va="center", color=LIGHT["muted"])
    return drawing


@matplotlib.rc_context(_STYLE)
def lines(
    rows: Sequence[Row], *, x: str, y: str, x_axis: str = "", y_axis: str = "", from_zero: bool = False
) -> Drawing:
    """One line for each label, with whiskers where rows have `low` and `high` (beside each other then), legend below.

    Args:
        rows: Points, each with the `label` of its line, those of a line by rising x.
        x: Column of x.
        y: Column of y.
        x_axis: What x is; the column's name where not given.
        y_axis: As x_axis.
        from_zero: Let the y axis begin at 0.
    """
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row["label"], []).append(row)
    columns = 2 if max(map(len, named)) <= _LETTERS else 1
    legend = 0.2 * math.ceil(len(named) / columns) + 0.1
    drawing, axes = _sheet(3.3 + legend, left=0.65, bottom=legend + 0.5)
    whiskers = any(row.get("low") is not None for row in rows)
    for index, (label, points) in enumerate(named.items()):
        aside = 4 / 72 * (index - (len(named) - 1) / 2) if whiskers else 0
        ends = [[row[y] if row.get(end) is None else row[end] for end in ("low", y, "high")] for row in points]
        axes.errorbar(
            [point[x] for point in points],
            [point[y] for point in points],
            yerr=[[y - low for low, y, _ in ends], [high - y for _, y, high in ends]] if whiskers else None,
            transform=axes.transData + ScaledTranslation(aside, 0, drawing.dpi_scale_trans),
            label=_line(label, 2 * _LETTERS),
            color=SERIES[index % len(SERIES)],
            linestyle="--" if index >= len(SERIES) else "-",  # a second round of the same colours
            marker="o" if len(points) <= 60 else None,
            markersize=4,
        )
        axes.update_datalim([(point[x], each) for point, heights in zip(points, ends, strict=True) for each in heights])
    axes.set(xlabel=x_axis or x, ylabel=y_axis or y)
    axes.margins(x=0.05 + 0.01 * len(named) * whiskers)
    axes.autoscale_view()
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=all(isinstance(row[x], int) for row in rows)))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    if from_zero:
        axes.set_ylim(bottom=0)
    drawing.legend(loc="lower left", ncols=columns)
    return drawing


@matplotlib.rc_context(_STYLE)
def bars(parts: Mapping[str, Mapping[str, float]], *, axis: str) -> Drawing:
    """One stacked bar for each label, and a legend of its parts below; a part has the same colour in every bar."""
    drawing, axes = _sheet_of_rows(range(len(parts)), list(parts), len(parts), axis, legend=0.3)
    ends = [0.0] * len(parts)
    for index, name in enumerate(dict.fromkeys(name for bar in parts.values() for name in bar)):
        widths = [bar.get(name, 0.0) for bar in parts.values()]
        axes.barh(range(len(parts)), widths, 0.6, left=ends, color=SERIES[index % len(SERIES)], label=visible(name))
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    drawing.legend(loc="lower left", ncols=5)
    return drawing


def _sheet(height: float, *, left: float, bottom: float) -> tuple[Drawing, Axes]:
    """An empty chart, so many inches high, with room for words to the left and below."""
    drawing = Drawing(figsize=(_WIDTH, height))
    width, inner = 1 - (left + 0.2) / _WIDTH, 1 - (bottom + 0.1) / height
    return drawing, drawing.add_axes((left / _WIDTH, bottom / height, width, inner))


def _sheet_of_rows(
    places: Sequence[int], labels: Sequence[str], rows: int, axis: str, legend: float = 0
) -> tuple[Drawing, Axes]:
    """An empty chart of rows from top to bottom, with names at the left, and what the numbers are below."""
    wrapped = [textwrap.wrap(visible(label[:200]), _LETTERS, max_lines=2, placeholder=" …") for label in labels]
    longest = max((len(line) for lines in wrapped for line in lines), default=0)
    drawing, axes = _sheet(_ROW * rows + 0.6 + legend, left=0.2 + _LETTER * longest, bottom=0.5 + legend)
    axes.set_yticks(list(places), ["\n".join(each) for each in wrapped], color=LIGHT["ink"])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(rows - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(axis)
    return drawing, axes


def _line(text: str, limit: int) -> str:
    """The beginning of a text, on one line."""
    text = visible(" ".join(text[: limit + 1].split()))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
