"""How a draft learns: from one context or answer at test time, or from a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dftt.types.checks import at_least, of_declared_types, one_of, positive, share, whole

LossName = Literal["ce", "kl", "mixed"]
LOSSES: tuple[str, ...] = ("ce", "kl", "mixed")
LearnsFrom = Literal["context", "generation", "context+generation"]
LEARNS_FROM: tuple[str, ...] = ("context", "generation", "context+generation")
MAX_SEED = 2**31 - 1  # what is drawn for a step or a batch is seeded by multiples of it, which must fit 64 bits
LORA_MODULES: tuple[str, ...] = (
    "fc",
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)


@dataclass(frozen=True)
class TTTSpec:
    """How a draft is adapted to one context (test-time training).

    Args:
        steps: Optimiser steps; 0 leaves the adapter at its start, which changes no logit.
        lr: Peak learning rate of AdamW.
        warmup: Steps of linear warm-up to the peak.
        decay: Learning rate at the last step, as a fraction of the peak, reached linearly.
        rank: Rank of the LoRA matrices.
        lora_alpha: LoRA's scale; the update is multiplied by lora_alpha / rank.
        modules: Draft projections that get LoRA: fc and any of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj,
            down_proj.
        loss: ce (the text's next tokens), kl (the target's distribution at the same positions) or mixed (half of each).
        anchors: Blocks per step, their anchors drawn uniformly without replacement.
        window: Draw anchors from the last so many context tokens only; 0 means the whole context.
        held_out: One of each so many consecutive positions of the context opens no block, the same ones whatever the
            seed: `validate` asks there. 0 holds none out.
        seed: Seeds the adapter's start and the anchors.
        max_grad_norm: Gradients are clipped to this norm.
        patience: Stop after so many steps without a new best (smoothed) loss; 0 never stops early.
        checkpointing: Recompute activations in the backward pass instead of keeping them: less memory, more time.
        learns_from: context (before an answer), generation (the answer itself, while it is decoded, from the tokens
            that the target has verified) or context+generation (half of the steps each). It is not called source: in
            a study that says whose context is learnt from (own, wrong or shuffled).
        every: Tokens of an answer between two updates, where it is learnt from; they share out its steps.
    """

    steps: int = 30
    lr: float = 1e-3
    warmup: int = 5
    decay: float = 0.1
    rank: int = 8
    lora_alpha: float = 16.0
    modules: tuple[str, ...] = ("fc", "q_proj", "k_proj", "v_proj")
    loss: LossName = "kl"
    anchors: int = 16
    window: int = 0
    held_out: int = 16
    seed: int = 0
    max_grad_norm: float = 1.0
    patience: int = 0
    checkpointing: bool = False
    learns_from: LearnsFrom = "context"
    every: int = 32

    def __post_init__(self) -> None:
        of_declared_types("ttt", self)
        object.__setattr__(self, "modules", tuple(self.modules))
        whole("ttt.steps", self.steps, 0)
        whole("ttt.warmup", self.warmup, 0)
        whole("ttt.anchors", self.anchors, 1)
        whole("ttt.window", self.window, 0)
        whole("ttt.patience", self.patience, 0)
        if self.held_out != 0:
            whole("ttt.held_out", self.held_out, 2)
        whole("ttt.seed", self.seed, 0, MAX_SEED)
        whole("ttt.every", self.every, 4)
        one_of("ttt.learns_from", self.learns_from, LEARNS_FROM)
        positive("ttt.lr", self.lr)
        positive("ttt.max_grad_norm", self.max_grad_norm)
        share("ttt.decay", self.decay)
        one_of("ttt.loss", self.loss, LOSSES)
        check_lora("ttt", self.rank, self.lora_alpha, self.modules)


@dataclass(frozen=True)
class TrainingSpec:
    """How a draft (or a starting adapter) is trained over a corpus.

    Args:
        lr: Peak learning rate of AdamW.
        warmup: Steps of linear warm-up to the peak.
        decay: Learning rate at the last step (trainer.max_steps), as a fraction of the peak, reached along a cosine.
        weight_decay: Of matrices; norms have none.
        beta2: AdamW's second-moment decay.
        loss: ce (the text's next tokens), kl (the target's distribution at the same positions) or mixed (half of each).
        max_grad_norm: Gradients are clipped to this norm.
    """

    lr: float = 1e-3
    warmup: int = 100
    decay: float = 0.0
    weight_decay: float = 0.01
    beta2: float = 0.95
    loss: LossName = "mixed"
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        of_declared_types("training", self)
        positive("training.lr", self.lr)
        positive("training.max_grad_norm", self.max_grad_norm)
        whole("training.warmup", self.warmup, 0)
        at_least("training.weight_decay", self.weight_decay, 0)
        share("training.beta2", self.beta2)
        share("training.decay", self.decay)
        one_of("training.loss", self.loss, LOSSES)


def check_lora(owner: str, rank: int, lora_alpha: float, modules: Sequence[str]) -> None:
    """Raise ValueError, naming the value, unless rank, scale and module names describe a LoRA on the draft."""
    whole(f"{owner}.rank", rank, 1)
    positive(f"{owner}.lora_alpha", lora_alpha)
    if not modules:
        raise ValueError(f"{owner}.modules is empty; name at least one of {', '.join(LORA_MODULES)}")
    for name in modules:
        one_of(f"{owner}.modules", name, LORA_MODULES)
