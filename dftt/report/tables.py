"""The tables of the page, as rows: every difference in them is a comparison of the verdict."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files

from dftt.analysis.arm_roles import NO_TTT, OTHER_TTT, TARGET
from dftt.analysis.comparison import Comparison
from dftt.analysis.metrics import emitted_tau, tau_per_prompt
from dftt.analysis.statistics import Interval
from dftt.analysis.taxonomy import transitions
from dftt.report.costs import cost_of
from dftt.report.plots import drafting_arms, error_classes, scored_arms
from dftt.report.run import ArmData, Run, arm_of
from dftt.report.words import listed, shortened
from dftt.scoring.error_classes import ERROR_CLASSES
from dftt.tables import decimal, number, value_range
from dftt.types import Record

Row = Mapping[str, object]
_REASON = 200  # characters shown of why an answer has no score
_FINDINGS = {"unclear": "cannot be told", "too few": "too few to tell"}
_MOST_TASKS = 10
_LONGEST = 3000  # characters of an answer
_STATES = {True: "passed", False: "failed", None: "unscored"}


# -- what was run, and what came of it ---------------------------------------------------------------------------------


def facts(runs: Sequence[Run]) -> list[Row]:
    """What was run: one row for each fact, with a column for each run."""
    made = {run.name: _facts(run) for run in runs}
    return [{"": name, **{run: facts[name] for run, facts in made.items()}} for name in _facts(runs[0])]


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


def arm_names(arms: Sequence[ArmData]) -> list[Row]:
    """Each arm in words, and its id."""
    return [{"arm": arm.label, "id": arm.key} for arm in arms]


def num_tasks(arms: Sequence[ArmData]) -> int:
    """How many tasks were answered."""
    return len({record.task_id for arm in arms for record in arm.records})


def comparison_rows(run: Run, comparisons: Sequence[Comparison]) -> list[Row]:
    """The comparisons of a verdict, with what each of them allows to say."""
    return [
        {
            "arm": run.words[each.arm],
            "against": run.words[each.reference],
            "measure": each.pair.measure,
            "difference [95 %]": shown(each.interval, "+"),
            "with the unscored": _with_unscored(each) if each.unusable else "",
            "p by Holm": decimal(number(each.adjusted)),
            "pairs": each.interval.n,
            "of": each.intended,
            "contexts": each.interval.num_clusters,
            "finding": _FINDINGS.get(each.finding, each.finding) + (f" ({each.floor})" if each.floor else ""),
        }
        for each in comparisons
    ]


def _with_unscored(each: Comparison) -> str:
    return value_range(*map(number, (each.interval.estimate, each.at_least, each.at_most)), sign="+")


def unscored_rows(arms: Sequence[ArmData]) -> list[Row]:
    """Why answers have no score, and how many."""
    reasons = Counter(
        shortened(record.explanation or "no rubric that a program can check, and no judge", _REASON)
        for arm in arms
        for record in arm.records
        if record.passed is None
    )
    return [{"reason": reason, "answers": count} for reason, count in reasons.most_common()]


# -- per arm -----------------------------------------------------------------------------------------------------------


def tau_rows(arms: Sequence[ArmData]) -> list[Row]:
    """Acceptance lengths."""
    rows = []
    for arm in drafting_arms(arms):
        gain, control = (arm.compared(against, "tau") for against in (NO_TTT, OTHER_TTT))
        rows.append(
            {
                "arm": arm.label,
                "τ [95 %]": shown(arm.tau),
                "τ per prompt": decimal(number(tau_per_prompt(arm.records))),
                "emitted": decimal(number(emitted_tau(arm.records, guided=arm.arm.mode == "guided"))),
                **_against(arm, gain, "against no TTT [95 %]", "without TTT it is"),
                "against TTT on other text [95 %]": shown(control.interval, "+") if control else "",
                "pairs": gain.interval.n if gain else "",
                "tasks": len({record.task_id for record in arm.records}),
            }
        )
    return rows


def pass_rows(arms: Sequence[ArmData]) -> list[Row]:
    """Pass rates."""
    rows = []
    for arm in scored_arms(arms):
        rate, found = arm.pass_rate, arm.compared(TARGET, "pass rate")
        rows.append(
            {
                "arm": arm.label,
                "passed": f"{sum(bool(record.passed) for record in arm.records)} of {rate.n}",
                "pass rate [95 %]": shown(rate),
                **_against(arm, found, "against the target [95 %]", "the target is"),
                "pairs": found.interval.n if found else "",
                "unscored": len(arm.records) - rate.n,
            }
        )
    return rows


def adaptation_rows(arms: Sequence[ArmData]) -> tuple[list[Row], str]:
    """What adapting did, per arm whose draft was adapted, and the settings that all of them share."""
    adapted = [arm for arm in arms if any(record.adaptation for record in arm.records)]
    common = {
        name: value
        for name, value in (adapted[0].settings if adapted else {}).items()
        if all(arm.settings.get(name) == value for arm in adapted)
    }
    return [_adaptation(arm, arms, common) for arm in adapted], listed(common)


def _adaptation(arm: ArmData, arms: Sequence[ArmData], common: Mapping[str, object]) -> Row:
    made = list({r.context_id: r.adaptation for r in arm.records if r.adaptation}.values())
    gain, change = (arm.compared(NO_TTT, measure) for measure in ("tau", "pass rate"))
    first, last = ([each[name] for each in made if each.get(name) is not None] for name in ("first_loss", "last_loss"))
    base = arm_of(arms, arm.run, gain.reference) if gain else None
    pays = cost_of(arm.records).pays_after(cost_of(base.records)) if base else None
    found = gain or change
    return {
        "arm": arm.label,
        "own settings": listed({name: value for name, value in arm.settings.items() if name not in common}) or "–",
        "contexts": len(made),
        "seconds each": f"{cost_of(arm.records).adapting_s / len(made):.1f}",
        "loss": f"{sum(first) / len(first):.3f} → {sum(last) / len(last):.3f}" if first and last else "–",
        "without TTT it is": arm.run.words[found.reference] if found else "–",
        "Δτ [95 %]": shown(gain.interval, "+") if gain else "–",
        "Δ pass rate [95 %]": shown(change.interval, "+") if change else "–",
        "break-even": "–" if pays is None else "never" if pays == float("inf") else f"{pays:,.0f} tokens",
    }


def cost_rows(arms: Sequence[ArmData]) -> list[Row]:
    """Seconds, tokens, target passes and memory."""
    rows = []
    for arm in arms:
        cost = cost_of(arm.records)
        rows.append(
            {
                "arm": arm.label,
                "decoding": f"{cost.decoding_s:,.1f} s" if cost.decoding_s else "–",
                "adapting": f"{cost.adapting_s:,.1f} s" if cost.adapting_s else "–",
                "tokens": f"{cost.tokens:,}",
                "tokens/s": f"{cost.tokens / cost.decoding_s:,.1f}" if cost.decoding_s else "–",
                "target passes": f"{cost.target_calls:,}",
                "tokens/pass": f"{cost.tokens / cost.target_calls:.2f}" if cost.target_calls else "–",
                "peak of adapting": f"{cost.peak_bytes / 2**30:.2f} GiB" if cost.peak_bytes else "–",
            }
        )
    return rows


# -- errors, published values, answers ---------------------------------------------------------------------------------


def error_meanings(arms: Sequence[ArmData]) -> list[Row]:
    """What the classes of errors mean that these arms made."""
    found = {name for run in {arm.run.name: arm.run for arm in arms}.values() for name in error_classes(run).values()}
    return [{"class": name, "meaning": meaning} for name, meaning in ERROR_CLASSES.items() if name in found]


def error_changes(arms: Sequence[ArmData]) -> dict[str, list[Row]]:
    """What arms mend and break, by class of error, for each target that the verdict compares them with."""
    members: dict[tuple[str, str], list[ArmData]] = {}
    for arm in arms:
        if found := arm.compared(TARGET, "pass rate"):
            members.setdefault((arm.run.name, found.reference), []).append(arm)
    changes: dict[str, list[Row]] = {}
    for (_, reference), group in members.items():
        run, labels = group[0].run, {arm.arm.id: arm.label for arm in group}
        records = [record for record in run.records if record.arm == reference or record.arm in labels]
        changes.setdefault(run.words[reference], []).extend(
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
            for row in transitions(records, error_classes(run), reference)
        )
    return changes


def published_rows(arms: Sequence[ArmData]) -> list[Row]:
    """Published values for the suites that were run, with ours before them; they are of other models."""
    text = files("dftt.report").joinpath("published.csv").read_text(encoding="utf-8")
    published = list(csv.DictReader(text.splitlines()))
    rows: list[Row] = []
    for suite in dict.fromkeys(row["suite"] for row in published):
        ours = [
            _ours(suite, arm, records, arms)
            for arm in arms
            if arm.arm.mode == "speculative"
            and (records := [r for r in arm.records if str(r.metadata.get("suite", "")) == suite])
        ]
        theirs = [
            {
                "suite": suite,
                "who": f"{row['target']}, {row['draft']}",
                "T": row["temperature"],
                "τ per prompt": row["tau"],
                "speed-up": f"{row['speed_up']}×",
                "source": row["source"],
            }
            for row in published
            if row["suite"] == suite
        ]
        rows += [*ours, *theirs] if ours else []
    return rows


def _ours(suite: str, arm: ArmData, records: Sequence[Record], arms: Sequence[ArmData]) -> Row:
    target = arm.target(arms)
    # Of the target alone; lossless decoding without TTT, which may stand in for it elsewhere, is no measure of speed.
    before = cost_of(target.records).seconds_per_token if target and target.arm.mode == "target" else None
    after = cost_of(arm.records).seconds_per_token
    return {
        "suite": suite,
        "who": f"{arm.label}, here",
        "T": "–" if arm.arm.temperature is None else f"{arm.arm.temperature:g}",
        "τ per prompt": decimal(number(tau_per_prompt(records))),
        "speed-up": f"{before / after:.2f}×" if before and after else "–",
        "source": f"this run, n = {len(records)}",
    }


def answer_rows(arms: Sequence[ArmData]) -> list[Row]:
    """A few tasks with the answer of every arm: those on which some arms pass and some fail come first."""
    tasks: dict[str, list[tuple[ArmData, Record]]] = {}
    for arm in arms:
        for record in arm.records:
            tasks.setdefault(record.task_id, []).append((arm, record))

    def agreement(task: str) -> tuple[int, str]:
        states = [record.passed for _, record in tasks[task]]
        return -min(states.count(True), states.count(False)), task

    return [
        {
            "task": task,
            "passed": sum(record.passed is True for _, record in tasks[task]),
            "answers": [
                {
                    "arm": arm.label + (f", seed {record.seed}" if record.seed else ""),
                    "state": _STATES[record.passed],
                    "reason": shortened(record.explanation, 2 * _REASON),
                    "text": shortened(record.answer, _LONGEST) or "(empty)",
                }
                for arm, record in tasks[task]
            ],
        }
        for task in sorted(tasks, key=agreement)[:_MOST_TASKS]
    ]


def shown(interval: Interval, sign: str = "") -> str:
    """An estimate with its interval, as all tables of the page show it."""
    return value_range(number(interval.estimate), number(interval.low), number(interval.high), sign)


def _against(arm: ArmData, found: Comparison | None, difference: str, reference: str) -> dict[str, object]:
    """A comparison in two columns: the difference, and what it is against."""
    if found is None:
        return {difference: "", reference: ""}
    return {difference: shown(found.interval, "+"), reference: arm.run.words[found.reference]}
