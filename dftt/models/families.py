"""What a target's config says before its weights are read: which families are proven, which are refused and why.

RoPE whose frequencies depend on the longest position of a pass (dynamic NTK past the window, LongRoPE past a limit) is
fixed at those that hold within the window, and the window ends where they would change: keys that were cached under
other frequencies would not fit, rows of one pass would change each other, and a captured cycle sees no positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from dftt.models.draft import FULL, SLIDING

# Families (`model_type`) whose tokens the golden tests hold against transformers; all others are tried when loaded.
PROVEN = frozenset({"llama", "qwen3", "qwen3_moe"})

_SCALED_HEADS = {"logit_scale": 1.0, "logits_scaling": 1.0, "lm_head_multiplier": 1.0, "output_multiplier_scale": 1.0}
_WIDTHS = ("head_dim", "global_head_dim", "swa_head_dim", "qk_head_dim", "v_head_dim", "swa_v_head_dim")
_NO_ROLL_BACK = "cannot be rolled back after a rejected token: use a target whose layers are all attention"


def refuse_unsupported(config: Any, name: str) -> None:
    """Raise ValueError, in one sentence, for the first thing in a text config that decoding cannot follow."""
    kinds = sorted(set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING})
    if any("linear" in kind or "attention" not in kind for kind in kinds):
        raise ValueError(f"target {name!r} has {', '.join(kinds)} layers, whose state {_NO_ROLL_BACK}")
    if kinds:
        raise ValueError(
            f"target {name!r} has {', '.join(kinds)} layers, which are not supported: use a target whose layers are "
            f"{FULL} or {SLIDING}"
        )
    if getattr(_class_of(config), "_is_stateful", False):
        raise ValueError(f"target {name!r} ({config.model_type}) keeps a state that {_NO_ROLL_BACK}")
    for setting, neutral in _SCALED_HEADS.items():
        value = getattr(config, setting, None)
        if value is not None and value != neutral:
            raise ValueError(f"target {name!r} scales its logits ({setting}={value}), which is not supported yet")
    for setting in ("hidden_size", "num_hidden_layers", "max_position_embeddings"):
        if not isinstance(getattr(config, setting, None), int):
            raise ValueError(
                f"target {name!r} ({config.model_type}) has no {setting} in its config: this architecture is not "
                "supported, use a decoder of attention layers"
            )


def takes_attention(config: Any) -> bool:
    """Whether the family's attention can be replaced by one that is registered with transformers."""
    made = _class_of(config)
    return made is not None and made._can_set_attn_implementation()


def window_of(config: Any) -> int:
    """Positions that a text config allows, as far as one set of RoPE frequencies serves them."""
    return int(min(config.max_position_embeddings, rope_limit(config) or config.max_position_embeddings))


def band_of(config: Any) -> int | None:
    """How far back layers of sliding attention look, or None where there are none."""
    kinds = getattr(config, "layer_types", None)
    return getattr(config, "sliding_window", None) if kinds is None or SLIDING in kinds else None


def head_width(config: Any) -> int:
    """Width of every key and value, or 0 where they differ between keys and values or from layer to layer."""
    try:
        widths: set[int] = {width for name in _WIDTHS if (width := getattr(config, name, None)) is not None}
        shared = config.hidden_size // config.num_attention_heads
    except RuntimeError:  # transformers' way to say that layers differ in such a setting
        return 0
    return shared if not widths else widths.pop() if len(widths) == 1 else 0


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
    return "default" if "dynamic" in kind or kind == "longrope" else kind


def _ropes(config: Any) -> Iterator[dict[str, Any]]:
    """Its RoPE settings: one, or one for each kind of layer."""
    settings = getattr(config, "rope_parameters", None) or {}
    if "rope_type" in settings:
        yield settings
    else:
        yield from (each for each in settings.values() if isinstance(each, dict))


def _class_of(config: Any) -> Any:
    return MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
