"""How well a distribution knows a token: its rank and log-probability, and how sure the distribution is of anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 256  # distributions over the whole vocabulary that exist at once


@dataclass(frozen=True)
class Reading:
    """What a source says of each token of an answer, by slot; NaN where no block reaches the token by that slot.

    Args:
        ranks: 1 + the number of tokens with a higher logit, (N, S); the best token has rank 1.
        log_probs: Log-probability of the token, (N, S).
        confidence: Probability of the best token, (N, S).
        entropy: Of the distribution, in nats, (N, S).
    """

    ranks: Tensor
    log_probs: Tensor
    confidence: Tensor
    entropy: Tensor


def read(head: Callable[[Tensor], Tensor], hidden: Tensor, token_ids: Tensor) -> Reading:
    """Reading by one slot, (N, 1), of the tokens (N,) from the hidden states (N, D) that a head turns into logits."""
    parts = [_columns(head(part), ids) for part, ids in zip(hidden.split(CHUNK), token_ids.split(CHUNK), strict=True)]
    return Reading(*torch.cat(parts, dim=1)[..., None])


def read_slots(head: Callable[[Tensor], Tensor], hidden: Tensor, token_ids: Tensor) -> Reading:
    """Reading by every slot, (N, K-1), of the tokens (N,) from blocks (N, K, D), each anchored just before its token.

    Slot k of a block speaks of the k-th token after its anchor, so it tells of token i where block i - k + 1 exists.
    """
    count, block_size, _ = hidden.shape
    slots = torch.arange(1, block_size, device=hidden.device)
    blocks = torch.arange(count, device=hidden.device)[:, None] - slots + 1  # (N, K-1)
    reached = blocks >= 0
    wanted = hidden[blocks[reached], slots.expand_as(blocks)[reached]]  # (M, D)
    flat = read(head, wanted, token_ids[:, None].expand_as(blocks)[reached])
    by_slot = []
    for values in (flat.ranks, flat.log_probs, flat.confidence, flat.entropy):
        filled = torch.full(blocks.shape, torch.nan, dtype=values.dtype)
        filled[reached.cpu()] = values[:, 0]
        by_slot.append(filled)
    return Reading(*by_slot)


def _columns(logits: Tensor, token_ids: Tensor) -> Tensor:  # (N, V), (N,) -> (4, N), on the CPU
    own = logits.gather(1, token_ids[:, None])
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    probs = log_probs.exp()
    columns = [
        1 + (logits > own).sum(-1),
        log_probs.gather(1, token_ids[:, None])[:, 0],
        probs.amax(-1),
        -(probs * log_probs).sum(-1),
    ]
    return torch.stack([column.to("cpu", torch.float64) for column in columns])
