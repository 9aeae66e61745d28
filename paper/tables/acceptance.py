"""Acceptance length, and what adapting costs."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.analysis.arm_roles import NO_TTT
from dftt.analysis.comparison import MIN_CONTEXTS
from dftt.report.costs import cost_of
from paper.quantities import comparison_name
from paper.roles import Trio, pair_of, questions_of, trio_of, verdict_source
from paper.studies import Selection, Study, groups_of
from paper.tables.table import ARM, ENDS, SIGNED, Table
from paper.tex import fixed, said, whole
from paper.trace import Ledger, Source

_TAU = ("tau", "tau_low", "tau_high")


def tau(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per lossless arm."""
    caption = (
        r"Acceptance length under lossless decoding. Intervals are at 95\,\%, by contexts; "
        r"$\Delta\tau$ is paired by task and seed."
    )
    columns = [("arm", ARM), (r"$\tau$ [95\,\%]", "l"), ("per prompt", "r")]
    columns += [(r"$\Delta\tau$ against no TTT [95\,\%]", "l"), ("answers", "r")]
    table = Table("tau", caption, columns, studies)
    for study in studies:
        lossless = [arm for arm in study.arms if arm.mode == "speculative" and study.has(arm.id)]
        for arm in lossless if "tau" in questions_of(study) else ():
            row, source = table.row(ledger, study), Source(study, "arm", Selection((arm.id,)))
            row.arm(arm.id)
            row.estimate(source, _TAU)
            row.add(source, "tau_per_prompt", fixed(2))
            if pair := pair_of(study, arm.id, NO_TTT, "tau"):
                verdict = verdict_source(study, "tau")
                row.estimate(verdict, [comparison_name(pair.arm, pair.reference, part) for part in ENDS], SIGNED)
                row.add(verdict, comparison_name(pair.arm, pair.reference, "n"), whole)
            else:
                row.text("")
                row.add(Source(study, "size", source.selection), "records", whole)
    return table


def tau_by_group(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per group: the arms that the verdict on tau rests on."""
    caption = (
        r"Acceptance length by suite, category and length of the prompt (k is 1,024 tokens), for those arms of "
        r"Table~\ref{tab:tau} that the verdict rests on. No interval where a group has fewer than "
        r"\MinContexts{} contexts."
    )
    columns = [("group", "l"), ("no TTT", "r"), ("own", "r"), ("wrong", "r")]
    columns += [(r"own $-$ no TTT [95\,\%]", "l"), (r"own $-$ wrong [95\,\%]", "l"), ("answers", "r")]
    table = Table("tau_by_group", caption, columns, studies, size=r"\footnotesize\setlength{\tabcolsep}{4pt}")
    for study in studies:
        if (trio := trio_of(study)) is not None:
            for by in ("suite", "category", "length"):
                for group in groups_of(study, by):
                    _group(ledger, table, study, trio, by, group)
    return table


def costs(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per arm that is not guided: seconds of decoding and of adapting, and when the one repays the other."""
    caption = (
        "Wall-clock as recorded: decoding alone (prompts read, scoring left out), and adapting. The last column is the "
        "number of new tokens per context after which adapting has paid for itself."
    )
    columns = [("arm", ARM), ("s per token", "r"), ("new tokens", "r"), ("s of adapting per context", "r")]
    columns += [("peak GiB", "r"), ("pays after", "r")]
    table = Table("costs", caption, columns, studies)
    for study in studies:
        for each in study.arms:
            chosen = Selection((each.id,))
            if each.mode == "guided" or not cost_of(chosen.records(study)).decoding_s:
                continue
            row, source = table.row(ledger, study), Source(study, "cost", chosen)
            row.arm(each.id)
            row.add(source, "seconds_per_token", fixed(3))
            row.add(source, "tokens", whole)
            row.add(source, "adapting_s", fixed(1))
            row.add(source, "peak_gib", fixed(2))
            if pair := pair_of(study, each.id, NO_TTT, "tau"):
                pays = break_even(study, pair.arm, pair.reference)
                row.add(pays, *(("tokens", whole) if ledger.parts(pays)["pays"] == "yes" else ("pays", said)))
            else:
                row.text("")
    return table


def break_even(study: Study, arm: str, reference: str) -> Source:
    """When an arm's adaptation has paid for itself."""
    return Source(study, "break_even", Selection((arm, reference)), {"arm": arm, "reference": reference})


def _group(ledger: Ledger, table: Table, study: Study, trio: Trio, by: str, group: str) -> None:
    row = table.row(ledger, study)
    row.add(Source(study, "group", Selection(by=by, group=group), {"by": by, "group": group}), "group", said)
    for arm in (trio.none, trio.own, trio.wrong):
        chosen = Selection((arm or "",), by, group)
        if chosen.records(study):
            row.add(Source(study, "arm", chosen), "tau", fixed(2))
        else:
            row.text("")
    for reference in (trio.none, trio.wrong):
        if reference is None:
            row.text("")
            continue
        difference = _difference(study, trio.own, reference, by, group)
        if int(ledger.parts(difference)["num_clusters"] or 0) < MIN_CONTEXTS:
            row.add(difference, "estimate", SIGNED)
        else:
            row.estimate(difference, ENDS, SIGNED)
    row.add(_difference(study, trio.own, trio.none, by, group), "n", whole)


def _difference(study: Study, arm: str, reference: str, by: str, group: str) -> Source:
    """A comparison of the verdict on tau, in a group alone."""
    arguments = {"arm": arm, "reference": reference, "measure": "tau"}
    return Source(study, "comparison", Selection((arm, reference), by, group), arguments)
