"""The report's figures, drawn for the manuscript; their numbers lie beside them as CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dftt.report.adaptation import adaptation_section
from dftt.report.errors import error_section
from dftt.report.figure import Figure
from dftt.report.guidance import guidance_section
from dftt.report.run import ArmData, Run, arms_of
from dftt.report.section import Section
from dftt.report.tau import tau_section
from paper.studies import Study
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
    return arm.arm.mode == "speculative"


def _answers(arm: ArmData) -> bool:
    return arm.arm.mode != "speculative"


KINDS = (
    _Kind("tau", lambda runs, arms: tau_section(arms), _lossless),  # noqa: ARG005
    _Kind("tau_by_length", lambda runs, arms: tau_section(arms), _lossless),  # noqa: ARG005
    _Kind("slot_acceptance", lambda runs, arms: tau_section(arms), _lossless),  # noqa: ARG005
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
    every = arms_of([study.run for study in studies])
    shown = {(arm.run.name, arm.arm.id) for arm in [each for each in every if kind.shows(each)][:_MOST_ARMS]}
    parts = [part for study in studies if (part := _part(study, shown)) is not None]
    if not parts:
        return None
    section = kind.section([part.run for part in parts], arms_of([part.run for part in parts]))
    return next((figure for figure in section.figures if figure.name == kind.name and figure.rows), None)


def _part(study: Study, shown: Collection[tuple[str, str]]) -> Study | None:
    """The study with the shown arms alone; None where none of its arms is shown."""
    arms = [arm for arm in study.arms if (study.name, arm.id) in shown]
    ids = {arm.id for arm in arms}
    records = [record for record in study.run.records if record.arm in ids]
    baseline = study.run.baseline if study.run.baseline in ids else ""
    return Study(replace(study.run, records=records, arms=arms, baseline=baseline)) if records else None


def _digest(figure: Figure) -> str:
    return hashlib.sha256(json.dumps(list(figure.rows)).encode()).hexdigest()
