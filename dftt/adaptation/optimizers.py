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

    def factor(step: int) -> float:
        warm, progress = _warm_and_progress(step, spec.warmup, steps - spec.warmup)
        return warm * (spec.decay + (1 - spec.decay) * 0.5 * (1 + math.cos(math.pi * progress)))

    return optimizer, LambdaLR(optimizer, factor)


def lr_factor(step: int, spec: TTTSpec) -> float:
    """Linear warm-up over spec.warmup steps, then linear decay to spec.decay at the last step."""
    warm, progress = _warm_and_progress(step, spec.warmup, spec.steps - 1 - spec.warmup)
    return warm * (1 - (1 - spec.decay) * progress)


def _warm_and_progress(step: int, warmup: int, rest: int) -> tuple[float, float]:
    """How far the warm-up has come, and the `rest` of the steps behind it, from 0 to 1 each."""
    return min(1.0, (step + 1) / (warmup + 1)), min(1.0, max(0, step - warmup) / max(1, rest))
