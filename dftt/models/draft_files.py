"""The files of a draft's folder: which hold its weights, and which may lie beside them.

This is an allow-list: a file that is not known to be without effect may hold a part of the draft, such as a selector, a
vocabulary map or a mask embedding, so the draft is refused by the file's name. Folders inside are not looked into; no
reader of the published formats does.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

WEIGHTS = "model.safetensors"
RAW_STATE = "training_state.pt"
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")

# Without effect on what the draft computes; names are compared in lower case.
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


def weight_files(folder: Path) -> list[Path]:
    """The files with the draft's weights: safetensors, whole or in shards, or else a raw training state.

    Raises:
        ValueError: If there are none or two kinds, if a shard is missing, or if a file lies beside them that is not
            known to be without effect.
    """
    names = {path.name for path in folder.iterdir() if path.is_file()}
    weights = _safetensors(folder, names)
    if RAW_STATE in names:
        if weights:
            raise ValueError(f"draft {folder} has two sets of weights, {weights[0]} and {RAW_STATE}; leave one")
        weights = [RAW_STATE]
    if not weights:
        raise ValueError(f"draft {folder} has no weights; give a folder with {WEIGHTS} or {RAW_STATE}")
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
