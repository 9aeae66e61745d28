"""Studies as the manuscript reads them: a run's folder, its arms, and parts of its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dftt.analysis.frame import GROUPINGS
from dftt.analysis.verdict import judge
from dftt.report.run import Run, load_runs
from dftt.study.records import Key
from dftt.types import Record
from dftt.types.arms import Arm


@dataclass(frozen=True)
class Study:
    """A run, judged anew from its records."""

    run: Run
    _lines: dict[Key, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Tells it from the other studies of a build."""
        return self.run.name

    def has(self, arm: str) -> bool:
        """Whether there are records of an arm."""
        return any(record.arm == arm for record in self.run.records)

    @property
    def arms(self) -> Sequence[Arm]:
        """Its arms, in order."""
        return self.run.arms

    def arm(self, arm: str) -> Arm:
        """The arm of an id."""
        return next(each for each in self.arms if each.id == arm)

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
            if (not self.arms or record.arm in self.arms) and (not self.by or GROUPINGS[self.by](record) == self.group)
        ]

    def chosen(self, study: Study) -> list[Arm]:
        """The arms of a study that it chooses."""
        return [arm for arm in study.arms if not self.arms or arm.id in self.arms]


def load_studies(folders: Sequence[str | Path]) -> list[Study]:
    """The studies of several folders, under names that differ.

    Raises:
        ValueError: A folder is named twice, is no study's, or a file in it cannot be read; the message names it.
    """
    return [Study(replace(run, judgement=judge(run.folder, run.records))) for run in load_runs(folders)]


def groups_of(study: Study, by: str) -> list[str]:
    """The groups of a grouping that a study's records have, where there are several."""
    found = sorted({GROUPINGS[by](record) for record in study.run.records} - {""})
    return found if len(found) > 1 else []


def rule_of(arm: Arm) -> str:
    """The name of an arm's rule of guidance, empty where nothing is guided."""
    return str(arm.guidance.get("rule", "interpolate")) if arm.mode == "guided" else ""
