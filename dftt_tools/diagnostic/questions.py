"""What the diagnostic reads: prompts with the tokens of an answer, the gold one or that of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.models.target import encode
from dftt.study.manifest import wanted_records
from dftt.suites.conversation import later_turns
from dftt.suites.rows import phrases_of
from dftt.suites.tasks import context_of, group_by_context
from dftt.types import Prompt, Task

Answers = Mapping[str, tuple[int, ...]]  # token ids by task_id


@dataclass(frozen=True)
class Question:
    """A prompt and the tokens that are read after it.

    Args:
        task_id: The task.
        context_id: Its context.
        prompt: Token ids of the prompt.
        answer: Token ids of the answer, at least one.
        choice: First token of the gold answer and of a wrong one, which differ; None where there are no such two.
    """

    task_id: str
    context_id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    choice: tuple[int, int] | None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Prompt and answer."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Context:
    """A context, which drafts adapt to, and the questions on it.

    Args:
        context_id: Its id.
        prompt: Its tokens.
        questions: At least one.
    """

    context_id: str
    prompt: Prompt
    questions: tuple[Question, ...]


def gold_answers(tasks: Sequence[Task], tokenizer: Any) -> Answers:
    """Tokens of the first `answer` that the metadata of each task names; tasks without one are left out."""
    golds = {task.task_id: next(_phrases(task, "answer"), None) for task in tasks}
    return {task_id: tuple(encode(tokenizer, text)) for task_id, text in golds.items() if text is not None}


def run_answers(tasks: Sequence[Task], run_dir: Path, arm: str | None, tokenizer: Any) -> Answers:
    """Tokens that one arm of a run answered, of several seeds the first; what is no single answer is left out.

    Args:
        tasks: The tasks.
        run_dir: Folder of the run.
        arm: The arm; may be None where the run has only one.
        tokenizer: The target's.

    Raises:
        ValueError: The folder or the arm is not there, or the run had another tokenizer.
    """
    if not run_dir.is_dir():
        raise ValueError(f"--answers: {str(run_dir)!r} is neither `gold` nor the folder of a run; give one of them")
    records = wanted_records(run_dir).records
    arms = sorted({record.arm for record in records})
    if arm not in arms and (arm is not None or len(arms) != 1):
        raise ValueError(
            f"--arm: {arm or 'none given'}, but {run_dir} has {', '.join(arms) or 'no records'}; choose one that it has"
        )
    one_turn = {task.task_id for task in tasks if not later_turns(task)}
    answers: dict[str, tuple[int, ...]] = {}
    for record in records:  # sorted by task, arm and seed
        if record.arm != (arm or arms[0]) or record.task_id not in one_turn or not record.token_ids:
            continue
        if tokenizer.decode(record.token_ids, skip_special_tokens=True) != record.answer:
            raise ValueError(
                f"--answers: tokens of {record.task_id!r} in {run_dir} do not spell its answer with this target's "
                "tokenizer; give the --target that the run had"
            )
        answers.setdefault(record.task_id, record.token_ids)
    return answers


def pose(
    tasks: Sequence[Task], answers: Answers, tokenizer: Any, *, window: int, max_contexts: int = 0
) -> tuple[list[Context], dict[str, int]]:
    """Contexts with their questions, in the order of the tasks, and how many tasks were left out, by reason.

    Args:
        tasks: The tasks.
        answers: Tokens to be read, by task.
        tokenizer: The target's.
        window: The target's.
        max_contexts: Take the first so many contexts; 0 takes all.

    Raises:
        ValueError: No task is left.
    """
    groups = dict(list(group_by_context(tasks).items())[: max_contexts or None])
    choices = _choices([task for members in groups.values() for task in members], tokenizer)
    contexts, left_out = [], Counter[str]()
    for context_id, members in groups.items():
        prompts = [encode(tokenizer, task.messages) for task in members]
        questions = []
        for task, prompt in zip(members, prompts, strict=True):
            answer = answers.get(task.task_id)
            if answer is None:
                left_out["no answer"] += 1
            elif len(prompt) + len(answer) > window:
                left_out[f"longer than the target's window of {window}"] += 1
            else:
                choice = choices.get(task.task_id)
                questions.append(Question(task.task_id, context_id, tuple(prompt), answer, choice))
        if questions:
            contexts.append(Context(context_id, context_of(prompts), tuple(questions)))
    if not contexts:
        reasons = ", ".join(f"{count} with {reason}" for reason, count in left_out.items())
        raise ValueError(
            f"none of the {left_out.total()} tasks can be read ({reasons}): gold answers are a row's `answer` or "
            "`answers`; for rows without, give the folder of a run that answered them with --answers"
        )
    return contexts, dict(left_out)


def _choices(tasks: Sequence[Task], tokenizer: Any) -> dict[str, tuple[int, int]]:
    """First tokens of the right and of a wrong answer: a distractor's, or where a task has none another context's."""

    def first(text: str) -> int:
        return encode(tokenizer, text)[0]

    rights = {task.task_id: first(text) for task in tasks for text in list(_phrases(task, "answer"))[:1]}
    choices = {}
    for place, task in enumerate(tasks):
        right = rights.get(task.task_id)
        named = [first(text) for text in _phrases(task, "distractor")]
        others = (
            rights[other.task_id]
            for other in [*tasks[place + 1 :], *tasks[:place]]
            if other.context_id != task.context_id and other.task_id in rights
        )
        wrong = next((token for token in named or others if token != right), None)
        if right is not None and wrong is not None:
            choices[task.task_id] = right, wrong
    return choices


def _phrases(task: Task, key: str) -> Iterator[str]:
    """What a task's metadata says under `answer` or `distractor`, or under the plural of it."""
    singular = {key: task.metadata[key]} if task.metadata.get(key) is not None else task.metadata
    yield from (phrase for phrase in phrases_of(singular, key) if phrase.strip())
