"""study.json: which records a study wants, so that those of its folder that are another study's are left out.

A folder may hold more than one study wants: records of other tasks, of arms that were dropped, or of the same ones
under settings that have changed since. study.json names every task, arm and seed that is intended and the hash that its
record must have; all that reads a study reads it through `wanted_records`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.study.records import Key, load_records, load_versions, replace_file
from dftt.types import Record

STUDY_FILE = "study.json"
CLOCK = "strftime_now"  # what transformers lets a chat template read the date by
Parts = Mapping[str, str]


@dataclass(frozen=True)
class Intended:
    """What a study is to answer.

    Args:
        contexts: Of each task its context, by their ids.
        arms: Ids of the arms.
        seeds: The decoding seeds.
        hashes: The `spec_hash` of each record that is wanted, by task, arm and seed.
        command: The command that the study is of: test or predict.
    """

    contexts: Mapping[str, str]
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    hashes: Mapping[Key, str]
    command: str = "test"

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary that json can write; the hashes of a task stand by arm, in the order of the seeds."""
        tasks = [
            {
                "task_id": task,
                "context_id": context,
                "hashes": {arm: [self.hashes[task, arm, seed] for seed in self.seeds] for arm in self.arms},
            }
            for task, context in self.contexts.items()
        ]
        return {"command": self.command, "arms": list(self.arms), "seeds": list(self.seeds), "tasks": tasks}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Intended:
        """What `to_json` wrote; KeyError, TypeError, AttributeError or ValueError where it is something else."""
        seeds, tasks = tuple(row["seeds"]), row["tasks"]
        hashes = {
            (task["task_id"], arm, seed): value
            for task in tasks
            for arm, values in task["hashes"].items()
            for seed, value in zip(seeds, values, strict=True)
        }
        contexts = {task["task_id"]: task["context_id"] for task in tasks}
        return cls(contexts, tuple(row["arms"]), seeds, hashes, row["command"])

    def write(self, folder: str | Path) -> None:
        """Write study.json into the folder of the records, in place of an older one."""
        replace_file(Path(folder) / STUDY_FILE, json.dumps(self.to_json()) + "\n")


@dataclass(frozen=True)
class Wanted:
    """The records of a study.

    Args:
        records: Those that the study wants and its folder has, sorted by key.
        intended: What it wants; None for a folder that says nothing of it, all of whose records count.
        others: What else lies in the folder, sorted by key.
    """

    records: list[Record]
    intended: Intended | None
    others: list[Record]

    @property
    def missing(self) -> list[Key]:
        """Task, arm and seed of what is intended and has no record: a study that lacks some is unfinished."""
        there = {record.key for record in self.records}
        return [key for key in (self.intended.hashes if self.intended else {}) if key not in there]

    @property
    def note(self) -> str:
        """One sentence that counts what else lies in the folder; empty where that is nothing."""
        if not self.others or self.intended is None:
            return ""
        same = sum(record.key in self.intended.hashes for record in self.others)
        tasks = len({record.task_id for record in self.others} - set(self.intended.contexts))
        arms = len({record.arm for record in self.others} - set(self.intended.arms))
        parts = [f"{same} of the same tasks and arms under other settings"] if same else []
        if other := len(self.others) - same:
            parts.append(f"{other} of other tasks, arms or seeds ({tasks} tasks and {arms} arms)")
        left_out = f"left out: {len(self.others)} records in this folder that are not this study's: "
        return left_out + ", ".join(parts)


def read_intended(folder: str | Path) -> Intended | None:
    """What the study of a folder is to answer; None where the folder does not say, as those of older versions.

    Raises:
        ValueError: study.json cannot be read.
    """
    path = Path(folder) / STUDY_FILE
    if not path.is_file():
        return None
    try:
        return Intended.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); run the study again, which writes it anew") from None


def wanted_records(folder: str | Path, intended: Intended | None = None) -> Wanted:
    """The records of a folder's study, what it intends, and what else lies there.

    Args:
        folder: Of the study.
        intended: What is wanted; by default what the folder's study.json says.

    Raises:
        ValueError: The folder is missing or a file in it broken, or it has records of one task, arm and seed under
            several settings and does not say which are meant.
    """
    intended = intended or read_intended(folder)
    versions = load_versions(folder)
    if intended is not None:
        own = [record for record in versions if intended.hashes.get(record.key) == record.spec_hash]
        return Wanted(own, intended, [each for each in versions if intended.hashes.get(each.key) != each.spec_hash])
    if twice := len(versions) - len({record.key for record in versions}):
        raise ValueError(
            f"{folder} holds records of more than one study ({twice} under other settings than others of the same "
            f"task, arm and seed) and no {STUDY_FILE} that says which is meant: run the one you mean there again; "
            "its records are kept"
        )
    return Wanted(load_records(folder), None, [])


def what_changed(wanted: Wanted, parts: Mapping[Key, Parts], template: Any) -> str:
    """A sentence on each reason why records of this study's tasks, arms and seeds are made anew; empty where none are.

    Args:
        wanted: The study's records.
        parts: The parts of the fingerprint of each record that is wanted.
        template: The target's chat template.
    """
    there = {record.key for record in wanted.records}
    outdated = {record.key: record for record in wanted.others if record.key in parts and record.key not in there}
    reasons = Counter(_reason(record.hashes, parts[key], str(template)) for key, record in outdated.items())
    return "\n".join(f"made anew: {count} records, since {reason}" for reason, count in reasons.most_common())


def _reason(before: Parts, now: Parts, template: str) -> str:
    """What has changed, in words."""
    if not before:
        return "they were made by an older version, which did not keep what decides a record"
    changed = {name for name in now if before.get(name) != now[name]}
    if "settings" in changed:
        return "their arm's settings, the models or the precision have changed"
    if "prompt" not in changed:
        return "the context that the draft learns from has changed: other tasks share it, or another one is next to it"
    if "row" in changed:
        return "their prompts have changed: the rows of the data are others"
    if "template" in changed:
        return "their prompts have changed: the target has another chat template"
    if CLOCK in template:
        return (
            "their prompts have changed, though the rows have not: the chat template puts the date into them "
            f"({CLOCK}); write a fixed date into the target's chat template to keep records from one day to the next"
        )
    return "their prompts have changed, though rows and chat template have not: the tokenizer is another"
