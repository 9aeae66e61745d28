"""Tau and speed of each arm by suite, category, length of the prompt, and how much an answer repeats itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dftt.analysis.arm_roles import pairs_of, target_of
from dftt.analysis.breakdown import GROUPINGS
from dftt.analysis.comparison import MIN_CONTEXTS, Answers, answers_of, compare
from dftt.analysis.summary import Row, summarise
from dftt.scoring.repetition import repetition_group
from dftt.tables import align, decimal, value_range
from dftt.types import Record
from dftt.types.arms import Arm

_BY = {
    "suite": lambda record: str(record.metadata.get("suite") or ""),
    **GROUPINGS,
    "repetition": repetition_group,
}
_ENDS = ("tau_low", "tau_high", "tau_difference_low", "tau_difference_high")


def tau_by_group(records: Sequence[Record], arms: Sequence[Arm]) -> list[Row]:
    """The rows of `summarise` for each group of a grouping that divides the records, with `by`, `group` and `speed_up`.

    Differences are those of the verdict on tau, in the group alone. Groups of fewer than 5 contexts have no intervals:
    so few say nothing of others. `speed_up` is tokens per second against the target's own answers on equal tasks; None
    without them. Time spent on prefill and adaptation is left out.

    Args:
        records: Of a study.
        arms: Its arms, what they leave to the study filled in.
    """
    asked = [pair for pair in pairs_of(arms) if pair.measure == "tau"]
    plain = {arm.id: target.id for arm in arms if (target := target_of(arms, arm)) and target.mode == "target"}
    rows = []
    for by, group_of in _BY.items():
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(group_of(record), []).append(record)
        if len(groups) < 2:
            continue
        for group, members in sorted(groups.items()):
            answers = answers_of(members)
            for row in summarise(members, comparisons=[compare(answers, pair) for pair in asked]):
                bare = dict.fromkeys(_ENDS) if row["contexts"] < MIN_CONTEXTS else {}
                speed = {"speed_up": _speed_up(answers, row["arm"], plain.get(row["arm"], ""))}
                rows.append({"by": by, "group": group or "none", **row, **bare, **speed})
    return rows


def format_groups(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `tau_by_group` as aligned plain text, without repetition and arms that never draft."""
    drafting = [row for row in rows if row["tau"] is not None and row["by"] != "repetition"]
    return align([_cells(row) for row in drafting]) if drafting else ""


def _speed_up(answers: Answers, arm: str, target: str) -> float | None:
    plain = answers.get(target, {})
    pairs = [
        (each, plain[key])
        for key, each in answers[arm].items()
        if key in plain and each.seconds > 0 and plain[key].seconds > 0
    ]
    tokens, other_tokens = (sum(len(pair[side].token_ids) for pair in pairs) for side in (0, 1))
    seconds, other_seconds = (sum(pair[side].seconds for pair in pairs) for side in (0, 1))
    return tokens / seconds / (other_tokens / other_seconds) if tokens and other_tokens else None


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row.get("tau_difference_low"), row.get("tau_difference_high")
    return {
        "group": f"{row['by']}: {row['group']}",
        "arm": row["arm"],
        "tasks": str(row["tasks"]),
        "tau [95 %]": value_range(row["tau"], row["tau_low"], row["tau_high"]),
        "tau per prompt": decimal(row["tau_per_prompt"]),
        "tau - no TTT [95 %]": value_range(row.get("tau_difference"), low, high, sign="+"),
        "speed-up": decimal(row["speed_up"]),
    }
