"""Which answers are read, and what happens to tasks without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dftt.models.target import encode
from dftt.study.records import RecordStore
from dftt.suites.tasks import task_from_row
from dftt.types import Record, Task
from dftt_tools.diagnostic.questions import Context, gold_answers, pose, run_answers
from tests.fakes import EOS_ID, byte_tokenizer

TOKENIZER: Any = byte_tokenizer()


def task(name: str, context_id: str = "", **row: Any) -> Task:
    ids = {"task_id": name, "context_id": context_id or name}
    return task_from_row({"context": "Goats vote.", "question": f"Who, {name}?", **ids, **row}, name)


def tokens(text: str) -> tuple[int, ...]:
    return tuple(encode(TOKENIZER, text))


def posed(tasks: list[Task], **options: Any) -> tuple[list[Context], dict[str, int]]:
    return pose(tasks, gold_answers(tasks, TOKENIZER), TOKENIZER, **{"window": 512, **options})


def test_gold_is_the_first_answer_of_a_row_as_it_stands() -> None:
    rows = [task("a", answer=" 18"), task("b", answers=["goat", "hen"]), task("c"), task("d", answer=7)]
    assert gold_answers(rows, TOKENIZER) == {"a": tokens(" 18"), "b": tokens("goat"), "d": tokens("7")}


def test_tasks_share_their_contexts_prompt_or_are_counted() -> None:
    tasks = [task("a", "k", answer="x"), task("b", "k"), task("c", answer="y"), task("d", answer="z" * 600)]
    contexts, left_out = posed(tasks)
    assert [(each.context_id, [q.task_id for q in each.questions]) for each in contexts] == [("k", ["a"]), ("c", ["c"])]
    first = contexts[0]
    assert first.questions[0].prompt[: len(first.prompt)] == first.prompt.input_ids
    assert TOKENIZER.decode(first.prompt.input_ids).endswith("Who, ")  # where the two prompts part
    assert left_out == {"no answer": 1, "longer than the target's window of 512": 1}


def test_only_the_first_contexts_are_read() -> None:
    contexts, left_out = posed([task("a", answer="x"), task("b"), task("c", answer="y")], max_contexts=2)
    assert [each.context_id for each in contexts] == ["a"]
    assert left_out == {"no answer": 1}


def test_no_answer_at_all_is_refused_with_the_ways_out() -> None:
    with pytest.raises(ValueError, match=r"none of the 1 tasks can be read \(1 with no answer\).*--answers"):
        posed([task("a")])


@pytest.mark.parametrize(
    ("row", "choice"),
    [
        ({"answer": "red", "distractor": "blue"}, "rb"),
        ({"answer": "red", "distractors": ["rose", "blue"]}, "rb"),  # the first that can be told apart by one token
        ({"answer": "red", "distractor": "rose"}, None),
        ({"answer": "red"}, "rg"),  # the first token of another context's answer
    ],
)
def test_the_choice_is_between_the_answer_and_a_wrong_one(row: dict[str, Any], choice: str | None) -> None:
    tasks = [task("a", "k", **row), task("b", "k", answer="blue"), task("c", answer="rye"), task("d", answer="green")]
    question = posed(tasks)[0][0].questions[0]
    assert question.choice == (choice and (tokens(choice)[0], tokens(choice)[1]))


def record(name: str, arm: str = "target", seed: int = 0, text: str = "goat", **fields: Any) -> Record:
    return Record(name, name, arm, seed, "hash", answer=text, token_ids=(*tokens(text), EOS_ID), **fields)


def run_of(folder: Path, *records: Record) -> Path:
    store = RecordStore(folder)
    for each in records:
        store.append(each)
    return folder


def test_a_run_gives_the_tokens_of_its_first_seed(tmp_path: Path) -> None:
    run = run_of(tmp_path, record("a", seed=1, text="hen"), record("a"), record("b", text="ox"), record("z"))
    answers = run_answers([task("a"), task("b")], run, None, TOKENIZER)
    assert answers == {"a": (*tokens("goat"), EOS_ID), "b": (*tokens("ox"), EOS_ID)}


def test_the_arm_of_a_run_is_chosen_by_name(tmp_path: Path) -> None:
    run = run_of(tmp_path, record("a"), record("a", "speculative+none", text="hen"))
    assert run_answers([task("a")], run, "speculative+none", TOKENIZER) == {"a": (*tokens("hen"), EOS_ID)}
    for arm in (None, "guided"):
        with pytest.raises(ValueError, match=r"--arm: .*has speculative\+none, target; choose one"):
            run_answers([task("a")], run, arm, TOKENIZER)


def test_answers_of_several_turns_and_failed_ones_are_not_read(tmp_path: Path) -> None:
    """The tokens of a conversation's answers do not follow its prompt."""
    failed = Record("b", "b", "target", 0, "hash", finish_reason="error")
    run = run_of(tmp_path, record("a"), failed)
    assert run_answers([task("a", later_turns=["And?"]), task("b")], run, None, TOKENIZER) == {}


def test_a_run_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, Record("a", "a", "target", 0, "hash", answer="goat", token_ids=tokens("hen")))
    with pytest.raises(ValueError, match=r"do not spell its answer .* give the --target that the run had"):
        run_answers([task("a")], run, None, TOKENIZER)
