"""What an arm changes against the baseline, by class of error: failures fixed, answers broken, failures moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dftt.analysis.frame import Frame, frame_of, pairs
from dftt.scoring.error_classes import ERROR_CLASSES, UNCLASSIFIED
from dftt.tables import TableRow, align
from dftt.types import Record


def transitions(
    records: Iterable[Record] | Frame, classes: Mapping[tuple[str, str, int], str], baseline: str
) -> list[TableRow]:
    """What each arm changes against the baseline, per class, on tasks and seeds that are scored in both.

    A row holds `arm`, `class`, `baseline_failures` and `arm_failures` of that class, `fixed` (the baseline failed so,
    the arm passed), `broken` (the baseline passed, the arm failed so) and `moved` (the baseline failed so, the arm
    failed otherwise); `pairs` is the number of pairs behind all rows of the arm.

    Args:
        records: Of the baseline and other arms.
        classes: Class of each failed record, by key.
        baseline: The arm that others are compared with.

    Raises:
        ValueError: No record is of the baseline arm.
    """
    frame = frame_of(records)
    arms = sorted(frame["arm"].unique())
    if baseline not in arms:
        raise ValueError(f"baseline {baseline!r} has no records; arms are {arms}")
    rows = []
    for arm in arms:
        if arm != baseline:
            both = pairs(frame, arm, baseline).dropna(subset=["passed_a", "passed_b"])
            states = [
                ["passed" if each.passed else classes.get(each.key, UNCLASSIFIED) for each in both[side]]
                for side in ("record_b", "record_a")
            ]
            rows += _rows(arm, list(zip(*states, strict=True)))
    return rows


def format_transitions(rows: Sequence[TableRow]) -> str:
    """Rows of `transitions` as aligned plain text."""
    return align([{name: str(value) for name, value in row.items()} for row in rows]) if rows else "no other arm"


def _rows(arm: str, states: Sequence[tuple[str, str]]) -> list[TableRow]:
    counts, before, after = Counter(states), Counter(a for a, _ in states), Counter(b for _, b in states)
    return [
        {
            "arm": arm,
            "class": name,
            "baseline_failures": before[name],
            "arm_failures": after[name],
            "fixed": counts[name, "passed"],
            "broken": counts["passed", name],
            "moved": before[name] - counts[name, "passed"] - counts[name, name],
            "pairs": len(states),
        }
        for name in (*ERROR_CLASSES, UNCLASSIFIED)
        if before[name] or after[name]
    ]
