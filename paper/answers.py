"""Answers to a few tasks side by side: those of the target alone and of guided arms, where they part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dftt.analysis.arm_roles import target_of
from dftt.suites.clbench import clbench_contexts
from dftt.types import Record, Task
from paper.studies import Selection, Study
from paper.tex import Value, code, escape
from paper.trace import Ledger, Source

_MOST_TASKS = 2
_MOST_ARMS = 5
_LONGEST = 280  # characters of an answer
_STATES = {True: "passed", False: "failed", None: "unscored"}


def write_answers(ledger: Ledger, studies: Sequence[Study], path: Path) -> None:
    """Write the answers to the first tasks, by id, that the target and a guided arm score differently on."""
    blocks = []
    for study in studies:
        arms = [arm.id for arm in study.arms if arm.mode == "guided"]
        targets = [target for arm in study.arms if arm.mode == "guided" and (target := target_of(study.arms, arm))]
        if targets and len(blocks) < _MOST_TASKS:
            shown = [targets[0].id, *arms]
            keys = _parting(study, shown)[: _MOST_TASKS - len(blocks)]
            blocks += [_block(ledger, study, key, shown) for key in keys]
    ledger.flags["AnswersShown"] = bool(blocks)
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def _parting(study: Study, arms: Sequence[str]) -> list[tuple[str, int]]:
    """Task and seed of answers that some of the arms pass and some fail; none of CL-bench, whose text stays away."""
    states: dict[tuple[str, int], set[bool]] = {}
    for record in study.run.records:
        if record.arm in arms and record.passed is not None and not _is_clbench(record):
            states.setdefault((record.task_id, record.seed), set()).add(record.passed)
    return sorted(key for key, seen in states.items() if len(seen) > 1)


def _is_clbench(record: Record) -> bool:
    return bool(clbench_contexts([Task(record.task_id, record.context_id, (), metadata=record.metadata)]))


def _block(ledger: Ledger, study: Study, key: tuple[str, int], arms: Sequence[str]) -> str:
    task, seed = key
    lines = [rf"\paragraph{{Task {code(task)}}}", r"\begin{description}\small\raggedright"]
    passed = {record.arm: record.passed for record in study.run.records if (record.task_id, record.seed) == key}
    first = passed.get(arms[0])
    known = sorted((arm for arm in arms if arm in passed), key=lambda arm: (arm != arms[0], passed[arm] == first))
    for arm in known[:_MOST_ARMS]:
        source = Source(study, "answer", Selection((arm,)), {"task": task, "seed": seed})
        where = f"answers, {task}, {arm}"
        state = ledger.write(where, source, "passed", lambda value: _STATES[value])  # type: ignore[index]
        lines.append(rf"\item[{code(arm)}] \emph{{{state}.}} {ledger.write(where, source, 'answer', _shown)}")
    return "\n".join([*lines, r"\end{description}"])


def _shown(value: Value) -> str:
    text = str(value).strip()
    return escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …") or "(empty)"
