"""What is left of a task without its context."""

from __future__ import annotations

from pathlib import Path

import pytest

from dftt.suites.questions import without_context
from dftt.suites.registry import get_suite
from dftt.suites.tasks import task_from_row, tasks_from_documents
from dftt.suites.worlds import WorldsSpec, generate_tasks, to_row
from dftt.types import Task


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def task(*messages: dict[str, str], question: str = "") -> Task:
    return Task("t", "c", messages, question=question)


def test_a_question_of_its_own_is_what_is_asked() -> None:
    made = task_from_row({"context": "Goats vote. ", "question": " Who votes?\n"}, "0")
    assert without_context(made, [made]) == (user("Who votes?"),)


def test_a_document_is_left_out_of_each_question_on_it(tmp_path: Path) -> None:
    (tmp_path / "book.md").write_text("A book.")
    tasks = tasks_from_documents(tmp_path / "book.md", ["Why?", "How?"])
    assert [without_context(each, tasks) for each in tasks] == [(user("Why?"),), (user("How?"),)]


def test_a_generated_task_keeps_its_instruction_also_from_a_file() -> None:
    (made, *_) = generate_tasks(WorldsSpec(contexts=1, tasks=1))
    (asked,) = without_context(made, [made])
    assert made.messages[0]["content"].endswith("\n\n" + asked["content"])
    assert asked["content"].startswith("Answer the question")
    assert get_suite("worlds").task(to_row(made), "0").question == made.question


def test_tasks_that_share_a_text_differ_in_their_question() -> None:
    tasks = [task(user("Goats vote.\n\nWhy do they?")), task(user("Goats vote.\n\nWho does?"))]
    assert [without_context(each, tasks) for each in tasks] == [(user("Why do they?"),), (user("Who does?"),)]


def test_of_a_conversation_only_what_is_new_is_asked() -> None:
    """CL-bench: later tasks of a context extend the first, whose context and question share one message."""
    system, first = {"role": "system", "content": "Be brief."}, user("Goats vote.\n\nWho?")
    one = task(system, first)
    two = task(system, first, assistant("Goats."), user("Why?"))
    three = task(system, first, assistant("Goats."), user("Why?"), assistant("So."), user("Since when?"))
    tasks = [one, two, three]
    assert without_context(one, tasks) == ()
    assert without_context(two, tasks) == (user("Why?"),)
    assert without_context(three, tasks) == (user("Why?"), assistant("So."), user("Since when?"))


def test_a_shared_system_prompt_is_a_context() -> None:
    system = {"role": "system", "content": "Goats vote."}
    tasks = [task(system, user("Who?")), task(system, user("Why?"))]
    assert without_context(tasks[1], tasks) == (user("Why?"),)


@pytest.mark.parametrize(
    "tasks",
    [
        [task(user("Goats vote. Who?"))],
        [task(user("Who?"), question="Who?")],
        [task(user("One thing?")), task(user("Another?"))],
        [task(user("Who?")), task(user("Who?"))],
    ],
    ids=["a lone task", "a blank context", "nothing shared", "the same question twice"],
)
def test_where_no_context_can_be_told_there_is_none_to_leave_out(tasks: list[Task]) -> None:
    assert without_context(tasks[0], tasks) == ()
