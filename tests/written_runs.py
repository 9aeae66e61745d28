"""Folders of runs as `test` leaves them, made up without any model."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

from dftt.analysis.arms_file import write_arms
from dftt.decoding.replay import Candidates, TokenTrace
from dftt.study.records import RecordStore
from dftt.study.traces import Trace, append_trace
from dftt.types import DecodingSpec, Record, TTTSpec
from dftt.types.arms import Arm

STUDIED = (
    Arm("target"),
    *(Arm(ttt=source) for source in ("none", "own", "wrong")),
    *(Arm("guided", "own", alpha) for alpha in (0.2, 0.5)),
)
ARMS = tuple(arm.id for arm in STUDIED)
WORDS = (" the", " mayor", " goats", "\n", " count", " counts", " boat", " red", ".")
_TAU = {"none": 1.4, "own": 2.4, "wrong": 1.9}


def made_record(task: int, arm: str, *, answer: str | None = None, seed: int = 0) -> Record:
    """The record of a task and arm: the same one every time."""
    draws = random.Random(f"{task}/{arm}/{seed}")
    drafts = arm != "target"
    mean = _TAU[arm.rpartition("+")[2]] if drafts else 1.0
    lengths = tuple(min(8, 1 + int(draws.expovariate(1 / mean))) if drafts else 1 for _ in range(8))
    passed = None if task % 7 == 6 else draws.random() < 0.5
    adapted = arm.endswith(("+own", "+wrong"))
    losses = [round(3 * math.exp(-step / 6) + 1 + draws.random() / 5, 4) for step in range(12)]
    return Record(
        task_id=f"task {task}",
        context_id=f"context {task // 2}",
        arm=arm,
        seed=seed,
        spec_hash=f"hash of {arm}",
        answer=answer if answer is not None else f"The mayor counts {task} goats.",
        token_ids=tuple(draws.randrange(len(WORDS)) for _ in range(12)),
        acceptance_lengths=lengths,
        finish_reason="length",
        seconds=12 / mean * 0.1,
        target_calls=len(lengths),
        prompt_tokens=(task % 3) * 5000 + 900,
        passed=passed,
        statuses=() if passed is None else (passed,),
        explanation="no judge" if passed is None else "",
        rubrics=("says who counts",),
        adaptation={
            "steps": 12,
            "seconds": 4.0,
            "peak_bytes": 2**30,
            "first_loss": losses[0],
            "last_loss": losses[-1],
            "losses": losses,
            "settings": {"steps": 12, "lr": 0.001, "rank": 8, "loss": "kl"},
        }
        if adapted
        else {},
        metadata={"suite": "gsm8k", "context_category": ("rules", "facts")[task % 2], "answer": "the mayor"},
    )


def made_trace(record: Record, *, texts: Sequence[str] = WORDS) -> Trace:
    """A trace of a made-up record, with a draft and, in guided arms, a guided distribution."""
    draws = random.Random(f"{record.key}")

    def candidates(token: int) -> Candidates:
        ids = (token, *draws.sample([other for other in range(len(texts)) if other != token], 2))
        best = draws.uniform(0.4, 0.8)
        log_probs = tuple(math.log(p) for p in (best, (1 - best) * 0.6, (1 - best) * 0.3))
        if draws.random() < 0.4:
            ids = (ids[1], ids[0], ids[2])
        return Candidates(log_probs[ids.index(token)], ids, log_probs)

    guided = record.arm.startswith("guided")
    tokens = tuple(
        TokenTrace(
            token_id=token,
            slot=place % 3,
            accepted=place % 3 == 1,
            target=candidates(token),
            draft=None if record.arm == "target" else candidates(token),
            guided=candidates(token) if guided else None,
        )
        for place, token in enumerate(record.token_ids)
    )
    copied = tuple(draws.random() < 0.5 for _ in tokens)
    return Trace(*record.key, record.spec_hash, tokens, copied, dict(enumerate(texts)))


def write_run(
    folder: Path, records: Sequence[Record], traces: Sequence[Trace] = (), arms: Sequence[Arm] = STUDIED
) -> Path:
    """A run's folder with these records and traces, its arms, a config and its provenance."""
    store = RecordStore(folder)
    write_arms(folder, arms, TTTSpec(steps=12), DecodingSpec())
    lines = "".join(json.dumps(record.to_json()) + "\n" for record in records)
    store.path.write_text(lines)  # at once: append waits for the disk after each
    for trace in traces:
        append_trace(folder, trace)
    (folder / "config.yaml").write_text(
        "model: {target: 'bundled:smollm2-135m', draft: null, ttt: {steps: 12, lr: 0.001}}\n"
        "data: {init_args: {path: goats.jsonl}}\n"
        "evaluator: {baseline: speculative+none, decoding: {temperature: 0.0}}\n"
    )
    provenance = {
        "command": ["cli.py", "test", "--x", "a b"],
        "commit": "c" * 40,
        "modified": False,
        "device": "a card",
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    return folder


def small_run(folder: Path, *, tasks: int = 8, arms: Sequence[str] = ARMS, traced: int = 2) -> Path:
    """A run of a few tasks under all kinds of arms, the first ones traced."""
    records = [made_record(task, arm) for task in range(tasks) for arm in arms]
    traces = [made_trace(record) for record in records if int(record.task_id.split()[1]) < traced]
    return write_run(folder, records, traces)
