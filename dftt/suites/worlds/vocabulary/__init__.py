"""The texts of the generated suite, one YAML file a genre; nothing in them comes from the training corpora."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

GENRES: tuple[str, ...] = (
    *("materials", "game", "machine", "laboratory", "almanac", "statute", "household", "observatory", "notation"),
)


@cache
def vocabulary(name: str) -> Any:
    """The content of a file of this folder, read once."""
    return yaml.safe_load(files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
