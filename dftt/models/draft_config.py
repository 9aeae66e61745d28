"""A draft's config.json: read from the published formats, written in z-lab's.

Every key is honoured or known to be without effect; for all others the draft is refused by name (`draft_keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dftt.models.draft import FULL, SLIDING, DraftConfig
from dftt.models.draft_keys import (
    ACTIVATIONS,
    DRAFT_KEYS,
    NATIVE,
    SHAPE_KEYS,
    SPECULATORS_KEYS,
    check_keys,
    check_rope_keys,
)

_LAYER = "transformer_layer_config"  # where speculators keeps the shape
_NESTED = "dflash_config"  # where z-lab keeps what is the draft's own


def parse_config(raw: Mapping[str, Any], *, source: str = "draft") -> DraftConfig:
    """The DraftConfig of a published config.json; layer ids become hidden-state indices here, at the border.

    Raises:
        ValueError: If a key is missing, unknown, given twice with different values, or asks for something that this
            network does not do; one sentence with key, value and what is accepted.
    """
    try:
        if not isinstance(raw, Mapping):
            raise ValueError(f"config.json must hold an object of keys and values, got {type(raw).__name__}")
        return _parse_speculators(raw) if raw.get("speculators_model_type") else _parse_z_lab(raw)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def config_to_json(config: DraftConfig, *, dtype: torch.dtype) -> dict[str, Any]:
    """The z-lab config.json of a draft."""
    rope = dict(config.rope_parameters)
    sliding_rope = config.sliding_rope_parameters
    written = {
        "architectures": ["DFlashDraftModel"],
        "model_type": "qwen3",
        "hidden_act": config.hidden_act,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": rope if sliding_rope is None else {FULL: rope, SLIDING: dict(sliding_rope)},
        "max_position_embeddings": config.max_position_embeddings,
        "layer_types": list(config.layer_types),
        "sliding_window": config.sliding_window,
        "attention_bias": config.attention_bias,
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
    if config.window_from_anchor:
        written["dflash_config"]["window_from_anchor"] = True
    facts = {
        "vocab_size": config.vocab_size,
        "num_target_layers": config.num_target_layers,
        "rope_theta": rope["rope_theta"] if sliding_rope is None else None,
        "is_causal": _said_causal(config),
    }
    return written | {name: value for name, value in facts.items() if value is not None}


def _said_causal(config: DraftConfig) -> bool | None:
    """What is_causal says of all layers; None, unsaid, where sliding layers are causal and full ones are not."""
    if not config.causal_types:
        return False
    return None if config.causal_types == (SLIDING,) and FULL in config.layer_types else True


def _parse_z_lab(raw: Mapping[str, Any]) -> DraftConfig:
    """Also SpecForge's, ModelOpt's and transformers' own."""
    merged = _merged(raw, _NESTED, top=SHAPE_KEYS | DRAFT_KEYS, inside=DRAFT_KEYS)
    # Published ids count layers from 0; hidden state 0 is the embedding.
    taps = tuple(layer + 1 for layer in _layer_ids(merged, "target_layer_ids"))
    also = merged.get("eagle_aux_hidden_state_layer_ids")
    if also is not None and also != list(taps):
        raise ValueError(
            f"eagle_aux_hidden_state_layer_ids={also!r} are not target_layer_ids plus one ({list(taps)}); "
            "give a draft whose ids agree"
        )
    return _shape(merged, tap_ids=taps, needs_vocab=_NESTED in raw)


def _parse_speculators(raw: Mapping[str, Any]) -> DraftConfig:
    if raw["speculators_model_type"] != "dflash":
        raise ValueError(f"speculators model type {raw['speculators_model_type']!r} is not supported; give dflash")
    merged = _merged(raw, _LAYER, top=SHAPE_KEYS | SPECULATORS_KEYS, inside=SHAPE_KEYS | {"is_causal"})
    if merged.get("sample_from_anchor"):
        raise ValueError("sample_from_anchor drafts are not supported; slot 0 must be the anchor")
    if SLIDING in _layer_types(merged):
        merged["window_from_anchor"] = True  # where the class that trains them counts it from
    return _shape(merged, tap_ids=_layer_ids(merged, "aux_hidden_state_layer_ids"), needs_vocab=True)


def _merged(raw: Mapping[str, Any], section: str, *, top: frozenset[str], inside: frozenset[str]) -> dict[str, Any]:
    """The keys of the file and of one section of it, all checked; ValueError where the two contradict each other."""
    nested = {} if raw.get(section) is None else raw[section]
    if not isinstance(nested, Mapping):
        raise ValueError(f"{section} must hold an object of keys and values, got {nested!r}")
    outer = {key: value for key, value in raw.items() if key != section and value is not None}
    inner = {key: value for key, value in nested.items() if value is not None}
    check_keys(outer, top)
    check_keys(inner, inside, section=section)
    for key in inside & outer.keys() & inner.keys():
        if outer[key] != inner[key]:
            raise ValueError(
                f"config.json says {key}={outer[key]!r} and {section}.{key}={inner[key]!r}; they must agree"
            )
    return {**outer, **inner}


def _shape(raw: Mapping[str, Any], *, tap_ids: tuple[int, ...], needs_vocab: bool) -> DraftConfig:
    heads = _whole(raw, "num_attention_heads")
    hidden = _whole(raw, "hidden_size")
    vocab = _whole(raw, "vocab_size") if needs_vocab or "vocab_size" in raw else None
    if raw.get("draft_vocab_size") not in (None, vocab):
        raise ValueError(
            f"a reduced vocabulary (draft_vocab_size={raw['draft_vocab_size']} of {vocab}) is not supported; "
            "give a draft with the target's full vocabulary"
        )
    if raw.get("target_hidden_size") not in (None, hidden):
        raise ValueError(
            f"target_hidden_size={raw['target_hidden_size']!r} is not supported; accepted is the draft's hidden_size, "
            f"{hidden}"
        )
    layer_types, window = _attention(raw)
    rope, sliding_rope = _rope_by_type(raw, layer_types)
    return DraftConfig(
        hidden_size=hidden,
        num_layers=_whole(raw, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=_whole(raw, "num_key_value_heads", heads),
        head_dim=_whole(raw, "head_dim", hidden // heads),
        intermediate_size=_whole(raw, "intermediate_size"),
        vocab_size=vocab,
        num_target_layers=_whole(raw, "num_target_layers") if "num_target_layers" in raw else None,
        tap_ids=tap_ids,
        block_size=_whole(raw, "block_size"),
        mask_token_id=_whole(raw, "mask_token_id", minimum=0),
        rms_norm_eps=_number(raw, "rms_norm_eps", None if _is_native(raw) else 1e-6),
        rope_parameters=rope,
        sliding_rope_parameters=sliding_rope,
        max_position_embeddings=_whole(raw, "max_position_embeddings", 32768),
        layer_types=layer_types,
        sliding_window=window,
        window_from_anchor=bool(_flag(raw, "window_from_anchor")) and window is not None,
        causal_types=_causal_types(raw, layer_types, window),
        hidden_act=_activation(raw),
        attention_bias=_flag(raw, "attention_bias") or False,
    )


def _attention(raw: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """Layer types and window, by the rules of the published readers."""
    layer_types = _layer_types(raw)
    if SLIDING in layer_types:
        return layer_types, _window(raw)
    slides = _flag(raw, "use_swa")
    if slides is None and "swa_window_size" in raw:
        raise ValueError(f"swa_window_size={raw['swa_window_size']!r} without use_swa; say use_swa")
    # use_swa makes every layer slide, whatever layer_types say.
    return ((SLIDING,) * len(layer_types), _window(raw)) if slides else (layer_types, None)


def _causal_types(raw: Mapping[str, Any], layer_types: tuple[str, ...], window: int | None) -> tuple[str, ...]:
    """Types of the layers whose blocks are causal: all or none where it is said, by each reader's rule where not."""
    said = {name: value for name in ("is_causal", "causal") if (value := _flag(raw, name)) is not None}
    if len(set(said.values())) > 1:
        raise ValueError(f"config.json says is_causal={said['is_causal']} and causal={said['causal']}; they must agree")
    if raw.get("speculators_model_type"):
        unsaid = () if _flag(raw, "sliding_window_non_causal") else (SLIDING,)
    else:
        # What slides by use_swa alone is not causal unless that is said.
        unsaid = () if _is_native(raw) or SLIDING not in _layer_types(raw) else (SLIDING,)
    unsaid = tuple(kind for kind in unsaid if kind in layer_types)
    causal = (FULL, SLIDING) if any(said.values()) else () if said else unsaid
    if (_is_native(raw) or raw.get("speculators_model_type")) and {*causal} & {*layer_types} != {*unsaid}:
        raise ValueError(
            f"is_causal={said['is_causal'] if 'is_causal' in said else said['causal']} contradicts the draft's own "
            "class, which does not read it; leave it out"
        )
    if causal and window is not None and window < raw["block_size"] and not raw.get("window_from_anchor"):
        raise ValueError(
            f"sliding_window={window} is smaller than a causal block ({raw['block_size']} slots), which readers "
            "treat in two ways; accepted is a window of at least block_size"
        )
    return causal


def _activation(raw: Mapping[str, Any]) -> str:
    value = _given(raw, "hidden_act", "silu")
    if value not in ACTIVATIONS:
        raise ValueError(
            f"config.json says hidden_act={value!r}, which is not supported; accepted are {', '.join(ACTIVATIONS)}"
        )
    return "silu" if value == "swish" else value


def _window(raw: Mapping[str, Any]) -> int:
    windows = {name: _whole(raw, name) for name in ("sliding_window", "swa_window_size") if name in raw}
    if len(set(windows.values())) != 1:
        raise ValueError(f"sliding layers need one window, given as sliding_window or swa_window_size, got {windows}")
    window = next(iter(windows.values()))
    # transformers' own class counts the distance to the farthest position, z-lab's how many positions are seen.
    return window + 1 if _is_native(raw) else window


def _layer_types(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """layer_types as given, or by the rule of transformers' Qwen3 config where they are not."""
    layers = _whole(raw, "num_hidden_layers")
    slides = _flag(raw, "use_sliding_window")
    given = raw.get("layer_types")
    if given is None:
        return _layer_types_by_rule(raw, layers, slides)
    if not isinstance(given, list) or not set(map(str, given)) <= {FULL, SLIDING} or len(given) != layers:
        raise ValueError(
            f"layer_types={given!r} is not supported; accepted are {layers} entries (one per layer) of {FULL} or "
            f"{SLIDING}"
        )
    if SLIDING in given and slides is False:
        raise ValueError(f"layer_types has {SLIDING} but use_sliding_window=False; they must agree")
    return tuple(given)


def _layer_types_by_rule(raw: Mapping[str, Any], layers: int, slides: bool | None) -> tuple[str, ...]:
    if "sliding_window" in raw and not raw.get("use_swa"):
        if slides is None or _is_native(raw):
            raise ValueError(
                f"sliding_window={raw['sliding_window']!r} without layer_types is not supported; "
                "give layer_types, or use_sliding_window with max_window_layers"
            )
        first = _whole(raw, "max_window_layers", minimum=0) if slides else layers
        return tuple(SLIDING if layer >= first else FULL for layer in range(layers))
    if slides:
        raise ValueError("use_sliding_window=True without sliding_window; give the window")
    return (FULL,) * layers


def _rope_by_type(raw: Mapping[str, Any], layer_types: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Rotary settings of the full layers, or of all, and those of the sliding layers where they are others."""
    given = raw.get("rope_parameters")
    if not isinstance(given, Mapping) or not any(isinstance(value, Mapping) for value in given.values()):
        return _rope(raw), None
    if not set(given) <= {FULL, SLIDING} or raw.get("rope_theta") or raw.get("rope_scaling"):
        raise ValueError(
            f"rope_parameters={dict(given)!r} gives settings per layer type; accepted are {FULL} and {SLIDING}, "
            "and neither rope_theta nor rope_scaling beside them"
        )
    # The class of speculators takes those of sliding layers for all layers.
    kinds = (SLIDING,) if raw.get("speculators_model_type") else tuple(dict.fromkeys(layer_types))
    missing = [kind for kind in kinds if not given.get(kind)]
    if missing:
        raise ValueError(f"rope_parameters has no settings of {missing[0]}, which the draft needs; give them")
    rope = {kind: _rope({**raw, "rope_parameters": given[kind]}) for kind in kinds}
    common = rope[kinds[0]] if len(kinds) == 1 else rope[FULL]
    sliding = rope.get(SLIDING, common)
    return common, None if sliding == common else sliding


def _rope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings from the new field or the two old ones."""
    new, old = raw.get("rope_parameters"), raw.get("rope_scaling")
    for value in (new, old):
        if not isinstance(value, Mapping | None):
            raise ValueError(f"rotary settings must be an object of keys and values, got {value!r}")
    if new and old and new != old:
        raise ValueError(f"rope_parameters={new!r} and rope_scaling={old!r}; they must agree")
    parameters = {name: value for name, value in (new or old or {}).items() if value is not None}
    theta = _number({**raw, **parameters}, "rope_theta", None if _is_native(raw) else 10000.0)
    if raw.get("rope_theta") not in (None, theta):
        raise ValueError(
            f"rope_theta={raw['rope_theta']!r} at the top and {theta} in the rotary settings; they must agree"
        )
    parameters["rope_theta"] = theta
    parameters.setdefault("rope_type", parameters.pop("type", "default"))
    check_rope_keys(parameters)
    return parameters


def _is_native(raw: Mapping[str, Any]) -> bool:
    """Whether the config is of transformers' own DFlash class, whose blocks are never causal."""
    return raw.get("model_type") == NATIVE


def _given(raw: Mapping[str, Any], name: str, default: Any = None) -> Any:
    value = default if raw.get(name) is None else raw[name]
    if value is None:
        raise ValueError(f"config.json lacks {name}; is this a DFlash draft?")
    return value


def _whole(raw: Mapping[str, Any], name: str, default: int | None = None, *, minimum: int = 1) -> int:
    value = _given(raw, name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {minimum}")
    return value


def _number(raw: Mapping[str, Any], name: str, default: float | None) -> float:
    value = _given(raw, name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"{name}={value!r} must be a number above 0")
    return value


def _flag(raw: Mapping[str, Any], name: str) -> bool | None:
    """True, false, or None where the config does not say."""
    value = raw.get(name)
    if not isinstance(value, bool | None):
        raise ValueError(f"{name}={value!r} must be true or false")
    return value


def _layer_ids(raw: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = _given(raw, name)
    if not isinstance(value, list) or not value or not all(type(each) is int for each in value):
        raise ValueError(f"{name}={value!r} must be a list of layer numbers, at least one")
    return tuple(value)
