"""The plain side: decoding the way the published DFlash loop works, on stock transformers parts.

DynamicCache that grows by concatenation, SDPA with the key heads repeated for every query head, all hidden states kept,
the head over the whole block, caches cropped after each rejection (arXiv 2602.06036; the loop's steps as in z-lab's
public code). It runs on the weights of the pair that it is compared with.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, StoppingCriteria
from transformers.cache_utils import DynamicLayer
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb, repeat_kv

from benchmarks.timing import synchronise
from dftt.models.draft import DFlashDraft, DraftAttention, DraftLayer
from dftt.models.fused import fuse_norms_, unfuse_norms_
from dftt.types import Prefill


class PlainLoop:
    """Decodes one row.

    Args:
        model: The target, a transformers causal language model.
        draft: The draft.
        prefill: What the target has read; its last token is the one before the first anchor.
        first_token: The first anchor.
        block_size: Slots per block.
        committed: Tokens that every cycle commits whatever was accepted (scripted, for speed on random weights); 0
            commits what is accepted.
    """

    def __init__(
        self, model: Any, draft: DFlashDraft, prefill: Prefill, first_token: int, *, block_size: int, committed: int = 0
    ) -> None:
        self.model = model
        self.draft = draft
        self.block_size = block_size
        self.committed = committed
        self.tokens = [*prefill.input_ids, first_token]
        self.target_cache = filled_cache(prefill)
        self.draft_cache = DynamicCache()
        self.features = prefill.features[None]
        self.device = prefill.features.device

    @property
    def start(self) -> int:
        """Position of the anchor."""
        return len(self.tokens) - 1

    @torch.no_grad()
    def speculate(self) -> int:
        """One cycle: draft a block, verify it, commit; returns the tokens committed."""
        block = torch.full((1, self.block_size), self.draft.config.mask_token_id, device=self.device)
        block[0, 0] = self.tokens[-1]
        block[:, 1:] = self._draft_logits(block)[:, 1:].argmax(-1)
        posterior = self._read(block).argmax(-1)
        accepted = int((block[:, 1:] == posterior[:, :-1]).cumprod(1).sum(1)[0].item())
        count = self.committed or accepted + 1
        self._keep(posterior[0, :count].tolist())
        return count

    @torch.no_grad()
    def guide(self, alpha: float) -> int:
        """One token of guided decoding: a draft block for its slot 1, and a target pass over one token."""
        block = torch.full((1, self.block_size), self.draft.config.mask_token_id, device=self.device)
        block[0, 0] = self.tokens[-1]
        drafted = self._draft_logits(block)[:, 1].float()
        target = self._read(block[:, :1])[:, 0].float()
        self._keep([int((target + alpha * (drafted - target)).argmax(-1).item())])
        return 1

    def _draft_logits(self, block: Tensor) -> Tensor:  # (1, K) -> (1, K, V)
        positions = torch.arange(self.draft_cache.get_seq_length(), self.start + block.shape[1], device=self.device)
        hidden = draft_pass(
            self.draft,
            self.model.get_input_embeddings()(block),
            features=self.features,
            positions=positions[None],
            cache=self.draft_cache,
        )
        crop(self.draft_cache, self.start)
        return self.model.get_output_embeddings()(hidden)

    def _read(self, block: Tensor) -> Tensor:  # (1, K) -> (1, K, V)
        positions = torch.arange(self.start, self.start + block.shape[1], device=self.device)[None]
        out = self.model(
            block,
            position_ids=positions,
            past_key_values=self.target_cache,
            use_cache=True,
            output_hidden_states=True,
        )
        self.features = torch.cat([out.hidden_states[tap] for tap in self.draft.config.tap_ids], dim=-1)
        return out.logits

    def _keep(self, tokens: list[int]) -> None:
        self.features = self.features[:, : len(tokens)]
        self.tokens += tokens
        crop(self.target_cache, self.start)


def draft_pass(
    draft: DFlashDraft,
    embeddings: Tensor,  # (1, K, D)
    *,
    features: Tensor,  # (1, C, L*D): of the positions that the cache lacks
    positions: Tensor,  # (1, C + K)
    cache: DynamicCache,
) -> Tensor:  # (1, K, D)
    """Final hidden states of one block; new context and block go through the cache together."""
    context = draft.hidden_norm(draft.fc(features))
    rotary = draft.rotary(embeddings, positions)
    hidden = embeddings
    for layer in draft.layers:
        if not isinstance(layer, DraftLayer):
            raise TypeError(f"not a draft layer: {type(layer).__name__}")
        hidden = hidden + _attend(layer.self_attn, layer.input_layernorm(hidden), context, rotary, cache)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return draft.norm(hidden)


def _attend(
    attention: DraftAttention, hidden: Tensor, context: Tensor, rotary: tuple[Tensor, Tensor], cache: DynamicCache
) -> Tensor:
    def heads(states: Tensor) -> Tensor:
        return states.unflatten(-1, (-1, attention.head_dim))

    query = attention.q_norm(heads(attention.q_proj(hidden))).transpose(1, 2)
    key = torch.cat([attention.k_proj(context), attention.k_proj(hidden)], dim=1)
    key = attention.k_norm(heads(key)).transpose(1, 2)
    value = heads(torch.cat([attention.v_proj(context), attention.v_proj(hidden)], dim=1)).transpose(1, 2)
    cos, sin = rotary
    slots = hidden.shape[1]
    query, _ = apply_rotary_pos_emb(query, query, cos[:, -slots:], sin[:, -slots:])
    key, _ = apply_rotary_pos_emb(key, key, cos, sin)
    key, value = cache.update(key, value, attention.index)
    groups = query.shape[1] // key.shape[1]
    out = F.scaled_dot_product_attention(query, repeat_kv(key, groups), repeat_kv(value, groups))
    return attention.o_proj(out.transpose(1, 2).flatten(2))


def filled_cache(prefill: Prefill, rows: int = 1) -> DynamicCache:
    """A DynamicCache that holds a prefill, a copy for each row."""
    cache = DynamicCache()
    for layer, (key, value) in enumerate(zip(prefill.keys, prefill.values, strict=True)):
        cache.update(key.expand(rows, -1, -1, -1), value.expand(rows, -1, -1, -1), layer)
    return cache


def crop(cache: DynamicCache, length: int) -> None:
    """Keep the first `length` positions; the cache's own crop means different things in 5.17 and 5.23."""
    for layer in cache.layers:
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None:
            layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]


@contextmanager
def stock_model(model: Any, implementation: str = "sdpa") -> Iterator[None]:
    """The model with transformers' own attention and norms inside the block.

    SDPA goes without cuDNN there, which would plan anew for every length of keys, hence in every cycle.
    """
    before = model.config._attn_implementation
    cudnn = torch.backends.cuda.cudnn_sdp_enabled()
    model.set_attn_implementation(implementation)
    unfuse_norms_(model)
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(cudnn)
        model.set_attn_implementation(before)
        fuse_norms_(model)


class TokenClock(StoppingCriteria):
    """Notes the time of every token that `generate` makes, and stops nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002 - signature of transformers
        """Note the time."""
        synchronise(self.device)
        self.times.append(time.perf_counter())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=self.device)


@torch.no_grad()
def generate_seconds(model: Any, prefill: Prefill, tokens: int) -> list[float]:
    """Seconds of each of `tokens` greedy steps of transformers' `generate` with its default cache, behind a prefill."""
    clock = TokenClock(prefill.features.device)
    cache = filled_cache(prefill)
    crop(cache, len(prefill) - 1)  # generate reads the last token itself
    ids = torch.tensor([prefill.input_ids], device=prefill.features.device)
    model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        past_key_values=cache,
        do_sample=False,
        max_new_tokens=tokens + 1,
        min_new_tokens=tokens + 1,
        pad_token_id=0,
        stopping_criteria=[clock],
    )
    return [after - before for before, after in itertools.pairwise(clock.times)]
