"""The acceptance length: arms with intervals, by group, how long steps were, and what was published."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.resources import files

from dftt.analysis.arm_roles import NO_TTT, OTHER_TTT
from dftt.analysis.comparison import MIN_CONTEXTS
from dftt.analysis.frame import GROUPINGS, emitted_tau, tau_of, tau_per_prompt
from dftt.analysis.statistics import Interval
from dftt.report.budget import cost_of
from dftt.report.charts import Estimate, Point, intervals, lines
from dftt.report.figure import Figure
from dftt.report.guidance import target_beside
from dftt.report.markup import Child, Markup, join, table, tag
from dftt.report.run import ArmData
from dftt.report.section import Section, note, shown, shown_interval
from dftt.scoring.repetition import RUN, repetition_group
from dftt.tables import decimal, number
from dftt.types import Record

MOST_LINES = 8  # in one picture; the numbers below it have all arms
_FEWEST_STEPS = 10  # of which a share is drawn


def tau_section(arms: Sequence[ArmData]) -> Section:
    """Arms that draft, in all, by category, length and repetition; histograms and slots; published values."""
    drafting = [arm for arm in arms if arm.arm.mode != "target" and any(r.acceptance_lengths for r in arm.records)]
    if not drafting:
        return Section("tau", "Acceptance length τ", note("No arm drafted: there is no acceptance length."))
    figures = [
        _overall(drafting),
        *(_by(drafting, name, GROUPINGS[name]) for name in ("category", "length")),
        _by(drafting, "repetition", repetition_group),
        _lengths(drafting),
        _slots(drafting),
    ]
    figures = [figure for figure in figures if figure is not None]
    body = join(
        note(
            "τ = tokens committed per verify step, the target's own token included: Σ tokens / Σ steps over an arm. "
            "Intervals are at 95 %, by contexts. The last step of an answer counts in full, also where it went on "
            "behind the answer's end; emitted: τ without those tokens. Differences are those of the verdict. "
            "Text that repeats itself is proposed with ease: repetition is the share of an answer's runs of "
            f"{RUN} tokens that it held before."
        ),
        table([_row(arm) for arm in drafting], caption="Acceptance length per arm"),
        shown(figures),
        _published(arms),
    )
    return Section("tau", "Acceptance length τ", body, figures)


def _row(arm: ArmData) -> dict[str, Child]:
    gain, control = (arm.compared(against, "tau") for against in (NO_TTT, OTHER_TTT))
    return {
        "arm": arm.label,
        "τ [95 %]": shown_interval(tau_of(arm.records)),
        "τ per prompt": decimal(number(tau_per_prompt(arm.records))),
        "emitted": decimal(number(emitted_tau(arm.records, guided=arm.arm.mode == "guided"))),
        "against no TTT [95 %]": "" if gain is None else shown_interval(gain.interval, "+"),
        "without TTT it is": "" if gain is None else gain.reference,
        "against TTT on other text [95 %]": "" if control is None else shown_interval(control.interval, "+"),
        "pairs": "" if gain is None else gain.interval.n,
        "tasks": len({record.task_id for record in arm.records}),
    }


def _overall(arms: Sequence[ArmData]) -> Figure:
    taus = [tau_of(arm.records) for arm in arms]
    return Figure(
        "tau",
        "τ per arm",
        intervals([_estimate(arm.label, tau, arm) for arm, tau in zip(arms, taus, strict=True)], axis="τ"),
        [{"arm": arm.label, **_numbers(tau)} for arm, tau in zip(arms, taus, strict=True)],
    )


def _by(arms: Sequence[ArmData], name: str, group_of: Callable[[Record], str]) -> Figure | None:
    """Tau per group and arm, of the arms that a picture has room for; None where there is only one group."""
    rows, estimates = [], []
    groups = sorted({group for arm in arms for record in arm.records if (group := group_of(record))})
    if len(groups) < 2:
        return None
    few, bare = few_arms(arms), False
    for group in groups:
        for arm in arms:
            tau = tau_of([r for r in arm.records if group_of(r) == group])
            if tau.num_clusters < MIN_CONTEXTS:  # so few say nothing of others
                tau = replace(tau, low=math.nan, high=math.nan)
                bare = True
            rows.append({name: group, "arm": arm.label, **_numbers(tau)})
            if arm in few:
                estimates.append(replace(_estimate(arm.label, tau, arm), group=group))
    title = f"τ by {name}" + (f"; no interval below {MIN_CONTEXTS} contexts" if bare else "") + _few(few, arms)
    return Figure(f"tau_by_{name}", title, intervals(estimates, axis="τ"), rows)


def _lengths(arms: Sequence[ArmData]) -> Figure:
    """Share of verify steps that committed so many tokens."""
    shares = {arm.label: _shares(arm) for arm in arms}
    few = few_arms(arms)
    drawn = {arm.label: [Point(k, share) for k, share in shares[arm.label].items()] for arm in few}
    return Figure(
        "acceptance_lengths",
        f"Acceptance lengths: how many tokens a verify step committed{_few(few, arms)}",
        lines(drawn, x_axis="tokens committed by a step", y_axis="share of steps", from_zero=True),
        [{"arm": arm, "tokens": k, "share": share} for arm, each in shares.items() for k, share in each.items()],
    )


def _slots(arms: Sequence[ArmData]) -> Figure:
    """Share of steps that kept the proposal of a slot, among those that kept all before it."""
    rows, drawn = [], {}
    few = few_arms(arms)
    for arm in arms:
        counts = Counter(length for record in arm.records for length in record.acceptance_lengths)
        reached = [sum(n for length, n in counts.items() if length >= k) for k in range(1, max(counts) + 1)]
        for slot, (before, kept) in enumerate(zip(reached, [*reached[1:], 0], strict=True), start=1):
            if slot < len(reached) or len(reached) == 1:
                rows.append({"arm": arm.label, "slot": slot, "reached": before, "accepted": kept / before})
        if arm in few:
            own = [row for row in rows if row["arm"] == arm.label]
            enough = [row for row in own if row["reached"] >= _FEWEST_STEPS] or own[:1]
            drawn[arm.label] = [Point(row["slot"], row["accepted"]) for row in enough]
    title = f"Acceptance per slot, of the steps that reached it, where at least {_FEWEST_STEPS} did"
    return Figure(
        "slot_acceptance",
        f"{title}{_few(few, arms)}",
        lines(drawn, x_axis="slot", y_axis="accepted", from_zero=True),
        rows,
    )


def few_arms(arms: Sequence[ArmData]) -> list[ArmData]:
    """As many arms as a picture can show: speculative ones first, in their order."""
    ranked = sorted(arms, key=lambda arm: (not arm.is_baseline, arm.arm.mode != "speculative"))
    chosen = ranked[:MOST_LINES]
    return [arm for arm in arms if arm in chosen]


def _few(few: Sequence[ArmData], arms: Sequence[ArmData]) -> str:
    return "" if len(few) == len(arms) else f" ({len(few)} of {len(arms)} arms; the numbers have all)"


def _published(arms: Sequence[ArmData]) -> Markup:
    """Published values for the suites that were run, with ours beside them; they are of other models."""
    text = files("dftt.report").joinpath("published.csv").read_text(encoding="utf-8")
    by_suite: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        by_suite.setdefault(row["suite"], []).append(row)
    rows: list[dict[str, Child]] = []
    for suite, published in by_suite.items():
        ours = [
            (arm, records)
            for arm in arms
            if arm.arm.mode == "speculative"
            and (records := [r for r in arm.records if str(r.metadata.get("suite", "")) == suite])
        ]
        if not ours:
            continue
        rows += [_our_row(suite, arm, records, arms) for arm, records in ours]
        rows += [_published_row(row) for row in published]
    if not rows:
        return join()
    return join(
        tag("h3", "Beside published values"),
        note("Published values are of other targets, drafts and machines: they say what a good draft reaches there."),
        table(rows, numbers=False),
    )


def _our_row(suite: str, arm: ArmData, records: Sequence[Record], arms: Sequence[ArmData]) -> dict[str, Child]:
    return {
        "suite": suite,
        "who": f"{arm.label}, here",
        "T": "–" if arm.arm.temperature is None else f"{arm.arm.temperature:g}",
        "τ per prompt": decimal(number(tau_per_prompt(records))),
        "speed-up": _speed_up(arm, arms),
        "source": f"this run, n = {len(records)}",
    }


def _published_row(row: dict[str, str]) -> dict[str, Child]:
    return {
        "suite": row["suite"],
        "who": f"{row['target']}, {row['draft']}",
        "T": row["temperature"],
        "τ per prompt": row["tau"],
        "speed-up": f"{row['speed_up']}×",
        "source": row["source"],
    }


def _speed_up(arm: ArmData, arms: Sequence[ArmData]) -> str:
    """Seconds per token of the target alone over those of the arm, adapting left out."""
    target = target_beside(arm, arms)
    before = None if target is None or target.arm.mode != "target" else cost_of(target.records).seconds_per_token
    after = cost_of(arm.records).seconds_per_token
    return f"{before / after:.2f}×" if before and after else "–"


def _shares(arm: ArmData) -> dict[int, float]:
    counts = Counter(length for record in arm.records for length in record.acceptance_lengths)
    return {length: counts[length] / counts.total() for length in range(1, max(counts) + 1)}


def _estimate(label: str, tau: Interval, arm: ArmData) -> Estimate:
    colour = {"none": 7, "own": 0, "wrong": 1}.get(arm.arm.ttt, 2)
    return Estimate(label, number(tau.estimate), number(tau.low), number(tau.high), colour)


def _numbers(tau: Interval) -> dict[str, float | int | None]:
    return {"tau": number(tau.estimate), "low": number(tau.low), "high": number(tau.high), "answers": tau.n}
