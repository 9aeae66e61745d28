"""Which of the tapped layers a draft sees: an ablation without training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dftt.models.draft import DFlashDraft


def tap_places(taps: str | int, num_taps: int) -> tuple[int, ...]:
    """Places of the taps that are kept, 0 the shallowest: all, shallow, deep (before and behind the middle), or one.

    Raises:
        ValueError: If there is no such tap, or too few to leave some out.
    """
    half = num_taps // 2
    named = {"all": range(num_taps), "shallow": range(half), "deep": range(num_taps - half, num_taps)}
    places = tuple(named[taps]) if isinstance(taps, str) else (taps,)
    if not places or max(places) >= num_taps:
        raise ValueError(f"there are no taps {taps}: the draft reads {num_taps} layers, numbered 0 to {num_taps - 1}")
    return places


@contextmanager
def tapped(draft: DFlashDraft, taps: str | int) -> Iterator[None]:
    """Inside the block, the draft reads zeros in place of all other taps, also while it learns."""
    if taps == "all":
        yield
        return
    kept = torch.zeros(len(draft.config.tap_ids))
    kept[list(tap_places(taps, len(kept)))] = 1.0
    # Beside the weights: a captured pass may not copy from the CPU.
    draft.kept_features = kept.repeat_interleave(draft.config.hidden_size).to(next(draft.parameters()).device)
    try:
        yield
    finally:
        draft.kept_features = None
