"""AdamW and its schedule: for test-time training, and for training over a corpus."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dftt.types import TrainingSpec, TTTSpec


def make_optimizer(parameters: Sequence[nn.Parameter], spec: TTTSpec) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """AdamW without weight decay, and its schedule, advanced once a step."""
    optimizer = torch.optim.AdamW(parameters, lr=spec.lr, weight_decay=0.0)
    return optimizer, LambdaLR(optimizer, lambda step: lr_factor(step, spec))


def make_corpus_optimizer(
    parameters: Sequence[nn.Parameter], spec: TrainingSpec, steps: int
) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """AdamW with weight decay on matrices, and a warm-up and cosine over so many steps, advanced once a step."""
    groups = [
        {"params": [parameter for parameter in parameters if parameter.dim() > 1], "weight_decay": spec.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=spec.lr, betas=(0.9, spec.beta2))
    return optimizer, LambdaLR(optimizer, lambda step: cosine_factor(step, steps, spec))


def lr_factor(step: int, spec: TTTSpec) -> float:
    """Linear warm-up over spec.warmup steps, then linear decay to spec.decay at the last step."""
    warm = min(1.0, (step + 1) / (spec.warmup + 1))
    progress = min(1.0, max(0, step - spec.warmup) / max(1, spec.steps - 1 - spec.warmup))
    return warm * (1 - (1 - spec.decay) * progress)


def cosine_factor(step: int, steps: int, spec: TrainingSpec) -> float:
    """Linear warm-up, then a cosine down to spec.decay at the last step."""
    warm = min(1.0, (step + 1) / (spec.warmup + 1))
    progress = min(1.0, max(0, step - spec.warmup) / max(1, steps - spec.warmup))
    return warm * (spec.decay + (1 - spec.decay) * 0.5 * (1 + math.cos(math.pi * progress)))
