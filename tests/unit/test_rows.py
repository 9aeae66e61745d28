"""What rows say is read as it stands: values, ids, endings of files, and what Python chokes on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dftt.scoring.rubrics import score
from dftt.suites.registry import SUITES
from dftt.suites.rows import holds_rows, make_row, read_rows, read_text
from dftt.suites.subsets import category_of
from dftt.suites.tasks import load_tasks
from dftt.types import Task

ROW = {"context": "The pump has two valves.", "question": "How many valves are there?"}


def task_of(tmp_path: Path, text: str) -> Task:
    """The one task of a file with this text."""
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    (task,) = load_tasks(tmp_path / "rows.jsonl")
    return task


def with_answer(tmp_path: Path, **more: Any) -> Task:
    """The task of a row that says more; NaN is written as Python's json writes it."""
    return task_of(tmp_path, json.dumps({**ROW, **more}))


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["null", "NaN"])
@pytest.mark.parametrize("key", ["answer", "answers"])
def test_a_null_answer_is_unscored_and_not_failed(tmp_path: Path, key: str, answer: str) -> None:
    task = task_of(tmp_path, json.dumps(ROW)[:-1] + f', "{key}": {answer}, "distractor": "three"}}')
    assert score(task, "It has 2 valves.").passed is None
    assert "answer" not in task.metadata


@pytest.mark.parametrize(
    ("answer", "right", "wrong"), [(2.0, "2 valves", "2.0 valves"), (2, "2", "22"), (2.5, "2.5", "2")]
)
def test_a_number_is_the_number_that_one_writes(tmp_path: Path, answer: float, right: str, wrong: str) -> None:
    task = with_answer(tmp_path, answer=answer)
    assert score(task, f"It has {right}.").passed is True
    assert score(task, f"It has {wrong}.").passed is False


@pytest.mark.parametrize("key", ["answer", "answers"])
def test_a_list_of_answers_is_a_list_of_answers(tmp_path: Path, key: str) -> None:
    task = with_answer(tmp_path, **{key: ["two", 2.0, None]})
    assert [(rubric["type"], rubric["any_of"]) for rubric in task.rubrics] == [("contains", ["two", "2"])]
    assert [score(task, f"It has {said} valves.").passed for said in ("two", "2", "three")] == [True, True, False]


def test_a_list_of_distractors_is_a_list_of_them(tmp_path: Path) -> None:
    task = with_answer(tmp_path, answer="two", distractor=["three", 4.0])
    assert (task.rubrics[1]["type"], task.rubrics[1]["any_of"]) == ("excludes", ["three", "4"])


@pytest.mark.parametrize("answer", [True, {"text": "two"}, [["two"]], ""])
def test_an_answer_that_is_no_phrase_is_refused(tmp_path: Path, answer: object) -> None:
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1: .*(must be text or a number, got|a phrase must hold)"):
        with_answer(tmp_path, answer=answer)


def test_null_ids_are_absent_ids(tmp_path: Path) -> None:
    ids = {"id": None, "task_id": None, "context_id": None}
    rows = [{**ROW, **ids}, {"context": "Other text.", "question": "Why?", "metadata": ids}]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tasks = load_tasks(tmp_path / "own.jsonl")
    assert [(task.task_id, task.context_id) for task in tasks] == [("own/1", "own/1"), ("own/2", "own/2")]


def test_ids_of_a_table_with_missing_values_are_whole_numbers(tmp_path: Path) -> None:
    task = with_answer(tmp_path, id=7.0, context_id=3.0)
    assert (task.task_id, task.context_id) == ("7", "3")


@pytest.mark.parametrize("bad", ["", " ", True, ["a"], {"a": 1}])
def test_an_id_that_is_none_is_refused(tmp_path: Path, bad: object) -> None:
    with pytest.raises(ValueError, match=r"line 1: `context_id` (is blank|must be text or a number)"):
        with_answer(tmp_path, context_id=bad)


def test_null_columns_of_the_hub_are_absent() -> None:
    """A table has a cell for each column in every row."""
    values = {"prompt": "2 + 2?", "messages": None, "context": float("nan"), "answer": 4.0, "metadata": {"level": None}}
    assert make_row("hub, row 0", "hub/0", values).values == {
        "prompt": "2 + 2?",
        "answer": 4.0,
        "metadata": {"level": None},
    }


def test_a_value_that_no_record_could_keep_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hub, row 3: row holds a value of type bytes, which JSON has not"):
        make_row("hub, row 3", "hub/3", {"prompt": "x", "image": [b"PNG"]})


@pytest.mark.parametrize("turns", ["Now shorter.", [1], [" "]])
def test_later_turns_that_are_no_list_of_texts_are_refused(tmp_path: Path, turns: object) -> None:
    """A text was a conversation of its letters."""
    with pytest.raises(ValueError, match="`later_turns` must be a list of what the user says"):
        with_answer(tmp_path, later_turns=turns)


def test_what_else_a_message_says_does_not_vanish(tmp_path: Path) -> None:
    message = {"role": "assistant", "content": "One moment.", "name": None, "tool_calls": [{"name": "count"}]}
    with pytest.raises(ValueError, match=r"line 1: message 1 has `tool_calls`, which no prompt would hold"):
        task_of(tmp_path, json.dumps({"messages": [message]}))


# -- suites -----------------------------------------------------------------------------------------------------------


def suite_task(tmp_path: Path, name: str, row: dict[str, Any]) -> Task:
    """The one task of a suite's row."""
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (task,) = SUITES[name].tasks(tmp_path / "rows.jsonl")
    return task


def test_numbers_of_suites_are_read(tmp_path: Path) -> None:
    gsm8k = suite_task(tmp_path, "gsm8k", {"question": "9 + 9?", "answer": 18.0})
    assert SUITES["gsm8k"].score(gsm8k, "#### 18").passed is True
    math = suite_task(tmp_path, "math500", {"problem": "1 + 1?", "answer": 2.0})
    assert SUITES["math500"].score(math, "\\boxed{2}").passed is True
    trap = suite_task(tmp_path, "memotrap", {"prompt": "End so", "classes": [" a.", " well."], "answer_index": 1.0})
    assert trap.rubrics[0]["any_of"] == [" well."]
    babi = suite_task(tmp_path, "babi", {"passage": "Mary has 2.", "question": "How many?", "answer": 2.0})
    assert [(rubric["type"], rubric["any_of"]) for rubric in babi.rubrics] == [("contains", ["2"])]


def test_a_list_is_not_read_as_the_answer_of_gsm8k(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 1: `answer` must be text or a number, got \[\"18\"\]"):
        suite_task(tmp_path, "gsm8k", {"question": "9 + 9?", "answer": ["18"]})


def test_metadata_that_is_no_object_is_refused_by_suites(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 1: `metadata` must be a JSON object, got list"):
        suite_task(tmp_path, "gsm8k", {"question": "9 + 9?", "answer": "18", "metadata": [1]})


def test_a_null_category_is_none() -> None:
    assert category_of(Task("t", "c", (), (), {"context_category": None, "sub_category": "Games"})) == ""


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.Json", "a.jsonl.gz", "A.NDJSON.GZ", "a.json.gz"])
def test_endings_of_rows_are_read_in_any_case(tmp_path: Path, name: str) -> None:
    assert holds_rows(name)
    for text in (json.dumps(ROW), json.dumps([ROW], indent=1)):
        packed = gzip.compress(text.encode()) if name.lower().endswith(".gz") else text.encode()
        (tmp_path / name).write_bytes(packed)
        (row,) = read_rows(tmp_path / name)
        assert (row.values, row.default_id) == (ROW, f"{name[0]}/1")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "jsonl", "a.json.md", "a.gz", "a.csv"])
def test_other_endings_are_documents(name: str) -> None:
    assert not holds_rows(name)


def test_rows_of_a_list_are_named_by_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "array.json"
    path.write_text('\n[\n  {"prompt": "one"},\n  {"prompt":\n   "two"}, {"prompt": "three"}\n]\n')
    assert [(row.place, row.default_id) for row in read_rows(path)] == [
        (f"{path}, line 3", "array/1"),
        (f"{path}, line 4", "array/2"),
        (f"{path}, line 5", "array/3"),
    ]


def test_an_empty_list_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[ ]")
    assert list(read_rows(tmp_path / "a.json")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"prompt": "x"}\n{"prompt": "y"}]', "line 2: a comma or the closing bracket of the list of rows is missing"),
        ('[{"prompt": "x"},\n', "line 2: row is not JSON"),
        ('[{"prompt": "x"},\n]', "line 2: row is not JSON"),
        ('[{"prompt": "x"}]\n{"prompt": "y"}', "line 1: something follows the list of rows"),
        ("[\n7]", "line 2: row must be a JSON object, got int"),
        ('{\n  "prompt": "x"\n}', "line 1: row is not JSON"),
    ],
)
def test_a_broken_list_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json, {message}"):
        list(read_rows(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (r'"half \ud83d of it"', r"row holds half a character, \\ud83d; write both halves"),
        (r'{"deep": ["\udc00"]}', r"row holds half a character, \\udc00"),
        (r'{"\ud83d": 1}', r"row holds half a character, \\ud83d"),
        ("9" * 5000, "row holds a number of 5000 digits; write it as text"),
        ("[" * 100_000 + "]" * 100_000, "row is nested deeper than 64 levels"),
        ("[" * 70 + "]" * 70, "row is nested deeper than 64 levels"),
        ("Infinity", "row holds an infinite number"),
        ("-Infinity", "row holds an infinite number"),
        ("1e999", "row holds an infinite number"),
        ('1, "note": 2', "row names 'note' twice; keep one of them"),
        ('{"a": 1, "b": 2, "a": 3}', "row names 'a' twice"),
    ],
    ids=[
        "half",
        "half within",
        "half of a name",
        "digits",
        "very deep",
        "deep",
        "inf",
        "-inf",
        "1e999",
        "twice",
        "within",
    ],
)
@pytest.mark.parametrize(
    "form", ['{{"prompt": "x", "note": {}}}', '[{{"prompt": "x", "note": {}}}]'], ids=["line", "list"]
)
def test_what_python_chokes_on_is_one_sentence(tmp_path: Path, form: str, value: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text("\n" + form.format(value))
    with pytest.raises(ValueError, match=rf"^{tmp_path}/a\.jsonl, line 2: {message}") as caught:
        load_tasks(tmp_path / "a.jsonl")
    assert "\n" not in str(caught.value)


def test_whole_emoji_long_numbers_and_nesting_are_read(tmp_path: Path) -> None:
    digits = "7" * 640
    note = json.loads("[" * 60 + "]" * 60)
    task = task_of(tmp_path, f'{{"prompt": "\\ud83d\\ude00 ok", "id": {digits}, "note": {json.dumps(note)}}}')
    assert task.messages[0]["content"] == "\U0001f600 ok"
    assert task.task_id == digits
    assert task.metadata["note"] == note


def test_a_mark_crlf_and_blank_lines_are_read(tmp_path: Path) -> None:
    text = "\ufeff" + "\r\n\r\n".join(json.dumps({"prompt": prompt}) for prompt in ("one", "two")) + "\r\n"
    (tmp_path / "a.jsonl").write_bytes(text.encode())
    assert [row.values["prompt"] for row in read_rows(tmp_path / "a.jsonl")] == ["one", "two"]
    assert [row.default_id for row in read_rows(tmp_path / "a.jsonl")] == ["a/1", "a/3"]


@pytest.mark.parametrize("data", ["text".encode("utf-16"), "text".encode("utf-16-le"), b"\xff"])
def test_other_encodings_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_text(tmp_path / "a.txt")


def test_a_gzip_file_damaged_in_its_middle_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(json.dumps(ROW).encode()))
    packed[12] ^= 0xFF
    (tmp_path / "a.jsonl.GZ").write_bytes(bytes(packed))
    with pytest.raises(ValueError, match="is not a complete gzip file"):
        list(read_rows(tmp_path / "a.jsonl.GZ"))
