"""The head: what was run, what came out in a sentence, what could not be scored."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from dftt.analysis.comparison import MARGINS, Comparison
from dftt.analysis.statistics import Interval
from dftt.report.markup import Child, Markup, join, shortened, table, tag
from dftt.report.run import ArmData, Run
from dftt.report.section import Section, note, shown_interval
from dftt.tables import decimal, number

_REASON = 200  # characters shown of why an answer has no score
_MOST_REASONS = 12
_FINDINGS = {"unclear": "cannot be told", "too few": "too few to tell"}


def head(runs: Sequence[Run], arms: Sequence[ArmData]) -> Section:
    """What was run, the verdict, the unscored answers, and what was compared."""
    facts = [_facts(run) for run in runs]
    rows = [{"": name, **{run.name: fact[name] for run, fact in zip(runs, facts, strict=True)}} for name in facts[0]]
    body = join(
        [_verdict(run, several=len(runs) > 1) for run in runs],
        table(rows, caption="What was run", numbers=False),
        _unscored(arms),
        [note(f"{run.name}: {run.left_out}.") for run in runs if run.left_out],
        [_comparisons(run, several=len(runs) > 1) for run in runs],
    )
    return Section("head", "What was run", body)


def _facts(run: Run) -> dict[str, Child]:
    model, data = run.config.get("model") or {}, (run.config.get("data") or {}).get("init_args") or {}
    made_by, packages = run.provenance, run.provenance.get("packages") or {}
    records = run.records
    commit = str(made_by.get("commit") or "")[:12]
    return {
        "target": _or_dash(model.get("target")),
        "draft": model.get("draft") or ("the target's bundled one" if model else "–"),
        "precision": _or_dash(model.get("target_dtype")),
        "data": _or_dash(data.get("suite") or data.get("path") or ", ".join(data.get("suites") or ())),
        "tasks": f"{len({r.task_id for r in records}):,} on {len({r.context_id for r in records}):,} contexts",
        "arms": len({record.arm for record in records}),
        "seeds": ", ".join(map(str, sorted({record.seed for record in records}))),
        "records": f"{len(records):,}",
        "baseline": run.baseline or "–",
        "command": tag("code", shlex.join(map(str, made_by["command"]))) if made_by.get("command") else "–",
        "commit": commit + (" with local changes" if made_by.get("modified") else "") if commit else "–",
        "machine": _or_dash(made_by.get("device")),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items() if version) or "–",
    }


def _verdict(run: Run, *, several: bool) -> Markup:
    """The sentence of each question that the study could answer, and what must be known besides."""
    title = tag("strong", f"{run.name}: ") if several else None
    lines = str(run.judgement).splitlines()
    return tag("div", [tag("p", title, line) for line in lines], class_="verdict")


def _comparisons(run: Run, *, several: bool) -> Markup:
    """The comparisons behind the verdict, folded away, with what each of them allows to say."""
    rows = [_comparison(each) for each in run.judgement.comparisons]
    if not rows:
        return join()
    title = "Comparisons behind the verdict" + (f" of {run.name}" if several else "")
    explained = note(
        "Above or below: the interval excludes zero, whatever the unscored answers are worth, and p, adjusted among "
        "the comparisons of a question, is below 0.05. Equal: the interval lies within "
        f"±{MARGINS['pass rate']} of pass rate, ±{MARGINS['tau']} of τ. Everything else cannot be told."
    )
    return tag("details", tag("summary", title), table(rows, caption=title), explained)


def _comparison(each: Comparison) -> dict[str, Child]:
    bounded = Interval(each.interval.estimate, each.at_least, each.at_most, each.interval.n, each.interval.num_clusters)
    return {
        "arm": each.arm,
        "against": each.reference,
        "measure": each.pair.measure,
        "difference [95 %]": shown_interval(each.interval, "+"),
        "with the unscored": shown_interval(bounded, "+") if each.unusable else "",
        "p by Holm": decimal(number(each.adjusted)),
        "pairs": each.interval.n,
        "of": each.intended,
        "contexts": each.interval.num_clusters,
        "finding": _FINDINGS.get(each.finding, each.finding) + (f" ({each.floor})" if each.floor else ""),
    }


def _unscored(arms: Sequence[ArmData]) -> Markup:
    reasons = Counter(
        shortened(record.explanation or "no rubric that a program can check, and no judge", _REASON)
        for arm in arms
        for record in arm.records
        if record.passed is None
    )
    if not reasons:
        return note("Every answer was scored.")
    rows = [{"reason": reason, "answers": count} for reason, count in reasons.most_common(_MOST_REASONS)]
    total, of = reasons.total(), sum(len(arm.records) for arm in arms)
    left = len(reasons) - len(rows)
    return join(
        tag("h3", f"Unscored: {total:,} of {of:,} answers"),
        note(
            "Unscored is not failed: these answers are in no pass rate, and the verdict holds whatever they are worth."
        ),
        table(rows),
        note(f"and {left} more reasons") if left else None,
    )


def _or_dash(value: object) -> str:
    return "–" if value is None or value == "" else str(value)
