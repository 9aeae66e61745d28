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
from pathlib import Path
from typing import Literal

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from dftt.report.palette import LIGHT, SERIES
from dftt.report.words import visible

Cell = str | int | float | bool | None
Row = Mapping[str, Cell]
_WIDTH, _ROW, _LETTER = 7.6, 0.3, 0.075  # inches; a letter may be wider in the page than here
_LETTERS = 50  # of a label's line
_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, and has Greek
    "font.size": 9,
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "text.color": LIGHT["ink"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.edgecolor": LIGHT["grid"],
    "axes.facecolor": LIGHT["paper"],
    "figure.facecolor": LIGHT["paper"],
    "xtick.color": LIGHT["grid"],
    "ytick.color": LIGHT["grid"],
    "xtick.labelcolor": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LIGHT["grid"],
    "legend.frameon": False,
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
    """A chart and its numbers.

    Args:
        name: Of its files.
        title: One line that says what is shown.
        rows: The numbers behind it, all with the same names.
        drawing: The chart.
    """

    name: str
    title: str
    rows: Sequence[Row]
    drawing: Drawing

    @cached_property
    def svg(self) -> str:
        """The chart as the text of an SVG file."""
        svg = self.written("svg").decode()
        end = svg.index(">", svg.index("<svg")) + 1
        return f"{svg[:end]}<title>{escape(self.title)}</title>{svg[end:]}"

    def inline(self) -> Markup:
        """The chart as an element of the page, in the page's colours, its ids its own."""
        return Markup(re.sub(r"<[^>]*>", self._in_page, self.svg[self.svg.index("<svg") :]))

    def save(self, folder: Path) -> None:
        """Write NAME.svg, NAME.png and NAME.csv into a folder that exists; the same bytes for the same numbers."""
        (folder / f"{self.name}.svg").write_text(self.svg, encoding="utf-8")
        (folder / f"{self.name}.png").write_bytes(self.written("png"))
        with (folder / f"{self.name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]) if self.rows else [])
            writer.writeheader()
            writer.writerows(self.rows)

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
def intervals(
    rows: Sequence[Row], *, label: str, value: str, axis: str, group: str = "", zero: bool = False
) -> Drawing:
    """One line of the chart for each row, from top to bottom: a dot, and a stroke over its interval.

    Args:
        rows: Each with `low` and `high`, None where there is no interval, and `series`, which chooses the colour.
        label: Column of the names.
        value: Column of the numbers.
        axis: What the numbers are.
        group: Column by which neighbours stand under a common name.
        zero: Mark "no difference" by a dashed line.
    """
    places, heads, y = [], [], 0
    for before, row in zip([{}, *rows], rows, strict=False):
        if group and row[group] != before.get(group):
            heads.append((y, str(row[group])))
            y += 1
        places.append(y)
        y += 1
    drawing, axes = _sheet_of_rows(places, [str(row[label]) for row in rows], y, axis)
    known = [
        (y, row, SERIES[row.get("series") or 0]) for y, row in zip(places, rows, strict=True) if row[value] is not None
    ]
    ended = [(y, row["low"], row["high"], colour) for y, row, colour in known if row["low"] is not None]
    if ended:
        ys, lows, highs, colours = zip(*ended, strict=True)
        axes.hlines(ys, lows, highs, colors=colours, linewidth=2)
    axes.scatter([row[value] for _, row, _ in known], [y for y, _, _ in known], 25, [colour for *_, colour in known])
    if zero:
        axes.axvline(0, color=LIGHT["muted"], linestyle="--", linewidth=1)
    unknown = [(y, "no number") for y, row in zip(places, rows, strict=True) if row[value] is None]
    for y, words in [*heads, *unknown]:
        axes.text(0.01, y, _line(words, 60), transform=axes.get_yaxis_transform(), va="center", color=LIGHT["muted"])
    return drawing


@matplotlib.rc_context(_STYLE)
def lines(
    rows: Sequence[Row], *, name: str, x: str, y: str, x_axis: str = "", y_axis: str = "", from_zero: bool = False
) -> Drawing:
    """One line for each name, with whiskers where rows have `low` and `high` (beside each other then), legend below.

    Args:
        rows: Points, those of a line by rising x.
        name: Column of the lines' names.
        x: Column of x.
        y: Column of y.
        x_axis: What x is; the column's name where not given.
        y_axis: As x_axis.
        from_zero: Let the y axis begin at 0.
    """
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(str(row[name]), []).append(row)
    columns = 2 if max(map(len, named)) <= _LETTERS else 1
    legend = 0.2 * math.ceil(len(named) / columns) + 0.1
    drawing, axes = _sheet(3.3 + legend, left=0.65, bottom=legend + 0.5)
    whiskers = any(row.get("low") is not None for row in rows)
    for index, (line, points) in enumerate(named.items()):
        aside = 4 / 72 * (index - (len(named) - 1) / 2) if whiskers else 0
        style = {"color": SERIES[index % len(SERIES)], "label": _line(line, 2 * _LETTERS), "markersize": 4}
        style["linestyle"] = "--" if index >= len(SERIES) else "-"  # a second round of the same colours
        axes.errorbar(
            [point[x] for point in points],
            [point[y] for point in points],
            yerr=_ends(points, y) if whiskers else None,
            marker="o" if len(points) <= 60 else None,
            transform=axes.transData + ScaledTranslation(aside, 0, drawing.dpi_scale_trans),
            **style,
        )
        axes.update_datalim(
            [(point[x], point[end] or 0) for point in points for end in ("low", y, "high") if end in point]
        )
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
    """One stacked bar for each name, and a legend of the parts below.

    Args:
        parts: Per bar its parts by name; a part has the same colour in every bar.
        axis: What lengths are.
    """
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
    return drawing, drawing.add_axes(
        (left / _WIDTH, bottom / height, 1 - (left + 0.2) / _WIDTH, 1 - (bottom + 0.1) / height)
    )


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


def _ends(points: Sequence[Row], y: str) -> list[list[float]]:
    """How far the intervals of points reach down and up; nowhere where there is none."""
    pairs = [(point["low"], point[y], point["high"]) for point in points]
    return [
        [0.0 if low is None else y - low for low, y, _ in pairs],
        [0.0 if high is None else high - y for _, y, high in pairs],
    ]


def _line(text: str, limit: int) -> str:
    """The beginning of a text, on one line."""
    text = visible(" ".join(text[: limit + 1].split()))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
