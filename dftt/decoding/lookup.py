"""Proposals without a draft: what followed the last few tokens when they occurred before (prompt lookup).

The longest suffix counts, up to a bound; of equally long ones the last, so an answer's own tokens come before the
prompt's, and both before those of other texts. All of it is done on the device, so that a cycle still waits once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dftt.decoding.drafter import Drafter, Draw
from dftt.models.cache import Placement

_BETWEEN = -1  # stands between texts: no token, so no suffix reaches across


class Lookup(Drafter):
    """Looks up the end of every row in the row itself, then in other texts, the same for all rows.

    `longest` is the most tokens of a suffix.
    """

    by_kernels = True

    def __init__(self, longest: int, texts: Sequence[Sequence[int]] = ()) -> None:
        self.longest = longest
        self._texts = torch.tensor([[token for text in texts for token in (_BETWEEN, *text)]], dtype=torch.long)
        self._tokens = torch.empty(0, 0, dtype=torch.long)

    def follow(self, tokens: Tensor) -> None:
        """Take the storage of the rows' tokens (R, S), which the engine goes on writing to."""
        self._tokens, self._texts = tokens, self._texts.to(tokens.device)

    def propose(self, anchor_ids: Tensor, placement: Placement, draw: Draw) -> Tensor:  # noqa: ARG002 - not drawn
        """What may follow each row's anchor, the row known up to there."""
        ends, count = placement.positions[:, 0], placement.positions.shape[1] - 1
        steps = torch.arange(count, device=ends.device)
        before = torch.arange(self._tokens.shape[1], device=ends.device) < ends[:, None]
        length, last = self._last_match(self._tokens, before, ends)
        # What goes round in a circle goes on in it: behind the end of the row, its repetition is proposed.
        place = last[:, None] + 1 + steps % (ends - last).clamp_min(1)[:, None]
        proposed = self._tokens.gather(1, place)
        if self._texts.shape[1]:
            other_length, other = self._last_match(self._texts, torch.ones_like(self._texts, dtype=torch.bool), ends)
            place = (other[:, None] + 1 + steps).clamp_max(self._texts.shape[1] - 1)
            elsewhere = self._texts.expand(len(ends), -1).gather(1, place)
            proposed = torch.where((other_length > length)[:, None], elsewhere, proposed)
        return proposed.clamp_min(0)

    def _last_match(self, texts: Tensor, known: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Of the longest match of the suffix that ends at each row's `ends`: its length (0: none), and where it ends.

        Matches are looked for in `texts`, and end where those are `known`, (R or 1, S) each.
        """
        index = torch.arange(texts.shape[1], device=ends.device)
        alive = known.expand(len(ends), -1)
        length = torch.zeros_like(alive, dtype=torch.long)
        for back in range(self.longest):
            token = self._tokens.gather(1, (ends - back).clamp_min(0)[:, None])
            # Rolled round, the first tokens would be compared with the last ones.
            same = (texts.roll(back, dims=1) == token) & (index >= back) & (ends >= back)[:, None]
            alive = alive & same
            length = length + alive
        # The index decides between equally long matches; without any, the first place is as good as another.
        best = torch.where(length > 0, length * texts.shape[1] + index, -index).argmax(1)
        return length.gather(1, best[:, None])[:, 0], best
