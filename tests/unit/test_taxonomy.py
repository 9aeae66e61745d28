from typing import Any

import pytest

from dftt.analysis.taxonomy import format_transitions, transitions
from dftt.judges.error_class import SCHEMA, TAXONOMY_VERSION, taxonomy_prompt
from dftt.scoring.error_classes import ERROR_CLASSES, classify, classify_all
from dftt.types import Record

METADATA = {
    "answer": "40 degrees",
    "prior_answer": "0 degrees",
    "distractors": ["100 degrees"],
    "entities": ["55 degrees", "degrees"],
}


def failed(answer: str, task: str = "t", arm: str = "base", **changes: Any) -> Record:
    return Record(task, "c", arm, 0, "h", **({"answer": answer, "passed": False, "metadata": METADATA} | changes))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("Water freezes at 0 degrees.", "context-ignored"),
        ("At 100 degrees", "context-ignored"),
        ("At 40 degrees, not at 0 degrees", "format"),
        ("At 0 degrees, not at 40 degrees", "context-ignored"),
        ("Not at 40 degrees", "reasoning"),
        ("The document does not say.", "refusal"),
        ("The passage doesn't explicitly mention it.", "refusal"),
        ("The document does not say whether it is 55 degrees.", "refusal"),
        ("There is no mention of it.", "refusal"),
        ("It cannot be determined from the text.", "refusal"),
        ("The answer is unknown.", "refusal"),
        ("55 degrees", "context-misused"),
        ("The answer is 40 degrees", "format"),
        ("", "format"),
        ("<think>40 degrees", "format"),
        ("I'm sorry, I cannot tell", "refusal"),
        ("It is not stated in the text.", "refusal"),
        ("42", "reasoning"),
    ],
)
def test_a_program_tells_the_class(answer: str, name: str) -> None:
    assert classify(failed(answer)) == name


def test_the_right_answer_beside_an_excluded_entity_is_a_guess() -> None:
    rubrics = ({"type": "contains", "any_of": ["40 degrees"]}, {"type": "excludes", "any_of": ["55 degrees"]})
    guess = failed("40 degrees or 55 degrees", rubrics=rubrics, statuses=(True, False))
    assert classify(guess) == "context-misused"


def test_what_did_not_fail_or_has_no_metadata_has_no_class() -> None:
    assert classify(failed("0 degrees", passed=True)) is None
    assert classify(failed("0 degrees", passed=None)) is None
    assert classify(failed("0 degrees", metadata={})) is None
    assert list(classify_all([failed("x", metadata={}), failed("y", passed=None, task="u")]).values()) == [
        "unclassified"
    ]


def test_fixed_and_broken_are_paired_with_the_baseline() -> None:
    records = [
        failed("0 degrees", "a"),
        failed("0 degrees", "b"),
        failed("", "c", passed=True),
        failed("55 degrees", "d"),
        failed("0 degrees", "e"),
        failed("", "a", "ttt", passed=True),
        failed("55 degrees", "b", "ttt"),
        failed("42", "c", "ttt"),
        failed("55 degrees", "d", "ttt"),
        failed("", "e", "ttt", passed=None),
    ]
    rows = {row["class"]: row for row in transitions(records, classify_all(records), "base")}
    keys = ("baseline_failures", "arm_failures", "fixed", "broken", "moved", "pairs")
    assert [rows["context-ignored"][key] for key in keys] == [2, 0, 1, 0, 1, 4]
    assert [rows["context-misused"][key] for key in keys] == [1, 2, 0, 0, 0, 4]
    assert [rows["reasoning"][key] for key in keys] == [0, 1, 0, 1, 0, 4]
    assert "context-ignored" in format_transitions(list(rows.values()))


def test_a_baseline_without_records_is_named() -> None:
    with pytest.raises(ValueError, match="baseline 'guided' has no records"):
        transitions([failed("x")], {}, "guided")


def test_the_judges_prompt_lists_all_classes_and_what_was_missed() -> None:
    text = taxonomy_prompt(failed("some answer", rubrics=("is short", "is kind"), statuses=(True, False)))
    assert all(f"- {name}: " in text for name in ERROR_CLASSES)
    assert text.index("1. is kind") < text.index("1. is short") < text.index("some answer")
    assert SCHEMA["properties"]["class"]["enum"] == list(ERROR_CLASSES)
    assert TAXONOMY_VERSION
