"""The two rules of lm-evaluation-harness for GSM8K."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from dftt.analysis.breakdown import break_down
from dftt.scoring.rubrics import flexible_extract, strict_match
from dftt.suites.registry import get_suite, score_answer
from dftt.types import Record

# answer, strict-match, flexible-extract, for the reference 18; worked out by hand from the published expressions.
ANSWERS = [
    ("2 * 9 = 18\n#### 18", True, True),
    ("#### 18", True, True),
    ("#### 18.", True, True),
    ("#### 18\nThat is for 3 days.", True, False),
    ("#### 17\n#### 18", False, True),
    ("#### 18\n#### 17", True, False),
    ("####18", False, True),
    ("#### $18", False, True),
    ("#### -18", False, False),
    ("#### 18.00", False, False),
    ("#### Step 2: multiply\n\\boxed{18}", False, True),
    ("\\boxed{18}", False, True),
    ("It is $18.", False, True),
    ("It is 18", False, True),
    ("17 or 18", False, True),
    ("18 or 17", False, False),
    ("18 apples for 3 days", False, False),
    ("It is 18...", False, False),
    ("eighteen", False, False),
    ("", False, False),
]


@pytest.mark.parametrize(("answer", "strict", "flexible"), ANSWERS)
def test_both_rules_are_those_of_the_harness(answer: str, strict: bool, flexible: bool) -> None:
    assert (strict_match(answer, "18"), flexible_extract(answer, "18")) == (strict, flexible)


@pytest.mark.parametrize("reference", ["1,018", "1018", "$1,018"])
def test_separators_and_dollars_do_not_matter(reference: str) -> None:
    assert all(strict_match(f"#### {number}", reference) for number in ("1,018", "1018", "1018."))
    assert all(flexible_extract(f"So {number}", reference) for number in ("1,018", "$1018", "$1,018."))


@pytest.mark.parametrize(("answer", "strict", "flexible"), ANSWERS)
def test_a_score_tells_both_and_counts_the_flexible_one(answer: str, strict: bool, flexible: bool) -> None:
    task = get_suite("gsm8k").task({"question": "How many?", "answer": "2 * 9 = 18\n#### 18"}, "t")
    score = score_answer(task, answer)
    assert [rubric["type"] for rubric in task.rubrics] == ["strict-match", "flexible-extract"]
    assert (score.passed, score.statuses) == (flexible, (strict, flexible))


def test_the_breakdown_has_a_row_for_each_rule() -> None:
    rubrics = ({"type": "strict-match", "value": "18"}, {"type": "flexible-extract", "value": "18"})
    records = [
        Record(str(number), "c", "target", 0, "h", passed=True, statuses=(number == 0, True), rubrics=rubrics)
        for number in range(4)
    ]
    records.append(Record("5", "c", "target", 0, "h", passed=None, rubrics=rubrics))
    rows = {row["group"]: row for row in break_down(records) if row["by"] == "rule"}
    found = {rule: (row["solved"], row["unscored"], row["intended"]) for rule, row in rows.items()}
    assert found == {"strict-match": (1, 1, 5), "flexible-extract": (4, 1, 5)}


def test_all_1319_references_pass_and_none_its_neighbour(shared_data: Path) -> None:
    tasks = get_suite("gsm8k").tasks(shared_data / "gsm8k_test.jsonl")
    rows = [json.loads(line) for line in (shared_data / "gsm8k_test.jsonl").read_text().splitlines()]
    scores = [score_answer(task, task.metadata["solution"]) for task in tasks]
    assert [score.statuses for score in scores] == [(True, True)] * 1319 == [(True, True)] * len(rows)
    for task, other in pairwise(tasks):
        if task.metadata["answer"] != other.metadata["answer"]:
            assert score_answer(task, other.metadata["solution"]).statuses == (False, False)
