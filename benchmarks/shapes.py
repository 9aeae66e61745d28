"""Pairs of a real shape with random weights, built on the device in the precision that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.llama import LlamaConfig
from transformers.models.qwen3 import Qwen3Config

from dftt.models.attention import GROUPED_ATTENTION
from dftt.models.draft import DFlashDraft, DraftConfig, default_tap_ids
from dftt.models.packed import pack_
from dftt.models.pair import Pair
from dftt.models.target import Target, resolve_dtype
from dftt.types import Prefill


@dataclass(frozen=True)
class Shape:
    """A target's configuration, and what its draft adds to it.

    Args:
        family: llama or qwen3.
        target: Fields of the target's config.
        draft_layers: Layers of the draft; their widths are the target's.
        block_size: Slots per block.
        mask_token_id: Token of the empty slots.
    """

    family: str
    target: Mapping[str, Any]
    draft_layers: int
    block_size: int
    mask_token_id: int


# Targets as in their published config.json; drafts as in z-lab's (five layers, five taps, block 16).
SHAPES: dict[str, Shape] = {
    "qwen3-8b": Shape(
        "qwen3",
        {
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 131072,
            "rope_theta": 1e6,
            "tie_word_embeddings": False,
        },
        draft_layers=5,
        block_size=16,
        mask_token_id=151669,
    ),
    "qwen3-4b": Shape(
        "qwen3",
        {
            "vocab_size": 151936,
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 131072,
            "rope_theta": 1e6,
            "tie_word_embeddings": True,
        },
        draft_layers=5,
        block_size=16,
        mask_token_id=151669,
    ),
    "smollm2-135m": Shape(
        "llama",
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "rope_theta": 1e5,
            "tie_word_embeddings": True,
        },
        draft_layers=5,
        block_size=16,
        mask_token_id=16,
    ),
    "tiny": Shape(
        "qwen3",
        {
            "vocab_size": 300,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 512,
            "initializer_range": 0.3,
            "tie_word_embeddings": True,
        },
        draft_layers=2,
        block_size=8,
        mask_token_id=1,
    ),
}


def default_dtype(device: torch.device, name: str = "") -> torch.dtype:
    """The named precision, or the one that is usual on the device: bfloat16 on a card, float32 on a CPU."""
    return resolve_dtype(name or ("bfloat16" if device.type == "cuda" else "float32"))


def build_pair(name: str, *, device: torch.device, dtype: torch.dtype, block_size: int = 0) -> Pair:
    """A pair of the named shape with random weights; it has no tokenizer.

    Args:
        name: One of SHAPES.
        device: Where the weights are drawn: never on the host first.
        dtype: Precision of the weights.
        block_size: Slots per block of the draft; 0 takes the shape's own.

    Raises:
        ValueError: If there is no such shape.
    """
    if name not in SHAPES:
        raise ValueError(f"shape: unknown {name!r}; choose from {', '.join(SHAPES)}")
    shape = SHAPES[name]
    config = {"llama": LlamaConfig, "qwen3": Qwen3Config}[shape.family](
        **shape.target, bos_token_id=None, eos_token_id=None, pad_token_id=None
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=GROUPED_ATTENTION)
        draft = DFlashDraft(_draft_config(shape, block_size or shape.block_size)).to(dtype)
        draft.reset_parameters()
    draft = draft.eval().requires_grad_(False)
    target = Target(cast(nn.Module, model).to(device), None, name)
    if device.type == "cpu":
        pack_(target.model)
        pack_(draft)
    return Pair(target, draft)


def random_prefill(pair: Pair, length: int) -> Prefill:
    """What a prefill of `length` tokens leaves behind, in random values: no cycle's time depends on them."""
    target, taps = pair.target, pair.draft.config.tap_ids
    config = target.config
    options: dict[str, Any] = {"device": target.device, "dtype": target.dtype}
    heads = config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    generator = torch.Generator().manual_seed(length)
    return Prefill(
        input_ids=tuple(torch.randint(0, target.vocab_size, (length,), generator=generator).tolist()),
        features=torch.randn(length, len(taps) * target.hidden_size, **options),
        hidden=torch.randn(length, target.hidden_size, **options),
        keys=tuple(torch.randn(heads, length, width, **options) for _ in range(target.num_layers)),
        values=tuple(torch.randn(heads, length, width, **options) for _ in range(target.num_layers)),
    )


def cycle_bytes(pair: Pair, *, context: int, rows: int) -> dict[str, int]:
    """Bytes that one speculative cycle cannot do without reading, by part."""
    target, draft = pair.target, pair.draft
    head = target.model.get_output_embeddings().weight.nbytes
    embeddings = target.model.get_input_embeddings().weight.nbytes
    tied = target.model.get_input_embeddings().weight is target.model.get_output_embeddings().weight
    weights = sum(parameter.nbytes for parameter in target.model.parameters())
    config, element = target.config, target.model.get_output_embeddings().weight.element_size()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    shape = draft.config
    return {
        # The embeddings are looked up, not read, unless the head is the same matrix.
        "target weights": weights - (0 if tied else embeddings),
        "draft weights": sum(parameter.nbytes for parameter in draft.parameters()),
        "head, for the draft": head,
        "target keys and values": 2 * rows * context * target.num_layers * config.num_key_value_heads * width * element,
        "draft keys and values": 2 * rows * context * shape.num_layers * shape.num_kv_heads * shape.head_dim * element,
    }


def _draft_config(shape: Shape, block_size: int) -> DraftConfig:
    target = shape.target
    heads = target["num_attention_heads"]
    return DraftConfig(
        hidden_size=target["hidden_size"],
        num_layers=shape.draft_layers,
        num_heads=heads,
        num_kv_heads=target["num_key_value_heads"],
        head_dim=target.get("head_dim") or target["hidden_size"] // heads,
        intermediate_size=target["intermediate_size"],
        vocab_size=target["vocab_size"],
        num_target_layers=target["num_hidden_layers"],
        tap_ids=default_tap_ids(target["num_hidden_layers"]),
        block_size=block_size,
        mask_token_id=shape.mask_token_id,
        max_position_embeddings=target["max_position_embeddings"],
    )
