"""What the page's tables hold beyond an arm's own numbers; every difference is a comparison of the verdict."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from dftt.analysis.arm_roles import NO_TTT, TARGET
from dftt.analysis.statistics import Interval
from dftt.analysis.taxonomy import transitions
from dftt.report.run import ArmData, Run, arm_of
from dftt.report.words import listed, shortened
from dftt.tables import number, value_range
from dftt.types import Record

Row = Mapping[str, Any]
_REASON = 200  # characters shown of why an answer has no score
_MOST_TASKS = 10


def facts(runs: Sequence[Run]) -> list[Row]:
    """What was run: one row for each fact, with a column for each run."""
    made = {run.name: _facts(run) for run in runs}
    return [{"": name, **{run: facts[name] or None for run, facts in made.items()}} for name in _facts(runs[0])]


def _facts(run: Run) -> dict[str, object]:
    model, data = run.config.get("model") or {}, (run.config.get("data") or {}).get("init_args") or {}
    made_by, packages, records = run.provenance, run.provenance.get("packages") or {}, run.records
    commit = str(made_by.get("commit") or "")[:12]
    return {
        "target": model.get("target"),
        "draft": model.get("draft") or ("the target's bundled one" if model else None),
        "precision": model.get("target_dtype"),
        "data": data.get("suite") or data.get("path") or ", ".join(data.get("suites") or ()),
        "tasks": f"{len({r.task_id for r in records}):,} on {len({r.context_id for r in records}):,} contexts",
        "arms": len({record.arm for record in records}),
        "seeds": ", ".join(map(str, sorted({record.seed for record in records}))),
        "records": f"{len(records):,}",
        "baseline": run.words.get(run.baseline),
        "command": shlex.join(map(str, made_by.get("command") or ())),
        "commit": commit + (" with local changes" if commit and made_by.get("modified") else ""),
        "machine": made_by.get("device"),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }


def unscored(arms: Sequence[ArmData]) -> list[Row]:
    """Why answers have no score, and how many."""
    reasons = Counter(
        shortened(record.explanation or "no rubric that a program can check, and no judge", _REASON)
        for arm in arms
        for record in arm.records
        if record.passed is None
    )
    return [{"reason": reason, "answers": count} for reason, count in reasons.most_common()]


def adaptations(arms: Sequence[ArmData]) -> tuple[list[Row], str]:
    """What adapting did, per arm whose draft was adapted, and the settings that all of them share."""
    adapted = [arm for arm in arms if arm.cost.adaptations]
    shared = set.intersection(*(set(arm.settings.items()) for arm in adapted)) if adapted else set()
    rows = []
    for arm in adapted:
        gain, change = (arm.compared(NO_TTT, measure) for measure in ("tau", "pass rate"))
        base = arm_of(arms, arm.run, gain.reference) if gain else None
        pays = arm.cost.pays_after(base.cost) if base else None
        found = gain or change
        own = {name: value for name, value in arm.settings.items() if (name, value) not in shared}
        rows.append(
            {
                "arm": arm.label,
                "own settings": listed(own) or None,
                "contexts": arm.cost.adaptations,
                "seconds each": _seconds_each(arm),
                "loss": _losses(arm),
                "without TTT it is": arm.run.words[found.reference] if found else None,
                "Δτ [95 %]": shown(gain.interval, "+") if gain else None,
                "Δ pass rate [95 %]": shown(change.interval, "+") if change else None,
                "break-even": _break_even(arm, pays),
            }
        )
    return rows, listed(
        {name: value for name, value in adapted[0].settings.items() if (name, value) in shared}
    ) if adapted else ""


def _seconds_each(arm: ArmData) -> str:
    """Of an adaptation, what the target wrote for it apart."""
    writing, steps = (value / arm.cost.adaptations for value in (arm.cost.writing_s, arm.cost.learning_s))
    return f"{writing:.1f} writing + {steps:.1f} steps" if writing else f"{steps:.1f}"


def _break_even(arm: ArmData, tokens: float | None) -> str | None:
    """After how many new tokens about a context, and answers of their usual length, its adaptation has paid."""
    if tokens is None:
        return None
    if tokens == float("inf"):
        return "never"
    answers = tokens / (arm.cost.tokens / len(arm.records))
    return f"{tokens:,.0f} tokens ({answers:,.1f} answers)"


def _losses(arm: ArmData) -> str | None:
    """The mean loss before the first and the last step."""
    made = {record.context_id: record.adaptation for record in arm.records if record.adaptation}.values()
    ends = [[each[name] for each in made if each.get(name) is not None] for name in ("first_loss", "last_loss")]
    return " → ".join(f"{sum(end) / len(end):.3f}" for end in ends) if all(ends) else None


def error_changes(arms: Sequence[ArmData]) -> dict[str, list[Row]]:
    """What arms mend and break, by class of error, for each target that the verdict compares them with."""
    changes: dict[str, list[Row]] = {}
    for arm in arms:
        if found := arm.compared(TARGET, "pass rate"):
            records = [record for record in arm.run.records if record.arm in (arm.arm.id, found.reference)]
            changes.setdefault(arm.run.words[found.reference], []).extend(
                {name.replace("_", " "): value for name, value in {**row, "arm": arm.label}.items()}
                for row in transitions(records, arm.run.failures, found.reference)
            )
    return changes


def published(arms: Sequence[ArmData]) -> dict[str, tuple[dict[ArmData, list[Record]], list[Row]]]:
    """For each suite that was run and has published values: our lossless arms with their answers to it, and those."""
    text = files("dftt.report").joinpath("published.csv").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for row in csv.DictReader(text.splitlines()):
        ours = {
            arm: [r for r in arm.records if r.metadata.get("suite") == row["suite"]]
            for arm in arms
            if arm.arm.mode == "speculative"
        }
        if any(ours.values()):
            found.setdefault(row["suite"], (ours, []))[1].append(row)
    return found


def disagreements(arms: Sequence[ArmData]) -> tuple[dict[str, list[tuple[ArmData, Record]]], int]:
    """A few tasks with the answer of every arm, those first on which arms disagree; and how many tasks there are."""
    tasks: dict[str, list[tuple[ArmData, Record]]] = {}
    for arm in arms:
        for record in arm.records:
            tasks.setdefault(record.task_id, []).append((arm, record))

    def agreement(task: str) -> tuple[int, str]:
        states = [record.passed for _, record in tasks[task]]
        return -min(states.count(True), states.count(False)), task

    return {task: tasks[task] for task in sorted(tasks, key=agreement)[:_MOST_TASKS]}, len(tasks)


def shown(interval: Interval, sign: str = "") -> str:
    """An estimate with its interval, as all tables of the page show it."""
    return value_range(number(interval.estimate), number(interval.low), number(interval.high), sign)
