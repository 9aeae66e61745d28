"""A short name for weights that changes when they do."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from dftt.models.target import Target

# Of a model's config: where it lies, and what wrote it.
_NEUTRAL = ("_name_or_path", "transformers_version")
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


def identify(target: Target) -> dict[str, Any]:
    """What of a target decides the tokens it draws, as JSON values: weights, config and end-of-sequence tokens."""
    config = json.loads(target.config.to_json_string(use_diff=False))
    return {
        "weights": fingerprint(target.model),
        "config": {name: value for name, value in config.items() if name not in _NEUTRAL},
        "eos": list(target.eos_token_ids),
    }
