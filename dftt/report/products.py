"""What a study leaves when it ends: summary.json, groups.json, verdict.json, the report, tables and rates."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from dftt.analysis.arms_file import read_arms
from dftt.analysis.brief import brief as in_brief
from dftt.analysis.metrics import AcceptanceLength, PassRate
from dftt.analysis.summary import format_failures, format_groups, format_table, summarise, tau_by_group
from dftt.analysis.verdict import write_verdict
from dftt.report.page import write_report
from dftt.study.manifest import Wanted
from dftt.types import Record
from dftt.types.arms import Arm


def write_products(folder: Path, wanted: Wanted, *, baseline: str, brief: bool) -> tuple[str, Path]:
    """Write all files that are made of a study's records, and return its tables as text and the report's path.

    Args:
        folder: Of the records.
        wanted: The study's records.
        baseline: Id of the arm that tables show first.
        brief: A dozen lines in plain words instead of tables and verdict.
    """
    records, arms = wanted.records, read_arms(folder).arms
    judgement = write_verdict(folder, records)
    rows, groups = summarise(records, baseline, judgement.comparisons), tau_by_group(records, arms)
    (folder / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
    (folder / "groups.json").write_text(json.dumps(groups, indent=2) + "\n")
    tables = (in_brief(records, arms),) if brief else (format_table(rows), format_groups(groups), str(judgement))
    told = "\n".join(filter(None, (*tables, format_failures(records), wanted.note)))
    return told, write_report([folder])


def rates(records: Sequence[Record], arms: Sequence[Arm]) -> dict[str, float]:
    """tau and pass rate of each arm, as `tau@ARM` and `pass_rate@ARM`; those that records do not tell are left out."""
    found: dict[str, float] = {}
    for arm in arms:
        tau, passes = AcceptanceLength(sync_on_compute=False), PassRate(sync_on_compute=False)
        for record in records:
            if record.arm == arm.id:
                tau.update(record.acceptance_lengths)
                passes.update(record.passed)
        if arm.mode != "target":
            found[f"tau@{arm.id}"] = float(tau.compute())
        found[f"pass_rate@{arm.id}"] = float(passes.compute())
    return {name: value for name, value in found.items() if math.isfinite(value)}
