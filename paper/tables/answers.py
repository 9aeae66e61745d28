"""What guidance does to answers."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.evaluation.arm_roles import ArmRow, guide_of, target_of
from paper.quantities import comparison_name
from paper.roles import Pair, question_of
from paper.studies import Selection, Study, rule_of
from paper.tables.table import ARM, ENDS, REFERENCE, SIGNED, Table
from paper.tex import compact, finding, p_value, said, whole, wrapped
from paper.trace import Ledger, Source

VARIANT = r">{\raggedright\arraybackslash}p{0.1\linewidth}"
_PASS = ("pass_rate", "pass_low", "pass_high")


def guidance(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per arm that answers: the target's own, and guided ones."""
    caption = (
        r"Answers. Pass rates are over scored answers (Wilson); differences are paired by task and seed, whole "
        r"contexts resampled; p is McNemar's, exact, by Holm within its question; the last column is the finding by "
        r"the rules of Section~\ref{sec:rules}."
    )
    columns = [("rule", "l"), (r"$\alpha$", "r"), ("T", "r"), ("TTT", VARIANT), ("passed", "r"), ("scored", "r")]
    columns += [(r"pass rate [95\,\%]", "l"), (r"$-$ target's [95\,\%]", "l"), ("p", "r"), ("finding", "l")]
    table = Table("guidance", caption, columns, studies, size=r"\footnotesize\setlength{\tabcolsep}{4pt}")
    for study in studies:
        scored = any(record.passed is not None for record in study.run.records)
        rows = [row for row in study.arms if row["mode"] != "speculative" and study.has(row["id"])]
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
            target = target_of(study.arms, each)
            if guide_of(each) == "nothing" or target is None or not (study.has(each["id"]) and study.has(target["id"])):
                continue
            pair = {"arm": each["id"], "reference": target["id"]}
            source = Source(study, "mended", Selection((each["id"], target["id"])), pair)
            if not study.has(target["id"]) or not ledger.parts(source)["pairs"]:
                continue
            row = table.row(ledger, study)
            row.arm(each["id"])
            row.arm(target["id"])
            for part in ("fixed", "broken", "pairs"):
                row.add(source, part, whole)
    return table


def _arm(ledger: Ledger, table: Table, study: Study, each: ArmRow) -> None:
    row, own = table.row(ledger, study), each["mode"] != "target"
    what, source = (Source(study, quantity, Selection((each["id"],))) for quantity in ("setting", "arm"))
    row.add(what, "rule", said)
    for part, form in (("alpha", compact), ("temperature", compact), ("variant", wrapped)):
        if own or part == "temperature":
            row.add(what, part, form)
        else:
            row.text("")
    row.add(source, "passed", whole)
    row.add(source, "scored", whole)
    row.estimate(source, _PASS)
    target = target_of(study.arms, each)
    pair = Pair(each["id"], target["id"]) if target is not None and own else None
    asked = None if pair is None else question_of(ledger, study, pair)
    if asked is None or pair is None:
        row.cells.extend(["", "", ""])
        return
    row.estimate(asked, [comparison_name(pair.arm, pair.reference, part) for part in ENDS], SIGNED)
    row.add(asked, comparison_name(pair.arm, pair.reference, "adjusted"), p_value)
    row.add(asked, comparison_name(pair.arm, pair.reference, "finding"), finding)


def _order(row: ArmRow) -> tuple[object, ...]:
    """The target first, then rule by rule, each by what the draft was adapted to and by alpha."""
    sources = ("none", "own", "wrong", "shuffled")
    heat = -1.0 if row["temperature"] is None else row["temperature"]
    return row["mode"] != "target", row["mode"], rule_of(row), heat, sources.index(row["ttt"]), row["alpha"], row["id"]
