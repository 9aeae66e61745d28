"""What was run."""

from __future__ import annotations

from collections.abc import Sequence

from paper.studies import Selection, Study, groups_of
from paper.tables.table import Row, Table
from paper.tex import Format, compact, said, typed, whole
from paper.trace import Ledger, Source

_RECORDED = (
    ("target", "target", typed),
    ("draft", "draft", said),
    ("precision", "precision", said),
    ("data", "data", said),
    ("new tokens at most", "max_new_tokens", whole),
    ("temperature", "temperature", compact),
    ("seeds", "seeds", said),
    ("machine", "device", said),
    ("threads", "threads", whole),
    ("torch", "torch", said),
    ("transformers", "transformers", said),
    ("commit", "commit", said),
    ("command", "command", typed),
)
_SIZE = ("tasks", "contexts", "arms", "records", "unscored", "errors")
_TTT = ("steps", "lr", "rank", "anchors", "loss", "modules")


def setup(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """One column per study."""
    width = f">{{\\raggedright\\arraybackslash}}p{{{0.72 / len(studies):.2f}\\linewidth}}"
    columns = [("", "l"), *((typed(study.name), width) for study in studies)]
    table = Table("setup", "What was run, as the runs recorded it.", columns)
    for title, part, form in _RECORDED:
        sources = [Source(study, "recorded") for study in studies]
        if any(ledger.parts(source)[part] is not None for source in sources):
            _line(table, title, [(source, part, form) for source in sources], ledger)
    for part in _SIZE:
        _line(table, part, [(Source(study, "size"), part, whole) for study in studies], ledger)
    adapted = {study.name: next((arm.id for arm in study.arms if arm.ttt != "none"), None) for study in studies}
    for name in _TTT if all(adapted.values()) else ():
        sources = [Source(study, "setting", Selection((adapted[study.name] or "",))) for study in studies]
        _line(table, f"TTT: {name}", [(source, f"ttt.{name}", compact) for source in sources], ledger)
    return table


def groups(ledger: Ledger, studies: Sequence[Study]) -> Table:
    """Tasks and contexts of each group of a grouping that divides a study."""
    columns = [("by", "l"), ("group", "l"), ("tasks", "r"), ("contexts", "r")]
    table = Table("groups", "Tasks and contexts by suite, category and length of the prompt.", columns, studies)
    for study in studies:
        for by in ("suite", "category", "length"):
            for group in groups_of(study, by):
                row = table.row(ledger, study)
                source = Source(study, "size", Selection(by=by, group=group))
                named = Source(study, "group", Selection(by=by, group=group), {"by": by, "group": group})
                row.add(named, "by", said)
                row.add(named, "group", said)
                row.add(source, "tasks", whole)
                row.add(source, "contexts", whole)
    return table


def _line(table: Table, title: str, cells: Sequence[tuple[Source, str, Format]], ledger: Ledger) -> None:
    row = Row(ledger, table, cells[0][0].study, [])
    table.rows.append(row.cells)
    row.text(title)
    for source, part, form in cells:
        row.add(source, part, form)
