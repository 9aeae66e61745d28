"""transformers' own DFlash decoding, an independent loop, and our draft behind its interface."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch
import transformers.generation
from torch import Tensor, nn
from transformers.models.qwen3 import Qwen3Config

from dftt.models.draft import DFlashDraft

HAS_NATIVE_DFLASH = hasattr(transformers.generation, "DFlashTokenCandidateGenerator")


class NativeAssistant(nn.Module):
    """What `generate(assistant_model=..., speculation_type="dflash")` calls; full attention, one row."""

    def __init__(self, draft: DFlashDraft) -> None:
        super().__init__()
        self.draft = draft
        config = draft.config
        self.config: Any = Qwen3Config(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_kv_heads,
            head_dim=config.head_dim,
        )
        self.config.target_layer_ids = [tap - 1 for tap in config.tap_ids]
        self.config.block_size = config.block_size
        self.config.mask_token_id = config.mask_token_id

    @property
    def device(self) -> torch.device:
        return self.draft.fc.weight.device

    def forward(
        self,
        *,
        noise_embeds: Tensor,  # (1, K, D)
        context_hidden_states: Tensor,  # (1, new, L*D)
        position_ids: Tensor,  # (1, new + K)
        past_key_values: Any,
        **_: Any,
    ) -> SimpleNamespace:
        new = context_hidden_states.shape[1]
        fresh = self.draft.read_context(context_hidden_states, position_ids[:, :new])

        class Joined:
            def update(self, key: Tensor, value: Tensor, layer: int, /) -> tuple[Tensor, Tensor]:
                context_key, context_value = fresh[layer]
                return past_key_values.update(
                    torch.cat([context_key, key], 2), torch.cat([context_value, value], 2), layer
                )

        masks = {"full_attention": None}
        return SimpleNamespace(last_hidden_state=self.draft(noise_embeds, position_ids[:, new:], Joined(), masks))


def native_loop(
    target: Any, assistant: Any, prompt: tuple[int, ...], count: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens of transformers' own loop, and how many each target pass gave, told by where the next one starts."""
    starts: list[int] = []

    def note(_: Any, args: Any, kwargs: dict[str, Any]) -> None:
        starts.append(int(kwargs["position_ids"][0, 0]))

    handle = target.register_forward_pre_hook(note, with_kwargs=True)
    ids = torch.tensor([prompt])
    try:
        out = target.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=count,
            eos_token_id=None,
            pad_token_id=0,
            assistant_model=assistant,
            speculation_type="dflash",
        )
    finally:
        handle.remove()
    passes = starts[1:]  # the first one is the prompt's
    lengths = tuple(after - before for before, after in pairwise(passes))
    return tuple(out[0, len(prompt) :].tolist()), lengths
