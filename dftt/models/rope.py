"""RoPE whose frequencies depend on the longest position of a pass: dynamic NTK past the window, LongRoPE past a limit.

Keys that were cached under other frequencies would no longer fit, and rows of one pass would change each other. So the
window ends where frequencies change, and up to there they are fixed: no pass looks at its positions, which on a card it
could not do in a captured cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import nn

_FIXED = "default"  # what transformers calls RoPE that a pass does not change


def rope_limit(config: Any) -> int | None:
    """Positions after which a text config's RoPE changes its frequencies within the window, or None."""
    limits = [
        rope["original_max_position_embeddings"] for rope in _ropes(config) if rope.get("rope_type") == "longrope"
    ]
    return min(limits, default=None)


def fix_frequencies_(model: nn.Module) -> None:
    """Keep the frequencies that a freshly loaded model begins with, in place."""
    for module in model.modules():
        kind: Any = getattr(module, "rope_type", None)
        if isinstance(kind, dict):
            cast(Any, module).rope_type = {layer_type: _fixed(each) for layer_type, each in kind.items()}
        elif isinstance(kind, str):
            cast(Any, module).rope_type = _fixed(kind)


def _fixed(kind: str) -> str:
    return _FIXED if "dynamic" in kind or kind == "longrope" else kind


def _ropes(config: Any) -> Iterator[dict[str, Any]]:
    """Its RoPE settings: one, or one for each kind of layer."""
    settings = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in settings:
        yield settings
    else:
        yield from (each for each in settings.values() if isinstance(each, dict))
