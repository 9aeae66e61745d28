"""Solving rate and rubric rate per arm: in all, per category, sub-category and length bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dftt.analysis.statistics import ratio_interval, wilson_interval
from dftt.analysis.summary import Row, interval_row
from dftt.scoring.rubrics import NUMBER_RULES
from dftt.suites.tasks import length_bucket
from dftt.tables import align, decimal, number, value_range
from dftt.types import Record, Task

GROUPINGS: dict[str, Callable[[Record], str]] = {
    "all": lambda record: "all",  # noqa: ARG005
    "category": lambda record: str(record.metadata.get("context_category") or record.metadata.get("category") or ""),
    "sub_category": lambda record: str(record.metadata.get("sub_category") or ""),
    "length": lambda record: length_bucket(record.prompt_tokens) if record.prompt_tokens else "unknown",
}


def break_down(records: Sequence[Record]) -> list[Row]:
    """One row per arm, grouping and group; values are JSON-safe, None where there is no number.

    A row holds `arm`, `by`, `group`; `intended` (answers that were to be scored), `solved` (all rubrics fulfilled)
    and `unscored`; `solving_rate` = solved / intended, None where nothing was scored, and `solving_rate_at_most`,
    what it would be had all unscored ones been solved, with `solving_low` of the one and `solving_high` of the
    other (Wilson), so that what was not scored widens the interval; `rubrics` and `rubric_rate` = fulfilled / all
    rubrics of the scored answers, with `rubric_low` and `rubric_high` (by contexts, no narrower than Wilson's);
    `stated` and `stated_rate`, the answers with an overall score of the judge's own and the share of 1 among them
    (the official figure, which leaves out what was not judged), and `disagreements`, where that score is not what
    the judge's list says. Answers that name no group are left out of that grouping. Where answers are scored by several
    named rules (GSM8K), there is a row by "rule" for each of them.

    Args:
        records: Of any number of arms, in any order; see `with_missing` for answers that have none.
    """
    rows = []
    arms = sorted({record.arm for record in records})
    for arm in arms:
        for by, group_of in GROUPINGS.items():
            groups: dict[str, list[Record]] = {}
            for record in records:
                if record.arm == arm and (group := group_of(record)):
                    groups.setdefault(group, []).append(record)
            rows += [{"arm": arm, "by": by, "group": group, **_rates(groups[group])} for group in sorted(groups)]
        of_arm = [record for record in records if record.arm == arm]
        rows += [
            {"arm": arm, "by": "rule", "group": rule, **_rates(under)}
            for rule in NUMBER_RULES
            if (under := _under_rule(of_arm, rule))
        ]
    return rows


def _under_rule(records: Sequence[Record], rule: str) -> list[Record]:
    """Records that have this rule among their rubrics, as scored by it alone."""
    under = []
    for record in records:
        kinds = [rubric.get("type") for rubric in record.rubrics if isinstance(rubric, Mapping)]
        if rule in kinds:
            status = record.statuses[kinds.index(rule)] if record.passed is not None else None
            under.append(replace(record, passed=status, statuses=() if status is None else (status,)))
    return under


def with_missing(records: Sequence[Record], tasks: Iterable[Task]) -> list[Record]:
    """The records, and an unscored one for each arm and seed in which a task has none: it was intended, too.

    Args:
        records: Of a study.
        tasks: All tasks that the study was to answer.
    """
    known = {record.key for record in records}
    runs = sorted({(record.arm, record.seed) for record in records})
    missing = [
        Record(
            task_id=task.task_id,
            context_id=task.context_id,
            arm=arm,
            seed=seed,
            spec_hash="",
            finish_reason="error",
            explanation="no record",
            rubrics=task.rubrics,
            metadata=task.metadata,
        )
        for task in tasks
        for arm, seed in runs
        if (task.task_id, arm, seed) not in known
    ]
    return [*records, *missing]


def format_breakdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of `break_down` as aligned plain text."""
    return align([_cells(row) for row in rows]) if rows else "no records"


def _rates(records: Sequence[Record]) -> Row:
    scored = [record for record in records if record.passed is not None]
    solved = sum(bool(record.passed) for record in scored)
    fulfilled = ratio_interval(
        [sum(record.statuses) for record in scored],
        [len(record.statuses) for record in scored],
        [record.context_id for record in scored],
    )
    # An interval of nothing but fulfilled rubrics has no width: Wilson's does.
    alone = wilson_interval(sum(map(sum, (r.statuses for r in scored))), sum(len(r.statuses) for r in scored))
    fulfilled = fulfilled.widened(alone.low, alone.high).within(0, 1)
    unscored = len(records) - len(scored)
    at_least, at_most = wilson_interval(solved, len(records)), wilson_interval(solved + unscored, len(records))
    stated = [record for record in scored if record.judge_overall is not None]
    ones = sum(bool(record.judge_overall) for record in stated)
    return {
        "intended": len(records),
        "solved": solved,
        "unscored": unscored,
        "solving_rate": number(at_least.estimate) if scored else None,
        "solving_low": number(at_least.low),
        "solving_high": number(at_most.high),
        "solving_rate_at_most": number(at_most.estimate),
        "rubrics": sum(len(record.statuses) for record in scored),
        **interval_row("rubric_rate", "rubric", fulfilled),
        "stated": len(stated),
        "stated_rate": ones / len(stated) if stated else None,
        "disagreements": sum(disagrees(record) for record in stated),
    }


def disagrees(record: Record) -> bool:
    """Whether the judge's own overall score is not what its list says.

    `passed` would be the wrong side to compare with: rubrics checked by program count there too.
    """
    rubrics = record.rubrics or ("",) * len(record.statuses)
    judged = [
        status
        for rubric, status in zip(rubrics, record.statuses, strict=True)
        if not (isinstance(rubric, Mapping) and "type" in rubric)
    ]
    return record.judge_overall is not None and record.judge_overall != all(judged)


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "arm": row["arm"],
        "group": row["group"] if row["by"] == "all" else f"{row['by']}: {row['group']}",
        "solved": f"{row['solved']} of {row['intended']}",
        "solving rate [95 %]": value_range(row["solving_rate"], row["solving_low"], row["solving_high"]),
        "at most": decimal(row["solving_rate_at_most"]),
        "unscored": str(row["unscored"]),
        "rubric rate [95 %]": value_range(row["rubric_rate"], row["rubric_low"], row["rubric_high"]),
        "as judged": decimal(row["stated_rate"]),
        "disagreements": str(row["disagreements"]),
    }
