"""Drawing tokens with noise that belongs to a position, so that every way of decoding draws the same token there; and
counting the proposals that equal what was drawn.

The token is argmax(processed logits + Gumbel noise). The noise of (seed, sample key, position, token) comes from a
counter-based integer hash, hence equal on CPU and GPU and whatever else is computed beside it.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, splitmix64's increment, as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_OTHER_STREAM = 0x5BD1E995A3C59AC3  # any constant: it keeps normal noise apart from Gumbel noise


def sample_key(seed: int, name: str) -> int:
    """64-bit key of a sample: `name` says what is sampled (task and sample number), never where in a batch it runs."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


# The noises take int64 keys (R,) and positions (R, Q), and give (R, Q, V).


def gumbel_noise(keys: Tensor, positions: Tensor, num_tokens: int) -> Tensor:
    """Standard Gumbel noise for each token at each position, float32."""
    return -(-uniform_noise(keys, positions, num_tokens).log()).log().float()


def normal_noise(keys: Tensor, positions: Tensor, num_tokens: int) -> Tensor:
    """Standard normal noise, float64, independent of the noise that tokens are drawn with."""
    return torch.special.ndtri(uniform_noise(keys ^ _OTHER_STREAM, positions, num_tokens))


def uniform_noise(keys: Tensor, positions: Tensor, num_tokens: int) -> Tensor:
    """Uniform numbers in (0, 1), float64: in double precision devices agree closely."""
    at_position = _mix(keys[:, None] + positions * _GOLDEN)
    tokens = torch.arange(num_tokens, device=positions.device)
    bits = _mix(at_position[..., None] + tokens * _GOLDEN)
    return (_shift_right(bits, 11).double() + 0.5) * 2.0**-53


def process_logits(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Logits after temperature, then top-k, then top-p (the order of transformers); removed tokens are -inf."""
    logits = logits / temperature
    if 0 < top_k < logits.shape[-1]:
        least = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p < 1:
        ranked, order = logits.sort(dim=-1, descending=True)
        probabilities = ranked.softmax(-1)
        # Keep a token while the probability before it is still short of top_p; the first is always kept.
        dropped = probabilities.cumsum(-1) - probabilities >= top_p
        logits = logits.masked_fill(dropped.scatter(-1, order, dropped), -torch.inf)
    return logits


def draw(
    logits: Tensor, keys: Tensor, positions: Tensor, *, temperature: float, top_k: int = 0, top_p: float = 1.0
) -> Tensor:  # (R, Q, V), (R,), (R, Q) -> (R, Q)
    """The token drawn from the logits of each position, where it will stand; plain argmax at temperature 0."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature == 0:
        return logits.argmax(-1)
    processed = process_logits(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    return (processed + gumbel_noise(keys, positions, logits.shape[-1])).argmax(-1)


def count_accepted(
    proposed: Tensor,  # (R, P)
    drawn: Tensor,  # (R, P + 1): what the target (or the guided distribution) drew at the same positions, and one more
) -> Tensor:  # (R,)
    """Length of the longest prefix of proposals that equals what was drawn; the next drawn token is the bonus."""
    return (proposed == drawn[:, : proposed.shape[1]]).long().cumprod(-1).sum(-1)


def _mix(value: Tensor) -> Tensor:
    """splitmix64's finaliser; int64 arithmetic wraps around on every device."""
    value = (value ^ _shift_right(value, 30)) * _MIX_1
    value = (value ^ _shift_right(value, 27)) * _MIX_2
    return value ^ _shift_right(value, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical right shift: int64's own shift would drag the sign along."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
