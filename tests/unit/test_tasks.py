import gzip
import json
from pathlib import Path

import pytest

from dftt.scoring.rubrics import score
from dftt.suites.tasks import (
    group_by_context,
    length_bucket,
    load_tasks,
    tasks_from_documents,
)

DATA = Path(__file__).parents[3] / "shared" / "data"

CLBENCH_ROW = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Text. Question?"}],
    "rubrics": ["says yes", {"rubric_criteria": "is short"}, {"type": "contains", "any_of": ["yes"]}],
    "metadata": {"task_id": "t1", "context_id": "c1", "context_category": "Rules", "sub_category": "Games"},
}
SUITE_ROW = {
    "id": "s1",
    "context": "John is here.",
    "question": "Who?",
    "answer": "John",
    "distractor": "Mary",
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def shared(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"needs the shared data file {name}")
    return path


def test_clbench_row_keeps_ids_messages_and_metadata(tmp_path):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", CLBENCH_ROW))
    assert (task.task_id, task.context_id) == ("t1", "c1")
    assert list(task.messages) == CLBENCH_ROW["messages"]
    assert task.metadata == CLBENCH_ROW["metadata"]


def test_clbench_rubrics_become_strings_and_checkable_mappings(tmp_path):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", CLBENCH_ROW))
    assert task.rubrics == ("says yes", "is short", {"type": "contains", "any_of": ["yes"]})


def test_a_suites_row_asks_its_question_after_the_context(tmp_path):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", SUITE_ROW))
    assert task.messages == ({"role": "user", "content": "John is here.\n\nWho?"},)
    assert (task.task_id, task.context_id) == ("s1", "s1")


def test_blank_context_leaves_the_question_alone(tmp_path):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", {**SUITE_ROW, "context": ""}))
    assert task.messages[0]["content"] == "Who?"


def test_answer_and_distractor_become_rubrics(tmp_path):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", SUITE_ROW))
    assert task.rubrics == (
        {"type": "contains", "any_of": ["John"], "question": "Who?"},
        {"type": "excludes", "any_of": ["Mary"], "question": "Who?"},
    )


def test_distractor_inside_the_answer_is_left_out(tmp_path):
    row = {**SUITE_ROW, "answer": "John Smith", "distractor": "Smith"}
    (task,) = load_tasks(write(tmp_path / "a.jsonl", row))
    assert score(task, "John Smith").passed is True


def test_prompt_row_with_a_number_is_checked_by_its_last_number(tmp_path):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", {"id": "p", "prompt": "2 + 1,198?", "answer": "1,200"}))
    assert task.rubrics == ({"type": "number", "value": 1200.0, "tolerance": 0},)
    assert task.context_id == "p"


@pytest.mark.parametrize("answer", ["return x", "\\frac{1}{2}", "1.2.3", ["an essay"], ["2"], True])
def test_other_reference_answers_stay_unscored_metadata(tmp_path, answer):
    (task,) = load_tasks(write(tmp_path / "a.jsonl", {"id": "p", "prompt": "Do.", "answer": answer}))
    assert task.rubrics == ()
    assert task.metadata["answer"] == answer


def test_rubrics_of_a_row_replace_those_of_its_answer(tmp_path):
    row = {**SUITE_ROW, "rubrics": [{"type": "regex", "pattern": "^John"}]}
    (task,) = load_tasks(write(tmp_path / "a.jsonl", row))
    assert task.rubrics == ({"type": "regex", "pattern": "^John"},)


def test_rows_without_ids_are_contexts_of_their_own(tmp_path):
    tasks = load_tasks(write(tmp_path / "own.jsonl", {"prompt": "One."}, {"prompt": "Two."}))
    assert [task.context_id for task in tasks] == ["own/1", "own/2"]


def test_gzip_reads_like_plain_text(tmp_path):
    plain = write(tmp_path / "a.jsonl", CLBENCH_ROW, SUITE_ROW)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert load_tasks(packed) == load_tasks(plain)


def test_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f"\n{json.dumps(SUITE_ROW)}\n\n", encoding="utf-8")
    assert len(load_tasks(path)) == 1


def test_line_separators_inside_strings_do_not_split_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "one\u2028two"}, ensure_ascii=False), encoding="utf-8")
    assert len(load_tasks(path)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "row is not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"text": "x"}', "JSONL row without `messages`"),
        ('{"messages": []}', "non-empty list"),
        ('{"messages": [{"role": "user"}]}', "message 1 needs `role` and `content`"),
        ('{"messages": [{"role": "user", "content": " "}]}', "empty context"),
        ('{"context": "x", "question": " "}', "empty context"),
        ('{"context": 1, "question": "Who?"}', "empty context"),
        ('{"prompt": ""}', "empty context"),
        ('{"prompt": "x", "rubrics": "y"}', "`rubrics` must be a list"),
        ('{"prompt": "x", "rubrics": [{"type": "magic"}]}', "rubric type 'magic' is unknown"),
        ('{"prompt": "x", "metadata": 1}', "`metadata` must be a JSON object"),
        ('{"context": "x", "question": "y", "answers": "z"}', "`answers` must be a list"),
        ('{"id": "first", "prompt": "again"}', "task_id 'first' is taken"),
    ],
)
def test_bad_row_is_refused_by_file_and_line(tmp_path, line, message):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": "first", "prompt": "x"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.jsonl, line 2: ") as caught:
        load_tasks(path)
    assert message in str(caught.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no file at"):
        load_tasks(tmp_path / "none.jsonl")


def test_file_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no tasks"):
        load_tasks(write(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("damage", [b"", b"not gzip"])
def test_damaged_gzip_is_refused(tmp_path, damage):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(damage or gzip.compress(b'{"prompt": "x"}')[:-6])
    with pytest.raises(ValueError, match="not a complete gzip file"):
        load_tasks(path)


def test_document_tasks_share_the_context_named_like_the_file(tmp_path):
    path = tmp_path / "manual.md"
    path.write_text("The drum is hot.\n", encoding="utf-8")
    tasks = tasks_from_documents(path, ["What is hot?", "How hot?"])
    assert [(task.task_id, task.context_id) for task in tasks] == [
        ("manual/1", "manual"),
        ("manual/2", "manual"),
    ]
    assert tasks[0].messages[0]["content"] == "The drum is hot.\n\nWhat is hot?"


@pytest.mark.parametrize(
    ("text", "questions", "message"),
    [(" \n", ["Why?"], "is empty"), ("Text", [], "at least one"), ("Text", [" "], "question 1")],
)
def test_document_without_text_or_question_is_refused(tmp_path, text, questions, message):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        tasks_from_documents(path, questions)


def test_document_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        tasks_from_documents(path, ["Why?"])


def test_grouping_keeps_the_order_of_first_appearance(tmp_path):
    rows = [{"prompt": "x", "metadata": {"task_id": t, "context_id": c}} for t, c in ("1b", "2a", "3b")]
    groups = group_by_context(load_tasks(write(tmp_path / "a.jsonl", *rows)))
    assert {key: [task.task_id for task in tasks] for key, tasks in groups.items()} == {
        "b": ["1", "3"],
        "a": ["2"],
    }
    assert list(groups) == ["b", "a"]


@pytest.mark.parametrize(
    ("num_tokens", "bucket"),
    [
        (0, "0-4k"),
        (4095, "0-4k"),
        (4096, "4-8k"),
        (8192, "8-16k"),
        (16384, "16-32k"),
        (65535, "32-64k"),
        (65536, "64k+"),
    ],
)
def test_length_bucket(num_tokens, bucket):
    assert length_bucket(num_tokens) == bucket


def test_negative_length_is_refused():
    with pytest.raises(ValueError, match="num_tokens"):
        length_bucket(-1)


def test_clbench_sample_loads_with_its_contexts():
    tasks = load_tasks(shared("clbench_sample.jsonl"))
    assert (len(tasks), len(group_by_context(tasks))) == (28, 21)
    assert all("context_category" in task.metadata for task in tasks)


@pytest.mark.parametrize(
    ("name", "count", "num_rubrics"),
    [
        ("babi.jsonl", 1500, {2}),
        ("nqswap.jsonl", 1589, {2}),
        ("memotrap.jsonl", 1596, {1, 2}),
        ("gsm8k_test.jsonl", 1319, {1}),
        ("humaneval.jsonl", 164, {0}),
        ("mtbench.jsonl", 80, {0}),
        ("gsm8k_train.jsonl.gz", 7473, {1}),
    ],
)
def test_shared_suite_loads_with_its_rubrics(name, count, num_rubrics):
    tasks = load_tasks(shared(name))
    assert len(tasks) == count
    assert {len(task.rubrics) for task in tasks} == num_rubrics


@pytest.mark.parametrize("name", ["babi.jsonl", "nqswap.jsonl", "memotrap.jsonl", "conflictnq_test.jsonl"])
def test_every_shared_suite_task_passes_with_its_own_answer(name):
    failed = [task.task_id for task in load_tasks(shared(name)) if not score(task, task.metadata["answer"]).passed]
    assert failed == []


def test_every_gsm8k_solution_passes():
    tasks = load_tasks(shared("gsm8k_test.jsonl"))
    assert [task.task_id for task in tasks if not score(task, task.metadata["solution"]).passed] == []
