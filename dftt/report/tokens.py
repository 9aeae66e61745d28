"""The token view: answers of two arms side by side, each token with the distributions behind it.

The page holds the traces as data and its script draws two answers at a time, as text nodes only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dftt.decoding.replay import Candidates, TokenTrace
from dftt.report.run import ArmData
from dftt.report.words import shortened, visible
from dftt.study.traces import Trace
from dftt.types import Record

_ANSWER_TOKENS = 600  # of one answer: aligning two of them is quadratic
_TOKEN_TEXT = 100  # characters of a token
_PAGE_TOKENS = 40_000  # of all answers together: about 8 MB


def token_data(arms: Sequence[ArmData]) -> dict[str, Any]:
    """What the script reads of the traced answers, and how many had no room; nothing where none was traced."""
    traced = [(arm, record) for arm in arms for record in arm.records if record.key in arm.run.traces]
    if not traced:
        return {}
    view = _View()
    for arm, record in traced:
        view.add(arm, record, arm.run.traces[record.key])
    left, right = _first_choice([arm for arm, _ in traced], arms)
    return {**view.data(), "left": left.key, "right": right.key}


class _View:
    """What the script reads; every text stands in it once, and tokens name texts by number."""

    def __init__(self) -> None:
        self.left_out = 0
        self._texts: dict[str, int] = {}
        self._tasks: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._arms: dict[str, str] = {}
        self._room = _PAGE_TOKENS

    def add(self, arm: ArmData, record: Record, trace: Trace) -> None:
        """Take an answer in, as far as there is room for its beginning."""
        tokens = trace.tokens[:_ANSWER_TOKENS]
        if len(tokens) > self._room:
            self.left_out += 1
            return
        self._room -= len(tokens)
        self._arms[arm.key] = visible(arm.label)
        # Several runs may have answered the same task: their answers stand side by side.
        key = (record.context_id, record.task_id, record.seed)
        name = record.task_id if record.seed == 0 else f"{record.task_id}, seed {record.seed}"
        task = self._tasks.setdefault(key, {"task": visible(name), "answers": {}})
        task["answers"][arm.key] = {
            "passed": record.passed,
            "cut": len(trace.tokens) - len(tokens),
            "tokens": [self._token(token, copied, trace) for token, copied in zip(tokens, trace.copied, strict=False)],
        }

    def data(self) -> dict[str, Any]:
        """All of it."""
        return {
            "texts": list(self._texts),
            "tasks": list(self._tasks.values()),
            "arms": list(self._arms.items()),
            "left_out": self.left_out,
        }

    def _token(self, token: TokenTrace, copied: bool, trace: Trace) -> list[Any]:
        differs = token.guided is not None and token.guided.token_ids[:1] != token.target.token_ids[:1]
        return [
            self._text(token.token_id, trace),
            token.slot,
            int(token.accepted),
            int(copied),
            int(differs),
            *(self._candidates(each, trace) for each in (token.target, token.draft, token.guided)),
        ]

    def _candidates(self, candidates: Candidates | None, trace: Trace) -> list[float | None] | None:
        """The committed token's log-probability, then text and probability of the likeliest."""
        if candidates is None:
            return None
        flat: list[float | None] = [candidates.log_prob if math.isfinite(candidates.log_prob) else None]
        for token, log_prob in zip(candidates.token_ids, candidates.log_probs, strict=True):
            flat += [self._text(token, trace), round(math.exp(log_prob), 4)]
        return flat

    def _text(self, token: int, trace: Trace) -> int:
        # A line break is a mark of its own in the view; all else that is not seen is written out.
        text = visible(shortened(trace.texts.get(token, f"[{token}]"), _TOKEN_TEXT))
        return self._texts.setdefault(text, len(self._texts))


def _first_choice(traced: Sequence[ArmData], arms: Sequence[ArmData]) -> tuple[ArmData, ArmData]:
    """The two arms shown first: the target, and one guided by the draft that adapted to the own context, if any."""
    wanted = lambda arm: (arm.mode != "guided", arm.ttt != "own", bool(arm.guidance), arm.alpha <= 0)  # noqa: E731
    right = min(traced, key=lambda data: (*wanted(data.arm), data.is_baseline))
    reference = right.target(arms)
    return (reference if reference in traced else traced[0]) or traced[0], right
