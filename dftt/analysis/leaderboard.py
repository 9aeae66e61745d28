"""The public CL-bench leaderboard beside a study's own arms."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from io import StringIO

import pandas as pd

from dftt.tables import TableRow, align, decimal

# The file's columns, as CL-bench names the categories.
CATEGORIES = {
    "domain": "Domain Knowledge Reasoning",
    "rule": "Rule System Application",
    "procedural": "Procedural Task Execution",
    "empirical": "Empirical Discovery & Simulation",
}
_RATES = ("overall", *CATEGORIES)


def public_rows() -> list[TableRow]:
    """The leaderboard: `model`, `organisation`, `overall` and the four categories as rates; the file says source and
    date.
    """
    return pd.read_csv(StringIO(_text()), comment="#").to_dict(orient="records")


def beside_public_rows(breakdown: Sequence[TableRow]) -> list[TableRow]:
    """Leaderboard and arms, best first; `n` (intended answers) and `unscored` are known for the arms only.

    Args:
        breakdown: Rows of `break_down`; the arms enter with solved / intended.
    """
    arms = [_arm_row(arm, breakdown) for arm in sorted({row["arm"] for row in breakdown})]
    return sorted([*public_rows(), *arms], key=lambda row: -(row["overall"] or 0))


def format_leaderboard(rows: Sequence[TableRow]) -> str:
    """Rows of `beside_public_rows` as aligned plain text, source and date below."""
    cells = [
        {"model": row["model"]}
        | {name: str(row.get(name, "")) for name in ("n", "unscored")}
        | {name: decimal(row[name]) for name in _RATES}
        for row in rows
    ]
    notes = [line.lstrip("# ") for line in _text().splitlines() if line.startswith("#")]
    return "\n".join([align(cells), *notes])


def _arm_row(arm: str, breakdown: Sequence[TableRow]) -> TableRow:
    mine = {(row["by"], row["group"]): row for row in breakdown if row["arm"] == arm}
    overall = mine["all", "all"]
    rates = {name: mine.get(("category", category), {}).get("solving_rate") for name, category in CATEGORIES.items()}
    counts = {"n": overall["intended"], "unscored": overall["unscored"]}
    return {"model": f"* {arm}", **counts, "overall": overall["solving_rate"], **rates}


def _text() -> str:
    return files("dftt.analysis").joinpath("leaderboards", "clbench.csv").read_text(encoding="utf-8")
