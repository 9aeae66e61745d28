"""What guidance does to answers."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.analysis.arm_roles import TARGET
from dftt.types.arms import SOURCES, Arm
from paper.quantities import comparison_name
from paper.roles import pair_of, questions_of, verdict_source
from paper.studies import Selection, Study, rule_of
from paper.tables.table import ARM, ENDS, REFERENCE, SIGNED, Table
from paper.tex import compact, finding, p_value, said, whole, wrapped
from paper.trace import Ledger, Source

VARIANT = r">{\raggedright\arraybackslash}p{0.1\linewidth}"
_PASS = ("pass_rate", "pass_low", "pass_high")


def guidance(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per arm that answers: the target's own, and guided ones."""
    caption = (
        r"Answers. Pass rates are over scored answers (Wilson); differences are paired by task and seed, with "
        r"intervals by contexts; p is exact, whole contexts swapped, by Holm within its question; the last column is "
        r"the finding by the rules of Section~\ref{sec:rules}."
    )
    columns = [("rule", "l"), (r"$\alpha$", "r"), ("T", "r"), ("TTT", VARIANT), ("passed", "r"), ("scored", "r")]
    columns += [(r"pass rate [95\,\%]", "l"), (r"$-$ target's [95\,\%]", "l"), ("p", "r"), ("finding", "l")]
    table = Table("guidance", caption, columns, studies, size=r"\footnotesize\setlength{\tabcolsep}{4pt}")
    for study in studies:
        scored = any(record.passed is not None for record in study.run.records)
        rows = [arm for arm in study.arms if arm.mode != "speculative" and study.has(arm.id)]
        for each in sorted(rows, key=_order) if scored and len(rows) > 1 else ():
            _arm(ledger, table, study, each)
    return table


def mended(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per guided arm: answers that it mends and breaks against the target alone."""
    caption = "Answers that an arm passes where the target alone fails (mended), and the reverse (broken)."
    columns = [("arm", ARM), ("against", REFERENCE), ("mended", "r"), ("broken", "r"), ("pairs", "r")]
    table = Table("mended", caption, columns, studies)
    for study in studies:
        for each in sorted(study.arms, key=_order):
            pair = pair_of(study, each.id, TARGET, "pass rate")
            if pair is None:
                continue
            arguments = {"arm": pair.arm, "reference": pair.reference}
            source = Source(study, "mended", Selection((pair.arm, pair.reference)), arguments)
            if not ledger.parts(source)["pairs"]:
                continue
            row = table.row(ledger, study)
            row.arm(pair.arm)
            row.arm(pair.reference)
            for part in ("fixed", "broken", "pairs"):
                row.add(source, part, whole)
    return table


def _arm(ledger: Ledger, table: Table, study: Study, arm: Arm) -> None:
    row, own = table.row(ledger, study), arm.mode != "target"
    what, source = (Source(study, quantity, Selection((arm.id,))) for quantity in ("setting", "arm"))
    row.add(what, "rule", said)
    for part, form in (("alpha", compact), ("temperature", compact), ("variant", wrapped)):
        if own or part == "temperature":
            row.add(what, part, form)
        else:
            row.text("")
    row.add(source, "passed", whole)
    row.add(source, "scored", whole)
    row.estimate(source, _PASS)
    pair = pair_of(study, arm.id, TARGET, "pass rate")
    if pair is None or pair.question not in questions_of(study):
        row.cells.extend(["", "", ""])
        return
    verdict = verdict_source(study, pair.question)
    row.estimate(verdict, [comparison_name(pair.arm, pair.reference, part) for part in ENDS], SIGNED)
    row.add(verdict, comparison_name(pair.arm, pair.reference, "adjusted"), p_value)
    row.add(verdict, comparison_name(pair.arm, pair.reference, "finding"), finding)


def _order(arm: Arm) -> tuple[object, ...]:
    """The target first, then rule by rule, each by what the draft was adapted to and by alpha."""
    heat = -1.0 if arm.temperature is None else arm.temperature
    return arm.mode != "target", arm.mode, rule_of(arm), heat, SOURCES.index(arm.ttt), arm.alpha, arm.id
