"""Why records of an earlier run no longer count, by the parts that their hashes are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dftt.study.manifest import Wanted
from dftt.study.records import Key

Parts = Mapping[str, str]
CLOCK = "strftime_now"  # what transformers lets a chat template read the date by


def what_changed(wanted: Wanted, parts: Mapping[Key, Parts], template: Any) -> str:
    """A sentence on each reason why records of this study's tasks, arms and seeds are made anew; empty where none are.

    Args:
        wanted: Of the study.
        parts: Of each record that is wanted, the parts of its hash.
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
