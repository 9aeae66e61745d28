"""Conversations: tasks whose later turns need the model's own earlier answers in the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dftt.models.target import encode
from dftt.types import Generation, Task

LATER_TURNS = "later_turns"  # metadata key of what the user says after the first answer, a list


def later_turns(task: Task) -> tuple[str, ...]:
    """What the user says after the first answer; empty for a task of one turn."""
    return tuple(task.metadata.get(LATER_TURNS, ()))


def whole_conversation(task: Task) -> tuple[Mapping[str, str], ...]:
    """All that the user says, the answers left empty: what a conversation takes of the window besides its answers."""
    return messages_after(task, [""] * len(later_turns(task)))


def conversation_length(task: Task, tokenizer: Any) -> int:
    """Tokens of `whole_conversation`; ValueError, with the task's name, where its messages make no prompt."""
    try:
        return len(encode(tokenizer, whole_conversation(task)))
    except ValueError as error:
        raise ValueError(f"task {task.task_id}: {error}") from None


def messages_after(task: Task, answers: Sequence[str]) -> tuple[Mapping[str, str], ...]:
    """The task's messages, followed by each answer and what the user says next."""
    history = [dict(message) for message in task.messages]
    for answer, turn in zip(answers, later_turns(task), strict=False):
        history += [{"role": "assistant", "content": answer}, {"role": "user", "content": turn}]
    return tuple(history)


def joined(generations: Sequence[Generation]) -> Generation:
    """The answers of a conversation as one generation: texts under each other, tokens, steps and seconds together."""
    if len(generations) == 1:
        return generations[0]
    return Generation(
        text="\n\n".join(f"[turn {number}]\n{each.text}" for number, each in enumerate(generations, start=1)),
        token_ids=tuple(token for each in generations for token in each.token_ids),
        acceptance_lengths=tuple(length for each in generations for length in each.acceptance_lengths),
        finish_reason=generations[-1].finish_reason,
        target_calls=sum(each.target_calls for each in generations),
        seconds=sum(each.seconds for each in generations),
    )
