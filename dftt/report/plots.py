"""Which figures the report of some arms has, section by section; the manuscript draws some of them, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dftt.analysis.arm_roles import NO_TTT, TARGET
from dftt.analysis.breakdown import GROUPINGS
from dftt.analysis.comparison import MIN_CONTEXTS
from dftt.analysis.metrics import tau_of
from dftt.analysis.statistics import Interval
from dftt.analysis.verdict import Verdict
from dftt.report.costs import cost_of
from dftt.report.figures import Figure, Row, bars, intervals, lines
from dftt.report.run import ArmData, Run
from dftt.report.words import arm_in_words, listed
from dftt.scoring.error_classes import ERROR_CLASSES, UNCLASSIFIED, classify_all
from dftt.scoring.repetition import repetition_group
from dftt.study.records import Key
from dftt.tables import number
from dftt.types import Record

_MOST_LINES = 8  # in one picture; the numbers below it have all arms
_MOST_COMPARISONS = 12
_FEWEST_STEPS = 10  # of which a share is drawn
_AXES = ("steps", "lr", "rank", "window")  # settings against which a curve says something; window 0 is all
_COLOURS = {"none": 7, "own": 0, "wrong": 1}  # by what the draft was adapted to; 2 otherwise


def verdict_figure(run: Run, verdict: Verdict, name: str) -> Figure | None:
    """The comparisons behind a verdict, those with the largest effects where there are many; None where none was made.

    Args:
        run: The run.
        verdict: One of its verdicts.
        name: Of the figure's files.
    """
    made = [each for each in verdict.comparisons if each.interval.n]
    if not made:
        return None
    rows = [{"arm": each.arm, "reference": each.reference, **_numbers(each.interval)} for each in made]
    largest = sorted(range(len(rows)), key=lambda n: -abs(rows[n]["estimate"] or 0))[:_MOST_COMPARISONS]
    drawn = sorted((_drawn(rows[n], run.words) for n in sorted(largest)), key=lambda row: str(row["group"]))
    measure = "τ" if made[0].pair.measure == "tau" else "pass rate"
    title = f"Difference in {measure}, with its 95 % interval"
    if len(made) > len(drawn):
        title += f": the {len(drawn)} largest of {len(made)}"
    drawing = intervals(
        drawn, label="label", value="estimate", axis=f"difference in {measure}", group="group", zero=True
    )
    return Figure(name, title, rows, drawing)


def tau_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Acceptance lengths of the arms that draft: in all, by group, by step and by slot."""
    drafting = drafting_arms(arms)
    if not drafting:
        return []
    rows = [{"arm": arm.key, **_tau(arm.tau)} for arm in drafting]
    chart = intervals([_labelled(row, arm) for row, arm in zip(rows, drafting, strict=True)], **_TAU_CHART)
    groups = {name: GROUPINGS[name] for name in ("category", "length")} | {"repetition": repetition_group}
    by_group = [_tau_by(drafting, name, group_of) for name, group_of in groups.items()]
    return [
        Figure("tau", "τ per arm", rows, chart),
        *(figure for figure in by_group if figure is not None),
        _acceptance_lengths(drafting),
        _slot_acceptance(drafting),
    ]


def guidance_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Pass rates against alpha, and of each arm against the target alone."""
    scored = scored_arms(arms)
    return [figure for figure in (_pass_rate_by_alpha(scored), _pass_rate_differences(scored)) if figure is not None]


def adaptation_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Losses of the adaptations, and the gain in tau against each setting that varies."""
    found = [(arm, made.interval) for arm in arms if (made := arm.compared(NO_TTT, "tau")) is not None]
    figures = [_losses(arms), *(_gain_by(axis, found) for axis in _AXES), _gain_by_loss(found)]
    return [figure for figure in figures if figure is not None]


def budget_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Seconds of decoding and of adapting."""
    costs = {arm.label: cost_of(arm.records) for arm in arms}
    columns = ("decoding_s", "adapting_s", "tokens", "target_calls", "peak_bytes")
    rows = [
        {"arm": arm.key, **{name: getattr(cost, name) for name in columns}}
        for arm, cost in zip(arms, costs.values(), strict=True)
    ]
    parts = {label: {"decoding": cost.decoding_s, "adapting": cost.adapting_s} for label, cost in costs.items()}
    return [Figure("budget", "Seconds per arm", rows, bars(parts, axis="seconds"))]


def error_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Failed answers by class."""
    counts = {arm.key: Counter(_classes(arm)) for arm in arms}
    names = [name for name in (*ERROR_CLASSES, UNCLASSIFIED) if any(count[name] for count in counts.values())]
    if not names:
        return []
    rows = [{"arm": arm, "class": name, "answers": count[name]} for arm, count in counts.items() for name in names]
    parts = {arm.label: {name: counts[arm.key][name] for name in names} for arm in arms}
    return [Figure("errors", "Failed answers by class", rows, bars(parts, axis="answers"))]


def drafting_arms(arms: Sequence[ArmData]) -> list[ArmData]:
    """Those with an acceptance length."""
    return [arm for arm in arms if arm.arm.mode != "target" and any(r.acceptance_lengths for r in arm.records)]


def scored_arms(arms: Sequence[ArmData]) -> list[ArmData]:
    """Those with a pass rate."""
    return [arm for arm in arms if any(record.passed is not None for record in arm.records)]


def error_classes(run: Run) -> dict[Key, str]:
    """Why answers of a run failed: as errors.json says, else as a program can tell."""
    return {**classify_all(run.records), **run.error_classes}


# -- acceptance length -------------------------------------------------------------------------------------------------

_TAU_CHART: dict[str, Any] = {"label": "label", "value": "tau", "axis": "τ"}


def _tau_by(arms: Sequence[ArmData], name: str, group_of: Callable[[Record], str]) -> Figure | None:
    """Tau per group and arm, of the arms that a picture has room for; None where there is only one group."""
    groups = sorted({group for arm in arms for record in arm.records if (group := group_of(record))})
    if len(groups) < 2:
        return None
    rows, drawn, few, bare = [], [], _few(arms), False
    for group in groups:
        for arm in arms:
            tau = tau_of([record for record in arm.records if group_of(record) == group])
            row = {name: group, "arm": arm.key, **_tau(tau)}
            if tau.num_clusters < MIN_CONTEXTS:  # so few say nothing of others
                row, bare = {**row, "low": None, "high": None}, True
            rows.append(row)
            if arm in few:
                drawn.append(_labelled(row, arm))
    title = f"τ by {name}" + (f"; no interval below {MIN_CONTEXTS} contexts" if bare else "") + _left_out(few, arms)
    return Figure(f"tau_by_{name}", title, rows, intervals(drawn, group=name, **_TAU_CHART))


def _acceptance_lengths(arms: Sequence[ArmData]) -> Figure:
    """Share of verify steps that committed so many tokens."""
    rows, drawn, few = [], [], _few(arms)
    for arm in arms:
        counts = _step_lengths(arm)
        own = [{"arm": arm.key, "tokens": k, "share": counts[k] / counts.total()} for k in range(1, max(counts) + 1)]
        rows += own
        drawn += [_labelled(row, arm) for row in own if arm in few]
    return Figure(
        "acceptance_lengths",
        f"Acceptance lengths: how many tokens a verify step committed{_left_out(few, arms)}",
        rows,
        lines(drawn, name="label", x="tokens", y="share", y_axis="share of steps", from_zero=True),
    )


def _slot_acceptance(arms: Sequence[ArmData]) -> Figure:
    """Share of steps that kept the proposal of a slot, among those that kept all before it."""
    rows, drawn, few = [], [], _few(arms)
    for arm in arms:
        counts = _step_lengths(arm)
        reached = [sum(n for length, n in counts.items() if length >= k) for k in range(1, max(counts) + 1)]
        own = [
            {"arm": arm.key, "slot": slot, "reached": before, "accepted": kept / before}
            for slot, (before, kept) in enumerate(zip(reached, [*reached[1:], 0], strict=True), start=1)
            if slot < len(reached) or len(reached) == 1
        ]
        rows += own
        enough = [row for row in own if row["reached"] >= _FEWEST_STEPS] or own[:1]
        drawn += [_labelled(row, arm) for row in enough if arm in few]
    title = f"Acceptance per slot, of the steps that reached it, where at least {_FEWEST_STEPS} did"
    return Figure(
        "slot_acceptance",
        f"{title}{_left_out(few, arms)}",
        rows,
        lines(drawn, name="label", x="slot", y="accepted", from_zero=True),
    )


def _step_lengths(arm: ArmData) -> Counter[int]:
    return Counter(length for record in arm.records for length in record.acceptance_lengths)


# -- guidance ----------------------------------------------------------------------------------------------------------


def _pass_rate_by_alpha(arms: Sequence[ArmData]) -> Figure | None:
    """One line per rule and kind of adaptation; every line begins at the target alone, which is alpha 0."""
    rows = []
    for name, members in _by_alpha([arm for arm in arms if arm.arm.mode == "guided"]).items():
        line = [(arm.arm.alpha, arm.pass_rate) for arm in members]
        target = members[0].target(arms)
        if target is not None and all(alpha != 0 for alpha, _ in line):
            line.append((0.0, target.pass_rate))
        line.sort(key=lambda point: point[0])
        rows += [{"line": name, "alpha": alpha, **_numbers(rate)} for alpha, rate in line]
    if not rows:
        return None
    chart = lines(rows, name="line", x="alpha", y="estimate", x_axis="α", y_axis="pass rate", from_zero=True)
    return Figure("pass_rate_by_alpha", "Pass rate against α; α = 0 is the target alone", rows, chart)


def _by_alpha(guided: Sequence[ArmData]) -> dict[str, list[ArmData]]:
    """Arms that differ in alpha alone, by what they share."""
    found: dict[str, list[ArmData]] = {}
    several = len({arm.run.name for arm in guided}) > 1
    for arm in guided:
        shared = arm_in_words(replace(arm.arm, alpha=1.0), arm.run.arms).replace(", α 1", "", 1)
        found.setdefault(f"{arm.run.name}: {shared}" if several else shared, []).append(arm)
    return found


def _pass_rate_differences(arms: Sequence[ArmData]) -> Figure | None:
    found = [(arm, made) for arm in arms if (made := arm.compared(TARGET, "pass rate")) is not None]
    if not found:
        return None
    rows = [{"arm": arm.key, "reference": made.reference, **_numbers(made.interval)} for arm, made in found]
    drawn = [
        {**row, "label": arm.label, "series": 0 if arm.arm.mode == "guided" else 7}
        for row, (arm, _) in zip(rows, found, strict=True)
    ]
    title = "Pass rate against the target alone at the same temperature, paired"
    chart = intervals(drawn, label="label", value="estimate", axis="difference in pass rate", zero=True)
    return Figure("pass_rate_differences", title, rows, chart)


# -- adaptation --------------------------------------------------------------------------------------------------------


def _losses(arms: Sequence[ArmData]) -> Figure | None:
    """Mean loss before each step, over the contexts of an arm; arms under the same adaptations are one line.

    Those to a wrong context are the same ones too, given to other tasks.
    """
    users: dict[str, list[ArmData]] = {}
    traces: dict[str, list[list[float]]] = {}
    for arm in arms:
        made = {r.context_id: r.adaptation["losses"] for r in arm.records if r.adaptation.get("losses")}
        if made:
            same = repr(sorted(made.values()))
            traces[same] = list(made.values())
            users.setdefault(same, []).append(arm)
    rows, drawn = [], []
    for place, (same, losses) in enumerate(traces.items()):
        more = f" and {len(users[same]) - 1} more" if len(users[same]) > 1 else ""
        for step in range(max(map(len, losses))):
            reached = [trace[step] for trace in losses if step < len(trace)]
            row = {"step": step, "loss": sum(reached) / len(reached), "contexts": len(reached)}
            rows.append({"arm": users[same][0].key + more, **row})
            if place < _MOST_LINES:
                drawn.append({"label": users[same][0].label + more, **row})
    if not rows:
        return None
    title = "Loss before each step of test-time training, mean over contexts"
    return Figure("losses", title, rows, lines(drawn, name="label", x="step", y="loss"))


def _gain_by(axis: str, found: Sequence[tuple[ArmData, Interval]]) -> Figure | None:
    """The gain in tau against a setting, one line for each combination of the others; None where it never varies."""
    by_rest: dict[str, list[tuple[float, Interval]]] = {}
    for arm, gain in found:
        if axis in arm.settings and number(gain.estimate) is not None:
            by_rest.setdefault(_rest(arm, axis), []).append((float(arm.settings[axis]), gain))
    curves = {rest: sorted(line, key=lambda p: p[0]) for rest, line in by_rest.items() if len({x for x, _ in line}) > 1}
    if not curves:
        return None
    rows = [{"line": rest, axis: x, **_gain(gain)} for rest, line in curves.items() for x, gain in line]
    drawn = [row for row in rows if row["line"] in list(curves)[:_MOST_LINES]]
    chart = lines(drawn, name="line", x=axis, y="gain", y_axis="Δτ")
    return Figure(f"gain_by_{axis}", f"Δτ against {axis}", rows, chart)


def _gain_by_loss(found: Sequence[tuple[ArmData, Interval]]) -> Figure | None:
    """The gain in tau under each loss, by the other settings; combinations of one loss are left out."""
    groups: dict[str, list[Row]] = {}
    for arm, gain in found:
        rest = _rest(arm, "loss")
        groups.setdefault(rest, []).append({"line": rest, "loss": str(arm.settings.get("loss", "–")), **_gain(gain)})
    rows = [row for _, group in sorted(groups.items()) if len(group) > 1 for row in group]
    if not rows:
        return None
    chart = intervals(rows, label="loss", value="gain", axis="Δτ", group="line", zero=True)
    return Figure("gain_by_loss", "Δτ by loss", rows, chart)


def _rest(arm: ArmData, axis: str) -> str:
    """What arms on one line share: what they adapt to, and every setting but the axis."""
    return f"{arm.arm.ttt}; {listed({name: value for name, value in arm.settings.items() if name != axis})}"


# -- rows --------------------------------------------------------------------------------------------------------------


def _classes(arm: ArmData) -> list[str]:
    classes = error_classes(arm.run)
    return [classes[record.key] for record in arm.records if record.key in classes]


def _few(arms: Sequence[ArmData]) -> list[ArmData]:
    """As many arms as a picture can show: speculative ones first, in their order."""
    ranked = sorted(arms, key=lambda arm: (not arm.is_baseline, arm.arm.mode != "speculative"))
    return [arm for arm in arms if arm in ranked[:_MOST_LINES]]


def _left_out(few: Sequence[ArmData], arms: Sequence[ArmData]) -> str:
    return "" if len(few) == len(arms) else f" ({len(few)} of {len(arms)} arms; the numbers have all)"


def _labelled(row: Row, arm: ArmData) -> Row:
    return {**row, "label": arm.label, "series": _COLOURS.get(arm.arm.ttt, 2)}


def _drawn(row: Row, words: dict[str, str]) -> Row:
    return {**row, "label": words[str(row["arm"])], "group": f"against “{words[str(row['reference'])]}”"}


def _numbers(interval: Interval) -> dict[str, float | int | None]:
    low, high = number(interval.low), number(interval.high)
    return {"estimate": number(interval.estimate), "low": low, "high": high, "n": interval.n}


def _tau(interval: Interval) -> dict[str, float | int | None]:
    return {
        "tau": number(interval.estimate),
        "low": number(interval.low),
        "high": number(interval.high),
        "answers": interval.n,
    }


def _gain(interval: Interval) -> dict[str, float | int | None]:
    return {"gain": number(interval.estimate), "low": number(interval.low), "high": number(interval.high)}
