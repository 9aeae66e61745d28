from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftt.scoring.phrases import contains_phrase
from dftt.scoring.rubrics import last_number, read_rubric, score
from dftt.types import Score, Task

YES = {"type": "contains", "any_of": ["yes"]}
NOT_NO = {"type": "excludes", "any_of": ["no"]}


def task(*rubrics: Any) -> Task:
    return Task("t", "c", ({"role": "user", "content": "x"},), rubrics)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("He is in the Hallway.", "hallway"),
        ("It was **Yuliya** Snigir", "Yuliya Snigir"),
        ("on the road", "on a road"),
        ("Chicago's mayor", "Chicago"),
        ("the hallway/bathroom", "bathroom"),
        ("1,200 people", "1200"),
        ("costs $12.", "12"),
        ("in 1990, 12 came", "12"),
        ("Parson\u2019s Throat", "Parson's Throat"),
        ("\uff21\uff22\uff23", "abc"),
        ("line\n  break", "line break"),
        ("Option A.", "A"),
        ("_Paris_", "paris"),
    ],
)
def test_phrase_is_found(text, phrase):
    assert contains_phrase(text, phrase)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("112", "12"),
        ("123", "12"),
        ("12.5", "12"),
        ("3.12", "12"),
        ("1,012", "12"),
        ("Another", "other"),
        ("New York", "York New"),
        ("", "x"),
        ("x", "..."),
        ("Option B", "A"),
        ("B, as in a pair", "A"),
    ],
)
def test_phrase_is_not_found(text, phrase):
    assert not contains_phrase(text, phrase)


@given(st.text(), st.text())
def test_phrase_search_never_raises(text, phrase):
    assert contains_phrase(text, phrase) in (True, False)


@given(st.lists(st.from_regex(r"[b-z0-9]{2,6}", fullmatch=True), min_size=1, max_size=4))
def test_phrase_is_found_between_other_words(words):
    assert contains_phrase(f"Well, {' '.join(words).upper()}! Indeed", " ".join(words))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", 18),
        ("First 3, then 18.", 18),
        ("$1,234.50 in all", 1234.5),
        ("it is -5", -5),
        ("it is \u22125", -5),
        ("10-12", 12),
        ("(3)-5", 5),
        ("5 kg of H2", 5),
        ("1,2,3", 3),
        (".5", 0.5),
        ("1e3", 1000),
        ("\\boxed{18}", 18),
        ("none", None),
    ],
)
def test_last_number(text, number):
    assert last_number(text) == number


@given(st.integers(-(10**9), 10**9))
def test_last_number_reads_thousands_separators(number):
    assert last_number(f"So 7 makes {number:,}.") == number


@given(st.text())
def test_last_number_never_raises(text):
    last_number(text)


def test_all_rubrics_fulfilled_passes():
    assert score(task(YES, NOT_NO), "Yes!") == Score(passed=True, statuses=(True, True))


def test_one_failed_rubric_fails_and_is_named():
    result = score(task(YES, NOT_NO), "Yes and no")
    assert result == Score(passed=False, statuses=(True, False), explanation="not fulfilled: rubric 2")


def test_string_rubric_leaves_the_answer_unscored():
    assert score(task(YES, "is polite"), "yes") == Score(passed=None, explanation="rubric 2 needs a judge")


def test_task_without_rubrics_is_unscored():
    assert score(task(), "yes") == Score(passed=None, explanation="no rubrics")


@pytest.mark.parametrize("answer", ["", " \n"])
def test_empty_answer_fails_every_rubric(answer):
    result = score(task(NOT_NO, "is polite"), answer)
    assert (result.passed, result.statuses) == (False, (False, False))


@pytest.mark.parametrize(("answer", "passed"), [("17.6", True), ("17.4", False), ("none", False)])
def test_number_rubric_allows_its_tolerance(answer, passed):
    assert score(task({"type": "number", "value": 18, "tolerance": 0.5}), answer).passed is passed


def test_number_rubric_is_exact_without_tolerance():
    assert score(task({"type": "number", "value": 18}), "18.1").passed is False


@pytest.mark.parametrize(
    ("answer", "passed"),
    [("4 * 4 + 2 = 18", True), ("not 17 but 18", True), ("not 18", False), ("17 or 18", False), ("17, 18", False),
     ("17 18", False), ("17/18", False), ("16, 17 and 18", False), ("It isn't 18.", False), ("18?", False)],
)  # fmt: skip
def test_number_must_be_stated_and_not_the_end_of_a_list(answer, passed):
    assert score(task({"type": "number", "value": 18}), answer).passed is passed


def test_a_denied_phrase_counts_neither_for_nor_against():
    assert score(task(YES), "It is not yes").passed is False
    assert score(task(YES, {"type": "excludes", "any_of": ["maybe"]}), "yes, not maybe").passed is True
    assert score(task(YES, {"type": "excludes", "any_of": ["maybe"]}), "yes or maybe").statuses == (False, False)


@pytest.mark.parametrize(("answer", "passed"), [("YES, sir", True), ("oh yes", False)])
def test_regex_rubric_ignores_case(answer, passed):
    assert score(task({"type": "regex", "pattern": "^yes"}), answer).passed is passed


@pytest.mark.parametrize(
    ("rubric", "message"),
    [
        (3, "string or a mapping"),
        ({"text": "x"}, "neither `type` nor `rubric_criteria`"),
        ({"type": "magic"}, "choose from contains, excludes, number, regex"),
        ({"type": "contains", "any_of": "yes"}, "non-empty list"),
        ({"type": "contains", "any_of": []}, "non-empty list"),
        ({"type": "excludes", "any_of": ["?"]}, "letter or digit"),
        ({"type": "number", "value": "18"}, "`value` must be a finite number"),
        ({"type": "number", "value": 1, "tolerance": -1}, "`tolerance` must be >= 0"),
        ({"type": "strict-match", "value": 18}, "`value` must be a number as text"),
        ({"type": "regex"}, "`pattern` must be a string"),
        ({"type": "regex", "pattern": "("}, "not a regular expression"),
    ],
)
def test_bad_rubric_is_refused(rubric, message):
    with pytest.raises(ValueError, match=message):
        read_rubric(rubric)
