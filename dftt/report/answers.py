"""Answers in full, of the tasks on which arms disagree most."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.report.markup import Markup, join, shortened, tag
from dftt.report.run import ArmData
from dftt.report.section import Section, note
from dftt.types import Record

_MOST_TASKS = 10
_LONGEST = 3000  # characters of an answer
_REASON = 400
_STATES = {True: "passed", False: "failed", None: "unscored"}


def answer_section(arms: Sequence[ArmData]) -> Section:
    """A few tasks with the answer of every arm: those on which some arms pass and some fail come first."""
    tasks: dict[str, list[tuple[ArmData, Record]]] = {}
    for arm in arms:
        for record in arm.records:
            tasks.setdefault(record.task_id, []).append((arm, record))
    chosen = sorted(tasks, key=lambda task: (-_disagreement([record for _, record in tasks[task]]), task))[:_MOST_TASKS]
    body = join(
        note(f"{len(chosen)} of {len(tasks):,} tasks, those first on which arms disagree."),
        [_task(task, tasks[task]) for task in chosen],
    )
    return Section("answers", "Answers", body)


def _disagreement(records: Sequence[Record]) -> int:
    passed = sum(record.passed is True for record in records)
    return min(passed, sum(record.passed is False for record in records))


def _task(task: str, answers: Sequence[tuple[ArmData, Record]]) -> Markup:
    passed = sum(record.passed is True for _, record in answers)
    summary = tag("summary", task, tag("span", f" {passed} of {len(answers)} answers passed", class_="note"))
    return tag("details", summary, [_answer(arm, record) for arm, record in answers])


def _answer(arm: ArmData, record: Record) -> Markup:
    state = _STATES[record.passed]
    seed = f", seed {record.seed}" if record.seed else ""
    reason = shortened(record.explanation, _REASON)
    return tag(
        "div",
        tag("h4", f"{arm.label}{seed}: ", tag("span", state, class_=state), f" {reason}" if reason else None),
        tag("pre", shortened(record.answer, _LONGEST) or "(empty)", dir="ltr", tabindex=0),
        class_="answer",
    )
