"""The report's figures as PDF for the manuscript; their numbers lie beside them as CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from dftt.report.figures import Figure
from dftt.report.plots import adaptation_figures, error_figures, guidance_figures, tau_figures
from dftt.report.run import ArmData, arms_of
from paper.studies import Study
from paper.trace import Ledger, flag_of

_MOST_ARMS = 36  # rows that a page has room for


# Figures of the report: its name there, what draws it, and whether it shows lossless arms or the others.
KINDS: dict[str, tuple[Callable[[Sequence[ArmData]], list[Figure]], bool]] = {
    "tau": (tau_figures, True),
    "tau_by_length": (tau_figures, True),
    "slot_acceptance": (tau_figures, True),
    "pass_rate_by_alpha": (guidance_figures, False),
    "pass_rate_differences": (guidance_figures, False),
    "losses": (adaptation_figures, True),
    "errors": (error_figures, False),
}


def write_figures(ledger: Ledger, studies: Sequence[Study], folder: Path) -> None:
    """Draw those figures that the studies' records have something for, and enter them into the ledger."""
    folder.mkdir()
    for name in KINDS:
        made = _figure(name, studies)
        ledger.flags[flag_of("Figure", name)] = made is not None
        if made is None:
            continue
        made.save(folder, ["pdf"])
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
    made = _figure(name, studies)
    return "" if made is None else _digest(made)


def _figure(name: str, studies: Sequence[Study]) -> Figure | None:
    draw, lossless = KINDS[name]
    every = [arm for arm in arms_of([study.run for study in studies]) if (arm.arm.mode == "speculative") == lossless]
    shown = {(arm.run.name, arm.arm.id) for arm in every[:_MOST_ARMS]}
    parts = [part for study in studies if (part := _part(study, shown)) is not None]
    figures = draw(arms_of([part.run for part in parts]))
    return next((figure for figure in figures if figure.name == name and figure.rows), None)


def _part(study: Study, shown: Collection[tuple[str, str]]) -> Study | None:
    """The study with the shown arms alone; None where none of its arms is shown."""
    arms = [arm for arm in study.arms if (study.name, arm.id) in shown]
    ids = {arm.id for arm in arms}
    records = [record for record in study.run.records if record.arm in ids]
    baseline = study.run.baseline if study.run.baseline in ids else ""
    return Study(replace(study.run, records=records, arms=arms, baseline=baseline)) if records else None


def _digest(figure: Figure) -> str:
    return hashlib.sha256(json.dumps(figure.numbers).encode()).hexdigest()
