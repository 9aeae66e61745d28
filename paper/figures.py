"""The report's figures, drawn for the manuscript; their numbers lie beside them as CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dftt.evaluation.report.adaptation import adaptation_section
from dftt.evaluation.report.errors import error_section
from dftt.evaluation.report.figure import Figure
from dftt.evaluation.report.guidance import guidance_section
from dftt.evaluation.report.run import ArmData, Run
from dftt.evaluation.report.section import Section
from dftt.evaluation.report.tau import tau_section
from paper.studies import Study, arm_data
from paper.trace import Ledger, flag_of
from paper.vector import write_figure

_MOST_ARMS = 36  # rows that a page has room for


@dataclass(frozen=True)
class _Kind:
    """A figure of the report: its name there, the section that draws it, and which arms it shows."""

    name: str
    section: Callable[[Sequence[Run], Sequence[ArmData]], Section]
    shows: Callable[[ArmData], bool]

    @property
    def flag(self) -> str:
        """The name that \\ifName asks for: whether there is such a figure."""
        return flag_of("Figure", self.name)


def _lossless(arm: ArmData) -> bool:
    return arm.mode == "speculative"


def _answers(arm: ArmData) -> bool:
    return arm.mode != "speculative"


KINDS = (
    _Kind("tau", tau_section, _lossless),
    _Kind("tau_by_length", tau_section, _lossless),
    _Kind("slot_acceptance", tau_section, _lossless),
    _Kind("pass_rate_by_alpha", guidance_section, _answers),
    _Kind("pass_rate_differences", guidance_section, _answers),
    _Kind("losses", lambda runs, arms: adaptation_section(arms), _lossless),  # noqa: ARG005
    _Kind("errors", error_section, _answers),
)


def write_figures(ledger: Ledger, studies: Sequence[Study], folder: Path) -> None:
    """Draw those figures that the studies' records have something for, and enter them into the ledger."""
    folder.mkdir()
    for kind in KINDS:
        made = _figure(kind, studies)
        ledger.flags[kind.flag] = made is not None
        if made is None:
            continue
        write_figure(made.drawing, folder, made.name)
        made.save(folder)
        ledger.entries.append(
            {
                "where": f"figures/{made.name}",
                "figure": made.name,
                "title": made.title,
                "studies": [study.name for study in studies],
                "rows": len(made.rows),
                "sha256": _digest(made),
                "records": {study.name: study.digest(study.run.records) for study in studies},
            }
        )


def figure_digest(name: str, studies: Sequence[Study]) -> str:
    """Sha256 of the numbers of a figure, drawn again."""
    kind = next(kind for kind in KINDS if kind.name == name)
    made = _figure(kind, studies)
    return "" if made is None else _digest(made)


def _figure(kind: _Kind, studies: Sequence[Study]) -> Figure | None:
    shown = {(arm.run.name, arm.arm) for arm in [each for each in arm_data(studies) if kind.shows(each)][:_MOST_ARMS]}
    parts = [part for study in studies if (part := _part(study, shown)) is not None]
    if not parts:
        return None
    section = kind.section([part.run for part in parts], arm_data(parts))
    return next((figure for figure in section.figures if figure.name == kind.name and figure.rows), None)


def _part(study: Study, shown: Collection[tuple[str, str]]) -> Study | None:
    """The study with the shown arms alone; None where none of its arms is shown."""
    rows = [row for row in study.arms if (study.name, row["id"]) in shown]
    ids = {row["id"] for row in rows}
    records = [record for record in study.run.records if record.arm in ids]
    baseline = study.run.baseline if study.run.baseline in ids else ""
    return Study(replace(study.run, records=records, baseline=baseline), rows) if records else None


def _digest(figure: Figure) -> str:
    return hashlib.sha256(json.dumps(list(figure.rows)).encode()).hexdigest()
