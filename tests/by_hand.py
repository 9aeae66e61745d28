"""The draft and the rules of guidance by their definitions, in plain arithmetic: nothing of the package computes here.

One row, one block, full attention, everything read anew. Weights are taken by name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_WORD = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
NORMAL_STREAM = 0x5BD1E995A3C59AC3  # what the key of normal noise differs in


def merged(weights: Mapping[str, Tensor], adapter: Any) -> dict[str, Tensor]:
    """The weights with an adapter's update in them: W + lora_alpha / rank * B A; as they are where there is none."""
    made = dict(weights)
    for name in [name for name in (adapter.weights if adapter else ()) if name.endswith(".lora_A.weight")]:
        module = name.removesuffix(".lora_A.weight")
        update = adapter.weights[f"{module}.lora_B.weight"] @ adapter.weights[name]
        made[f"{module}.weight"] = made[f"{module}.weight"] + adapter.lora_alpha / adapter.rank * update
    return made


def slot_one(
    weights: Mapping[str, Tensor],
    config: Any,
    features: Tensor,  # (T, L*D): of the context that the draft may see
    block: Tensor,  # (K, D): embeddings of the anchor and the masks
    anchor: int,
) -> Tensor:  # (D,)
    """The state behind slot 1 of a block that opens at position `anchor`, after the last norm."""
    eps, size = config.rms_norm_eps, config.head_dim

    def norm(states: Tensor, name: str) -> Tensor:
        return states / (states.square().mean(-1, keepdim=True) + eps).sqrt() * weights[f"{name}.weight"]

    def heads(states: Tensor, name: str) -> Tensor:  # (T, D) -> (H, T, Dh)
        projected = states @ weights[f"{name}.weight"].T
        return projected.reshape(len(states), -1, size).transpose(0, 1)

    positions = torch.cat([torch.arange(len(features)), anchor + torch.arange(len(block))]).double()
    context, hidden = norm(features @ weights["fc.weight"].T, "hidden_norm"), block
    for layer in range(config.num_layers):
        at = f"layers.{layer}"
        inner = norm(hidden, f"{at}.input_layernorm")
        seen = torch.cat([context, inner])
        query, key = (
            turned(norm(heads(read, f"{at}.self_attn.{one}_proj"), f"{at}.self_attn.{one}_norm"), where, config)
            for one, read, where in (("q", inner, positions[len(context) :]), ("k", seen, positions))
        )
        value = heads(seen, f"{at}.self_attn.v_proj")
        share = config.num_heads // config.num_kv_heads
        attended = [
            ((query[head] @ key[head // share].T) / math.sqrt(size)).softmax(-1) @ value[head // share]
            for head in range(config.num_heads)
        ]
        hidden = hidden + torch.cat(attended, dim=-1) @ weights[f"{at}.self_attn.o_proj.weight"].T
        inner = norm(hidden, f"{at}.post_attention_layernorm")
        gate, up = (inner @ weights[f"{at}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        hidden = hidden + (gate * gate.sigmoid() * up) @ weights[f"{at}.mlp.down_proj.weight"].T
    return norm(hidden, "norm")[1]


def turned(states: Tensor, positions: Tensor, config: Any) -> Tensor:  # (H, T, Dh)
    """Rotary position embedding: each pair (i, i + Dh/2) is turned by position * theta ** (-2i / Dh)."""
    half = config.head_dim // 2
    speeds = config.rope_parameters["rope_theta"] ** (-torch.arange(half).double() / half)
    cos, sin = (positions[:, None] * speeds).cos(), (positions[:, None] * speeds).sin()
    first, second = states[..., :half], states[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of two distributions, in bits."""
    middle = (p + q) / 2
    return ((p * (p / middle).log2()).sum() + (q * (q / middle).log2()).sum()) / 2


def guided(rule: Any, target: Tensor, numerator: Tensor, reference: Tensor) -> Tensor:
    """Scores of the tokens: target + alpha * (numerator - reference), and what bounds it."""
    p, n, r = (logits.softmax(-1) for logits in (target, numerator, reference))
    alpha = rule.alpha
    if rule.adapt == "divergence":
        alpha = alpha * divergence(n, r)
    if rule.adapt == "entropy":
        alpha = alpha * -(p * p.log()).sum() / math.log(len(p))
    if rule.space == "probability":
        scores = (p + alpha * (n - r)).clamp_min(torch.finfo(p.dtype).tiny).log()
    else:
        scores = p.log() + alpha * (n.log() - r.log())
    if rule.top_k:
        stays = torch.ones(len(p), dtype=torch.bool)
        stays[p.argsort(descending=True)[: rule.top_k]] = False
        scores[stays] = p.log()[stays]
    if rule.plausibility:
        scores[p < rule.plausibility * p.max()] = -torch.inf
    return scores


# -- noise ------------------------------------------------------------------------------------------------------------


def key_of(seed: int, name: str) -> int:
    """The key of a sample."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")


def mix(word: int) -> int:
    """The finaliser of splitmix64."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31


def uniform(key: int, position: int, tokens: int) -> Tensor:  # (V,)
    """Uniform numbers in (0, 1) of a position, from a hash of 64 bits."""
    here = mix(key + position * _GOLDEN & _WORD)
    bits = [mix(here + token * _GOLDEN & _WORD) >> 11 for token in range(tokens)]
    return (torch.tensor(bits, dtype=torch.float64) + 0.5) / 2**53


def gumbel(key: int, position: int, tokens: int) -> Tensor:  # (V,)
    """Standard Gumbel noise."""
    return -(-uniform(key, position, tokens).log()).log()


def normal(key: int, position: int, tokens: int) -> Tensor:  # (V,)
    """Standard normal noise: the inverse of its distribution function, of uniform numbers of another stream."""
    return math.sqrt(2) * torch.erfinv(2 * uniform(key ^ NORMAL_STREAM, position, tokens) - 1)
