"""Why answers failed, and which failures an arm mends or makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dftt.analysis.arm_roles import TARGET
from dftt.analysis.taxonomy import transitions
from dftt.report.charts import bars
from dftt.report.figure import Figure
from dftt.report.markup import Markup, join, table, tag
from dftt.report.run import ArmData, Run
from dftt.report.section import Section, note, shown
from dftt.scoring.error_classes import ERROR_CLASSES, UNCLASSIFIED, classify_all
from dftt.study.records import Key


def error_section(runs: Sequence[Run], arms: Sequence[ArmData]) -> Section:
    """Classes of failures per arm, and what each arm changes against the target's own answers."""
    classes = {run.name: {**classify_all(run.records), **run.error_classes} for run in runs}
    counts = {
        arm.label: Counter(classes[arm.run.name][r.key] for r in arm.records if r.key in classes[arm.run.name])
        for arm in arms
    }
    if not any(counts.values()):
        return Section("errors", "Errors", note("No scored answer failed."))
    names = [name for name in (*ERROR_CLASSES, UNCLASSIFIED) if any(count[name] for count in counts.values())]
    figure = Figure(
        "errors",
        "Failed answers by class",
        bars({label: {name: count[name] for name in names} for label, count in counts.items()}, axis="answers"),
        [{"arm": label, "class": name, "answers": count[name]} for label, count in counts.items() for name in names],
    )
    meanings = [{"class": name, "meaning": ERROR_CLASSES[name]} for name in ERROR_CLASSES if name in names]
    body = join(
        table(meanings, numbers=False) if meanings else None,
        shown([figure]),
        [_changes(run, arms, classes[run.name]) for run in runs],
    )
    return Section("errors", "Errors", body, [figure])


def _changes(run: Run, arms: Sequence[ArmData], classes: dict[Key, str]) -> list[Markup]:
    """A table for each target that the verdict compares arms of the run with."""
    members: dict[str, list[ArmData]] = {}
    for arm in arms:
        if arm.run is run and (found := arm.compared(TARGET, "pass rate")):
            members.setdefault(found.reference, []).append(arm)
    return [_against(run, reference, group, classes) for reference, group in members.items()]


def _against(run: Run, reference: str, arms: Sequence[ArmData], classes: dict[Key, str]) -> Markup:
    labels = {arm.arm.id: arm.label for arm in arms}
    records = [record for record in run.records if record.arm == reference or record.arm in labels]
    rows = [
        {
            "arm": labels[row["arm"]],
            "class": row["class"],
            "fixed": row["fixed"],
            "broken": row["broken"],
            "moved": row["moved"],
            "failures before": row["baseline_failures"],
            "after": row["arm_failures"],
            "pairs": row["pairs"],
        }
        for row in transitions(records, classes, reference)
    ]
    return join(
        tag("h3", f"Against {reference}"),
        note(
            "Fixed: it failed so and the arm passes. Broken: it passed and the arm fails so. "
            "Moved: the arm fails otherwise."
        ),
        table(rows),
    )
