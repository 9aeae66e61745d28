"""What `predict` says of its answers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from dftt.adaptation.ttt import Adaptation
from dftt.types import Generation, Record


def answer_costs(generation: Generation, adaptation: Adaptation | None) -> str:
    """Tokens, tau and seconds of an answer, and what adapting cost, counted in tokens of this answer."""
    said = f"{len(generation.token_ids)} tokens, tau {generation.tau:.2f}, {generation.seconds:.1f} s"
    if adaptation is None or not generation.token_ids or generation.seconds <= 0:
        return said
    tokens = adaptation.seconds * len(generation.token_ids) / generation.seconds
    return f"{said}; adapting took {adaptation.seconds:.1f} s, as long as {tokens:.0f} such tokens"


def write_answers(path: str | Path, records: Sequence[Record]) -> None:
    """Write answers as JSONL, one row per task: its ids, the answer, tau (null without a step), tokens and seconds.

    Args:
        path: Replaced where it exists; folders are made.
        records: The answers.
    """
    rows = []
    for record in records:
        lengths = record.acceptance_lengths
        tau = sum(lengths) / len(lengths) if lengths else math.nan
        rows.append(
            {
                "task_id": record.task_id,
                "context_id": record.context_id,
                "answer": record.answer,
                "tau": tau if math.isfinite(tau) else None,
                "tokens": len(record.token_ids),
                "seconds": record.seconds,
                "adaptation_seconds": record.adaptation.get("seconds"),
                "passed": record.passed,
                "problem": record.explanation if record.finish_reason == "error" else "",
            }
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
