"""A draft's folder: reads the published formats, writes the z-lab one (config.json + model.safetensors).

Formats read, told apart by config and tensor names: z-lab (also SpecForge exports and its raw training_state.pt),
speculators with full vocabulary, and the layout native to transformers. Drafts with parts this network lacks are
refused by name, before the weights are read where the config or a file beside them tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dftt.models.draft import DFlashDraft, DraftConfig
from dftt.models.draft_config import config_to_json, parse_config
from dftt.models.lora import is_attached
from dftt.models.packed import pack_

WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_RAW_STATE = "training_state.pt"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")

# An allow-list: any other file may hold a part of the draft, such as a selector, a vocabulary map or a mask embedding.
# Names are compared in lower case; folders inside are not looked into, which no reader of the published formats does.
NEUTRAL_FILES = {
    "text and pictures": "readme* license* licence* notice* copying* citation* changelog* *.md *.png *.jpg *.jpeg "
    "*.gif *.svg *.webp *.pdf",
    "the folder's own": ".gitattributes .gitignore .ds_store",
    "the tokenizer, which is the target's": "tokenizer.json tokenizer.model tokenizer_config.json vocab.json vocab.txt "
    "merges.txt special_tokens_map.json added_tokens.json chat_template.jinja chat_template.json",
    "how a server samples": "generation_config.json",
    "the published class, which this network is; config.json names it": "dflash.py modeling_dflash.py "
    "configuration_dflash.py utils.py __init__.py",
    "left by training": "training_state_rank*.pt optimizer.pt scheduler.pt scaler.pt rng_state*.pth trainer_state.json "
    "training_args.bin",
}

NATIVE_NAMES = {"encoder.fc.": "fc.", "encoder.output_norm_enc.": "hidden_norm."}  # transformers': ours
_OWN_VOCABULARY = ("embed_tokens.weight", "lm_head.weight")  # compared with the target's by `pair`
_VERIFIER = ("verifier_norm.weight", "verifier_lm_head.weight")  # the target's, kept by speculators for training
_FOREIGN = {
    "candidate_selector": "DFlash 2",
    "attention_conv": "DFlash 2",
    "mlp_conv": "DFlash 2",
    "markov_head": "DSpark",
    "confidence_head": "DSpark",
    "prefix_gru": "Domino",
    "embed_proj": "Domino",
}


def load_draft(folder: str | Path, *, dtype: torch.dtype | None = torch.float32) -> DFlashDraft:
    """The draft of a local folder, frozen, in evaluation mode, on the CPU.

    A dtype of None is the widest that its weights are stored in, so that each stays what it is. An embedding or a head
    that the checkpoint holds beside the draft is kept as `own_vocabulary`, to be compared.

    Raises:
        ValueError: If files, config keys or tensors are missing, unexpected, or of a kind this network does not have.
    """
    folder = Path(folder)
    config = read_config(folder)
    tensors = _read_tensors(folder, weight_files(folder))
    for fragment, name in _FOREIGN.items():
        if any(fragment in key for key in tensors):
            raise ValueError(
                f"draft {folder} is a {name} checkpoint ({fragment} tensors), which is not supported; "
                "give a DFlash draft"
            )
    _take_vocabulary_maps(folder, tensors)
    for name in _VERIFIER:
        tensors.pop(name, None)
    own = {name: tensors.pop(name) for name in _OWN_VOCABULARY if name in tensors}
    draft = DFlashDraft(config).to(dtype or reduce(torch.promote_types, (each.dtype for each in tensors.values())))
    _check_tensors(folder, draft, tensors)
    draft.load_state_dict(tensors, strict=False)
    draft = draft.eval().requires_grad_(False)
    draft.own_vocabulary = own
    pack_(draft)
    return draft


def save_draft(draft: DFlashDraft, folder: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write the draft in the z-lab layout and return the folder; `dtype` converts the weights on the way.

    ValueError if the draft carries an adapter, which the layout has no place for.
    """
    if is_attached(draft):
        raise ValueError(
            "draft carries an adapter, which a draft's folder cannot hold: detach the adapter, or save it by itself "
            "with Adapter.save"
        )
    tensors = {name: tensor.to(dtype or tensor.dtype) for name, tensor in draft.state_dict().items()}
    written = next(iter(tensors.values())).dtype
    return write_folder(folder, config_to_json(draft.config, dtype=written), tensors)


def write_folder(folder: str | Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write weights and config.json, which comes last and makes the folder a draft's, and return it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(on_cpu, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return folder


def read_config(folder: Path) -> DraftConfig:
    """What the config.json of a draft's folder says; ValueError if it is missing, or says what cannot be."""
    return parse_config(_read_json(folder), source=f"draft {folder}")


def _read_json(folder: Path) -> Any:
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(
            f"draft {folder} has no config.json; give a folder with config.json and {WEIGHTS}, or a hub id"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # also what is no text at all
        raise ValueError(f"draft {folder}: config.json is not JSON ({error})") from error


def weight_files(folder: Path) -> list[Path]:
    """The files with the draft's weights: safetensors, whole or in shards, or else a raw training state.

    ValueError if there are none or two kinds, if a shard is missing, or if a file lies beside them that is not known
    to be without effect.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    weights = _safetensors(folder, names)
    if _RAW_STATE in names:
        if weights:
            raise ValueError(f"draft {folder} has two sets of weights, {weights[0]} and {_RAW_STATE}; leave one")
        weights = [_RAW_STATE]
    if not weights:
        raise ValueError(f"draft {folder} has no weights; give a folder with {WEIGHTS} or {_RAW_STATE}")
    strangers = sorted(name for name in names - {"config.json", _INDEX, *weights} if not _is_neutral(name))
    if strangers:
        raise ValueError(
            f"draft {folder} has the file {strangers[0]}, which is not known here and may be a part of the draft; "
            "give a folder with config.json, weights, tokenizer and texts only"
        )
    return [folder / name for name in weights]


def _safetensors(folder: Path, names: set[str]) -> list[str]:
    """Names of the safetensors files that together are the draft, as the index says or their own names do."""
    if _INDEX in names:
        wanted = _indexed(folder)
    elif WEIGHTS in names:
        wanted = {WEIGHTS}
    else:
        totals = {match[2] for name in names if (match := _SHARD.fullmatch(name))}
        wanted = {f"model-{i:05d}-of-{total}.safetensors" for total in totals for i in range(1, int(total) + 1)}
    missing = sorted(wanted - names)
    if missing:
        raise ValueError(f"draft {folder} lacks {missing[0]}, a part of its weights; fetch the folder again")
    return sorted(wanted)


def _indexed(folder: Path) -> set[str]:
    try:
        return set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"draft {folder}: {_INDEX} has no weight_map from tensors to files; fetch it again") from error


def _is_neutral(name: str) -> bool:
    patterns = " ".join(NEUTRAL_FILES.values()).split()
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def _read_tensors(folder: Path, files: list[Path]) -> dict[str, Tensor]:
    if files[0].name == _RAW_STATE:
        state = torch.load(files[0], map_location="cpu", weights_only=True)
        if not isinstance(state, Mapping) or "draft_state_dict" not in state:
            raise ValueError(f"draft {folder}: {_RAW_STATE} has no draft_state_dict; give one of a DFlash training run")
        tensors = dict(state["draft_state_dict"])
    else:
        tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    return {_canonical(name): tensor for name, tensor in tensors.items()}


def _take_vocabulary_maps(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Take out the maps between the draft's vocabulary and the target's; ValueError unless they change nothing."""
    in_use, offsets = tensors.pop("t2d", None), tensors.pop("d2t", None)
    if in_use is not None and not in_use.all():
        raise ValueError(
            f"draft {folder}: t2d leaves out {int((~in_use.bool()).sum())} of the target's {in_use.numel()} tokens, a "
            "reduced vocabulary, which is not supported; give a draft with the target's full vocabulary"
        )
    if offsets is not None and offsets.any():
        raise ValueError(
            f"draft {folder}: d2t gives the draft's tokens other ids than the target's, which is not supported; give a "
            "draft with the target's full vocabulary"
        )


def _canonical(name: str) -> str:
    for native, ours in NATIVE_NAMES.items():
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
