"""How a draft learns: from one context or answer at test time, or from a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from dftt.types.checks import check_fields, one_of, positive, share, whole

LossName = Literal["ce", "kl", "mixed"]
LOSSES: tuple[str, ...] = get_args(LossName)
LEARNS_FROM: tuple[str, ...] = ("context", "self_study", "generation")
MAX_SEED = 2**31 - 1  # what is drawn for a step or a batch is seeded by multiples of it, which must fit 64 bits
LORA_MODULES: tuple[str, ...] = ("fc", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


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
        learns_from: context (its own text, before an answer), self_study (what the target writes about the context,
            before an answer), generation (the answer itself, while it is decoded, from the tokens that the target has
            verified), or several joined by +, which share the steps: context+self_study half each,
            context:1+self_study:3 one step to three. Whose context that is, the ttt of a study's arm says.
        every: Tokens of an answer between two updates, where it is learnt from; they share out its steps.
        study_samples: Self-study: texts that the target writes.
        study_tokens: Self-study: most tokens of each.
        study_temperature: Self-study: temperature that they are drawn at.
        study_prompts: Self-study: a text file with one instruction a line, used beside those of the package.
        study_context: Self-study: whether the target sees the context while it writes; without it, the draft learns
            the target's style alone (a control).
        seconds: Self-study: most seconds for writing and learning together; 0 sets no bound. It ends writing after a
            third of them, and takes as many of the steps as fit in what is left.
        store: Folder that keeps adapters, so that a document that is asked about again costs nothing: by context, pair
            and settings. Empty: none is kept.
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
    learns_from: str = "context"
    every: int = 32
    study_samples: int = 32
    study_tokens: int = 128
    study_temperature: float = 0.8
    study_prompts: str = ""
    study_context: bool = True
    seconds: float = 0.0
    store: str = ""

    def __post_init__(self) -> None:
        least = {"steps": 0, "warmup": 0, "anchors": 1, "window": 0, "patience": 0, "every": 4, "seconds": 0}
        check_fields("ttt", self, **least, study_samples=1, study_tokens=4, held_out=2 if self.held_out else 0)
        object.__setattr__(self, "modules", tuple(self.modules))
        whole("ttt.seed", self.seed, 0, MAX_SEED)
        learning_shares(self.learns_from)
        for name in ("study_temperature", "lr", "max_grad_norm"):
            positive(f"ttt.{name}", getattr(self, name))
        share("ttt.decay", self.decay)
        check_lora("ttt", self.rank, self.lora_alpha, self.modules)

    def steps_of(self, source: str) -> int:
        """How many of the steps are taken on context, self_study or generation; together they are all of them."""
        shares = learning_shares(self.learns_from)
        counts, left = dict.fromkeys(LEARNS_FROM, 0), self.steps
        for name, weight in shares.items():
            counts[name] = min(left, -(-self.steps * weight // sum(shares.values())))
            left -= counts[name]
        return counts[source]

    def learns(self, source: str) -> bool:
        """Whether any share of the steps is for context, self_study or generation."""
        return source in learning_shares(self.learns_from)

    def before_answer(self) -> TTTSpec:
        """What is learnt before an answer: all but the share of generation, which needs one."""
        shares = {name: share for name, share in learning_shares(self.learns_from).items() if name != "generation"}
        equal = len(set(shares.values())) <= 1
        learns_from = "+".join(name if equal else f"{name}:{share}" for name, share in shares.items())
        steps = self.steps - self.steps_of("generation")
        return replace(self, learns_from=learns_from or "context", steps=steps, every=type(self).every)


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
        check_fields("training", self, warmup=0, weight_decay=0)
        positive("training.lr", self.lr)
        positive("training.max_grad_norm", self.max_grad_norm)
        share("training.beta2", self.beta2)
        share("training.decay", self.decay)


def learning_shares(learns_from: str) -> dict[str, int]:
    """What is learnt from, in the order in which it is, with its weight: {"context": 1, "self_study": 3}.

    Raises:
        ValueError: If a source is unknown or named twice, or a weight is no whole number above 0.
    """
    shares: dict[str, int] = {}
    for part in learns_from.split("+"):
        name, _, weight = part.strip().partition(":")
        one_of("ttt.learns_from", name, LEARNS_FROM)
        if name in shares or not (weight or "1").isdigit() or int(weight or 1) < 1:
            raise ValueError(
                f"ttt.learns_from {learns_from!r}: name each of {', '.join(LEARNS_FROM)} once, with a whole number "
                "above 0 as its weight where the steps are not to be shared equally, such as context:1+self_study:3"
            )
        shares[name] = int(weight or 1)
    return {name: shares[name] for name in LEARNS_FROM if name in shares}


def check_bounds_study(spec: TTTSpec) -> None:
    """Raise ValueError where seconds are to bound self-study and there is none."""
    if spec.seconds and not spec.learns("self_study"):
        raise ValueError(
            f"ttt.seconds {spec.seconds:g} bounds self-study alone, but ttt.learns_from is {spec.learns_from!r}: name "
            "self_study there, or leave seconds out and set ttt.steps"
        )


def check_lora(owner: str, rank: int, lora_alpha: float, modules: Sequence[str]) -> None:
    """Raise ValueError, naming the value, unless rank, scale and module names describe a LoRA on the draft."""
    whole(f"{owner}.rank", rank, 1)
    positive(f"{owner}.lora_alpha", lora_alpha)
    if not modules:
        raise ValueError(f"{owner}.modules is empty; name at least one of {', '.join(LORA_MODULES)}")
    for name in modules:
        one_of(f"{owner}.modules", name, LORA_MODULES)
