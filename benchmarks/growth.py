"""How cost grows with the length of the context: figures and slopes from the results of other benchmarks.

    python -m benchmarks.growth results/*.json --out results

Reads what `benchmarks.decode`, `benchmarks.adapt` and `benchmarks.memory` wrote (of a context measured twice, the later
file counts) and writes growth-*.svg, .png and .csv and growth.md. An exponent of 1 between two contexts is linear
growth; nothing should grow faster.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dftt.report.figures import Figure, lines

Point = tuple[float, float]  # context and cost


@dataclass(frozen=True)
class Cost:
    """A number that benchmarks report by context.

    Args:
        name: Of its figure's files.
        title: What it is.
        column: Where results hold it, with its unit.
        by: Column that names the lines.
    """

    name: str
    title: str
    column: str
    by: str


COSTS = (
    Cost("growth-cycle", "A decoding cycle of one row", "cycle, ms", "side"),
    Cost("growth-step", "A step of test-time training", "step, ms", "side"),
    Cost("growth-memory", "Peak memory", "peak, GB", "work"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw each cost that the files hold at two contexts or more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="JSON results of benchmarks")
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures and of growth.md")
    options = parser.parse_args(arguments)
    rows = [row for path in options.files for row in json.loads(path.read_text(encoding="utf-8")).get("rows", [])]
    drawn = {cost: grown for cost in COSTS if (grown := by_line(rows, cost))}
    if not drawn:
        wanted = ", ".join(cost.column for cost in COSTS)
        print(f"Nothing grows here: no file holds one of {wanted} at two contexts.")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for cost, grown in drawn.items():
        figure(cost, grown).save(options.out)
    text = "\n".join(["# Cost against the length of the context", "", *map(section, drawn, drawn.values())])
    (options.out / "growth.md").write_text(text, encoding="utf-8")
    print(text)


def by_line(rows: Sequence[Mapping[str, Any]], cost: Cost) -> dict[str, list[Point]]:
    """Points of each line by rising context; lines of a single context, many rows and unmeasured values left out."""
    grown: dict[str, dict[int, float]] = {}
    for row in rows:
        if isinstance(row.get(cost.column), int | float) and row.get("rows", 1) == 1:
            grown.setdefault(row[cost.by], {})[row["context"]] = row[cost.column]
    return {name: sorted(points.items()) for name, points in grown.items() if len(points) > 1}


def figure(cost: Cost, grown: Mapping[str, Sequence[Point]]) -> Figure:
    """Our lines of a cost, which plain ones would press flat, and the numbers behind all of them."""
    rows = [
        {"context": x, cost.by: name, cost.column: y, "label": name}
        for name, points in grown.items()
        for x, y in points
    ]
    ours = [row for row in rows if row["label"].startswith("ours")]
    chart = lines(ours or rows, x="context", y=cost.column, x_axis="context, tokens", from_zero=True)
    return Figure(cost.name, cost.title, rows, chart)


def section(cost: Cost, grown: Mapping[str, Sequence[Point]]) -> str:
    """A Markdown table: what 1,000 more tokens cost, and the steepest growth between two contexts."""
    head = [
        f"## {cost.title}",
        "",
        f"![{cost.title}]({cost.name}.svg)",
        "",
        f"| {cost.by} | contexts | {cost.column} | per 1,000 tokens | steepest exponent |",
        "|---|---|---|---|---|",
    ]
    table = []
    for name, points in grown.items():
        (first, least), (last, most) = points[0], points[-1]
        table.append(
            f"| {name} | {first:,.0f} to {last:,.0f} | {least:g} to {most:g} "
            f"| {1000 * (most - least) / (last - first):+.3f} | {steepest(points):.2f} |"
        )
    return "\n".join([*head, *table, ""])


def steepest(points: Sequence[Point]) -> float:
    """The largest exponent of growth between neighbouring contexts: 0 is constant, 1 linear, 2 quadratic."""
    return max(math.log(right[1] / left[1]) / math.log(right[0] / left[0]) for left, right in pairwise(points))


if __name__ == "__main__":
    main()
