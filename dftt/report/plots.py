"""Which figures the report of some arms has, section by section; the manuscript draws some of them, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dftt.analysis.arm_roles import NO_TTT, TARGET
from dftt.analysis.comparison import MIN_CONTEXTS
from dftt.analysis.frame import GROUPINGS, tau_of
from dftt.analysis.statistics import Interval
from dftt.analysis.verdict import Verdict
from dftt.report.figures import Figure, Row, bars, intervals, lines
from dftt.report.run import ArmData, Run
from dftt.report.words import arm_in_words, listed
from dftt.scoring.error_classes import ERROR_CLASSES, UNCLASSIFIED
from dftt.scoring.repetition import repetition_group
from dftt.tables import number
from dftt.types import Record

_MOST_LINES = 8  # in one picture; the numbers below it have all arms
_MOST_COMPARISONS = 12
_FEWEST_STEPS = 10  # of which a share is drawn
_AXES = ("steps", "lr", "rank", "window", "loss")  # settings against which the gain is drawn; window 0 is all
_COLOURS = {"none": 7, "own": 0, "wrong": 1}  # by what the draft was adapted to; 2 otherwise


def verdict_figures(run: Run, verdict: Verdict, name: str) -> list[Figure]:
    """The comparisons behind a verdict in one figure, those of the largest effects where many; none where none was."""
    rows = [
        {
            "arm": each.arm,
            "reference": each.reference,
            **_numbers("estimate", each.interval),
            "label": run.words[each.arm],
            "group": f"against “{run.words[each.reference]}”",
        }
        for each in verdict.comparisons
        if each.interval.n
    ]
    if not rows:
        return []
    largest = sorted(rows, key=lambda row: -abs(row["estimate"]))[:_MOST_COMPARISONS]
    drawn = sorted((row for row in rows if row in largest), key=lambda row: row["group"])
    measure = "τ" if verdict.comparisons[0].pair.measure == "tau" else "pass rate"
    some = "" if len(drawn) == len(rows) else f": the {len(drawn)} largest of {len(rows)}"
    chart = intervals(drawn, value="estimate", axis=f"difference in {measure}", zero=True)
    return [Figure(name, f"Difference in {measure}, with its 95 % interval{some}", rows, chart)]


def tau_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Acceptance lengths of the arms that draft: in all, by group, by step and by slot."""
    drafting = [arm for arm in arms if arm.drafts]
    if not drafting:
        return []
    rows = [_row(arm, _numbers("tau", arm.tau, "answers")) for arm in drafting]
    groups = {name: GROUPINGS[name] for name in ("category", "length")} | {"repetition": repetition_group}
    return [
        Figure("tau", "τ per arm", rows, intervals(rows, value="tau", axis="τ")),
        *(figure for name, group_of in groups.items() for figure in _tau_by(drafting, name, group_of)),
        _acceptance_lengths(drafting),
        _slot_acceptance(drafting),
    ]


def guidance_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Pass rates against alpha, and of each arm against the target alone."""
    rows: list[Row] = []
    scored = [arm for arm in arms if arm.is_scored]
    for name, members in _by_alpha([arm for arm in scored if arm.arm.mode == "guided"]).items():
        line = {arm.arm.alpha: arm for arm in members}
        if 0 not in line and (target := members[0].target(scored)) is not None:
            line[0.0] = target  # every line begins at the target alone
        rows += [
            {"line": name, "alpha": alpha, **_numbers("estimate", line[alpha].pass_rate), "label": name}
            for alpha in sorted(line)
        ]
    figures = []
    if rows:
        chart = lines(rows, x="alpha", y="estimate", x_axis="α", y_axis="pass rate", from_zero=True)
        figures.append(Figure("pass_rate_by_alpha", "Pass rate against α; α = 0 is the target alone", rows, chart))
    made = [(arm, found) for arm in scored if (found := arm.compared(TARGET, "pass rate"))]
    differences = [
        _row(arm, {"reference": found.reference, **_numbers("estimate", found.interval)}) for arm, found in made
    ]
    if differences:
        title = "Pass rate against the target alone at the same temperature, paired"
        chart = intervals(differences, value="estimate", axis="difference in pass rate", zero=True)
        figures.append(Figure("pass_rate_differences", title, differences, chart))
    return figures


def adaptation_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Losses of the adaptations, and the gain in tau against each setting that varies."""
    return [*_losses(arms), *(figure for axis in _AXES for figure in _gain_by(axis, arms))]


def budget_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Seconds of decoding and of adapting."""
    columns = ("decoding_s", "adapting_s", "tokens", "target_calls", "peak_bytes")
    rows = [_row(arm, {name: getattr(arm.cost, name) for name in columns}) for arm in arms]
    parts = {arm.label: {"decoding": arm.cost.decoding_s, "adapting": arm.cost.adapting_s} for arm in arms}
    return [Figure("budget", "Seconds per arm", rows, bars(parts, axis="seconds"))]


def error_figures(arms: Sequence[ArmData]) -> list[Figure]:
    """Failed answers by class."""
    counts = [Counter(arm.run.failures.get(record.key) for record in arm.records) for arm in arms]
    names = [name for name in (*ERROR_CLASSES, UNCLASSIFIED) if any(count[name] for count in counts)]
    both = list(zip(arms, counts, strict=True))
    if not names:
        return []
    rows = [_row(arm, {"class": name, "answers": count[name]}) for arm, count in both for name in names]
    parts = {arm.label: {name: count[name] for name in names} for arm, count in both}
    return [Figure("errors", "Failed answers by class", rows, bars(parts, axis="answers"))]


def _tau_by(arms: Sequence[ArmData], name: str, group_of: Callable[[Record], str]) -> list[Figure]:
    """Tau per group and arm, of the arms that a picture has room for; none where there is only one group."""
    rows = []
    for group in sorted({group for arm in arms for record in arm.records if (group := group_of(record))}):
        for arm in arms:
            tau = tau_of([record for record in arm.records if group_of(record) == group])
            few = tau.num_clusters < MIN_CONTEXTS  # so few say nothing of others
            row = {**_numbers("tau", tau, "answers"), **(dict.fromkeys(("low", "high")) if few else {})}
            rows.append({name: group, **_row(arm, row), "group": group})
    if len(rows) < 2 * len(arms):
        return []
    bare = f"; no interval below {MIN_CONTEXTS} contexts" if any(row["low"] is None for row in rows) else ""
    chart = intervals(_some(rows, arms), value="tau", axis="τ")
    return [Figure(f"tau_by_{name}", f"τ by {name}{bare}{_left_out(arms)}", rows, chart)]


def _acceptance_lengths(arms: Sequence[ArmData]) -> Figure:
    """Share of verify steps that committed so many tokens."""
    rows = []
    for arm in arms:
        counts = _step_lengths(arm)
        shares = {length: counts[length] / counts.total() for length in range(1, max(counts) + 1)}
        rows += [_row(arm, {"tokens": length, "share": share}) for length, share in shares.items()]
    title = f"Acceptance lengths: how many tokens a verify step committed{_left_out(arms)}"
    chart = lines(_some(rows, arms), x="tokens", y="share", y_axis="share of steps", from_zero=True)
    return Figure("acceptance_lengths", title, rows, chart)


def _slot_acceptance(arms: Sequence[ArmData]) -> Figure:
    """Share of steps that kept the proposal of a slot, among those that kept all before it."""
    rows = []
    for arm in arms:
        counts = _step_lengths(arm)
        slots = max(counts)
        reached = [sum(n for length, n in counts.items() if length >= slot) for slot in range(1, slots + 2)]
        rows += [
            _row(arm, {"slot": slot, "reached": reached[slot - 1], "accepted": reached[slot] / reached[slot - 1]})
            for slot in range(1, max(slots, 2))
        ]
    title = f"Acceptance per slot, of the steps that reached it, where at least {_FEWEST_STEPS} did{_left_out(arms)}"
    drawn = [row for row in _some(rows, arms) if row["reached"] >= _FEWEST_STEPS or row["slot"] == 1]
    return Figure("slot_acceptance", title, rows, lines(drawn, x="slot", y="accepted", from_zero=True))


def _by_alpha(guided: Sequence[ArmData]) -> dict[str, list[ArmData]]:
    """Arms that differ in alpha alone, by what they share."""
    found: dict[str, list[ArmData]] = {}
    several = len({arm.run.name for arm in guided}) > 1
    for arm in guided:
        shared = arm_in_words(replace(arm.arm, alpha=1.0), arm.run.arms).replace(", α 1", "", 1)
        found.setdefault(f"{arm.run.name}: {shared}" if several else shared, []).append(arm)
    return found


def _losses(arms: Sequence[ArmData]) -> list[Figure]:
    """Mean loss before each step, over the contexts of an arm; arms under the same adaptations are one line.

    Those to a wrong context are the same ones too, given to other tasks.
    """
    users: dict[str, list[ArmData]] = {}
    for arm in arms:
        if losses := arm.losses:
            users.setdefault(repr(sorted(losses)), []).append(arm)
    rows = []
    for first, *others in users.values():
        more = f" and {len(others)} more" if others else ""
        for step in range(max(map(len, first.losses))):
            reached = [losses[step] for losses in first.losses if step < len(losses)]
            row = {"arm": first.key + more, "step": step, "loss": sum(reached) / len(reached)}
            rows.append({**row, "contexts": len(reached), "label": first.label + more})
    if not rows:
        return []
    labels = list(dict.fromkeys(row["label"] for row in rows))[:_MOST_LINES]
    chart = lines([row for row in rows if row["label"] in labels], x="step", y="loss")
    return [Figure("losses", "Loss before each step of test-time training, mean over contexts", rows, chart)]


def _gain_by(axis: str, arms: Sequence[ArmData]) -> list[Figure]:
    """The gain in tau by a setting, grouped by the others; groups in which it does not vary are left out."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        made = arm.compared(NO_TTT, "tau")
        if made is not None and axis in arm.settings:
            rest = {name: value for name, value in arm.settings.items() if name != axis}
            row = {axis: arm.settings[axis], **_numbers("gain", made.interval), "label": f"{axis} {arm.settings[axis]}"}
            groups.setdefault(f"{arm.arm.ttt}; {listed(rest)}", []).append(row)
    rows = [
        {"line": rest, **row, "group": rest}
        for rest, group in sorted(groups.items())
        if len({row[axis] for row in group}) > 1
        for row in sorted(group, key=lambda row: row[axis])
    ]
    if not rows:
        return []
    return [Figure(f"gain_by_{axis}", f"Δτ by {axis}", rows, intervals(rows, value="gain", axis="Δτ", zero=True))]


# -- rows --------------------------------------------------------------------------------------------------------------


def _row(arm: ArmData, numbers: Row) -> dict[str, Any]:
    return {"arm": arm.key, **numbers, "label": arm.label, "series": _COLOURS.get(arm.arm.ttt, 2)}


def _numbers(name: str, interval: Interval, count: str = "n") -> dict[str, Any]:
    low, high = number(interval.low), number(interval.high)
    return {name: number(interval.estimate), "low": low, "high": high, count: interval.n}


def _step_lengths(arm: ArmData) -> Counter[int]:
    return Counter(length for record in arm.records for length in record.acceptance_lengths)


def _some(rows: Sequence[Row], arms: Sequence[ArmData]) -> list[Row]:
    """The rows of as many arms as a picture can show: speculative ones first, in their order."""
    ranked = sorted(arms, key=lambda arm: (not arm.is_baseline, arm.arm.mode != "speculative"))
    chosen = {arm.key for arm in ranked[:_MOST_LINES]}
    return [row for row in rows if row["arm"] in chosen]


def _left_out(arms: Sequence[ArmData]) -> str:
    return "" if len(arms) <= _MOST_LINES else f" ({_MOST_LINES} of {len(arms)} arms; the numbers have all)"
