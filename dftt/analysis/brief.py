"""The end of a study in a dozen lines, for whoever has never seen one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dftt.analysis.metrics import tau_of
from dftt.types import Record
from dftt.types.arms import Arm

_ADAPTED = {"none": "not adapted", "own": "adapted to the document", "wrong": "adapted to another document"}
_SHOWN = 240  # letters of an answer


def brief(records: Sequence[Record], arms: Sequence[Arm]) -> str:
    """What was adapted to what, tokens per pass of each lossless arm, and one answer.

    Args:
        records: Of the study.
        arms: Its arms.
    """
    lossless = [arm for arm in arms if arm.mode in ("target", "speculative")]
    by_arm = {arm.id: [record for record in records if record.arm == arm.id and record.token_ids] for arm in lossless}
    own = next((record for record in records if record.adaptation), None)
    lines = [f"{len({record.context_id for record in records})} documents, {_tasks(records)} questions. {_learnt(own)}"]
    lines += ["", "Tokens for each pass of the target (tau); the text is the target's own all the same:"]
    width = max(len(in_words(arm)) for arm in lossless)
    for arm in lossless:
        tau = tau_of(by_arm[arm.id]).estimate
        lines.append(f"  {in_words(arm):{width}}  {'-' if math.isnan(tau) else f'{tau:.2f}'}")
    equal, counted = _equal(by_arm, lossless)
    lines.append(f"  ({equal} of {counted} answers are word for word those of the target alone)")
    if example := next((record for record in records if record.answer and record.arm in by_arm), None):
        answer = " ".join(example.answer.split())
        lines += ["", f"One answer, {example.task_id}:", f"  {answer[:_SHOWN]}{' …' if len(answer) > _SHOWN else ''}"]
    return "\n".join(lines)


def in_words(arm: Arm) -> str:
    """A lossless arm in plain words."""
    if arm.mode == "target":
        return "the target alone"
    drafter = arm.drafting.get("drafter", "draft")
    if drafter == "lookup":
        return "lookup in the text so far, no draft"
    draft = f"draft, {_ADAPTED.get(arm.ttt, f'adapted to {arm.ttt} text')}"
    return f"{draft}, and lookup" if drafter == "hybrid" else draft


def _learnt(record: Record | None) -> str:
    """What the draft learnt from before it answered."""
    if record is None:
        return "The draft was not adapted."
    steps = record.adaptation.get("steps", 0)
    if study := record.adaptation.get("study"):
        return (
            f"Before it was asked, the target wrote {study['texts']} short texts about each document, and the draft "
            f"learnt from these in {steps} steps."
        )
    return f"The draft learnt from each document's text in {steps} steps."


def _tasks(records: Sequence[Record]) -> int:
    return len({record.task_id for record in records})


def _equal(by_arm: dict[str, list[Record]], lossless: Sequence[Arm]) -> tuple[int, int]:
    """How many answers of drafting arms are the target's, and how many there are where it has one."""
    alone = next((arm.id for arm in lossless if arm.mode == "target"), None)
    wanted = {(record.task_id, record.seed): record.token_ids for record in by_arm.get(alone or "", [])}
    made = [record for name, each in by_arm.items() if name != alone for record in each]
    held = [record for record in made if (record.task_id, record.seed) in wanted]
    return sum(record.token_ids == wanted[record.task_id, record.seed] for record in held), len(held)
