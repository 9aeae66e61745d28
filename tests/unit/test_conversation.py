"""Tasks of several turns: their history, and their answers as one generation."""

from __future__ import annotations

from dftt.suites.conversation import joined, later_turns, messages_after, whole_conversation
from dftt.types import Generation, Task

TASK = Task("t", "t", ({"role": "user", "content": "Write."},), metadata={"later_turns": ["Again.", "Once more."]})


def test_the_history_holds_the_models_own_answers() -> None:
    assert messages_after(TASK, []) == TASK.messages
    assert [(message["role"], message["content"]) for message in messages_after(TASK, ["One.", "Two."])] == [
        ("user", "Write."),
        ("assistant", "One."),
        ("user", "Again."),
        ("assistant", "Two."),
        ("user", "Once more."),
    ]


def test_the_whole_conversation_holds_all_that_the_user_says() -> None:
    said = [message["content"] for message in whole_conversation(TASK) if message["role"] == "user"]
    assert said == ["Write.", "Again.", "Once more."]


def test_other_tasks_have_one_turn() -> None:
    task = Task("t", "t", ({"role": "user", "content": "Write."},))
    assert later_turns(task) == ()
    assert whole_conversation(task) == task.messages


def test_answers_of_a_conversation_add_up() -> None:
    first = Generation("One.", (1, 2), (2,), "eos", 3, 0.5)
    second = Generation("Two.", (3,), (1, 4), "length", 2, 0.25)
    assert joined([first]) is first
    assert joined([first, second]) == Generation(
        "[turn 1]\nOne.\n\n[turn 2]\nTwo.", (1, 2, 3), (2, 1, 4), "length", 5, 0.75
    )
