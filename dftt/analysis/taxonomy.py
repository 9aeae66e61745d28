"""What an arm changes against the baseline, by class of error: failures fixed, answers broken, failures moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from dftt.analysis.summary import Row
from dftt.scoring.error_classes import ERROR_CLASSES, UNCLASSIFIED, Key
from dftt.tables import align
from dftt.types import Record


def transitions(records: Sequence[Record], classes: Mapping[Key, str], baseline: str) -> list[Row]:
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
    base = {(record.task_id, record.seed): record for record in records if record.arm == baseline}
    if not base:
        raise ValueError(f"baseline {baseline!r} has no records; arms are {sorted({r.arm for r in records})}")
    rows = []
    for arm in sorted({record.arm for record in records} - {baseline}):
        pairs = [
            (_state(base[record.task_id, record.seed], classes), _state(record, classes))
            for record in records
            if record.arm == arm and (record.task_id, record.seed) in base
        ]
        rows += _rows(arm, [(before, after) for before, after in pairs if before and after])
    return rows


def format_transitions(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows of `transitions` as aligned plain text."""
    return align([{name: str(value) for name, value in row.items()} for row in rows]) if rows else "no other arm"


def _rows(arm: str, pairs: Sequence[tuple[str, str]]) -> list[Row]:
    counts, before, after = Counter(pairs), Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    names = [name for name in (*ERROR_CLASSES, UNCLASSIFIED) if before[name] or after[name]]
    return [
        {
            "arm": arm,
            "class": name,
            "baseline_failures": before[name],
            "arm_failures": after[name],
            "fixed": counts[name, "passed"],
            "broken": counts["passed", name],
            "moved": before[name] - counts[name, "passed"] - counts[name, name],
            "pairs": len(pairs),
        }
        for name in names
    ]


def _state(record: Record, classes: Mapping[Key, str]) -> str:
    """ "passed", the class of the failure, or nothing where the record has no score."""
    if record.passed is None:
        return ""
    return "passed" if record.passed else classes.get(record.key, UNCLASSIFIED)
