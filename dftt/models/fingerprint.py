"""A short name for weights that changes when they do."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

_SAMPLES = 64  # values read per tensor: cheap for any model, and another training run differs in nearly all


def fingerprint(module: nn.Module) -> str:
    """Hash of names, shapes, precisions and an even sample of the values of all parameters, the same on any device."""
    hashed = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        flat = parameter.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLES)].to("cpu", torch.float64)
        hashed.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        hashed.update(sample.numpy().tobytes())
    return hashed.hexdigest()[:16]
