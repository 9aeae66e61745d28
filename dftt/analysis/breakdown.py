"""Solving rate and rubric rate per arm: in all, per category, sub-category and length bucket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from dftt.analysis.frame import Frame, frame_of, rubric_rate
from dftt.analysis.statistics import wilson_interval
from dftt.analysis.summary import interval_row
from dftt.scoring.rubrics import NUMBER_RULES
from dftt.tables import TableRow, align, decimal, number, value_range
from dftt.types import Record, Task


def break_down(records: Iterable[Record] | Frame) -> list[TableRow]:
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
    for arm, answers in frame_of(records).groupby("arm"):
        parts = [("all", "all", answers)]
        for by in ("category", "sub_category", "length"):
            parts += [(by, group, members) for group, members in answers.groupby(by) if group]
        parts += [("rule", rule, _under_rule(answers, rule)) for rule in NUMBER_RULES]
        rows += [{"arm": arm, "by": by, "group": group, **_rates(part)} for by, group, part in parts if len(part)]
    return rows


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


def format_breakdown(rows: Sequence[TableRow]) -> str:
    """Rows of `break_down` as aligned plain text."""
    cells = [
        {
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
        for row in rows
    ]
    return align(cells) if cells else "no records"


def _under_rule(answers: Frame, rule: str) -> Frame:
    """Answers that have this rule among their rubrics, as scored by it alone."""
    under = []
    for record in answers["record"]:
        kinds = [rubric.get("type") for rubric in record.rubrics if isinstance(rubric, Mapping)]
        if rule in kinds:
            status = record.statuses[kinds.index(rule)] if record.passed is not None else None
            under.append(replace(record, passed=status, statuses=() if status is None else (status,)))
    return frame_of(under)


def _rates(answers: Frame) -> TableRow:
    solved, unscored = int(answers["passed"].sum()), int(answers["passed"].isna().sum())
    at_least, at_most = (wilson_interval(count, len(answers)) for count in (solved, solved + unscored))
    stated = answers[answers["stated"].notna()]
    return {
        "intended": len(answers),
        "solved": solved,
        "unscored": unscored,
        "solving_rate": number(at_least.estimate) if unscored < len(answers) else None,
        "solving_low": number(at_least.low),
        "solving_high": number(at_most.high),
        "solving_rate_at_most": number(at_most.estimate),
        "rubrics": int(answers["rubrics"].sum()),
        **interval_row("rubric_rate", "rubric", rubric_rate(answers)),
        "stated": len(stated),
        "stated_rate": number(stated["stated"].mean()),
        "disagreements": sum(map(_disagrees, stated["record"])),
    }


def _disagrees(record: Record) -> bool:
    """Whether the judge's own overall score is not what its list says.

    `passed` would be the wrong side to compare with: rubrics checked by program count there too.
    """
    rubrics = record.rubrics or ("",) * len(record.statuses)
    judged = [
        status
        for rubric, status in zip(rubrics, record.statuses, strict=True)
        if not (isinstance(rubric, Mapping) and "type" in rubric)
    ]
    return record.judge_overall != all(judged)
