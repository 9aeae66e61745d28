"""The distributions behind each token of chosen answers, on disk: `traces.<rank>.jsonl`, one line per record."""

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

_OF_RECORD = ("task_id", "arm", "seed", "spec_hash")
_DIGITS = 3  # of a log-probability: more than a picture can show


@dataclass(frozen=True)
class Trace:
    """An answer, token by token; the first four fields are its record's, and another hash means an older answer.

    Args:
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
            **{name: getattr(self, name) for name in _OF_RECORD},
            "tokens": [
                [each.token_id, each.slot, int(each.accepted), *map(_row, (each.target, each.draft, each.guided))]
                for each in self.tokens
            ],
            "copied": [int(flag) for flag in self.copied],
            "texts": {str(token): text for token, text in self.texts.items()},
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Trace:
        """Trace of a row written by `to_json`; KeyError, TypeError or ValueError where it is none."""
        return cls(
            **{name: row[name] for name in _OF_RECORD},
            tokens=tuple(_token(*each) for each in row["tokens"]),
            copied=tuple(bool(flag) for flag in row["copied"]),
            texts={int(token): text for token, text in row["texts"].items()},
        )


def make_trace(
    record: Record, tokens: Sequence[TokenTrace], prompt: Sequence[int], text_of: Callable[[int], str]
) -> Trace:
    """The trace of a record, from what `replay` says of its tokens, the prompt's token ids and the text of a token."""
    pairs = set(pairwise(prompt))
    answer = [token.token_id for token in tokens]
    candidates = [each for token in tokens for each in (token.target, token.draft, token.guided) if each is not None]
    ids = {*answer, *(token for each in candidates for token in each.token_ids)}
    return Trace(
        **{name: getattr(record, name) for name in _OF_RECORD},
        tokens=tuple(tokens),
        copied=tuple(pair in pairs for pair in pairwise([prompt[-1], *answer])),
        texts={token: text_of(token) for token in sorted(ids)},
    )


def append_trace(folder: str | Path, trace: Trace, rank: int | str = 0) -> None:
    """Add a trace to a run's folder, as one line of the file of process `rank`."""
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


def _row(candidates: Candidates | None) -> list[Any] | None:
    if candidates is None:
        return None
    # None stands for minus infinity, which JSON does not know.
    log_prob, *rest = (
        round(value, _DIGITS) if math.isfinite(value) else None
        for value in (candidates.log_prob, *candidates.log_probs)
    )
    return [log_prob, list(candidates.token_ids), rest]


def _token(token_id: int, slot: int, accepted: int, target: Any, draft: Any, guided: Any) -> TokenTrace:
    said = _candidates(target)
    if said is None:
        raise ValueError("a token without the target's distribution")
    return TokenTrace(token_id, slot, bool(accepted), said, _candidates(draft), _candidates(guided))


def _candidates(row: Sequence[Any] | None) -> Candidates | None:
    if row is None:
        return None
    log_prob, token_ids, log_probs = row
    first, *rest = (-math.inf if value is None else float(value) for value in (log_prob, *log_probs))
    return Candidates(first, tuple(token_ids), tuple(rest))
