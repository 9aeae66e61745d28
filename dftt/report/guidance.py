"""Guidance: pass rates against alpha, and every arm against the target alone, as the verdict compares them."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.analysis.arm_roles import TARGET, target_of
from dftt.analysis.statistics import Interval, wilson_interval
from dftt.report.charts import Estimate, Point, intervals, lines
from dftt.report.figure import Figure
from dftt.report.markup import Child, join, table
from dftt.report.run import ArmData, Run, arm_of
from dftt.report.section import Section, note, shown, shown_interval
from dftt.tables import number


def guidance_section(runs: Sequence[Run], arms: Sequence[ArmData]) -> Section:
    """Pass rates of all arms, against alpha where arms are guided, and paired with the target alone."""
    scored = [arm for arm in arms if any(record.passed is not None for record in arm.records)]
    if not scored:
        return Section("guidance", "Answers and guidance", note("No answer was scored: there is no pass rate."))
    figures = [figure for figure in (_against_alpha(runs, scored), _differences(scored)) if figure is not None]
    body = join(
        note(
            "Pass rates count scored answers only (Wilson intervals at 95 %). Differences are those of the verdict: "
            "over answers to the same task and seed that both arms had scored, with intervals by contexts."
        ),
        table([_row(arm) for arm in scored], caption="Pass rate per arm"),
        shown(figures),
    )
    return Section("guidance", "Answers and guidance", body, figures)


def target_beside(arm: ArmData, arms: Sequence[ArmData]) -> ArmData | None:
    """The target's own answers at the arm's temperature, where its run has them."""
    target = target_of(arm.run.arms, arm.arm)
    return None if target is None else arm_of(arms, arm.run, target.id)


def _row(arm: ArmData) -> dict[str, Child]:
    rate = _rate(arm)
    found = arm.compared(TARGET, "pass rate")
    return {
        "arm": arm.label,
        "passed": f"{sum(bool(r.passed) for r in arm.records)} of {rate.n}",
        "pass rate [95 %]": shown_interval(rate),
        "against the target [95 %]": "" if found is None else shown_interval(found.interval, "+"),
        "the target is": "" if found is None else found.reference,
        "pairs": "" if found is None else found.interval.n,
        "unscored": len(arm.records) - rate.n,
    }


def _against_alpha(runs: Sequence[Run], arms: Sequence[ArmData]) -> Figure | None:
    """One line per rule and kind of adaptation; every line begins at the target alone, which is alpha 0."""
    drawn: dict[str, list[Point]] = {}
    rows = []
    for run in runs:
        guided = [arm for arm in arms if arm.run is run and arm.arm.mode == "guided"]
        for name, members in _lines(guided).items():
            line = [(arm.arm.alpha, _rate(arm)) for arm in members]
            target = target_beside(members[0], arms)
            if target is not None and all(alpha != 0 for alpha, _ in line):
                line.append((0.0, _rate(target)))
            line.sort(key=lambda point: point[0])
            label = name if len(runs) == 1 else f"{run.name}: {name}"
            drawn[label] = [Point(alpha, rate.estimate, rate.low, rate.high) for alpha, rate in line]
            rows += [{"line": label, "alpha": alpha, **_numbers(rate)} for alpha, rate in line]
    if not drawn:
        return None
    title = "Pass rate against α; α = 0 is the target alone"
    return Figure("pass_rate_by_alpha", title, lines(drawn, x_axis="α", y_axis="pass rate", from_zero=True), rows)


def _lines(arms: Sequence[ArmData]) -> dict[str, list[ArmData]]:
    """Arms that differ in alpha alone, by what they share; the temperature is named where there are several."""
    several = len({arm.arm.temperature for arm in arms}) > 1
    lines: dict[str, list[ArmData]] = {}
    for data in arms:
        arm = data.arm
        rule = "" if not arm.guidance else ", ".join(map(str, arm.guidance.values())) + ", "
        heat = f", T = {arm.temperature:g}" if several and arm.temperature is not None else ""
        lines.setdefault(f"{rule}TTT {arm.ttt}{heat}", []).append(data)
    return lines


def _differences(arms: Sequence[ArmData]) -> Figure | None:
    found = [(arm, made) for arm in arms if (made := arm.compared(TARGET, "pass rate")) is not None]
    if not found:
        return None
    estimates = [
        Estimate(arm.label, number(d.estimate), number(d.low), number(d.high), 0 if arm.arm.mode == "guided" else 7)
        for arm, made in found
        for d in (made.interval,)
    ]
    return Figure(
        "pass_rate_differences",
        "Pass rate against the target alone at the same temperature, paired",
        intervals(estimates, axis="difference in pass rate", zero=0.0),
        [{"arm": arm.label, "reference": made.reference, **_numbers(made.interval)} for arm, made in found],
    )


def _rate(arm: ArmData) -> Interval:
    scored = [record.passed for record in arm.records if record.passed is not None]
    return wilson_interval(sum(scored), len(scored))


def _numbers(interval: Interval) -> dict[str, float | int | None]:
    low, high = number(interval.low), number(interval.high)
    return {"estimate": number(interval.estimate), "low": low, "high": high, "n": interval.n}
