"""The public CL-bench leaderboard beside a study's own arms."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from dftt.analysis.summary import Row
from dftt.tables import align, decimal

# The file's columns, as CL-bench names the categories.
CATEGORIES = {
    "domain": "Domain Knowledge Reasoning",
    "rule": "Rule System Application",
    "procedural": "Procedural Task Execution",
    "empirical": "Empirical Discovery & Simulation",
}


def public_rows() -> list[Row]:
    """The leaderboard: `model`, `organisation`, `overall` and the four categories as rates; the file says source and
    date.
    """
    lines = _lines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [
        {"model": row["model"], "organisation": row["organisation"]}
        | {name: float(row[name]) for name in ("overall", *CATEGORIES)}
        for row in rows
    ]


def compare(breakdown: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Leaderboard and arms, best first; `n` (intended answers) and `unscored` are known for the arms only.

    Args:
        breakdown: Rows of `break_down`; the arms enter with solved / intended.
    """
    arms = [_arm_row(arm, breakdown) for arm in sorted({row["arm"] for row in breakdown})]
    return sorted([*public_rows(), *arms], key=lambda row: -(row["overall"] or 0))


def format_comparison(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `compare` as aligned plain text, source and date below."""
    cells = [
        {
            "model": row["model"],
            "n": str(row.get("n", "")),
            "unscored": str(row.get("unscored", "")),
            **{name: decimal(row[name]) for name in ("overall", *CATEGORIES)},
        }
        for row in rows
    ]
    notes = [line.lstrip("# ") for line in _lines() if line.startswith("#")]
    return "\n".join([align(cells), *notes])


def _arm_row(arm: str, breakdown: Sequence[Mapping[str, Any]]) -> Row:
    mine = {(row["by"], row["group"]): row for row in breakdown if row["arm"] == arm}
    overall = mine["all", "all"]
    rates = {name: mine.get(("category", category), {}).get("solving_rate") for name, category in CATEGORIES.items()}
    counts = {"n": overall["intended"], "unscored": overall["unscored"]}
    return {"model": f"* {arm}", **counts, "overall": overall["solving_rate"], **rates}


def _lines() -> list[str]:
    file = resources.files("dftt.analysis") / "leaderboards" / "clbench.csv"
    return file.read_text(encoding="utf-8").splitlines()
