"""Which proposals are kept."""

from __future__ import annotations

from torch import Tensor


def count_accepted(
    proposed: Tensor,  # (R, P)
    drawn: Tensor,  # (R, P + 1): what the target (or the guided distribution) drew at the same positions, and one more
) -> Tensor:  # (R,)
    """Length of the longest prefix of proposals that equals what was drawn; the next drawn token is the bonus."""
    agree = proposed == drawn[:, : proposed.shape[1]]
    return agree.long().cumprod(-1).sum(-1)
