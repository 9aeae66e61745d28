"""Draft checkpoints on disk: reads the published formats, writes the z-lab one (config.json + model.safetensors).

Formats read, told apart by config and tensor names: z-lab (also SpecForge exports and its raw training_state.pt),
speculators with full vocabulary, and the layout native to transformers. Drafts with parts this network lacks are
refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dftt.models.draft import FULL, SLIDING, DFlashDraft, DraftConfig
from dftt.models.packed import pack_

_WEIGHTS = "model.safetensors"
_RAW_STATE = "training_state.pt"
_NATIVE_NAMES = {"encoder.fc.": "fc.", "encoder.output_norm_enc.": "hidden_norm."}
_BORROWED = ("embed_tokens.", "lm_head.", "t2d", "d2t", "verifier_")
_FOREIGN = {
    "candidate_selector": "DFlash 2",
    "attention_conv": "DFlash 2",
    "markov_head": "DSpark",
    "confidence_head": "DSpark",
    "prefix_gru": "Domino",
    "embed_proj": "Domino",
}


def load_draft(folder: str | Path, *, dtype: torch.dtype = torch.float32) -> DFlashDraft:
    """The draft of a local folder, frozen, in evaluation mode, on the CPU.

    Raises:
        ValueError: If files, config fields or tensors are missing, unexpected, or of a kind this network does not have.
    """
    folder = Path(folder)
    raw = _read_config(folder)
    tensors = _read_tensors(folder)
    for fragment, name in _FOREIGN.items():
        if any(fragment in key for key in tensors):
            raise ValueError(
                f"draft {folder} is a {name} checkpoint ({fragment} tensors), which is not supported; "
                "give a DFlash draft"
            )
    config = parse_config(raw, source=str(folder))
    draft = DFlashDraft(config)
    _check_tensors(folder, draft, tensors)
    draft.load_state_dict(tensors, strict=False)
    draft = draft.to(dtype).eval().requires_grad_(False)
    pack_(draft)
    return draft


def save_draft(draft: DFlashDraft, folder: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write the draft in the z-lab layout and return the folder; `dtype` converts the weights on the way."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in draft.state_dict().items()
    }
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    written = next(iter(tensors.values())).dtype
    text = json.dumps(config_to_json(draft.config, dtype=written), indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n")
    return folder


def parse_config(raw: Mapping[str, Any], *, source: str = "draft") -> DraftConfig:
    """The DraftConfig of a published config.json; layer ids become hidden-state indices here, at the border.

    Raises:
        ValueError: If a required field is missing or the config asks for something this network does not do.
    """
    if raw.get("speculators_model_type"):
        return _parse_speculators(raw, source)
    nested = raw.get("dflash_config") or {}
    if nested.get("causal_head") or nested.get("draft_shift"):
        raise ValueError(f"{source}: a JetSpec draft (causal_head), which is not supported; give a DFlash draft")
    merged = {**raw, **nested}
    layer_ids = _required(merged, "target_layer_ids", source)
    return _shape(
        merged,
        source,
        tap_ids=tuple(
            int(layer) + 1 for layer in layer_ids
        ),  # published ids count layers from 0; hidden state 0 is the embedding
        num_target_layers=int(merged.get("num_target_layers") or max(layer_ids) + 2),
    )


def config_to_json(config: DraftConfig, *, dtype: torch.dtype) -> dict[str, Any]:
    """The z-lab config.json of a draft."""
    rope = dict(config.rope_parameters)
    return {
        "architectures": ["DFlashDraftModel"],
        "model_type": "qwen3",
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_parameters": rope,
        "rope_theta": rope["rope_theta"],
        "max_position_embeddings": config.max_position_embeddings,
        "layer_types": list(config.layer_types),
        "sliding_window": config.sliding_window,
        "attention_bias": config.attention_bias,
        "is_causal": False,  # blocks are bidirectional in sliding layers too
        "block_size": config.block_size,
        "num_target_layers": config.num_target_layers,
        "dflash_config": {
            "mask_token_id": config.mask_token_id,
            "target_layer_ids": [tap - 1 for tap in config.tap_ids],
        },
        "tie_word_embeddings": False,
        "dtype": str(dtype).removeprefix("torch."),
    }


def _parse_speculators(raw: Mapping[str, Any], source: str) -> DraftConfig:
    if raw["speculators_model_type"] != "dflash":
        raise ValueError(
            f"{source}: speculators model type {raw['speculators_model_type']!r} is not supported; give dflash"
        )
    inner = {
        **raw.get("transformer_layer_config", {}),
        **{k: v for k, v in raw.items() if k != "transformer_layer_config"},
    }
    if raw.get("draft_vocab_size") not in (None, inner.get("vocab_size")):
        raise ValueError(
            f"{source}: a reduced vocabulary ({raw['draft_vocab_size']} of {inner.get('vocab_size')}) is not "
            "supported; give a draft with the target's full vocabulary"
        )
    if raw.get("sample_from_anchor"):
        raise ValueError(f"{source}: sample_from_anchor drafts are not supported; slot 0 must be the anchor")
    taps = tuple(int(index) for index in _required(inner, "aux_hidden_state_layer_ids", source))
    return _shape(inner, source, tap_ids=taps, num_target_layers=int(inner.get("num_target_layers") or max(taps) + 1))


def _shape(raw: Mapping[str, Any], source: str, *, tap_ids: tuple[int, ...], num_target_layers: int) -> DraftConfig:
    heads = int(_required(raw, "num_attention_heads", source))
    hidden = int(_required(raw, "hidden_size", source))
    layers = int(_required(raw, "num_hidden_layers", source))
    layer_types = tuple(raw.get("layer_types") or (FULL,) * layers)
    if SLIDING in layer_types and raw.get("is_causal", not raw.get("sliding_window_non_causal", False)):
        raise ValueError(
            f"{source}: sliding-window layers with causal blocks are not supported; give a draft with is_causal false"
        )
    optional = {
        name: raw[name] for name in ("rms_norm_eps", "max_position_embeddings", "attention_bias") if name in raw
    }
    return DraftConfig(
        hidden_size=hidden,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or hidden // heads),
        intermediate_size=int(_required(raw, "intermediate_size", source)),
        vocab_size=int(_required(raw, "vocab_size", source)),
        num_target_layers=num_target_layers,
        tap_ids=tap_ids,
        block_size=int(_required(raw, "block_size", source)),
        mask_token_id=int(_required(raw, "mask_token_id", source)),
        rope_parameters=_rope(raw),
        layer_types=layer_types,
        sliding_window=raw.get("sliding_window") if SLIDING in layer_types else None,
        **optional,
    )


def _rope(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings from the new field or the two old ones."""
    parameters = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    parameters.setdefault("rope_theta", raw.get("rope_theta", 10000.0))
    parameters.setdefault("rope_type", parameters.pop("type", "default"))
    return parameters


def _required(raw: Mapping[str, Any], name: str, source: str) -> Any:
    if raw.get(name) is None:
        raise ValueError(f"{source}: config.json lacks {name}; is this a DFlash draft?")
    return raw[name]


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(
            f"draft {folder} has no config.json; give a folder with config.json and {_WEIGHTS}, or a hub id"
        )
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"draft {folder}: config.json is not JSON ({error})") from error


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    shards = sorted(folder.glob("*.safetensors"))
    if shards:
        tensors = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    elif (folder / _RAW_STATE).is_file():
        state = torch.load(folder / _RAW_STATE, map_location="cpu", weights_only=True)
        tensors = state["draft_state_dict"]
    else:
        raise ValueError(f"draft {folder} has no weights; give a folder with {_WEIGHTS} or {_RAW_STATE}")
    return {_canonical(name): tensor for name, tensor in tensors.items() if not name.startswith(_BORROWED)}


def _canonical(name: str) -> str:
    for native, ours in _NATIVE_NAMES.items():
        if name.startswith(native):
            return ours + name.removeprefix(native)
    return name


def _check_tensors(folder: Path, draft: DFlashDraft, tensors: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in draft.state_dict().items()}
    problems = {
        "missing": sorted(set(expected) - set(tensors)),
        "unexpected": sorted(set(tensors) - set(expected)),
        "of the wrong shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {shape}"
            for name, shape in expected.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ],
    }
    for kind, names in problems.items():
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(f"draft {folder}: {len(names)} tensors {kind}: {shown}")
