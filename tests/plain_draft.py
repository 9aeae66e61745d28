"""The draft's forward written out from its description: one block, one head at a time, nothing of the package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def plain_hidden(
    tensors: Mapping[str, Tensor],
    features: Tensor,  # (T, L*D), of the context
    embeddings: Tensor,  # (K, D), of the block at T
    *,
    windows: Sequence[int | None],  # per layer: how many positions a slot sees back, itself included; None sees all
    heads: int = 4,
    kv_heads: int = 2,
    theta: float = 10000.0,
    eps: float = 1e-6,
    activation: Callable[[Tensor], Tensor] = functional.silu,
    causal: Sequence[bool] = (False,) * 9,  # per layer: whether a slot sees no slot after itself
    anchored: bool = False,  # windows are so many positions before the block instead
    thetas: Sequence[float] = (),  # per layer, where they differ
) -> Tensor:  # (K, D)
    """Hidden states of a block's slots after the last norm."""
    length, size = features.shape[0], embeddings.shape[0]
    positions = torch.arange(length + size)
    context = _norm(features @ tensors["fc.weight"].T, tensors["hidden_norm.weight"], eps)
    hidden = embeddings
    for layer, window in enumerate(windows):
        part = {
            name.removeprefix(f"layers.{layer}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"layers.{layer}.")
        }
        normed = _norm(hidden, part["input_layernorm.weight"], eps)
        seen = torch.ones(size, length + size, dtype=torch.bool)
        if window is not None:
            for slot in range(size):
                first = length - window if anchored else length + slot - window + 1
                seen[slot, : min(max(first, 0), length)] = False
        for slot in range(size if causal[layer] else 0):
            seen[slot, length + slot + 1 :] = False
        if thetas:
            theta = thetas[layer]
        states = torch.cat([context, normed])
        query = _heads(normed @ part["self_attn.q_proj.weight"].T, heads)
        key = _heads(states @ part["self_attn.k_proj.weight"].T, kv_heads)
        value = _heads(states @ part["self_attn.v_proj.weight"].T, kv_heads)
        query = _rotated(_norm(query, part["self_attn.q_norm.weight"], eps), positions[length:], theta)
        key = _rotated(_norm(key, part["self_attn.k_norm.weight"], eps), positions, theta)
        out = []
        for head in range(heads):
            shared = head // (heads // kv_heads)
            scores = query[head] @ key[shared].T / query.shape[-1] ** 0.5
            out.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value[shared])
        hidden = hidden + torch.cat(out, dim=-1) @ part["self_attn.o_proj.weight"].T
        normed = _norm(hidden, part["post_attention_layernorm.weight"], eps)
        gate = activation(normed @ part["mlp.gate_proj.weight"].T)
        hidden = hidden + (gate * (normed @ part["mlp.up_proj.weight"].T)) @ part["mlp.down_proj.weight"].T
    return _norm(hidden, tensors["norm.weight"], eps)


def _norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * hidden / (hidden.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def _heads(projected: Tensor, heads: int) -> Tensor:  # (T, H*Dh) -> (H, T, Dh)
    return projected.reshape(projected.shape[0], heads, -1).transpose(0, 1)


def _rotated(states: Tensor, positions: Tensor, theta: float) -> Tensor:
    half = states.shape[-1] // 2
    angles = positions[:, None] / theta ** (torch.arange(half, dtype=states.dtype) / half)
    first, second = states[..., :half], states[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
