"""A draft's config.json: read from the published formats, written in z-lab's.

Every key is honoured or known to be without effect; for all others the draft is refused by name (`draft_keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dftt.models.draft import FULL, SLIDING, DraftConfig
from dftt.models.draft_keys import DRAFT_KEYS, NATIVE, SHAPE_KEYS, SPECULATORS_KEYS, check_keys, check_rope_keys

_LAYER = "transformer_layer_config"  # where speculators keeps the shape
_NESTED = "dflash_config"  # where z-lab keeps what is the draft's own


def parse_config(raw: Mapping[str, Any], *, source: str = "draft") -> DraftConfig:
    """The DraftConfig of a published config.json; layer ids become hidden-state indices here, at the border.

    Raises:
        ValueError: If a key is missing, unknown, given twice with different values, or asks for something that this
            network does not do; one sentence with key, value and what is accepted.
    """
    if not isinstance(raw, Mapping):
        raise ValueError(f"{source}: config.json must hold an object of keys and values, got {type(raw).__name__}")
    if raw.get("speculators_model_type"):
        return _parse_speculators(raw, source)
    merged = _merged(raw, _NESTED, source, top=SHAPE_KEYS | DRAFT_KEYS, inside=DRAFT_KEYS)
    # Published ids count layers from 0; hidden state 0 is the embedding.
    taps = tuple(layer + 1 for layer in _whole_list(merged, "target_layer_ids", source))
    also = merged.get("eagle_aux_hidden_state_layer_ids")
    if also is not None and also != list(taps):
        raise ValueError(
            f"{source}: eagle_aux_hidden_state_layer_ids={also!r} are not target_layer_ids plus one ({list(taps)}); "
            "give a draft whose ids agree"
        )
    return _shape(merged, source, tap_ids=taps, needs_vocab=_NESTED in raw)


def config_to_json(config: DraftConfig, *, dtype: torch.dtype) -> dict[str, Any]:
    """The z-lab config.json of a draft."""
    rope = dict(config.rope_parameters)
    written = {
        "architectures": ["DFlashDraftModel"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": rope,
        "rope_theta": rope["rope_theta"],
        "max_position_embeddings": config.max_position_embeddings,
        "layer_types": list(config.layer_types),
        "sliding_window": config.sliding_window,
        "attention_bias": config.attention_bias,
        "is_causal": False,  # blocks are bidirectional in sliding layers too
        "block_size": config.block_size,
        "dflash_config": {
            "mask_token_id": config.mask_token_id,
            "target_layer_ids": [tap - 1 for tap in config.tap_ids],
        },
        "tie_word_embeddings": False,
        "dtype": str(dtype).removeprefix("torch."),
    }
    if SLIDING in config.layer_types:
        written["use_sliding_window"] = True  # without it, transformers' Qwen3 config drops the window
    facts = {"vocab_size": config.vocab_size, "num_target_layers": config.num_target_layers}
    return written | {name: value for name, value in facts.items() if value is not None}


def _parse_speculators(raw: Mapping[str, Any], source: str) -> DraftConfig:
    if raw["speculators_model_type"] != "dflash":
        raise ValueError(
            f"{source}: speculators model type {raw['speculators_model_type']!r} is not supported; give dflash"
        )
    merged = _merged(raw, _LAYER, source, top=SHAPE_KEYS | SPECULATORS_KEYS, inside=SHAPE_KEYS | {"is_causal"})
    if merged.get("sample_from_anchor"):
        raise ValueError(f"{source}: sample_from_anchor drafts are not supported; slot 0 must be the anchor")
    if SLIDING in _layer_types(merged, source):
        raise ValueError(
            f"{source}: sliding-window layers of speculators (sliding_window_non_causal="
            f"{merged.get('sliding_window_non_causal', False)!r}) are not supported, since their blocks are causal or "
            "their window is counted from the anchor; give a draft with full_attention layers"
        )
    taps = _whole_list(merged, "aux_hidden_state_layer_ids", source)
    return _shape(merged, source, tap_ids=taps, needs_vocab=True)


def _merged(
    raw: Mapping[str, Any], section: str, source: str, *, top: frozenset[str], inside: frozenset[str]
) -> dict[str, Any]:
    """The keys of the file and of one section of it, all checked; ValueError where the two contradict each other."""
    nested = raw.get(section)
    nested = {} if nested is None else nested
    if not isinstance(nested, Mapping):
        raise ValueError(f"{source}: {section} must hold an object of keys and values, got {nested!r}")
    outer = {key: value for key, value in raw.items() if key != section and value is not None}
    inner = {key: value for key, value in nested.items() if value is not None}
    check_keys(outer, top, source=source)
    check_keys(inner, inside, section=section, source=source)
    for key in inside & outer.keys() & inner.keys():
        if outer[key] != inner[key]:
            raise ValueError(
                f"{source}: config.json says {key}={outer[key]!r} and {section}.{key}={inner[key]!r}; they must agree"
            )
    return {**outer, **inner}


def _shape(raw: Mapping[str, Any], source: str, *, tap_ids: tuple[int, ...], needs_vocab: bool) -> DraftConfig:
    heads = _whole(raw, "num_attention_heads", source)
    hidden = _whole(raw, "hidden_size", source)
    vocab = _whole(raw, "vocab_size", source) if needs_vocab or "vocab_size" in raw else None
    if raw.get("draft_vocab_size") not in (None, vocab):
        raise ValueError(
            f"{source}: a reduced vocabulary ({raw['draft_vocab_size']} of {vocab}) is not "
            "supported; give a draft with the target's full vocabulary"
        )
    if raw.get("target_hidden_size") not in (None, hidden):
        raise ValueError(
            f"{source}: target_hidden_size={raw['target_hidden_size']!r} is not supported; accepted is the draft's "
            f"hidden_size, {hidden}"
        )
    layer_types, window = _attention(raw, source)
    return DraftConfig(
        hidden_size=hidden,
        num_layers=_whole(raw, "num_hidden_layers", source),
        num_heads=heads,
        num_kv_heads=_whole(raw, "num_key_value_heads", source, heads),
        head_dim=_whole(raw, "head_dim", source, hidden // heads),
        intermediate_size=_whole(raw, "intermediate_size", source),
        vocab_size=vocab,
        num_target_layers=_whole(raw, "num_target_layers", source) if "num_target_layers" in raw else None,
        tap_ids=tap_ids,
        block_size=_whole(raw, "block_size", source),
        mask_token_id=_whole(raw, "mask_token_id", source),
        rms_norm_eps=_number(raw, "rms_norm_eps", source, None if _is_native(raw) else 1e-6),
        rope_parameters=_rope(raw, source),
        max_position_embeddings=_whole(raw, "max_position_embeddings", source, 32768),
        layer_types=layer_types,
        sliding_window=window,
        attention_bias=_flag(raw, "attention_bias", source) or False,
    )


def _attention(raw: Mapping[str, Any], source: str) -> tuple[tuple[str, ...], int | None]:
    """Layer types and window, by the rules of the published readers; ValueError for causal blocks."""
    layer_types = _layer_types(raw, source)
    causal = {name: _flag(raw, name, source) for name in ("is_causal", "causal")}
    said = next((f"{name}=True" for name, value in causal.items() if value), None)
    unsaid = all(value is None for value in causal.values()) and not _is_native(raw)
    if SLIDING in layer_types and (said or unsaid):
        raise ValueError(
            f"{source}: sliding-window layers with causal blocks ({said or 'is_causal is not said'}) are not "
            "supported; give a draft with is_causal false"
        )
    if said:
        raise ValueError(f"{source}: causal blocks ({said}) are not supported; give a draft with is_causal false")
    if SLIDING not in layer_types:
        slides = _flag(raw, "use_swa", source)
        if slides is None and "swa_window_size" in raw:
            raise ValueError(f"{source}: swa_window_size={raw['swa_window_size']!r} without use_swa; say use_swa")
        if not slides:
            return layer_types, None
        layer_types = (SLIDING,) * len(layer_types)  # use_swa makes every layer slide, whatever layer_types say
    return layer_types, _window(raw, source)


def _window(raw: Mapping[str, Any], source: str) -> int:
    windows = {name: _whole(raw, name, source) for name in ("sliding_window", "swa_window_size") if name in raw}
    if len(set(windows.values())) != 1:
        raise ValueError(
            f"{source}: sliding layers need one window, given as sliding_window or swa_window_size, got {windows}"
        )
    window = next(iter(windows.values()))
    # transformers' own class counts the distance to the farthest position, z-lab's how many positions are seen.
    return window + 1 if _is_native(raw) else window


def _layer_types(raw: Mapping[str, Any], source: str) -> tuple[str, ...]:
    """layer_types as given, or by the rule of transformers' Qwen3 config where they are not."""
    layers = _whole(raw, "num_hidden_layers", source)
    slides = _flag(raw, "use_sliding_window", source)
    given = raw.get("layer_types")
    if given is None:
        return _layer_types_by_rule(raw, layers, slides, source)
    if not isinstance(given, list) or not set(map(str, given)) <= {FULL, SLIDING} or len(given) != layers:
        raise ValueError(
            f"{source}: layer_types={given!r} is not supported; accepted are {layers} entries (one per layer) of "
            f"{FULL} or {SLIDING}"
        )
    if SLIDING in given and slides is False:
        raise ValueError(f"{source}: layer_types has {SLIDING} but use_sliding_window=False; they must agree")
    return tuple(given)


def _layer_types_by_rule(raw: Mapping[str, Any], layers: int, slides: bool | None, source: str) -> tuple[str, ...]:
    if "sliding_window" in raw and not raw.get("use_swa"):
        if slides is None or _is_native(raw):
            raise ValueError(
                f"{source}: sliding_window={raw['sliding_window']!r} without layer_types is not supported; "
                "give layer_types, or use_sliding_window with max_window_layers"
            )
        first = _whole(raw, "max_window_layers", source, minimum=0) if slides else layers
        return tuple(SLIDING if layer >= first else FULL for layer in range(layers))
    if slides:
        raise ValueError(f"{source}: use_sliding_window=True without sliding_window; give the window")
    return (FULL,) * layers


def _rope(raw: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Rotary settings from the new field or the two old ones."""
    new, old = (raw.get(name) for name in ("rope_parameters", "rope_scaling"))
    for value in (new, old):
        if not isinstance(value, Mapping | None):
            raise ValueError(f"{source}: rotary settings must be an object of keys and values, got {value!r}")
    if new and old and new != old:
        raise ValueError(f"{source}: rope_parameters={new!r} and rope_scaling={old!r}; they must agree")
    parameters = {name: value for name, value in {**(old or {}), **(new or {})}.items() if value is not None}
    theta = _number({**raw, **parameters}, "rope_theta", source, None if _is_native(raw) else 10000.0)
    if raw.get("rope_theta") not in (None, theta):
        raise ValueError(
            f"{source}: rope_theta={raw['rope_theta']!r} at the top and {theta} in the rotary settings; they must agree"
        )
    parameters["rope_theta"] = theta
    parameters.setdefault("rope_type", parameters.pop("type", "default"))
    check_rope_keys(parameters, source)
    return parameters


def _is_native(raw: Mapping[str, Any]) -> bool:
    """Whether the config is of transformers' own DFlash class, whose blocks are never causal."""
    return raw.get("model_type") == NATIVE


def _whole(raw: Mapping[str, Any], name: str, source: str, default: int | None = None, *, minimum: int = 1) -> int:
    value = _given(raw, name, source, default)
    minimum = 0 if name == "mask_token_id" else minimum
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{source}: {name}={value!r} must be a whole number of at least {minimum}")
    return value


def _number(raw: Mapping[str, Any], name: str, source: str, default: float | None) -> float:
    value = _given(raw, name, source, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{source}: {name}={value!r} must be a number above 0")
    return value


def _flag(raw: Mapping[str, Any], name: str, source: str) -> bool | None:
    """True, false, or None where the config does not say."""
    value = raw.get(name)
    if not isinstance(value, bool | None):
        raise ValueError(f"{source}: {name}={value!r} must be true or false")
    return value


def _whole_list(raw: Mapping[str, Any], name: str, source: str) -> tuple[int, ...]:
    value = _given(raw, name, source, None)
    if not isinstance(value, list) or not value or not all(type(each) is int for each in value):
        raise ValueError(f"{source}: {name}={value!r} must be a list of layer numbers, at least one")
    return tuple(value)


def _given(raw: Mapping[str, Any], name: str, source: str, default: Any) -> Any:
    value = raw.get(name)
    value = default if value is None else value
    if value is None:
        raise ValueError(f"{source}: config.json lacks {name}; is this a DFlash draft?")
    return value
