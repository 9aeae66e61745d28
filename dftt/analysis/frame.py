"""The records of a study as one table, and the one function for each number: all that is said of a study calls these.

A frame has a row per record: `task_id`, `context_id`, `arm`, `seed`; `tokens` committed in so many verify `steps`;
`new_tokens` of the answer and the `seconds` of decoding them; `passed` (1, 0, or NaN where unscored); of what is scored
the rubrics `fulfilled` and the number of `rubrics`; `stated`, the judge's own overall score (NaN without one); `error`;
the groupings; and the `record` itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import pandas as pd

from dftt.analysis.statistics import Interval, ratio_interval, wilson_interval
from dftt.suites.tasks import length_bucket
from dftt.types import Record

Frame: TypeAlias = Any  # a pandas DataFrame: by what pandas declares of its columns, nothing could be summed
GROUPINGS: dict[str, Callable[[Record], str]] = {
    "suite": lambda record: str(record.metadata.get("suite") or ""),
    "category": lambda record: str(record.metadata.get("context_category") or record.metadata.get("category") or ""),
    "sub_category": lambda record: str(record.metadata.get("sub_category") or ""),
    "length": lambda record: length_bucket(record.prompt_tokens) if record.prompt_tokens else "unknown",
}
_TEXT = ("task_id", "context_id", "arm", *GROUPINGS)
_WHOLE = ("seed", "tokens", "steps", "new_tokens", "fulfilled", "rubrics")
_REAL = ("seconds", "passed", "stated")
_TYPES = dict.fromkeys(_TEXT, "object") | dict.fromkeys(_WHOLE, "int64") | dict.fromkeys(_REAL, "float64")
_TYPES |= {"error": "bool", "record": "object"}
_QUESTION = ["task_id", "seed"]


def frame_of(records: Iterable[Record] | Frame) -> Frame:
    """The frame of records, in their order; a frame is given back as it is."""
    if isinstance(records, pd.DataFrame):
        return records
    return pd.DataFrame([_row(record) for record in records], columns=pd.Index(_TYPES)).astype(_TYPES)


def pairs(records: Iterable[Record] | Frame, arm: str, reference: str) -> Frame:
    """Two arms side by side: a row for each task and seed that either has a record of, sorted by these.

    Columns of the arm end in `_a`, those of the reference in `_b`; NaN stands where one of them has no record.
    """
    frame = frame_of(records)
    one, other = (
        frame[frame["arm"] == each].drop_duplicates(_QUESTION, keep="last").set_index(_QUESTION)
        for each in (arm, reference)
    )
    both = one.index.union(other.index).sort_values()
    return one.reindex(both).add_suffix("_a").join(other.reindex(both).add_suffix("_b")).reset_index()


def tau_of(records: Iterable[Record] | Frame) -> Interval:
    """Tokens committed per verify step, each step weighing the same, with its interval by contexts."""
    frame = frame_of(records)
    return ratio_interval(frame["tokens"], frame["steps"], frame["context_id"]).within(1, math.inf)


def tau_per_prompt(records: Iterable[Record] | Frame) -> float:
    """Mean over answers of tokens per step, the convention of published tables; NaN where no answer has a step."""
    drafted = _drafted(records)
    return float((drafted["tokens"] / drafted["steps"]).mean())


def emitted_tau(records: Iterable[Record] | Frame, *, guided: bool) -> float:
    """Tau without the tokens that a last step committed behind the end of the answer; NaN where there was no step.

    Args:
        records: Of one arm.
        guided: Whether its first token belongs to a step, as in mode guided; elsewhere the prefill gives it.
    """
    drafted = _drafted(records)
    emitted = drafted["tokens"].clip(upper=drafted["new_tokens"] - (not guided)).sum()
    return float(emitted / drafted["steps"].sum()) if len(drafted) else math.nan


def pass_rate(records: Iterable[Record] | Frame) -> Interval:
    """Share of the scored answers that passed, with Wilson's interval."""
    passed = frame_of(records)["passed"].dropna()
    return wilson_interval(int(passed.sum()), len(passed))


def rubric_rate(records: Iterable[Record] | Frame) -> Interval:
    """Share of the rubrics of scored answers that are fulfilled; interval by contexts, no narrower than Wilson's."""
    frame = frame_of(records)
    # An interval of nothing but fulfilled rubrics has no width: Wilson's does.
    alone = wilson_interval(int(frame["fulfilled"].sum()), int(frame["rubrics"].sum()))
    by_contexts = ratio_interval(frame["fulfilled"], frame["rubrics"], frame["context_id"])
    return by_contexts.widened(alone.low, alone.high).within(0, 1)


def tokens_per_second(frame: Frame, side: str = "") -> float | None:
    """New tokens over the seconds of decoding them, prefill and adaptation left out; None where nothing was timed.

    Args:
        frame: Of answers, or of two arms side by side.
        side: Of the latter the one that is meant, _a or _b.
    """
    tokens, seconds = frame[f"new_tokens{side}"].sum(), frame[f"seconds{side}"].sum()
    return float(tokens / seconds) if tokens and seconds else None


def _drafted(records: Iterable[Record] | Frame) -> Frame:
    frame = frame_of(records)
    return frame[frame["steps"] > 0]


def _row(record: Record) -> dict[str, Any]:
    scored = record.passed is not None
    named = {"task_id": record.task_id, "context_id": record.context_id, "arm": record.arm}
    named |= {name: group_of(record) for name, group_of in GROUPINGS.items()}
    return {
        # Half a character, as a file may hold it, is written out: pandas cannot hold it in a text.
        **{name: text.encode("utf-8", "backslashreplace").decode() for name, text in named.items()},
        "seed": record.seed,
        "tokens": sum(record.acceptance_lengths),
        "steps": len(record.acceptance_lengths),
        "new_tokens": len(record.token_ids),
        "seconds": record.seconds,
        "passed": _score(record.passed),
        "fulfilled": sum(record.statuses) if scored else 0,
        "rubrics": len(record.statuses) if scored else 0,
        "stated": _score(record.judge_overall if scored else None),
        "error": record.finish_reason == "error",
        "record": record,
    }


def _score(passed: bool | None) -> float:
    return math.nan if passed is None else float(passed)
