import json
from pathlib import Path
from typing import Any

import pytest

from dftt.analysis.breakdown import break_down, format_breakdown, with_missing
from dftt.analysis.leaderboard import CATEGORIES, beside_public_rows, format_leaderboard, public_rows
from dftt.analysis.statistics import wilson_interval
from dftt.judges.grading import Verdict, parse_verdict
from dftt.suites.tasks import load_tasks
from dftt.types import Record, Task
from tests.scripted_server import verdict


def record(number: int, statuses: tuple[bool, ...] = (), **changes: Any) -> Record:
    values: dict[str, Any] = {
        "passed": all(statuses) if statuses else None,
        "statuses": statuses,
        "prompt_tokens": 1000 * (number + 1),
        "metadata": {"context_category": "Rule System Application", "sub_category": "Games"},
    }
    return Record(f"t{number}", f"c{number // 2}", "target", 0, "h", **(values | changes))


RECORDS = [
    record(0, (True, True), judge_overall=True),
    record(1, (True, False), judge_overall=True),
    record(2, (False, False, False), judge_overall=False),
    record(3),
    record(9, finish_reason="error", metadata={}),
]


def rows(by: str, records: list[Record] = RECORDS) -> dict[str, dict[str, Any]]:
    return {row["group"]: row for row in break_down(records) if row["by"] == by}


def test_the_denominator_is_what_was_intended() -> None:
    row = rows("all")["all"]
    assert (row["intended"], row["solved"], row["unscored"]) == (5, 1, 2)
    assert row["solving_rate"] == pytest.approx(1 / 5)
    assert row["solving_rate_at_most"] == pytest.approx(3 / 5)
    assert row["solving_low"] < 1 / 5 < row["solving_high"]


def test_unscored_widens_the_interval_and_is_no_rate_alone() -> None:
    row = rows("all")["all"]
    assert row["solving_high"] == wilson_interval(3, 5).high
    assert row["solving_low"] == wilson_interval(1, 5).low
    nothing = rows("all", [record(3)])["all"]
    assert (nothing["solving_rate"], nothing["solving_rate_at_most"], nothing["solving_high"]) == (None, 1.0, 1.0)
    assert beside_public_rows(break_down([record(3)]))[-1]["overall"] is None


def test_rubric_rate_is_over_all_rubrics_of_scored_answers() -> None:
    row = rows("all")["all"]
    assert (row["rubrics"], row["rubric_rate"]) == (7, pytest.approx(3 / 7))


def test_the_judges_own_score_stands_beside_the_recomputed_one() -> None:
    row = rows("all")["all"]
    assert (row["stated"], row["stated_rate"], row["disagreements"]) == (3, pytest.approx(2 / 3), 1)


def test_a_rubric_checked_by_program_is_no_disagreement() -> None:
    rubrics = ("in words", {"type": "contains", "any_of": ["x"]})
    mixed = record(0, (True, False), rubrics=rubrics, judge_overall=True)
    assert rows("all", [mixed])["all"]["disagreements"] == 0


def test_groups_are_categories_sub_categories_and_lengths() -> None:
    assert {group: row["intended"] for group, row in rows("category").items()} == {"Rule System Application": 4}
    assert set(rows("sub_category")) == {"Games"}
    assert {group: row["intended"] for group, row in rows("length").items()} == {"0-4k": 4, "8-16k": 1}


def test_tasks_without_a_record_were_intended_too() -> None:
    tasks = [Task("t0", "c0", ()), Task("new", "c9", (), rubrics=("r",))]
    row = rows("all", with_missing(RECORDS, tasks))["all"]
    assert (row["intended"], row["unscored"]) == (6, 3)


def test_table_shows_solved_of_intended() -> None:
    assert "1 of 5" in format_breakdown(break_down(RECORDS))
    assert format_breakdown([]) == "no records"


def test_leaderboard_says_source_and_date_and_ranks_the_arm() -> None:
    compared = beside_public_rows(break_down(RECORDS))
    names = [row["model"] for row in compared]
    assert len(public_rows()) == 36
    assert names.index("GPT 5.1") < names.index("* target") < names.index("Claude Opus 4.5")
    text = format_leaderboard(compared)
    assert "commit 2d24bc4c" in text
    assert "2026-11-22" in text
    assert all(0 < row[name] < 0.5 for row in public_rows() for name in ("overall", *CATEGORIES))


def test_judged_sample_aggregates_to_its_own_numbers(shared_data: Path) -> None:
    """26 answers that another judge graded: stored lists and scores go through the parser and come out the same."""
    stored = [json.loads(line) for line in (shared_data / "clbench_judged_sample.jsonl").read_text().splitlines()]
    tasks = {task.task_id: task for task in load_tasks(shared_data / "clbench_sample.jsonl")}
    records = []
    for row in stored:
        task = tasks[row["task_id"]]
        parsed = parse_verdict(verdict(*row["requirement_status"], overall=row["score"]), len(task.rubrics))
        assert isinstance(parsed, Verdict)
        assert len(parsed.statuses) == row["n_rubrics"]
        records.append(
            Record(
                row["task_id"],
                task.context_id,
                row["model"],
                0,
                "h",
                answer=row["model_output"],
                passed=parsed.passed,
                statuses=parsed.statuses,
                judge_overall=parsed.overall,
                rubrics=task.rubrics,
                metadata=task.metadata,
            )
        )
    row = rows("all", records)["all"]
    yes = sum(status == "yes" for entry in stored for status in entry["requirement_status"])
    assert (row["intended"], row["solved"], row["unscored"], row["disagreements"]) == (26, 0, 0, 0)
    assert row["solved"] == row["stated_rate"] * 26 == sum(entry["score"] for entry in stored)
    assert (row["rubrics"], yes) == (230, 136)
    assert row["rubric_rate"] == yes / sum(entry["n_rubrics"] for entry in stored)
    assert sum(entry["intended"] for entry in rows("category", records).values()) == 26
