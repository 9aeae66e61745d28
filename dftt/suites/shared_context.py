"""Whether tasks that name one context share one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile

from dftt.types import Task

# Of the shorter of two tasks. A system message or an instruction that stands before any passage is no context.
_SHARE = 0.5


def check_contexts(tasks: Iterable[tuple[str, Task]]) -> None:
    """Refuse tasks of one context_id that do not share a context: adaptation would see what little they begin with.

    Raises:
        ValueError: There are such; the message names the places of both, which stand before the tasks.
    """
    first: dict[str, tuple[str, Task]] = {}
    for place, task in tasks:
        earlier_place, earlier = first.setdefault(task.context_id, (place, task))
        if not share_context(earlier, task):
            raise ValueError(
                f"{place}: context_id {task.context_id!r} is that of {earlier_place}, which has another context; "
                "give each context an id of its own"
            )


def share_context(one: Task, other: Task) -> bool:
    """Whether two tasks are on one context.

    They are where one goes on from the whole of the other, as later turns do. Else, where both say what their question
    is, what stands before it must be the same; where one does not, both must begin with the same text, half of the
    shorter one at least.
    """
    if _goes_on(one, other) or _goes_on(other, one):
        return True
    contexts = _before_question(one), _before_question(other)
    if None not in contexts:
        return contexts[0] == contexts[1] and any(_texts(contexts[0] or ()))
    return _letters_shared(one, other) >= _SHARE * min(sum(map(len, _texts(task.messages))) for task in (one, other))


def _goes_on(later: Task, earlier: Task) -> bool:
    return later.messages[: len(earlier.messages)] == earlier.messages


def _before_question(task: Task) -> tuple[Mapping[str, str], ...] | None:
    """The messages without the question at their end; None where it is not known or stands elsewhere."""
    *before, last = task.messages
    content = last["content"].rstrip()
    if not task.question or not content.endswith(task.question):
        return None
    return (*before, {**last, "content": content.removesuffix(task.question).rstrip()})


def _letters_shared(one: Task, other: Task) -> int:
    shared = 0
    for left, right in zip(one.messages, other.messages, strict=False):
        if left != right:
            letters = zip(left["content"], right["content"], strict=False) if left["role"] == right["role"] else ()
            return shared + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], letters))
        shared += len(left["content"])
    return shared


def _texts(messages: Iterable[Mapping[str, str]]) -> list[str]:
    return [message["content"] for message in messages]
