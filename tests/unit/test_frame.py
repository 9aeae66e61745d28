"""The table of a study's records, and its numbers against sums made by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from dftt.analysis.breakdown import break_down
from dftt.analysis.frame import (
    emitted_tau,
    frame_of,
    pairs,
    pass_rate,
    rubric_rate,
    tau_of,
    tau_per_prompt,
    tokens_per_second,
)
from dftt.types import Record


def record(task: str, arm: str, passed: bool | None = None, *, seed: int = 0, steps: tuple[int, ...] = ()) -> Record:
    statuses = () if passed is None else (passed, True)
    return Record(task, task[0], arm, seed, "", "", (7,) * 4, steps, "eos", 2.0, passed=passed, statuses=statuses)


RECORDS = [
    record("b1", "x", True, steps=(3, 2)),
    record("a1", "x", False, steps=(1,)),
    record("a1", "y", True, steps=(4,)),
    record("a1", "x", None, seed=1),
    record("c1", "y", None, steps=(2, 2)),
]


def test_a_frame_has_a_typed_row_per_record() -> None:
    frame = frame_of(RECORDS)
    assert list(frame["record"]) == RECORDS
    assert frame_of(frame) is frame
    assert {name: str(frame[name].dtype) for name in ("tokens", "steps", "passed", "seconds", "error")} == {
        "tokens": "int64",
        "steps": "int64",
        "passed": "float64",
        "seconds": "float64",
        "error": "bool",
    }
    assert list(frame_of([]).columns) == list(frame.columns)


def test_arms_are_paired_by_task_and_seed() -> None:
    both = pairs(RECORDS, "x", "y")
    assert list(zip(both["task_id"], both["seed"], strict=True)) == [("a1", 0), ("a1", 1), ("b1", 0), ("c1", 0)]
    assert both["tokens_a"].tolist()[:3] == [1, 0, 5]
    assert both["tokens_b"].tolist()[0] == 4
    assert pd.isna(both["tokens_b"][1])
    assert pd.isna(both["record_a"][3])


def test_the_later_of_two_records_of_an_answer_counts() -> None:
    assert pairs([*RECORDS, record("a1", "y", False)], "x", "y")["passed_b"][0] == 0.0


def test_numbers_are_ratios_of_sums() -> None:
    x = [each for each in RECORDS if each.arm == "x"]
    assert tau_of(x).estimate == 6 / 3
    assert tau_per_prompt(x) == (5 / 2 + 1) / 2
    assert (pass_rate(x).estimate, pass_rate(x).n) == (1 / 2, 2)
    assert rubric_rate(x).estimate == 3 / 4
    assert tokens_per_second(frame_of(x)) == 12 / 6


@pytest.mark.parametrize(("guided", "tau"), [(True, 4 / 2), (False, 3 / 2)])
def test_tokens_behind_the_end_are_not_emitted(guided: bool, tau: float) -> None:
    """Four new tokens; outside mode guided the first of them belongs to no step."""
    assert emitted_tau([record("a", "x", steps=(3, 3))], guided=guided) == tau


def test_nothing_measured_is_no_number() -> None:
    nothing = [record("a", "x")]
    assert math.isnan(tau_of(nothing).estimate)
    assert math.isnan(tau_per_prompt(nothing))
    assert math.isnan(emitted_tau(nothing, guided=False))
    assert math.isnan(pass_rate(nothing).estimate)
    assert tokens_per_second(frame_of([])) is None


def test_half_a_character_is_written_out() -> None:
    made = Record("t", "c", "x", 0, "", metadata={"category": "\ud800"})
    assert frame_of([made])["category"].tolist() == ["\\ud800"]
    assert [row["group"] for row in break_down([made]) if row["by"] == "category"] == ["\\ud800"]
