"""Tasks of a generated suite."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from dftt.suites.worlds.document import Measure, estimate_tokens, write_document
from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.facts import Constants, Conventions, Registry
from dftt.suites.worlds.part import Part, Question, Setting, rubrics
from dftt.suites.worlds.procedures import Customs, Procedures
from dftt.suites.worlds.rules import Laws, Limits, Notation, Operators
from dftt.suites.worlds.spec import WorldsSpec
from dftt.suites.worlds.vocabulary import GENRES, vocabulary
from dftt.types import Task

PARTS: dict[str, type[Part]] = {
    "registry": Registry,
    "limits": Limits,
    "operators": Operators,
    "procedures": Procedures,
    "laws": Laws,
    "constants": Constants,
    "conventions": Conventions,
    "customs": Customs,
    "notation": Notation,
    "known_laws": Laws,
}
INSTRUCTION = "Answer the question from the document above, in one sentence, with numbers in digits."
_DRAWS = 400  # for a sound question that has not been asked yet


def generate_tasks(spec: WorldsSpec, measure: Measure = estimate_tokens) -> Iterator[Task]:
    """All tasks of the suite, context by context; the same for the same spec and measure.

    Args:
        spec: Size, difficulty and seed.
        measure: Tokens of a text; by default estimated from its words.

    Raises:
        ValueError: A document of that length cannot hold its facts, or has too few questions of the kind asked for.
    """
    for number in range(spec.contexts):
        yield from _context_tasks(spec, number, measure)


def _context_tasks(spec: WorldsSpec, number: int, measure: Measure) -> Iterator[Task]:
    # The categories in turn, and within each its genres in turn.
    turn, place = divmod(number, len(spec.categories))
    genres = [name for name in GENRES if vocabulary(name)["category"] == spec.categories[place]]
    name = genres[turn % len(genres)]
    genre, draw = vocabulary(name), Draw("worlds", spec.seed, number, name)
    names = Names(draw)
    setting = Setting(spec, draw, names, names.word())
    parts = [PARTS[key](data, setting) for key, data in genre["parts"].items()]
    document = write_document(genre, [section for part in parts for section in part.sections()], setting, measure)
    asked: dict[str, Question] = {}
    for index in range(number * spec.tasks, (number + 1) * spec.tasks):
        # Spread evenly, so that every run of tasks holds the share of conflicts.
        conflict = int((index + 1) * spec.conflict + 1e-9) > int(index * spec.conflict + 1e-9)
        question = _question([part for part in parts if part.conflict == conflict], draw, asked, spec)
        asked[question.text] = question
    context_id = f"worlds-{spec.seed}-{number:05d}-{setting.world.lower()}"
    for index, question in enumerate(asked.values(), start=1):
        yield _task(spec, genre, question, document, context_id, index)


def _question(parts: list[Part], draw: Draw, asked: Container[str], spec: WorldsSpec) -> Question:
    for _ in range(_DRAWS):
        question = draw.pick(parts).ask(draw)
        if question.text not in asked and question.is_sound():
            return question
    raise ValueError(
        f"worlds.tasks {spec.tasks}: a document has too few different questions; ask for fewer or for more distractors"
    )


def _task(
    spec: WorldsSpec, genre: dict[str, Any], question: Question, document: str, context_id: str, number: int
) -> Task:
    asked = f"{INSTRUCTION}\n\nQuestion: {question.text} {question.request}".rstrip()
    metadata = {
        "task_id": f"{context_id}/{number}",
        "context_id": context_id,
        "context_category": genre["category"],
        "sub_category": genre["sub_category"],
        "suite": "worlds",
        "difficulty": spec.difficulty,
        "hops": question.hops,
        "sums": question.sums,
        "conflict": bool(question.prior),
        "chance": question.chance,
        "answer": question.answer,
        "reference": question.reference,
        "prior_answer": question.prior or None,
        "distractors": list(question.ignoring),
        "entities": list(question.entities),
        "options": list(question.options),
        "evidence": list(question.evidence),
        "working": question.working,
    }
    messages = ({"role": "user", "content": f"{document}\n\n{asked}"},)
    return Task(metadata["task_id"], context_id, messages, rubrics(question), metadata, asked)


def to_row(task: Task) -> dict[str, Any]:
    """A task as a row in CL-bench's schema, which `load_tasks` reads back."""
    return {
        "messages": [dict(message) for message in task.messages],
        "question": task.question,
        "rubrics": [dict(rubric) for rubric in task.rubrics],
        "metadata": dict(task.metadata),
    }
