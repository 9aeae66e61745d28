"""Keeping what the target's passes compute: a recorder of an engine, and rows of texts written behind one context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dftt.decoding.engine import Engine, Observer
from dftt.models.pair import Pair
from dftt.models.spans import KEYS_PER_TILE
from dftt.types import DecodingSpec, Prefill


class Recorder(Observer):
    """Keeps features (R, S, L*D) and final hidden states (R, S, D) of `width` positions behind the `prefix` first."""

    def __init__(self, pair: Pair, rows: int, width: int, prefix: int = 0) -> None:
        target, self.tap_ids = pair.target, pair.draft.config.tap_ids
        at = {"dtype": target.dtype, "device": target.device}
        self.features = torch.zeros(rows, width, len(self.tap_ids) * target.hidden_size, **at)
        self.hidden = torch.zeros(rows, width, target.hidden_size, **at)
        self._prefix, self._rows = prefix, torch.arange(rows, device=target.device)[:, None]

    def after_pass(self, hidden: Tensor, features: Tensor, positions: Tensor) -> None:
        """Store what a pass computed; the padding of a short prompt is overwritten by its answer."""
        kept = positions - self._prefix
        self.features[self._rows, kept] = features
        self.hidden[self._rows, kept] = hidden


@dataclass(frozen=True)
class Texts:
    """Texts behind one context, a row each, cut or padded to one length."""

    token_ids: Tensor  # (M, S), the prompt's own first
    starts: Tensor  # (M,), how many of those are the prompt's
    lengths: Tensor  # (M,), how many tokens of each the target has read
    features: Tensor  # (M, S, L*D), hidden states of the tapped layers
    hidden: Tensor  # (M, S, D), final hidden states

    def __len__(self) -> int:
        return len(self.lengths)


def joined(parts: Sequence[Texts]) -> Texts:
    """All rows of several texts of one width."""
    return Texts(*(torch.cat([getattr(each, field.name) for each in parts]) for field in fields(Texts)))


@torch.no_grad()
def write_texts(
    pair: Pair, prefix: Prefill, prompts: Sequence[Sequence[int]], keys: Sequence[int], spec: DecodingSpec, width: int
) -> Texts:
    """What the target writes, in mode target, to prompts that all begin with a context; nothing is read twice.

    `width` is the room for a text, prompt and answer: at least as much as the longest takes.
    """
    recorder = Recorder(pair, len(prompts), width, len(prefix))
    shared = len(prefix) // KEYS_PER_TILE * KEYS_PER_TILE if pair.target.reads_spans and len(prompts) > 1 else 0
    known = [prefix if len(prefix) else None] * len(prompts)
    engine = Engine(pair.target, None, spec, prompts, known, keys, shared=shared, observer=recorder)
    while engine.active:
        engine.step()
    token_ids = torch.zeros(len(prompts), width, dtype=torch.long, device=pair.target.device)
    starts, lengths = [], []
    for row, prompt in enumerate(prompts):
        text = [*prompt[len(prefix) :], *engine.new_tokens(row)]
        token_ids[row, : len(text)] = torch.tensor(text, device=token_ids.device)
        starts.append(len(prompt) - len(prefix))
        lengths.append(len(text) - 1)  # no pass has read the last token
    at = {"dtype": torch.long, "device": token_ids.device}
    return Texts(token_ids, torch.tensor(starts, **at), torch.tensor(lengths, **at), recorder.features, recorder.hidden)
