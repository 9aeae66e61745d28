"""Guidance: pass rates against alpha, and every arm against the target alone on the same tasks."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.evaluation.report.charts import Estimate, Point, intervals, lines
from dftt.evaluation.report.figure import Figure
from dftt.evaluation.report.markup import Child, join, table
from dftt.evaluation.report.run import ArmData, Run, arm_of
from dftt.evaluation.report.section import Section, note, shown
from dftt.evaluation.statistics import Interval, paired_difference, wilson_interval
from dftt.evaluation.summary import number
from dftt.evaluation.tables import value_range


def guidance_section(runs: Sequence[Run], arms: Sequence[ArmData]) -> Section:
    """Pass rates of all arms, against alpha where arms are guided, and paired with the target alone."""
    scored = [arm for arm in arms if any(record.passed is not None for record in arm.records)]
    if not scored:
        return Section("guidance", "Answers and guidance", note("No answer was scored: there is no pass rate."))
    figures = [figure for figure in (_against_alpha(runs, scored), _differences(scored)) if figure is not None]
    body = join(
        note(
            "Pass rates count scored answers only (Wilson intervals at 95 %). Differences are over answers to the same "
            "task and seed that both arms had scored, whole contexts resampled."
        ),
        table([_row(arm, arms) for arm in scored], caption="Pass rate per arm"),
        shown(figures),
    )
    return Section("guidance", "Answers and guidance", body, figures)


def reference_of(arm: ArmData, arms: Sequence[ArmData]) -> ArmData | None:
    """The arm whose answers an arm's are compared with: the target alone, else the run's baseline."""
    return arm_of(arms, arm.run, "target") or arm_of(arms, arm.run, arm.run.baseline)


def pass_difference(arm: ArmData, reference: ArmData) -> Interval:
    """Pass rate of an arm minus that of another, on the tasks and seeds that both had scored."""
    others = {(r.task_id, r.seed): r.passed for r in reference.records if r.passed is not None}
    pairs = [r for r in arm.records if r.passed is not None and (r.task_id, r.seed) in others]
    return paired_difference(
        [float(bool(r.passed)) for r in pairs],
        [float(bool(others[r.task_id, r.seed])) for r in pairs],
        [r.context_id for r in pairs],
    )


def _row(arm: ArmData, arms: Sequence[ArmData]) -> dict[str, Child]:
    rate = _rate(arm)
    reference = reference_of(arm, arms)
    difference = None if reference in (None, arm) else pass_difference(arm, reference)
    return {
        "arm": arm.label,
        "passed": f"{sum(bool(r.passed) for r in arm.records)} of {rate.n}",
        "pass rate [95 %]": _shown(rate),
        "against the target alone" if arm_of(arms, arm.run, "target") else "against the baseline": (
            "" if difference is None else _shown(difference, "+")
        ),
        "pairs": "" if difference is None else difference.n,
        "unscored": len(arm.records) - rate.n,
    }


def _against_alpha(runs: Sequence[Run], arms: Sequence[ArmData]) -> Figure | None:
    """One line per rule and kind of adaptation; every line begins at the target alone, which is alpha 0."""
    drawn: dict[str, list[Point]] = {}
    rows = []
    for run in runs:
        target = arm_of(arms, run, "target")
        guided = [arm for arm in arms if arm.run is run and arm.mode == "guided" and arm.alpha is not None]
        for rule, ttt in sorted({(arm.rule, arm.ttt) for arm in guided}):
            kind = f"{rule}, TTT {ttt}" if rule else f"TTT {ttt}"
            name = kind if len(runs) == 1 else f"{run.name}: {kind}"
            line = [(arm.alpha or 0.0, _rate(arm)) for arm in guided if (arm.rule, arm.ttt) == (rule, ttt)]
            if target is not None and all(alpha != 0 for alpha, _ in line):
                line.append((0.0, _rate(target)))
            line.sort(key=lambda point: point[0])
            drawn[name] = [Point(alpha, rate.estimate, rate.low, rate.high) for alpha, rate in line]
            rows += [{"line": name, "alpha": alpha, **_numbers(rate)} for alpha, rate in line]
    if not drawn:
        return None
    title = "Pass rate against α; α = 0 is the target alone"
    return Figure("pass_rate_by_alpha", title, lines(drawn, x_axis="α", y_axis="pass rate", from_zero=True), rows)


def _differences(arms: Sequence[ArmData]) -> Figure | None:
    pairs = [(arm, reference) for arm in arms if (reference := reference_of(arm, arms)) not in (None, arm)]
    found = [(arm, pass_difference(arm, reference)) for arm, reference in pairs if reference is not None]
    if not found:
        return None
    estimates = [
        Estimate(arm.label, number(d.estimate), number(d.low), number(d.high), 0 if arm.mode == "guided" else 7)
        for arm, d in found
    ]
    return Figure(
        "pass_rate_differences",
        "Pass rate against the target alone, paired (against the run's baseline where it has no target arm)",
        intervals(estimates, axis="difference in pass rate", zero=0.0),
        [{"arm": arm.label, **_numbers(d)} for arm, d in found],
    )


def _rate(arm: ArmData) -> Interval:
    scored = [record.passed for record in arm.records if record.passed is not None]
    return wilson_interval(sum(scored), len(scored))


def _shown(interval: Interval, sign: str = "") -> str:
    return value_range(number(interval.estimate), number(interval.low), number(interval.high), sign)


def _numbers(interval: Interval) -> dict[str, float | int | None]:
    low, high = number(interval.low), number(interval.high)
    return {"estimate": number(interval.estimate), "low": low, "high": high, "n": interval.n}
