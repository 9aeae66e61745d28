"""Contexts with tasks, read from files."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.scoring.phrases import contains_phrase
from dftt.scoring.rubrics import last_number, read_rubric
from dftt.suites.conversation import LATER_TURNS
from dftt.suites.rows import Row, holds_rows, id_of, is_list_of_texts, phrases_of, read_rows, read_text, text_of
from dftt.suites.shared_context import check_contexts
from dftt.types import Prompt, Task, check_file

_FORMS = "accepted are rows with `messages`, with `context` and `question`, or with `prompt`"
_IS_NUMBER = re.compile(r"-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?")
LENGTH_BUCKETS: tuple[str, ...] = ("0-4k", "4-8k", "8-16k", "16-32k", "32-64k", "64k+")
_BORDERS = (4, 8, 16, 32, 64)  # between them, in units of 1,024 tokens


def load_tasks(path: str | Path) -> list[Task]:
    """Tasks of a file as `read_rows` reads it, one a row in a form that `task_from_row` reads; ValueError as theirs."""
    return make_tasks(read_rows(path), task_from_row, source=str(path))


def make_tasks(rows: Iterable[Row], make: Callable[[Mapping[str, Any], str], Task], *, source: str) -> list[Task]:
    """One task per row, in order, made of the row's values and its default id.

    Raises:
        ValueError: A row cannot be read, two rows have the same task_id, rows of one context_id have different
            contexts, or there is no row; the message names the place, or the source.
    """
    tasks: dict[str, Task] = {}
    places: list[str] = []
    for row in rows:
        try:
            task = make(row.values, row.default_id)
            if task.task_id in tasks:
                raise ValueError(f"task_id {task.task_id!r} is taken by an earlier row; give each task its own")
        except ValueError as error:
            raise ValueError(f"{row.place}: {error}") from None
        tasks[task.task_id] = task
        places.append(row.place)
    if not tasks:
        raise ValueError(f"{source} holds no tasks; write one JSON row a line")
    check_contexts(zip(places, tasks.values(), strict=True))
    return list(tasks.values())


def task_from_row(row: Mapping[str, Any], default_id: str) -> Task:
    """The task that a row describes in one of three forms.

    CL-bench's: `messages`, `rubrics`, `metadata`, and `question` where it is known apart from the context. Checkable
    suites: `context`, `question`, `answer` and optionally `distractor` (each a text, a number or a list of them, which
    may be called `answers`, `distractors`); they become one user message and rubrics "contains" and "excludes". A row
    without an answer has no rubric, so it is unscored. Bare prompts: `prompt`, whose `answer` becomes a
    rubric where it is a number; another reference answer (code, a formula, an essay) stays in the metadata, because
    finding it as a phrase proves nothing. `rubrics` in a row replace those made of its answer. A row that names no
    context is a context of its own.

    Args:
        row: What the row says; what is not used goes to the task's metadata.
        default_id: Its task_id where it names none.

    Raises:
        ValueError: The row is in none of these forms, or a value in it is not accepted.
    """
    if "messages" in row:
        messages, rubrics, used = _messages(row["messages"]), [], {"messages", "question"}
        question = text_of(row, "question") if "question" in row else ""
    elif "context" in row and "question" in row:
        question = text_of(row, "question")
        messages = _user_message(text_of(row, "context", may_be_blank=True), question)
        # A question that offers the answer may be repeated to say something.
        is_choice = any(contains_phrase(question, right) for right in phrases_of(row, "answer"))
        rubrics, used = phrase_rubrics(row, "" if is_choice else question), {"context", "question"}
    elif "prompt" in row:
        messages = ({"role": "user", "content": text_of(row, "prompt")},)
        rubrics, used, question = _number_rubrics(row.get("answer")), {"prompt"}, ""
    else:
        raise ValueError(f"JSONL row without `messages`; {_FORMS}")
    given = row.get("rubrics", rubrics)
    if not isinstance(given, list):
        raise ValueError(f"`rubrics` must be a list, got {type(given).__name__}")
    used |= {"rubrics", "metadata"}
    metadata = {key: value for key, value in row.items() if key not in used} | metadata_of(row)
    if not is_list_of_texts(later := metadata.get(LATER_TURNS, [])):
        raise ValueError(f"`{LATER_TURNS}` must be a list of what the user says, got {later!r}")
    task_id = id_of(metadata, ("task_id", "id"), default_id)
    context_id = id_of(metadata, ("context_id",), task_id)
    read = tuple(read_rubric(rubric) for rubric in given)
    return Task(task_id, context_id, messages, read, metadata, question.strip())


def tasks_from_documents(path: str | Path, questions: Sequence[str]) -> list[Task]:
    """One task per document and question, the question last.

    Args:
        path: A UTF-8 text file (.txt, .md), whose context is named like the file, or a file of rows with `text` and,
            where they have one, an `id`.
        questions: At least one question, none of them blank.

    Raises:
        ValueError: The file is missing, a document is empty or not text, two documents have one id, or a question is
            missing; the message names it.
    """
    path = check_file("document", path)
    if not questions:
        raise ValueError(f"no questions on {path}; give at least one")
    for number, question in enumerate(questions, start=1):
        if not question.strip():
            raise ValueError(f"question {number} on {path} is blank; write it or leave it out")
    documents = _text_rows(path) if holds_rows(path) else {path.stem: read_text(path)}
    if empty := [name for name, document in documents.items() if not document.strip()]:
        raise ValueError(f"{path}: document {empty[0]!r} is empty; give a document with text")
    return [
        Task(f"{name}/{number}", name, _user_message(document, question), question=question.strip())
        for name, document in documents.items()
        for number, question in enumerate(questions, start=1)
    ]


@dataclass(frozen=True)
class ContextItem:
    """A context with its tasks, and all contexts of the data, one of which serves as the wrong one.

    Args:
        context_id: Id of the context.
        tasks: Tasks that share it.
        contexts: The tasks of every context by its id, this one among them.
    """

    context_id: str
    tasks: tuple[Task, ...]
    contexts: Mapping[str, Sequence[Task]]

    def others(self) -> Iterator[tuple[str, Sequence[Task]]]:
        """Id and tasks of every other context, from the next one on, the first behind the last."""
        names = list(self.contexts)
        here = names.index(self.context_id)
        yield from ((name, self.contexts[name]) for name in (*names[here + 1 :], *names[:here]))


def group_by_context(tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """Tasks per context_id; contexts in order of first appearance, tasks in the order given."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.context_id, []).append(task)
    return groups


def context_of(prompts: Sequence[list[int]]) -> Prompt:
    """The context of tasks: the longest common token prefix of their prompts, or the whole prompt of a lone task."""
    shared = min(prompts, key=len)
    for ids in prompts:
        length = next((place for place, token in enumerate(shared) if ids[place] != token), len(shared))
        shared = shared[:length]
    if not shared:
        raise ValueError("the tasks of a context share no first token: their prompts have no common context")
    return Prompt(tuple(shared))


def length_bucket(num_tokens: int) -> str:
    """Name of the length class of a prompt, such as "4-8k" for 4,096 to 8,191 tokens (k is 1,024)."""
    if num_tokens < 0:
        raise ValueError(f"num_tokens must be >= 0, got {num_tokens}")
    return LENGTH_BUCKETS[bisect_right(_BORDERS, num_tokens / 1024)]


def _text_rows(path: Path) -> dict[str, str]:
    """`text` by id of a file's rows."""
    documents: dict[str, tuple[str, str]] = {}
    for row in read_rows(path):
        try:
            name, text = id_of(row.values, ("id",), row.default_id), text_of(row.values, "text")
            place, earlier = documents.setdefault(name, (row.place, text))
            if earlier != text:
                raise ValueError(f"id {name!r} is that of {place}, which has another text; give each document its own")
        except ValueError as error:
            raise ValueError(f"{row.place}: {error}") from None
    if not documents:
        raise ValueError(f"{path} holds no documents; write one JSON row with `text` a line")
    return {name: text for name, (_, text) in documents.items()}


def metadata_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The `metadata` of a row, empty where it has none; ValueError where it is no object."""
    metadata = row.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ValueError(f"`metadata` must be a JSON object, got {type(metadata).__name__}")
    return metadata


def _messages(messages: object) -> tuple[Mapping[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise ValueError("`messages` must be a non-empty list of {role, content}")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise ValueError(f"message {number} needs `role` and `content`, both strings")
        if more := [key for key, value in message.items() if key not in ("role", "content") and value is not None]:
            raise ValueError(f"message {number} has `{more[0]}`, which no prompt would hold; leave it out")
    if not any(message["content"].strip() for message in messages):
        raise ValueError("empty context: no message has content; give at least one with text")
    return tuple({"role": message["role"], "content": message["content"]} for message in messages)


def _user_message(context: str, question: str) -> tuple[Mapping[str, str], ...]:
    # Some rows of checkable suites put everything into the question and leave the context blank.
    return ({"role": "user", "content": f"{context.rstrip()}\n\n{question.strip()}".lstrip("\n")},)


def phrase_rubrics(row: Mapping[str, Any], repeated: str = "") -> list[Any]:
    """Rubrics "contains" of a row's answers and "excludes" of its distractors; none where it has no answer.

    What an answer repeats of the lines `repeated` says nothing.
    """
    answers, wrong = phrases_of(row, "answer"), phrases_of(row, "distractor")
    if not answers:  # nobody says what is right: an answer that avoids what is wrong would pass whatever it says
        return []
    # "Smith" as distractor of "John Smith" would make the task impossible to pass.
    distractors = [phrase for phrase in wrong if not any(contains_phrase(right, phrase) for right in answers)]
    known = {"question": repeated} if repeated else {}
    rubrics: list[Any] = [{"type": "contains", "any_of": answers, **known}]
    return rubrics + ([{"type": "excludes", "any_of": distractors, **known}] if distractors else [])


def _number_rubrics(answer: object) -> list[Any]:
    text = str(answer).strip()
    # Answers such as "3 apples" or "(1, 2)" hold a number but are not one.
    value = last_number(text) if _IS_NUMBER.fullmatch(text) else None
    return [] if value is None else [{"type": "number", "value": value, "tolerance": 0}]
