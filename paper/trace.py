"""Where every number came from: nothing reaches the manuscript but through a ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paper.quantities import QUANTITIES, Material, Parts
from paper.studies import Selection, Study
from paper.tex import NO_NUMBER, Format, Value, fixed, interval, whole

TRACE_FILE = "trace.json"


def flag_of(kind: str, name: str) -> str:
    """The name of a flag, such as TableTauByGroup for the table tau_by_group: TeX's names are letters alone."""
    return kind + name.title().replace("_", "")


@dataclass(frozen=True)
class Source:
    """What a number is made from and how.

    Args:
        study: The study.
        quantity: Its name in `QUANTITIES`.
        selection: The records of the study that it is made from.
        arguments: The quantity's arguments, as JSON can hold them.
    """

    study: Study
    quantity: str
    selection: Selection = field(default_factory=Selection)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        """Equal for sources that give equal parts."""
        chosen = [self.selection.arms, self.selection.by, self.selection.group]
        return json.dumps([self.study.name, self.quantity, chosen, self.arguments], sort_keys=True)

    def parts(self) -> Parts:
        """All parts of the quantity, made from the records."""
        material = Material(self.study.run, self.selection.records(self.study), self.selection.chosen(self.study))
        return QUANTITIES[self.quantity](material, **self.arguments)


@dataclass
class Ledger:
    """Numbers as they are written into the manuscript, each with its source.

    Args:
        entries: One for each macro and each cell of a table.
        macros: Name to text.
        flags: Whether a thing was measured, by the name that \\ifName asks for.
    """

    entries: list[dict[str, Any]] = field(default_factory=list)
    macros: dict[str, str] = field(default_factory=dict)
    flags: dict[str, bool] = field(default_factory=dict)
    _parts: dict[str, Parts] = field(default_factory=dict)
    _digests: dict[str, tuple[int, str]] = field(default_factory=dict)

    def parts(self, source: Source) -> Parts:
        """The parts of a source, made once."""
        if source.key() not in self._parts:
            self._parts[source.key()] = source.parts()
        return self._parts[source.key()]

    def write(self, where: str, source: Source, part: str, form: Format) -> str:
        """The part as text, entered under the place where it is written."""
        value = self.parts(source).get(part)
        shown = form(value)
        self.entries.append(
            {
                "where": where,
                "shown": shown,
                "value": value,
                "study": source.study.name,
                "quantity": source.quantity,
                "part": part,
                "arguments": dict(source.arguments),
                "records": self._records(source),
            }
        )
        return shown

    def macro(self, name: str, source: Source, part: str, form: Format) -> Value:
        """Define a macro; the value it shows."""
        self.macros[name] = self.write(f"\\{name}", source, part, form)
        return self.parts(source).get(part)

    def interval(self, name: str, source: Source, parts: Sequence[str], form: Format, prefix: str = "") -> None:
        """Macros Name, NameCI and, where a fourth part is given, NameN.

        Args:
            name: Of the macros.
            source: Of the number.
            parts: Of the estimate, its low end and its high end, and of the count.
            form: Of the first three.
            prefix: Of the parts' names.
        """
        self.macro(name, source, prefix + parts[0], form)
        self.macros[f"{name}CI"] = self.ends(f"\\{name}CI", source, [prefix + part for part in parts[1:3]], form)
        for part in parts[3:]:
            self.macro(f"{name}N", source, prefix + part, whole)

    def ends(self, where: str, source: Source, parts: Sequence[str], form: Format) -> str:
        """Both ends of an interval in brackets."""
        low, high = (self.write(where, source, part, form) for part in parts)
        return interval({"low": low, "high": high})

    def estimate(self, where: str, source: Source, parts: Sequence[str], form: Format | None = None) -> str:
        """An estimate with its interval, for a cell of a table."""
        form = form or fixed(2)
        middle = self.write(where, source, parts[0], form)
        return f"{middle} {self.ends(where, source, parts[1:3], form)}".strip() if middle != NO_NUMBER else middle

    def save(self, folder: Path) -> None:
        """Write numbers.tex and trace.json."""
        flags = [f"\\newif\\if{name}\\{name}{'true' if on else 'false'}" for name, on in self.flags.items()]
        macros = [f"\\newcommand{{\\{name}}}{{{text}}}" for name, text in self.macros.items()]
        (folder / "numbers.tex").write_text("\n".join([*flags, *macros]) + "\n", encoding="utf-8")
        text = json.dumps({"entries": self.entries}, indent=1, ensure_ascii=False)
        (folder / TRACE_FILE).write_text(text + "\n", encoding="utf-8")

    def _records(self, source: Source) -> dict[str, Any]:
        """The filter that chooses the source's records, their number and their digest."""
        chosen = source.selection
        key = f"{source.study.name} {chosen}"
        if key not in self._digests:
            records = chosen.records(source.study)
            self._digests[key] = len(records), source.study.digest(records)
        count, sha256 = self._digests[key]
        filters = {"arms": list(chosen.arms), "by": chosen.by, "group": chosen.group}
        return {**filters, "count": count, "sha256": sha256}
