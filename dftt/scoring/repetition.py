"""How much of an answer repeats itself: a draft proposes with ease what stands there already, and tau rises with it."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.types import Record

RUN = 8  # tokens that count as repeated only together: shorter ones recur in any text


def repeated_share(token_ids: Sequence[int]) -> float:
    """Share of the runs of 8 tokens in an answer that it held before; 0 for an answer that is shorter."""
    runs = _runs(token_ids)
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def share_in(texts: Sequence[Sequence[int]], token_ids: Sequence[int]) -> float:
    """Share of the runs of 8 tokens in an answer that stand in some texts, too; 0 for an answer that is shorter."""
    runs, known = _runs(token_ids), {run for text in texts for run in _runs(text)}
    return sum(run in known for run in runs) / len(runs) if runs else 0.0


def _runs(token_ids: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(token_ids[i : i + RUN]) for i in range(len(token_ids) - RUN + 1)]


def repetition_group(record: Record) -> str:
    """The group of an answer by its repeated share; empty where there is no answer."""
    if not record.token_ids:
        return ""
    share = repeated_share(record.token_ids)
    return "0-10 %" if share < 0.1 else "10-50 %" if share < 0.5 else "50-100 %"
