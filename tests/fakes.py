"""Tiny real models, scripted drafters and canned judges."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama import LlamaConfig
from transformers.models.qwen3 import Qwen3Config
from transformers.models.qwen3_moe import Qwen3MoeConfig

from dftt.adaptation.lessons import context_batch
from dftt.adaptation.losses import block_loss
from dftt.decoding.drafter import Drafter, Draw
from dftt.judges.base import Judge
from dftt.models.cache import Placement
from dftt.models.checkpoint import save_draft
from dftt.models.draft import DFlashDraft, DraftConfig, default_tap_ids
from dftt.models.pair import Pair
from dftt.types import Prompt, Score, TTTSpec

VOCAB = 288
MASK_ID, EOS_ID = 256, 257
_TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
_SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    # Large enough that greedy outputs vary: with transformers' 0.02 a random model repeats one token.
    "initializer_range": 0.3,
    "eos_token_id": EOS_ID,
    "bos_token_id": None,
    "pad_token_id": None,
    "tie_word_embeddings": True,
}


def tiny_target_dir(folder: Path, family: str) -> Path:
    """A real Hugging Face folder with a random 4-layer model and a byte-level tokenizer."""
    torch.manual_seed(7)
    config = {
        "llama": lambda: LlamaConfig(**_SHAPE),
        "qwen3": lambda: Qwen3Config(**_SHAPE),
        "qwen3-sliding": lambda: Qwen3Config(**_SHAPE, use_sliding_window=True, sliding_window=16, max_window_layers=2),
        "qwen3-moe": lambda: Qwen3MoeConfig(
            **_SHAPE, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, decoder_sparse_step=1
        ),
    }[family]()
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, a mask and an end token, and a chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<eos>",
        additional_special_tokens=["<mask>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def tiny_draft_config(*, block_size: int = 4, taps: Sequence[int] = (1, 2, 3), **overrides: object) -> DraftConfig:
    """Shape of a 2-layer draft that fits the tiny targets."""
    fields: dict[str, object] = {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 8,
        "intermediate_size": 48,
        "vocab_size": VOCAB,
        "num_target_layers": 4,
        "tap_ids": tuple(taps),
        "block_size": block_size,
        "mask_token_id": MASK_ID,
        "max_position_embeddings": 512,
    }
    return DraftConfig(**{**fields, **overrides})  # pyright: ignore[reportArgumentType]


def tiny_draft_dir(folder: Path, **overrides: object) -> Path:
    """A random draft for the tiny targets, saved in the z-lab layout."""
    torch.manual_seed(11)
    draft = DFlashDraft(tiny_draft_config(**overrides))  # pyright: ignore[reportArgumentType]
    draft.reset_parameters(std=0.2)
    return save_draft(draft, folder)


def bundled_shape_draft(*, num_layers: int = 5, block_size: int = 16) -> DFlashDraft:
    """A random draft of the real shape for the bundled SmolLM2 target."""
    torch.manual_seed(13)
    config = DraftConfig(
        hidden_size=576,
        num_layers=num_layers,
        num_heads=9,
        num_kv_heads=3,
        head_dim=64,
        intermediate_size=1536,
        vocab_size=49152,
        num_target_layers=30,
        tap_ids=default_tap_ids(30),
        block_size=block_size,
        mask_token_id=16,
    )
    draft = DFlashDraft(config)
    draft.reset_parameters()
    return draft.eval().requires_grad_(False)


def random_prompt(length: int = 12, *, seed: int = 0) -> Prompt:
    """Bytes drawn from a seed."""
    generator = torch.Generator().manual_seed(seed)
    return Prompt(tuple(torch.randint(0, 256, (length,), generator=generator).tolist()))


def train_on_text(pair: Pair, token_ids: Sequence[int], *, steps: int, anchors: int = 48) -> Pair:
    """The pair with a copy of its draft trained (all weights) on one text, so that it succeeds there."""
    draft = copy.deepcopy(pair.draft).requires_grad_(True)
    draft.rotary.requires_grad_(False)
    prefill = pair.prefill(Prompt(tuple(token_ids)))
    optimizer = torch.optim.AdamW([p for p in draft.parameters() if p.requires_grad], lr=3e-3)
    spec = TTTSpec(anchors=anchors, held_out=0)
    for step in range(steps):
        loss = block_loss(draft, pair.target, context_batch(draft, prefill, len(prefill), spec, step), loss="kl").loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Pair(pair.target, draft.requires_grad_(False))


class ScriptedDrafter(Drafter):
    """Proposes a known continuation, corrupted after script[i] tokens in cycle i.

    Args:
        continuation: The target's own tokens after the prompt, long enough for all cycles.
        prompt_length: Where it begins.
        script: Proposals to keep right, per cycle; repeated when it runs out.
    """

    def __init__(self, continuation: Sequence[int], prompt_length: int, script: Sequence[int]) -> None:
        self.continuation = list(continuation)
        self.prompt_length = prompt_length
        self.script = list(script)
        self.cycle = 0

    def begin(self, features: Sequence[torch.Tensor], *, capacity: int) -> None:
        self.cycle = 0

    def propose(self, anchor_ids: torch.Tensor, placement: Placement, draw: Draw) -> torch.Tensor:
        anchor, count = int(placement.positions[0, 0]), placement.positions.shape[1] - 1
        offset = anchor + 1 - self.prompt_length
        proposed = torch.tensor([self.continuation[offset : offset + count]])
        keep = self.script[self.cycle % len(self.script)]
        proposed[:, keep:] = (proposed[:, keep:] + 1) % VOCAB
        self.cycle += 1
        return proposed

    def copy_rows(self, rows: Sequence[int], other: Any) -> None:
        raise NotImplementedError("it knows one continuation only")


class CannedJudge(Judge):
    """Gives the score that a function says, and remembers what it was asked.

    Args:
        verdict: Score of rubrics and answer.
        shares_device: As in Judge.
    """

    name = "canned"

    def __init__(self, verdict: Callable[[Sequence[Any], str], Score], *, shares_device: bool = False) -> None:
        self.verdict, self.shares_device = verdict, shares_device
        self.asked: list[tuple[tuple[Any, ...], str]] = []

    def judge(self, rubrics: Sequence[Any], answer: str) -> Score:
        self.asked.append((tuple(rubrics), answer))
        return self.verdict(rubrics, answer)
