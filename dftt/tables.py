"""Aligned plain text for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

TableRow = dict[str, Any]  # values by the names of their columns


def align(lines: Sequence[Mapping[str, str]]) -> str:
    """Cells as columns under a header, the header being the first line's names.

    Args:
        lines: At least one; all with the same names.
    """
    header = list(lines[0])
    widths = {name: max(len(name), *(len(line[name]) for line in lines)) for name in header}
    table = [{name: name for name in header}, {name: "-" * widths[name] for name in header}, *lines]
    return "\n".join("  ".join(line[name].ljust(widths[name]) for name in header).rstrip() for line in table)


def value_range(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    """An estimate with its interval; the estimate alone where there is none."""
    if value is None or low is None:
        return decimal(value, sign)
    return f"{decimal(value, sign)} [{decimal(low, sign)}, {decimal(high, sign)}]"


def decimal(value: float | None, sign: str = "") -> str:
    """Three decimals, "-" where there is no number."""
    return "-" if value is None else f"{value:{sign}.3f}"


def number(value: float) -> float | None:
    """The value as JSON can hold it: None where it is no number."""
    return value if math.isfinite(value) else None
