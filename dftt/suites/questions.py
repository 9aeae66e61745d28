"""What is asked without what it is asked about: the prompt that context-aware decoding sets against the whole one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

from dftt.types import Task

Messages = tuple[Mapping[str, str], ...]


def without_context(task: Task, tasks: Sequence[Task]) -> Messages:
    """The messages of a task without its context; empty where it has none, or none that can be told apart.

    A task that says what its question is asks just that. Else the context is what all tasks on it begin with, up to the
    end of a line, and the question what follows, from the first thing that the user says on: the answers to questions
    that were left out go too. So of one lone task, and of one that later tasks repeat and go on from, nothing is left.
    `tasks` are all tasks on its context, the task among them.
    """
    asked = ({"role": "user", "content": task.question},) if task.question else _behind_what_is_shared(task, tasks)
    return () if asked == tuple(map(dict, task.messages)) else asked


def passage_of(task: Task) -> Messages:
    """The messages of a task with its question cut out where it says it; none where nothing else is said."""
    *before, last = map(dict, task.messages)
    text, found, rest = last["content"].rpartition(task.question) if task.question else ("", "", last["content"])
    messages = (*before, {**last, "content": (text + rest if found else last["content"]).strip()})
    return messages if any(message["content"] for message in messages) else ()


def _behind_what_is_shared(task: Task, tasks: Sequence[Task]) -> Messages:
    columns = list(zip(*(each.messages for each in tasks), strict=False))
    shared = len(list(takewhile(lambda column: all(each == column[0] for each in column), columns)))
    rest = [dict(message) for message in task.messages[shared:]]
    if shared < len(columns) and len({message["role"] for message in columns[shared]}) == 1:
        letters = zip(*(message["content"] for message in columns[shared]), strict=False)
        alike = len(list(takewhile(lambda column: len(set(column)) == 1, letters)))
        begin = rest[0]["content"].rfind("\n", 0, alike) + 1
        rest[0]["content"] = rest[0]["content"][begin:].strip()
    said = [number for number, message in enumerate(rest) if message["role"] == "user" and message["content"]]
    return tuple(rest[said[0] :]) if said else ()
