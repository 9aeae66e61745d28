"""The summary of a study from its records: a row per arm, in all and by group; differences are those of the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dftt.analysis.arm_roles import NO_TTT, pairs_of, target_of
from dftt.analysis.comparison import MIN_CONTEXTS, Comparison, tau_difference
from dftt.analysis.frame import GROUPINGS, Frame, frame_of, pairs, pass_rate, tau_of, tau_per_prompt, tokens_per_second
from dftt.analysis.statistics import Interval
from dftt.scoring.repetition import repetition_group
from dftt.tables import TableRow, align, decimal, number, value_range
from dftt.types import Record
from dftt.types.arms import Arm

_ENDS = ("tau_low", "tau_high", "tau_difference_low", "tau_difference_high")
_DIFFERENCE = ("tau_difference", "tau_difference_low", "tau_difference_high", "pairs", "reference")
_Gains = Mapping[str, tuple[str, Interval]]  # by arm: the reference, and how far tau is above that of it


def summarise(
    records: Iterable[Record] | Frame, baseline: str | None = None, comparisons: Sequence[Comparison] = ()
) -> list[TableRow]:
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
    frame = frame_of(records)
    arms = sorted(frame["arm"].unique())
    if baseline is not None and baseline not in arms:
        raise ValueError(f"baseline {baseline!r} is not among the arms: {', '.join(arms) or 'no records'}")
    made = [each for each in comparisons if (each.pair.measure, each.pair.against) == ("tau", NO_TTT)]
    gains = {each.arm: (each.reference, each.interval) for each in made}
    return [_arm_row(frame, arm, gains) for arm in sorted(arms, key=lambda arm: (arm != baseline, arm))]


def tau_by_group(records: Iterable[Record] | Frame, arms: Sequence[Arm]) -> list[TableRow]:
    """The rows of `summarise` for each group of a grouping that divides the records, with `by`, `group` and `speed_up`.

    Groups are suites, categories, lengths of the prompt, and how much an answer repeats itself. Differences are those
    of the verdict on tau, in the group alone. Groups of fewer than 5 contexts have no intervals: so few say nothing of
    others. `speed_up` is tokens per second against the target's own answers on equal tasks; None without them. Time
    spent on prefill and adaptation is left out.

    Args:
        records: Of a study.
        arms: Its arms, what they leave to the study filled in.
    """
    frame = frame_of(records)
    frame = frame.assign(repetition=frame["record"].map(repetition_group))
    asked = [pair for pair in pairs_of(arms) if (pair.measure, pair.against) == ("tau", NO_TTT)]
    plain = {arm.id: target.id for arm in arms if (target := target_of(arms, arm)) and target.mode == "target"}
    rows = []
    for by in (*GROUPINGS, "repetition"):
        for group, members in frame.groupby(by) if frame[by].nunique() > 1 else ():
            gains = {
                each.arm: (each.reference, tau_difference(pairs(members, each.arm, each.reference))) for each in asked
            }
            for arm in sorted(members["arm"].unique()):
                row = _arm_row(members, arm, gains)
                bare = dict.fromkeys(_ENDS) if row["contexts"] < MIN_CONTEXTS else {}
                speed_up = _speed_up(members, arm, plain.get(arm, ""))
                rows.append({"by": by, "group": group or "none", **row, **bare, "speed_up": speed_up})
    return rows


def format_table(rows: Sequence[TableRow]) -> str:
    """Rows of `summarise` as aligned plain text; "-" stands where there is no number."""
    return align([_cells(row) for row in rows]) if rows else "no records"


def format_groups(rows: Sequence[TableRow]) -> str:
    """Rows of `tau_by_group` as aligned plain text, without repetition and arms that never draft."""
    cells = [
        {
            "group": f"{row['by']}: {row['group']}",
            "arm": row["arm"],
            "tasks": str(row["tasks"]),
            "tau [95 %]": _interval(row, "tau"),
            "tau per prompt": decimal(row["tau_per_prompt"]),
            "tau - no TTT [95 %]": _interval(row, "tau_difference", sign="+"),
            "speed-up": decimal(row["speed_up"]),
        }
        for row in rows
        if row["tau"] is not None and row["by"] != "repetition"
    ]
    return align(cells) if cells else ""


def format_failures(records: Sequence[Record], most: int = 5) -> str:
    """A line on each reason why answers could not be made, the commonest first; empty where all could."""
    reasons = Counter(record.explanation for record in records if record.finish_reason == "error").most_common()
    lines = [f"not made: {count} answers, since: {reason}" for reason, count in reasons[:most]]
    if left := sum(count for _, count in reasons[most:]):
        lines.append(f"not made: {left} answers for other reasons, which their records say")
    return "\n".join(lines)


def interval_row(name: str, prefix: str, interval: Interval) -> TableRow:
    """An interval as values of a row: `name`, and `_low` and `_high` after the prefix."""
    ends = {f"{prefix}_low": number(interval.low), f"{prefix}_high": number(interval.high)}
    return {name: number(interval.estimate), **ends}


def _arm_row(frame: Frame, arm: str, gains: _Gains) -> TableRow:
    answers = frame[frame["arm"] == arm].sort_values(["task_id", "seed"])
    rate = pass_rate(answers)
    row = {
        "arm": arm,
        "tasks": answers["task_id"].nunique(),
        "contexts": answers["context_id"].nunique(),
        **interval_row("tau", "tau", tau_of(answers)),
        "tau_per_prompt": number(tau_per_prompt(answers)),
        **interval_row("pass_rate", "pass", rate),
        "scored": rate.n,
        "unscored": len(answers) - rate.n,
        "errors": int(answers["error"].sum()),
    }
    if arm not in gains:
        return row | (dict.fromkeys(_DIFFERENCE) if gains else {})
    reference, gain = gains[arm]
    return row | interval_row("tau_difference", "tau_difference", gain) | {"pairs": gain.n, "reference": reference}


def _speed_up(frame: Frame, arm: str, target: str) -> float | None:
    both = pairs(frame, arm, target)
    timed = both[(both["seconds_a"] > 0) & (both["seconds_b"] > 0)]
    own, plain = (tokens_per_second(timed, side) for side in ("_a", "_b"))
    return own / plain if own and plain else None


def _interval(row: TableRow, name: str, prefix: str = "", sign: str = "") -> str:
    low, high = (row.get(f"{prefix or name}_{end}") for end in ("low", "high"))
    return value_range(row.get(name), low, high, sign)


def _cells(row: TableRow) -> dict[str, str]:
    cells = {
        "arm": row["arm"],
        "tasks": str(row["tasks"]),
        "contexts": str(row["contexts"]),
        "tau [95 %]": _interval(row, "tau"),
        "tau per prompt": decimal(row["tau_per_prompt"]),
        "pass rate [95 %]": _interval(row, "pass_rate", "pass"),
        "scored": str(row["scored"]),
        "unscored": str(row["unscored"]),
        "errors": str(row["errors"]),
    }
    if "tau_difference" in row:
        cells["tau - no TTT [95 %]"] = _interval(row, "tau_difference", sign="+")
        cells["pairs"] = str(row["pairs"] or "-")
    return cells
