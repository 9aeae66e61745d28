"""GGUF files as targets: unpacked once to a folder of safetensors, which loads in a fraction of a second."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path


def unpacked(source: Path, name: str = "") -> Path:
    """Folder with the model and tokenizer of a GGUF file in float32, made on first use.

    It lies in the user's cache folder (DFTT_CACHE, else XDG_CACHE_HOME, else ~/.cache).

    Args:
        source: The file.
        name: Folder name; by default made of the file's name and content.

    Raises:
        ValueError: If there is no such file, or transformers cannot read it.
    """
    if not source.is_file():
        raise ValueError(f"no GGUF file at {source}")
    folder = _cache() / (name or f"{source.stem}-{_digest(source)}")
    if not folder.is_dir():
        _unpack(source, folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("DFTT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dftt")


def _digest(source: Path) -> str:
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _unpack(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: a run that is killed, or a second one at the same time, leaves no half-written copy.
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        model.save_pretrained(partial)
        AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
