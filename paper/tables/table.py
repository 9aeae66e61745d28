"""A table, and a row of it that is being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paper.studies import Selection, Study
from paper.tex import Format, Value, fixed, typed
from paper.trace import Ledger, Source, flag_of

ENDS = ("estimate", "low", "high")
SIGNED = fixed(2, sign=True)
ARM = r">{\raggedright\arraybackslash}p{0.29\linewidth}"  # a column of arms' ids, which may be long
REFERENCE = r">{\raggedright\arraybackslash}p{0.18\linewidth}"  # of those that arms are compared with
_LONG = 28  # rows; a longer table may break over pages


@dataclass
class Table:
    """A table.

    Args:
        name: Of its file, and of its label after "tab:".
        caption: TeX.
        columns: Title, TeX, and alignment of each.
        studies: Those that it is about; where there are several, a line names each before its rows.
        size: TeX before it: the size of its letters.
        breaks: Let it break over pages, however short it is.
        rows: Cells, TeX.
    """

    name: str
    caption: str
    columns: Sequence[tuple[str, str]]
    studies: Sequence[Study] = ()
    size: str = r"\small"
    breaks: bool = False
    rows: list[list[str]] = field(default_factory=list)
    _last: str = ""

    @property
    def flag(self) -> str:
        """The name that \\ifName asks for: whether there is such a table."""
        return flag_of("Table", self.name)

    def row(self, ledger: Ledger, study: Study) -> Row:
        """A new last row, behind a line with the study's name where another study's rows came before."""
        if len(self.studies) > 1 and self._last != study.name:
            heading = Row(ledger, self, study, [])
            self.rows.append(heading.cells)
            heading.add(Source(study, "recorded"), "name", self._across)
            self._last = study.name
        row = Row(ledger, self, study, [])
        self.rows.append(row.cells)
        return row

    def save(self, folder: Path) -> None:
        """Write NAME.tex."""
        header = " & ".join(title for title, _ in self.columns) + r" \\"
        align = f"{{@{{}}{''.join(alignment for _, alignment in self.columns)}@{{}}}}"
        body = [" & ".join(row) + r" \\" for row in self.rows]
        caption = f"\\caption{{{self.caption}}}\\label{{tab:{self.name}}}"
        if self.breaks or len(self.rows) > _LONG:
            lines = [f"{{{self.size}", rf"\begin{{longtable}}{align}", caption + r" \\", rf"\toprule {header} \midrule"]
            lines += [r"\endfirsthead", rf"\toprule {header} \midrule \endhead", r"\bottomrule \endfoot", *body]
            lines += [r"\end{longtable}}"]
        else:
            lines = [rf"\begin{{table}}[htbp]\centering{self.size}", caption, rf"\begin{{tabular}}{align}"]
            lines += [rf"\toprule {header} \midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        (folder / f"{self.name}.tex").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _across(self, name: Value) -> str:
        return rf"\multicolumn{{{len(self.columns)}}}{{@{{}}l}}{{{typed(name)}}}"


@dataclass
class Row:
    """A row, cell by cell, each entered into the ledger under its place."""

    ledger: Ledger
    table: Table
    study: Study
    cells: list[str]

    def add(self, source: Source, part: str, form: Format) -> None:
        """A cell with a part of a source."""
        self.cells.append(self.ledger.write(self._place(), source, part, form))

    def estimate(self, source: Source, parts: Sequence[str], form: Format | None = None) -> None:
        """A cell with an estimate and its interval."""
        self.cells.append(self.ledger.estimate(self._place(), source, parts, form))

    def arm(self, arm: str) -> None:
        """A cell with an arm's id."""
        self.add(Source(self.study, "setting", Selection((arm,))), "id", typed)

    def text(self, words: str) -> None:
        """A cell with words of this program, in which there is no number."""
        self.cells.append(words)

    def _place(self) -> str:
        return f"tables/{self.table.name}, row {len(self.table.rows)}, column {len(self.cells) + 1}"
