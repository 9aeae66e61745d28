"""What a study and `predict` say at their end, for whoever has never seen one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from dftt.adaptation.ttt import Adaptation
from dftt.analysis.frame import Frame, frame_of, pairs, tau_of
from dftt.tables import number
from dftt.types import Generation, Record
from dftt.types.arms import Arm

_ADAPTED = {"none": "not adapted", "own": "adapted to the document", "wrong": "adapted to another document"}
_SHOWN = 240  # letters of an answer


def brief(records: Sequence[Record], arms: Sequence[Arm]) -> str:
    """What was adapted to what, tokens per pass of each lossless arm, and one answer.

    Args:
        records: Of the study.
        arms: Its arms.
    """
    frame = frame_of(records)
    made = frame[frame["new_tokens"] > 0]
    lossless = [arm for arm in arms if arm.mode in ("target", "speculative")]
    learnt = _learnt(next((record for record in records if record.adaptation), None))
    lines = [f"{frame['context_id'].nunique()} documents, {frame['task_id'].nunique()} questions. {learnt}"]
    lines += ["", "Tokens for each pass of the target (tau); the text is the target's own all the same:"]
    width = max(len(in_words(arm)) for arm in lossless)
    for arm in lossless:
        tau = tau_of(made[made["arm"] == arm.id]).estimate
        lines.append(f"  {in_words(arm):{width}}  {'-' if math.isnan(tau) else f'{tau:.2f}'}")
    equal = _equal(made, lossless)
    lines.append(f"  ({sum(equal)} of {len(equal)} answers are word for word those of the target alone)")
    shown = {arm.id for arm in lossless}
    if example := next((record for record in records if record.answer and record.arm in shown), None):
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


def answer_costs(generation: Generation, adaptation: Adaptation | None) -> str:
    """Tokens, tau and seconds of an answer, and what adapting cost, counted in tokens of this answer."""
    said = f"{len(generation.token_ids)} tokens, tau {generation.tau:.2f}, {generation.seconds:.1f} s"
    if adaptation is None or not generation.token_ids or generation.seconds <= 0:
        return said
    if adaptation.all_seconds == 0:
        return f"{said}; adapting took no time"
    tokens = adaptation.all_seconds * len(generation.token_ids) / generation.seconds
    return f"{said}; adapting took {adaptation.all_seconds:.1f} s, as long as {tokens:.0f} such tokens"


def write_answers(path: str | Path, records: Sequence[Record]) -> None:
    """Write answers as JSONL, one row per task: its ids, the answer, tau (null without a step), tokens and seconds.

    Args:
        path: Replaced where it exists; folders are made.
        records: The answers.
    """
    rows = [
        {
            "task_id": record.task_id,
            "context_id": record.context_id,
            "answer": record.answer,
            "tau": number(tau_of([record]).estimate),
            "tokens": len(record.token_ids),
            "seconds": record.seconds,
            "adaptation_seconds": record.adaptation.get("seconds"),
            "study_seconds": record.adaptation.get("study", {}).get("seconds"),
            "passed": record.passed,
            "problem": record.explanation if record.finish_reason == "error" else "",
        }
        for record in records
    ]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


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


def _equal(made: Frame, lossless: Sequence[Arm]) -> list[bool]:
    """Of each answer of a drafting arm whether it is the target's, where that has one."""
    targets = [arm.id for arm in lossless if arm.mode == "target"][:1]
    equal = []
    for arm in lossless:
        if targets and arm.id != targets[0]:
            both = pairs(made, arm.id, targets[0]).dropna(subset=["record_a", "record_b"])
            equal += [a.token_ids == b.token_ids for a, b in zip(both["record_a"], both["record_b"], strict=True)]
    return equal
