"""The prompts of a study in tokens."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from dftt.models.target import encode
from dftt.study.records import spec_hash
from dftt.study.spec import Asked, Contexts
from dftt.suites.conversation import messages_after, whole_conversation
from dftt.suites.questions import passage_of, without_context
from dftt.suites.tasks import ContextItem, context_of
from dftt.types import Prompt, Task


class Prompts:
    """Prompts of tasks and contexts; each text is tokenised once, whatever the number of arms and seeds.

    A text keeps its tokens for as long as this object lives, even if the chat template puts the time of day into them.

    Args:
        tokenizer: The target's.
        separates_questions: Whether an arm needs questions without their context.
    """

    def __init__(self, tokenizer: Any, *, separates_questions: bool) -> None:
        self._tokenizer, self._separates_questions = tokenizer, separates_questions
        self._known: dict[str, array[int]] = {}

    def encode(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of messages."""
        name = spec_hash({"messages": [dict(message) for message in messages]})
        if name not in self._known:
            self._known[name] = array("i", encode(self._tokenizer, messages))
        return tuple(self._known[name])

    def after(self, task: Task, answers: Sequence[str]) -> Prompt:
        """The prompt of a task's next turn, after some answers."""
        return Prompt(tuple(encode(self._tokenizer, messages_after(task, answers))))

    def asked(self, item: ContextItem, contexts: Contexts) -> list[Asked]:
        """The tasks of a context as they are put to the target."""
        return [self._asked(task, item.tasks, len(contexts.own)) for task in item.tasks]

    def contexts(self, item: ContextItem) -> Contexts:
        """The context of an item, and as the wrong one the next with another text.

        That is one whose passage differs, the question left out where a task tells it; where no passage does, one whose
        tokens differ. None serves where all contexts say the same.
        """
        try:
            own = self._context(item.tasks)
        except ValueError as error:
            return Contexts(Prompt(self.encode(item.tasks[0].messages)), problem=str(error))
        passage, with_other_tokens = passage_of(item.tasks[0]), Contexts(own)
        for name, tasks in item.others():
            try:
                other = self._context(tasks)
            except ValueError:
                continue
            if other.input_ids == own.input_ids:
                continue
            if not passage or passage_of(tasks[0]) != passage:
                return Contexts(own, other, name)
            if with_other_tokens.other is None:
                with_other_tokens = Contexts(own, other, name)
        return with_other_tokens

    def _context(self, tasks: Sequence[Task]) -> Prompt:
        return context_of([list(self.encode(task.messages)) for task in tasks])

    def _asked(self, task: Task, tasks: Sequence[Task], context_length: int) -> Asked:
        ids = self.encode(task.messages)
        messages = without_context(task, tasks) if self._separates_questions else ()
        try:
            question = Prompt(self.encode(messages)) if messages else None
        except ValueError:  # a template may refuse a question that stands alone
            messages, question = (), None
        length = len(self.encode(whole_conversation(task)))
        return Asked(task, Prompt(ids, min(len(ids), context_length)), messages, question, length)
