"""A run as its folder tells it: records, and what stands beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from dftt.analysis.arm_roles import target_of
from dftt.analysis.arms_file import read_arms
from dftt.analysis.comparison import Comparison
from dftt.analysis.frame import tau_of
from dftt.analysis.statistics import Interval, wilson_interval
from dftt.analysis.verdict import Judgement, judge, read_verdict
from dftt.report.costs import Cost, cost_of
from dftt.report.words import words_of
from dftt.scoring.error_classes import classify_all
from dftt.study.manifest import wanted_records
from dftt.study.records import Key
from dftt.study.traces import Trace, load_traces
from dftt.types import Record
from dftt.types.arms import Arm

_SETTINGS = ("steps", "lr", "rank", "loss", "anchors", "window")


@dataclass(frozen=True)
class Run:
    """What a run left behind.

    Args:
        name: Tells it from the other runs of a report.
        folder: Where it lies.
        records: Those of its study's arms; of a folder that does not say what the study wants, all of those.
        arms: Its arms, in the study's order.
        judgement: Its verdict.json; made from the records where it has none, or one of fewer records. All differences
            that are shown are in it.
        baseline: The arm that tables show first, empty where there is no record of it.
        provenance: Of provenance.json, empty where it is missing; so are the next two.
        config: Of config.yaml.
        traces: By key, those that belong to a record.
        error_classes: Of errors.json: why answers failed, by key.
        left_out: A sentence that counts what else lies in the folder, empty where that is nothing.
    """

    name: str
    folder: Path
    records: Sequence[Record]
    arms: Sequence[Arm]
    judgement: Judgement
    baseline: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    traces: Mapping[Key, Trace] = field(default_factory=dict)
    error_classes: Mapping[Key, str] = field(default_factory=dict)
    left_out: str = ""

    @cached_property
    def failures(self) -> dict[Key, str]:
        """Why each failed answer failed: as errors.json says, else as a program can tell."""
        return {**classify_all(self.records), **self.error_classes}

    @cached_property
    def words(self) -> dict[str, str]:
        """What each arm does in words, by id."""
        return words_of(self.arms)

    def comparison(self, arm: str, against: str, measure: str) -> Comparison | None:
        """The verdict's comparison of this arm with that kind of reference; None where there is none, or no pair."""
        for each in self.judgement.comparisons:
            if (each.arm, each.pair.against, each.pair.measure) == (arm, against, measure) and each.interval.n:
                return each
        return None


@dataclass(frozen=True, eq=False)
class ArmData:
    """The records of one arm of one run.

    Args:
        key: Its id, after the run's name where there are several runs.
        label: What it does in words, likewise.
        arm: The arm.
        run: Its run.
        records: Its records.
    """

    key: str
    label: str
    arm: Arm
    run: Run
    records: Sequence[Record]

    @property
    def is_baseline(self) -> bool:
        """Whether it comes first in its run's tables."""
        return self.arm.id == self.run.baseline

    @property
    def drafts(self) -> bool:
        """Whether it has an acceptance length."""
        return self.arm.mode != "target" and any(record.acceptance_lengths for record in self.records)

    @property
    def is_scored(self) -> bool:
        """Whether it has a pass rate."""
        return self.pass_rate.n > 0

    @cached_property
    def tau(self) -> Interval:
        """Its acceptance length."""
        return tau_of(self.records)

    @cached_property
    def pass_rate(self) -> Interval:
        """The share of its scored answers that passed."""
        scored = [record.passed for record in self.records if record.passed is not None]
        return wilson_interval(sum(scored), len(scored))

    @cached_property
    def cost(self) -> Cost:
        """What it cost."""
        return cost_of(self.records)

    @property
    def losses(self) -> list[list[float]]:
        """Before each step, of each of its adaptations."""
        made = {record.context_id: record.adaptation.get("losses") for record in self.records if record.adaptation}
        return [losses for losses in made.values() if losses]

    @property
    def settings(self) -> dict[str, Any]:
        """How it adapts, and which layers the draft sees and how often it answers, where that is not the usual."""
        known = {name: value for name, value in self.arm.ttt_overrides.items() if name in _SETTINGS}
        if self.arm.taps != "all":
            known["taps"] = self.arm.taps
        return known if self.arm.rounds == 1 else {**known, "rounds": self.arm.rounds}

    def compared(self, against: str, measure: str) -> Comparison | None:
        """The verdict's comparison of this arm with that kind of reference, if there is one."""
        return self.run.comparison(self.arm.id, against, measure)

    def target(self, arms: Sequence[ArmData]) -> ArmData | None:
        """The target's own answers at the arm's temperature, where its run has them."""
        target = target_of(self.run.arms, self.arm)
        return None if target is None else arm_of(arms, self.run, target.id)

    def speed_up(self, arms: Sequence[ArmData]) -> str:
        """Seconds per token of the target alone over those of the arm; "–" where either was not measured."""
        target = self.target(arms)
        before = target.cost.seconds_per_token if target and target.arm.mode == "target" else None
        after = self.cost.seconds_per_token
        return f"{before / after:.2f}×" if before and after else "–"


def load_run(folder: str | Path, *, name: str = "") -> Run:
    """The run of a folder.

    Args:
        folder: With records.*.jsonl and arms.json.
        name: What the report calls it; the folder's name where not given.

    Raises:
        ValueError: The folder is missing, holds no record, or a file in it cannot be read; the message names it.
    """
    folder = Path(folder)
    wanted = wanted_records(folder)
    arms = read_arms(folder).arms if wanted.records else ()
    known = {arm.id for arm in arms}
    records = [record for record in wanted.records if record.arm in known]
    if not records:
        left_out = f" ({wanted.note})" if wanted.note else ""
        raise ValueError(
            f"report: {folder} holds no records.*.jsonl with a record of its study in it{left_out}; name the folder of "
            "a run"
        )
    judgement = read_verdict(folder)
    if judgement is None or judgement.num_records != len(wanted.records):
        judgement = judge(folder, wanted.records)
    hashes = {record.key: record.spec_hash for record in records}
    config = _read(folder / "config.yaml") or {}
    return Run(
        name=name or folder.resolve().name,
        folder=folder,
        records=records,
        arms=arms,
        judgement=judgement,
        baseline=_baseline(records, config, _read(folder / "summary.json")),
        provenance=_read(folder / "provenance.json") or {},
        config=config,
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
    """All arms of all runs that have a record: run by run, the baseline first, then as the study lists them."""
    found = []
    for run in runs:
        for arm in sorted(run.arms, key=lambda arm: arm.id != run.baseline):
            if records := [record for record in run.records if record.arm == arm.id]:
                before = "" if len(runs) == 1 else f"{run.name}: "
                label = before + run.words[arm.id]
                found.append(ArmData(before + arm.id, label, arm, run, records))
    return found


def arm_of(arms: Sequence[ArmData], run: Run, arm: str) -> ArmData | None:
    """The arm of a run with this id, where it has one."""
    return next((each for each in arms if each.run is run and each.arm.id == arm), None)


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
