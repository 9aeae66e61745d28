"""Why answers failed, and which failures an arm mends or makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dftt.evaluation.report.charts import bars
from dftt.evaluation.report.figure import Figure
from dftt.evaluation.report.guidance import reference_of
from dftt.evaluation.report.markup import Markup, join, table, tag
from dftt.evaluation.report.run import ArmData, Run
from dftt.evaluation.report.section import Section, note, shown
from dftt.evaluation.taxonomy import ERROR_CLASSES, UNCLASSIFIED, classify_all, transitions


def error_section(runs: Sequence[Run], arms: Sequence[ArmData]) -> Section:
    """Classes of failures per arm, and what each arm changes against the target alone (or the baseline)."""
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


def _changes(run: Run, arms: Sequence[ArmData], classes: dict[tuple[str, str, int], str]) -> Markup:
    own = [arm for arm in arms if arm.run is run]
    reference = reference_of(own[0], arms)
    if reference is None or len(own) < 2:
        return join()
    labels = {arm.arm: arm.label for arm in own}
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
        for row in transitions(run.records, classes, reference.arm)
    ]
    return join(
        tag("h3", f"Against {reference.label}"),
        note(
            "Fixed: it failed so and the arm passes. Broken: it passed and the arm fails so. "
            "Moved: the arm fails otherwise."
        ),
        table(rows),
    )
