"""The words, sentences and templates of invented text, kept in `vocabulary/`, one topic a file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def wordbank(name: str) -> Any:
    """The content of a YAML file of the vocabulary, or the lines of a text file; each is read once."""
    text = files("dftt_tools.corpus").joinpath("vocabulary", name).read_text(encoding="utf-8")
    return tuple(text.splitlines()) if name.endswith(".txt") else yaml.safe_load(text)
