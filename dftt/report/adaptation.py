"""What adapting does: losses over its steps, the gain in τ by its settings, and when it pays for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dftt.analysis.arm_roles import NO_TTT
from dftt.analysis.statistics import Interval
from dftt.report.budget import cost_of
from dftt.report.charts import Estimate, Point, intervals, lines
from dftt.report.figure import Figure
from dftt.report.markup import Child, join, table
from dftt.report.run import ArmData, arm_of
from dftt.report.section import Section, note, shown, shown_interval
from dftt.tables import number

SETTINGS = ("steps", "lr", "rank", "loss", "anchors", "window")
_AXES = ("steps", "lr", "rank", "window")  # of these a curve says something; window 0 is the whole context
_MOST_LINES = 12


def adaptation_section(arms: Sequence[ArmData]) -> Section:
    """Losses, gains by setting and break-even of the arms whose draft was adapted."""
    adapted = [arm for arm in arms if any(record.adaptation for record in arm.records)]
    if not adapted:
        return Section("adaptation", "Adaptation", note("No arm adapted its draft."))
    figures = [figure for figure in (_losses(adapted), *_gains(adapted)) if figure is not None]
    common = _common([settings_of(arm) for arm in adapted])
    differing = any(settings_of(arm) != common for arm in adapted)
    body = join(
        table([_row(arm, arms, common, differing) for arm in adapted], caption="Adaptations per arm"),
        note("All adapt with ", _listed(common), ".") if common else None,
        note(
            "Differences are those of the verdict, against the same arm without TTT; – where it makes none. Break-even "
            "is the number of new tokens per context after which the seconds saved exceed the seconds of adapting; "
            "'never' where a token costs no less than before."
        ),
        shown(figures),
    )
    return Section("adaptation", "Adaptation", body, figures)


def _common(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of them set alike."""
    first, *others = settings
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def settings_of(arm: ArmData) -> dict[str, Any]:
    """How an arm adapts, and which layers it sees and how often it answers, where that is not the usual."""
    known = {name: value for name, value in arm.arm.ttt_overrides.items() if name in SETTINGS}
    if arm.arm.taps != "all":
        known["taps"] = arm.arm.taps
    return known if arm.arm.rounds == 1 else {**known, "rounds": arm.arm.rounds}


def _row(arm: ArmData, arms: Sequence[ArmData], common: Mapping[str, Any], differing: bool) -> dict[str, Child]:
    made = {r.context_id: r.adaptation for r in arm.records if r.adaptation}
    gain, change = (arm.compared(NO_TTT, measure) for measure in ("tau", "pass rate"))
    seconds = sum(float(each.get("seconds") or 0) for each in made.values()) / len(made)
    first = [each["first_loss"] for each in made.values() if each.get("first_loss") is not None]
    last = [each["last_loss"] for each in made.values() if each.get("last_loss") is not None]
    own = {name: value for name, value in settings_of(arm).items() if name not in common}
    found = gain or change
    return {
        "arm": arm.label,
        **({"own settings": _listed(own) or "–"} if differing else {}),
        "contexts": len(made),
        "seconds each": f"{seconds:.1f}",
        "loss": f"{sum(first) / len(first):.3f} → {sum(last) / len(last):.3f}" if first and last else "–",
        "without TTT it is": "–" if found is None else found.reference,
        "Δτ [95 %]": "–" if gain is None else shown_interval(gain.interval, "+"),
        "Δ pass rate [95 %]": "–" if change is None else shown_interval(change.interval, "+"),
        "break-even": "–" if gain is None else _break_even(arm, arm_of(arms, arm.run, gain.reference), seconds),
    }


def _break_even(arm: ArmData, base: ArmData | None, seconds: float) -> str:
    if base is None:
        return "–"
    before, after = cost_of(base.records).seconds_per_token, cost_of(arm.records).seconds_per_token
    if before is None or after is None:
        return "–"
    return f"{seconds / (before - after):,.0f} tokens" if after < before else "never"


def _losses(arms: Sequence[ArmData]) -> Figure | None:
    """Mean loss before each step, over the contexts of an arm; arms under the same adaptations are one line.

    Those to a wrong context are the same ones too, given to other tasks.
    """
    traces: dict[tuple[str, ...], list[list[float]]] = {}
    users: dict[tuple[str, ...], list[str]] = {}
    for arm in arms:
        made = {r.context_id: r.adaptation["losses"] for r in arm.records if r.adaptation.get("losses")}
        if made:
            key = tuple(sorted(map(repr, made.values())))
            traces[key] = list(made.values())
            users.setdefault(key, []).append(arm.label)
    rows, drawn = [], {}
    for key, losses in traces.items():
        label = users[key][0] + (f" and {len(users[key]) - 1} more" if len(users[key]) > 1 else "")
        line = []
        for step in range(max(map(len, losses))):
            reached = [trace[step] for trace in losses if step < len(trace)]
            line.append(Point(step, sum(reached) / len(reached)))
            rows.append({"arm": label, "step": step, "loss": line[-1].y, "contexts": len(reached)})
        if len(drawn) < _MOST_LINES:
            drawn[label] = line
    if not drawn:
        return None
    title = "Loss before each step of test-time training, mean over contexts"
    return Figure("losses", title, lines(drawn, x_axis="step", y_axis="loss"), rows)


def _gains(arms: Sequence[ArmData]) -> list[Figure]:
    """Δτ against each setting that varies between arms, one line for each combination of the others."""
    found = [
        (arm, settings_of(arm), made.interval) for arm in arms if (made := arm.compared(NO_TTT, "tau")) is not None
    ]
    figures = []
    for axis in _AXES:
        by_rest: dict[str, list[tuple[float, Interval]]] = {}
        for arm, settings, gain in found:
            if axis in settings and number(gain.estimate) is not None:
                by_rest.setdefault(_line(arm, settings, axis), []).append((float(settings[axis]), gain))
        curves = {
            name: sorted(line, key=lambda p: p[0]) for name, line in by_rest.items() if len({x for x, _ in line}) > 1
        }
        if not curves:
            continue
        drawn = {
            name: [Point(x, gain.estimate, number(gain.low), number(gain.high)) for x, gain in line]
            for name, line in list(curves.items())[:_MOST_LINES]
        }
        rows = [
            {"line": name, axis: x, "gain": gain.estimate, "low": number(gain.low), "high": number(gain.high)}
            for name, line in curves.items()
            for x, gain in line
        ]
        figures.append(Figure(f"gain_by_{axis}", f"Δτ against {axis}", lines(drawn, x_axis=axis, y_axis="Δτ"), rows))
    return [*figures, *_by_loss(found)]


def _line(arm: ArmData, settings: Mapping[str, Any], axis: str) -> str:
    """What arms on one line share: what they adapt to, and every setting but the axis."""
    return f"{arm.arm.ttt}; {_listed({name: value for name, value in settings.items() if name != axis})}"


def _by_loss(found: Sequence[tuple[ArmData, dict[str, Any], Interval]]) -> list[Figure]:
    """Δτ under each loss, one group for each combination of the other settings; those of one loss are left out."""
    groups: dict[str, list[tuple[str, Interval]]] = {}
    for arm, settings, gain in found:
        groups.setdefault(_line(arm, settings, "loss"), []).append((str(settings.get("loss", "–")), gain))
    rows, estimates = [], []
    for rest, group in sorted(groups.items()):
        for loss, gain in group if len(group) > 1 else ():
            low, high = number(gain.low), number(gain.high)
            estimates.append(Estimate(loss, number(gain.estimate), low, high, group=rest))
            rows.append({"line": rest, "loss": loss, "gain": number(gain.estimate), "low": low, "high": high})
    if not rows:
        return []
    return [Figure("gain_by_loss", "Δτ by loss", intervals(estimates, axis="Δτ", zero=0.0), rows)]
