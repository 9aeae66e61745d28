"""GGUF files as targets: unpacked once to a folder of safetensors, which loads in a fraction of a second."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from dftt.models.acceleration import cache_folder


def unpacked(source: Path, name: str = "") -> Path:
    """Folder with the model and tokenizer of a GGUF file in float32, made on first use in the cache folder.

    Its name is made of the file's name and content where none is given. ValueError if there is no such file.
    """
    if not source.is_file():
        raise ValueError(f"no GGUF file at {source}")
    if not name:
        with source.open("rb") as file:
            name = f"{source.stem}-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    folder = cache_folder() / name
    if not folder.is_dir():
        _unpack(source, folder)
    return folder


def _unpack(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: a run that is killed, or a second one at the same time, leaves no half-written copy.
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
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
