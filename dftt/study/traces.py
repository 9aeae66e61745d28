"""What stands behind each token of chosen answers, on disk: `traces.<rank>.jsonl`, one line per (task, arm, seed)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from dftt.decoding.replay import Candidates, TokenTrace
from dftt.study.records import Key, read_shard, shards
from dftt.types import Record

_DIGITS = 3  # of a log-probability: more than a picture can show


@dataclass(frozen=True)
class Trace:
    """An answer, token by token.

    Args:
        task_id: As in the record.
        arm: As in the record.
        seed: As in the record.
        spec_hash: As in the record; a trace of another hash is of an older answer.
        tokens: The answer's tokens with the distributions at their positions.
        copied: Per token, whether the context holds it right after the same token before it.
        texts: Text of every token id that occurs.
    """

    task_id: str
    arm: str
    seed: int
    spec_hash: str
    tokens: tuple[TokenTrace, ...]
    copied: tuple[bool, ...]
    texts: Mapping[int, str]

    @property
    def key(self) -> Key:
        """The record's key."""
        return self.task_id, self.arm, self.seed

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary that json can write; log-probabilities are rounded to three decimals."""
        return {
            "task_id": self.task_id,
            "arm": self.arm,
            "seed": self.seed,
            "spec_hash": self.spec_hash,
            "tokens": [_token_row(token) for token in self.tokens],
            "copied": [int(flag) for flag in self.copied],
            "texts": {str(token): text for token, text in self.texts.items()},
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Trace:
        """Trace of a row written by `to_json`; KeyError, TypeError or ValueError where it is none."""
        return cls(
            task_id=row["task_id"],
            arm=row["arm"],
            seed=row["seed"],
            spec_hash=row["spec_hash"],
            tokens=tuple(_token(each) for each in row["tokens"]),
            copied=tuple(bool(flag) for flag in row["copied"]),
            texts={int(token): text for token, text in row["texts"].items()},
        )


def make_trace(
    record: Record, tokens: Sequence[TokenTrace], prompt: Sequence[int], text_of: Callable[[int], str]
) -> Trace:
    """The trace of a record.

    Args:
        record: The answer.
        tokens: Of `dftt.decoding.replay.replay`.
        prompt: Token ids of the prompt.
        text_of: Text of a token id.
    """
    pairs = set(pairwise(prompt))
    before = [prompt[-1], *(token.token_id for token in tokens)]
    ids = {token.token_id for token in tokens}
    for token in tokens:
        for candidates in (token.target, token.draft, token.guided):
            ids.update(candidates.token_ids if candidates is not None else ())
    return Trace(
        task_id=record.task_id,
        arm=record.arm,
        seed=record.seed,
        spec_hash=record.spec_hash,
        tokens=tuple(tokens),
        copied=tuple((previous, token.token_id) in pairs for previous, token in zip(before, tokens, strict=False)),
        texts={token: text_of(token) for token in sorted(ids)},
    )


def append_trace(folder: str | Path, trace: Trace, rank: int = 0) -> None:
    """Add a trace to a run's folder, as one line.

    Args:
        folder: Of the run's records.
        trace: The trace.
        rank: Each process writes a file of its own.
    """
    with (Path(folder) / f"traces.{rank}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(trace.to_json(), separators=(",", ":")) + "\n")


def load_traces(folder: str | Path) -> dict[Key, Trace]:
    """Traces of a run by key, the last written of each; none where the folder has none.

    A line that cannot be read (a killed run leaves half of one) is passed over: a trace is an illustration, not a
    measurement.
    """
    traces = {}
    for path in shards(folder, "traces"):
        for line in read_shard(path).decode("utf-8", errors="replace").split("\n"):
            try:
                trace = Trace.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            traces[trace.key] = trace
    return traces


def _token_row(token: TokenTrace) -> list[Any]:
    rows = [_candidates_row(each) for each in (token.target, token.draft, token.guided)]
    return [token.token_id, token.slot, int(token.accepted), *rows]


def _candidates_row(candidates: Candidates | None) -> list[Any] | None:
    if candidates is None:
        return None
    return [_rounded(candidates.log_prob), list(candidates.token_ids), [_rounded(x) for x in candidates.log_probs]]


def _token(row: Sequence[Any]) -> TokenTrace:
    token_id, slot, accepted, target, draft, guided = row
    said = _candidates(target)
    if said is None:
        raise ValueError("a token without the target's distribution")
    return TokenTrace(token_id, slot, bool(accepted), said, _candidates(draft), _candidates(guided))


def _candidates(row: Sequence[Any] | None) -> Candidates | None:
    if row is None:
        return None
    log_prob, token_ids, log_probs = row
    return Candidates(_number(log_prob), tuple(token_ids), tuple(_number(value) for value in log_probs))


def _rounded(value: float) -> float | None:
    """None stands for minus infinity, which JSON does not know."""
    return round(value, _DIGITS) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return -math.inf if value is None else float(value)
