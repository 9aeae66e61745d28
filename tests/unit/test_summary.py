import json
import random

import pytest

from dftt.analysis.arm_roles import NO_TTT, ArmPair
from dftt.analysis.comparison import compare
from dftt.analysis.summary import format_table, summarise
from dftt.types import Record


def record(task: int, arm: str, lengths: tuple[int, ...], passed: bool | None = None, reason: str = "eos") -> Record:
    return Record(
        task_id=f"t{task}",
        context_id=f"c{task // 2}",
        arm=arm,
        seed=0,
        spec_hash="h",
        acceptance_lengths=lengths,
        passed=passed,
        finish_reason=reason,
    )


RECORDS = [
    record(0, "base", (1, 2), passed=True),
    record(1, "base", (2,), passed=False),
    record(2, "base", (1, 1, 1), passed=None),
    record(3, "base", (), reason="error"),
    record(0, "ttt", (3, 2), passed=True),
    record(1, "ttt", (4,), passed=True),
    record(2, "ttt", (2, 2), passed=True),
    record(3, "ttt", (9,), passed=True),
]


GAIN = compare(RECORDS, ArmPair("tau", "ttt", "base", NO_TTT, "tau"))


def test_row_counts_tasks_contexts_scores_and_errors():
    base = summarise(RECORDS)[0]
    assert base["arm"] == "base"
    counts = [base[key] for key in ("tasks", "contexts", "scored", "unscored", "errors")]
    assert counts == [4, 2, 2, 2, 1]
    assert base["pass_rate"] == 0.5


def test_row_has_both_conventions_of_tau():
    base = summarise(RECORDS)[0]
    assert base["tau"] == pytest.approx(8 / 6)
    assert base["tau_per_prompt"] == pytest.approx((1.5 + 2 + 1) / 3)


def test_difference_uses_only_tasks_both_arms_have():
    ttt = summarise(RECORDS, "base", [GAIN])[1]
    assert ttt["tau_difference"] == pytest.approx(13 / 5 - 8 / 6)
    assert (ttt["pairs"], ttt["reference"]) == (3, "base")


def test_baseline_comes_first_and_has_no_difference():
    rows = summarise(RECORDS, "base", [GAIN])
    assert [row["arm"] for row in rows] == ["base", "ttt"]
    assert rows[0]["tau_difference"] is None


def test_all_rows_have_the_same_keys():
    first, second = summarise(RECORDS, "base", [GAIN])
    assert list(first) == list(second)


def test_unknown_baseline_is_refused_with_the_arms():
    with pytest.raises(ValueError, match="'other' is not among the arms: base, ttt"):
        summarise(RECORDS, baseline="other")


def test_summary_does_not_depend_on_the_order_of_records():
    shuffled = random.Random(0).sample(RECORDS, len(RECORDS))
    assert summarise(shuffled, baseline="base") == summarise(RECORDS, baseline="base")


def test_summary_is_json_without_nan():
    rows = summarise([record(0, "target", ())], baseline="target")
    assert rows[0]["tau"] is None
    json.dumps(rows, allow_nan=False)


def test_one_context_gives_tau_without_an_interval():
    (row,) = summarise([record(0, "base", (2, 3))])
    assert (row["tau"], row["tau_low"]) == (2.5, None)


def test_no_records_give_no_rows():
    assert summarise([]) == []


def test_table_is_aligned_and_shows_missing_numbers_as_a_dash():
    lines = format_table(summarise([*RECORDS, record(0, "target", ())], baseline="base")).splitlines()
    assert len(lines) == 5
    column = lines[0].index("tau [95 %]")
    assert lines[2][column:].startswith("1.333 [")
    assert lines[3][column:].startswith("-")


def test_table_shows_the_sign_of_a_difference():
    assert "+1.267" in format_table(summarise(RECORDS, "base", [GAIN]))


def test_table_of_nothing_says_so():
    assert format_table([]) == "no records"
