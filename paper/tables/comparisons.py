"""Every comparison that was made, whatever came of it."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.analysis.arm_roles import ArmPair
from paper.quantities import FINDINGS, comparison_name
from paper.roles import questions_of, verdict_of, verdict_source
from paper.studies import Study
from paper.tables.table import ARM, ENDS, REFERENCE, SIGNED, Table
from paper.tex import finding, p_value, said, typed, whole
from paper.trace import Ledger, Source

_TITLES = {
    "tau": r"$\tau$",
    "guidance": "answers, guided by the draft",
    "controls": "the controls of that",
    "baselines": "answers, without the draft",
}


def verdicts(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per verdict."""
    columns = [("question", "l"), ("verdict", r">{\raggedright\arraybackslash}p{0.62\linewidth}")]
    table = Table("verdicts", "The verdicts: the line of the decision table that holds.", columns, studies)
    for study in studies:
        for question in questions_of(study):
            row, source = table.row(ledger, study), verdict_source(study, question)
            row.text(_TITLES[question])
            row.add(source, "sentence", said)
    return table


def findings(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per question: how often each finding came of its comparisons."""
    columns = [("question", "l"), ("comparisons", "r"), *((finding(each), "r") for each in FINDINGS)]
    table = Table("findings", "What came of the comparisons of each question, counted.", columns, studies)
    for study in studies:
        for question in questions_of(study):
            row, source = table.row(ledger, study), verdict_source(study, question)
            row.text(_TITLES[question])
            for part in ("comparisons", *FINDINGS):
                row.add(source, part, whole)
    return table


def comparisons(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One row per comparison."""
    caption = (
        r"Every comparison: first those of $\tau$, then those of pass rates. p is by Holm within the question. ``Would "
        r"tell'': about how many pairs would narrow the interval to the margin, where nothing can be told and it "
        r"is wider."
    )
    columns = [("arm", ARM), ("against", REFERENCE), (r"difference [95\,\%]", "l"), ("n", "r"), ("p", "r")]
    columns += [("finding", "l"), ("would tell", "r")]
    size = r"\footnotesize\setlength{\tabcolsep}{4pt}"
    table = Table("comparisons", caption, columns, studies, size=size, breaks=True)
    for study in studies:
        for question in questions_of(study):
            verdict = verdict_of(study, question)
            for each in verdict.comparisons if verdict else ():
                _comparison(ledger, table, study, verdict_source(study, question), each.pair)
    return table


def _comparison(ledger: Ledger, table: Table, study: Study, source: Source, pair: ArmPair) -> None:
    row, parts = table.row(ledger, study), ledger.parts(source)

    def name(part: str) -> str:
        return comparison_name(pair.arm, pair.reference, part)

    row.add(source, name("arm"), typed)
    row.add(source, name("reference"), typed)
    row.estimate(source, [name(part) for part in ENDS], SIGNED)
    row.add(source, name("n"), whole)
    row.add(source, name("adjusted"), p_value)
    row.add(source, name("finding"), finding)
    enough, n = (int(parts[name(part)] or 0) for part in ("enough", "n"))
    if parts[name("finding")] in ("unclear", "too few") and enough > n:
        row.add(source, name("enough"), whole)
    else:
        row.text("")
