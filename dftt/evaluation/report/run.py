"""A run as its folder tells it: records, and what stands beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dftt.evaluation.arm_names import arm_parts
from dftt.evaluation.manifest import wanted_records
from dftt.evaluation.records import Key
from dftt.evaluation.traces import Trace, load_traces
from dftt.types import Record


@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Args:
        name: Tells it from the other runs of a report.
        folder: Where it lies.
        records: Those of its study; of a folder that does not say what the study wants, all.
        baseline: The arm that the others are compared with, empty where there is no record of it.
        provenance: Of provenance.json, empty where it is missing; so are the next two.
        config: Of config.yaml.
        verdicts: Of verdict.json: on each question its sentence and comparisons.
        traces: By key, those that belong to a record.
        error_classes: Of errors.json: why answers failed, by key.
        order: Arms as arms.json lists them.
        left_out: A sentence that counts what else lies in the folder, empty where that is nothing.
    """

    name: str
    folder: Path
    records: Sequence[Record]
    baseline: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    verdicts: Sequence[Mapping[str, Any]] = ()
    traces: Mapping[Key, Trace] = field(default_factory=dict)
    error_classes: Mapping[Key, str] = field(default_factory=dict)
    order: Sequence[str] = ()
    left_out: str = ""


@dataclass(frozen=True)
class ArmData:
    """The records of one arm of one run.

    Args:
        label: What it is called here: its id, after the run's name where there are several runs.
        arm: Its id.
        run: Its run.
        records: Its records.
        mode: The first part of its id.
        alpha: Guidance weight; 0 for mode target, None where the id names none.
        ttt: What follows in its id: the adaptation, "none" where it names none.
        rule: Rule of guidance, empty where its id names none.
    """

    label: str
    arm: str
    run: Run
    records: Sequence[Record]
    mode: str
    alpha: float | None
    ttt: str
    rule: str = ""

    @property
    def is_baseline(self) -> bool:
        """Whether the other arms of its run are compared with it."""
        return self.arm == self.run.baseline


def load_run(folder: str | Path, *, name: str = "") -> Run:
    """The run of a folder.

    Args:
        folder: With records.*.jsonl.
        name: What the report calls it; the folder's name where not given.

    Raises:
        ValueError: The folder is missing, holds no record, or a file in it cannot be read; the message names it.
    """
    folder = Path(folder)
    wanted = wanted_records(folder)
    records = wanted.records
    if not records:
        left_out = f" ({wanted.note})" if wanted.note else ""
        raise ValueError(
            f"report: {folder} holds no records.*.jsonl with a record of its study in it{left_out}; name the folder of "
            "a run"
        )
    hashes = {record.key: record.spec_hash for record in records}
    config = _read(folder / "config.yaml") or {}
    return Run(
        name=name or folder.resolve().name,
        folder=folder,
        records=records,
        baseline=_baseline(records, config, _read(folder / "summary.json")),
        provenance=_read(folder / "provenance.json") or {},
        config=config,
        verdicts=(_read(folder / "verdict.json") or {}).get("verdicts") or (),
        order=[arm["id"] for arm in _read(folder / "arms.json") or []],
        left_out=wanted.note,
        traces={key: trace for key, trace in load_traces(folder).items() if hashes.get(key) == trace.spec_hash},
        error_classes={
            (row["task_id"], row["arm"], row["seed"]): row["class"] for row in _read(folder / "errors.json") or []
        },
    )


def load_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs of several folders, under names that differ; ValueError where one is named twice or unreadable."""
    resolved = [Path(folder).resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise ValueError(f"report: a run is named twice among {', '.join(map(str, folders))}; name each once")
    names = [folder.name for folder in resolved]
    return [
        load_run(folder, name=name if names.count(name) == 1 else f"{folder.parent.name}/{name}")
        for folder, name in zip(resolved, names, strict=True)
    ]


def arms_of(runs: Sequence[Run]) -> list[ArmData]:
    """All arms of all runs: run by run, the baseline first, then as the study lists them, then by name."""
    arms = []
    for run in runs:
        grouped: dict[str, list[Record]] = {}
        for record in run.records:
            grouped.setdefault(record.arm, []).append(record)
        place = {arm: number for number, arm in enumerate(run.order)}
        for arm in sorted(grouped, key=lambda arm: (arm != run.baseline, place.get(arm, len(place)), arm)):
            label = arm if len(runs) == 1 else f"{run.name}: {arm}"
            arms.append(ArmData(label, arm, run, grouped[arm], *arm_parts(arm)))
    return arms


def arm_of(arms: Sequence[ArmData], run: Run, arm: str) -> ArmData | None:
    """The arm of a run with this id, where it has one."""
    return next((each for each in arms if each.run is run and each.arm == arm), None)


def _baseline(records: Sequence[Record], config: Mapping[str, Any], summary: Any) -> str:
    """The arm that the summary puts first, or that the config names, as far as there are records of it."""
    arms = {record.arm for record in records}
    listed = summary[0].get("arm") if isinstance(summary, list) and summary else None
    named = (config.get("evaluator") or {}).get("baseline")
    return next((arm for arm in (listed, named, "speculative+none", "target") if arm in arms), "")


def _read(path: Path) -> Any:
    """What a JSON or YAML file says; None where it is missing."""
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"report: {path} cannot be read ({reason}); repair or remove it") from None
