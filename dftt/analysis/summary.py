"""The summary of a study: one row per arm, made from records alone; differences are those of the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dftt.analysis.arm_roles import NO_TTT
from dftt.analysis.comparison import Comparison
from dftt.analysis.metrics import tau_of, tau_per_prompt
from dftt.analysis.statistics import Interval, wilson_interval
from dftt.tables import align, decimal, number, value_range
from dftt.types import Record

Row = dict[str, Any]


def summarise(
    records: Sequence[Record], baseline: str | None = None, comparisons: Sequence[Comparison] = ()
) -> list[Row]:
    """One row per arm, the baseline first, then by name; values are JSON-safe, None where there is no number.

    A row holds `arm`; `tasks` and `contexts`; `tau` with `tau_low` and `tau_high` (95 %, by contexts)
    and `tau_per_prompt`; `pass_rate` with `pass_low` and `pass_high` (Wilson) over the `scored` answers;
    `unscored` and `errors`. Where any arm is compared in tau with itself unadapted: `tau_difference` with `_low` and
    `_high` over the `pairs`, and the `reference`.

    Args:
        records: Of any number of arms, in any order.
        baseline: The arm that comes first.
        comparisons: Of the verdict.

    Raises:
        ValueError: No record is of the baseline arm.
    """
    arms: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.key):
        arms.setdefault(record.arm, []).append(record)
    if baseline is not None and baseline not in arms:
        raise ValueError(f"baseline {baseline!r} is not among the arms: {', '.join(sorted(arms)) or 'no records'}")
    gains = {each.arm: each for each in comparisons if (each.pair.measure, each.pair.against) == ("tau", NO_TTT)}
    return [
        {**_arm_row(arm, arms[arm]), **(_difference(gains.get(arm)) if gains else {})}
        for arm in sorted(arms, key=lambda arm: (arm != baseline, arm))
    ]


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `summarise` as aligned plain text; "-" stands where there is no number."""
    if not rows:
        return "no records"
    return align([_cells(row) for row in rows])


def format_failures(records: Sequence[Record], most: int = 5) -> str:
    """A line on each reason why answers could not be made, the commonest first; empty where all could."""
    reasons = Counter(record.explanation for record in records if record.finish_reason == "error").most_common()
    lines = [f"not made: {count} answers, since: {reason}" for reason, count in reasons[:most]]
    if left := sum(count for _, count in reasons[most:]):
        lines.append(f"not made: {left} answers for other reasons, which their records say")
    return "\n".join(lines)


def _arm_row(arm: str, records: Sequence[Record]) -> Row:
    scored = [record.passed for record in records if record.passed is not None]
    return {
        "arm": arm,
        "tasks": len({record.task_id for record in records}),
        "contexts": len({record.context_id for record in records}),
        **interval_row("tau", "tau", tau_of(records)),
        "tau_per_prompt": number(tau_per_prompt(records)),
        **interval_row("pass_rate", "pass", wilson_interval(sum(scored), len(scored))),
        "scored": len(scored),
        "unscored": len(records) - len(scored),
        "errors": sum(record.finish_reason == "error" for record in records),
    }


def _difference(gain: Comparison | None) -> Row:
    if gain is None:
        return dict.fromkeys(("tau_difference", "tau_difference_low", "tau_difference_high", "pairs", "reference"))
    return {
        **interval_row("tau_difference", "tau_difference", gain.interval),
        "pairs": gain.interval.n,
        "reference": gain.reference,
    }


def interval_row(name: str, prefix: str, interval: Interval) -> Row:
    """An interval as values of a row: `name`, and `_low` and `_high` after the prefix."""
    return {
        name: number(interval.estimate),
        f"{prefix}_low": number(interval.low),
        f"{prefix}_high": number(interval.high),
    }


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = {
        "arm": row["arm"],
        "tasks": str(row["tasks"]),
        "contexts": str(row["contexts"]),
        "tau [95 %]": value_range(row["tau"], row["tau_low"], row["tau_high"]),
        "tau per prompt": decimal(row["tau_per_prompt"]),
        "pass rate [95 %]": value_range(row["pass_rate"], row["pass_low"], row["pass_high"]),
        "scored": str(row["scored"]),
        "unscored": str(row["unscored"]),
        "errors": str(row["errors"]),
    }
    if "tau_difference" in row:
        low, high = row["tau_difference_low"], row["tau_difference_high"]
        cells["tau - no TTT [95 %]"] = value_range(row["tau_difference"], low, high, sign="+")
        cells["pairs"] = str(row["pairs"] or "-")
    return cells
