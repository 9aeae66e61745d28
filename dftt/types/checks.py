"""Checks that the specs share: each raises a ValueError that names the setting, what it takes and what was given."""

from __future__ import annotations

import math
from collections.abc import Sequence


def at_least(name: str, value: float, least: float) -> None:
    """Refuse a value below `least`."""
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")


def finite(name: str, value: float) -> None:
    """Refuse infinities and NaN."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not in the list."""
    if value not in allowed:
        raise ValueError(f"{name}: unknown {value!r}; choose from {', '.join(allowed)}")


def whole_characters(name: str, text: str) -> str:
    """The text; ValueError where it holds half of a character that takes two, which no file and no tokenizer bears."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(f"{name} holds half a character, {half}; write both halves of it or leave it out") from None
    return text
