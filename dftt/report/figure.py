"""A figure with the numbers it shows: in the page, and beside the report as SVG, PNG and CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dftt.report.drawing import Drawing
from dftt.report.markup import Markup, shortened, table, tag
from dftt.report.png import write_png
from dftt.report.svg import inline_svg, svg_file

Cell = str | int | float | bool | None
_LONGEST = 200  # characters of a cell in the page
_MOST_ROWS = 400  # of a figure's numbers in the page; its CSV has all


@dataclass(frozen=True)
class Figure:
    """A drawing and its numbers.

    Args:
        name: Of its files.
        title: One line that says what is shown.
        drawing: The picture.
        rows: The numbers behind it, all with the same names.
    """

    name: str
    title: str
    drawing: Drawing
    rows: Sequence[Mapping[str, Cell]]

    def element(self) -> Markup:
        """The figure in the page, its numbers folded away below."""
        shown = [{name: _shown(value) for name, value in row.items()} for row in self.rows[:_MOST_ROWS]]
        left_out = len(self.rows) - len(shown)
        more = tag("p", f"{left_out} more rows in {self.name}.csv", class_="note") if left_out else None
        drawn = tag(
            "div",
            inline_svg(self.drawing, self.title),
            class_="scroll",
            tabindex=0,
            role="group",
            aria_label=self.title,
        )
        numbers = tag("details", tag("summary", "Numbers"), table(shown, caption=self.title), more)
        return tag("figure", tag("figcaption", self.title), drawn, numbers, id=f"figure-{self.name}")

    def save(self, folder: Path) -> None:
        """Write NAME.svg, NAME.png and NAME.csv into a folder that exists."""
        (folder / f"{self.name}.svg").write_text(svg_file(self.drawing, self.title), encoding="utf-8")
        write_png(self.drawing, folder / f"{self.name}.png")
        with (folder / f"{self.name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]) if self.rows else [])
            writer.writeheader()
            writer.writerows(self.rows)


def _shown(value: Cell) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else shortened(str(value), _LONGEST)
