"""Studies as the manuscript reads them: a run's folder, its arms, and parts of its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dftt.evaluation.arm_roles import ArmRow
from dftt.evaluation.breakdown import GROUPINGS
from dftt.evaluation.records import Key
from dftt.evaluation.report.run import ArmData, Run, load_runs
from dftt.evaluation.verdict import ARMS_FILE
from dftt.types import Record

BY: dict[str, Callable[[Record], str]] = {
    "suite": lambda record: str(record.metadata.get("suite") or ""),
    **{name: group_of for name, group_of in GROUPINGS.items() if name != "all"},
}


@dataclass(frozen=True)
class Study:
    """A run and what its arms were.

    Args:
        run: With the records of these arms only: others in its folder belong to an earlier study.
        arms: The rows of arms.json.
    """

    run: Run
    arms: Sequence[ArmRow]
    _lines: dict[Key, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Tells it from the other studies of a build."""
        return self.run.name

    def has(self, arm: str) -> bool:
        """Whether there are records of an arm."""
        return any(record.arm == arm for record in self.run.records)

    def row(self, arm: str) -> ArmRow:
        """What an arm was."""
        return next(row for row in self.arms if row["id"] == arm)

    def digest(self, records: Sequence[Record]) -> str:
        """Sha256 of what the study's records say, whatever their order: of their lines' own, sorted."""
        for record in records:
            if record.key not in self._lines:
                line = json.dumps(record.to_json(), sort_keys=True)
                self._lines[record.key] = hashlib.sha256(line.encode()).hexdigest()
        lines = sorted(self._lines[record.key] for record in records)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Selection:
    """Which records of a study a number is made from.

    Args:
        arms: Ids of arms; empty: all.
        by: A grouping (suite, category, sub_category, length); empty: none.
        group: The group of that grouping.
    """

    arms: tuple[str, ...] = ()
    by: str = ""
    group: str = ""

    def records(self, study: Study) -> list[Record]:
        """The records of a study that it chooses, in the study's order."""
        return [
            record
            for record in study.run.records
            if (not self.arms or record.arm in self.arms) and (not self.by or BY[self.by](record) == self.group)
        ]

    def rows(self, study: Study) -> list[ArmRow]:
        """The arms of a study that it chooses."""
        return [row for row in study.arms if not self.arms or row["id"] in self.arms]


def load_studies(folders: Sequence[str | Path]) -> list[Study]:
    """The studies of several folders, under names that differ.

    Raises:
        ValueError: A folder is named twice, is no study's, or a file in it cannot be read; the message names it.
    """
    return [_study(run) for run in load_runs(folders)]


def groups_of(study: Study, by: str) -> list[str]:
    """The groups of a grouping that a study's records have, where there are several."""
    found = sorted({BY[by](record) for record in study.run.records} - {""})
    return found if len(found) > 1 else []


def rule_of(row: ArmRow) -> str:
    """The name of an arm's rule of guidance, empty where nothing is guided."""
    return str(row["guidance"].get("rule", "interpolate")) if row["mode"] == "guided" else ""


def arm_data(studies: Sequence[Study]) -> list[ArmData]:
    """The arms of studies for the report's figures: what they are is taken from arms.json, not from their ids."""
    found = []
    for study in studies:
        for row in sorted(study.arms, key=lambda row: row["id"] != study.run.baseline):
            records = [record for record in study.run.records if record.arm == row["id"]]
            label = row["id"] if len(studies) == 1 else f"{study.name}: {row['id']}"
            if records:
                alpha = {"target": 0.0, "guided": float(row["alpha"])}.get(row["mode"])
                ttt, rule = row["id"].partition("+")[2] or row["ttt"], row["guidance"].get("rule", "")
                found.append(ArmData(label, row["id"], study.run, records, row["mode"], alpha, ttt, rule))
    return found


def _study(run: Run) -> Study:
    path = run.folder / ARMS_FILE
    if not path.is_file():
        raise ValueError(f"paper: {run.name} has no {ARMS_FILE}; name the folder of a study that `test` has run")
    arms: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    known = {row["id"] for row in arms}
    records = [record for record in run.records if record.arm in known]
    if not records:
        raise ValueError(f"paper: {run.name} has no record of an arm that its {ARMS_FILE} lists")
    return Study(replace(run, records=records), arms)
