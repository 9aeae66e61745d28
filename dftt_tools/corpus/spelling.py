"""Spellings of invented words and names."""

from __future__ import annotations

import re


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def camel(name: str) -> str:
    """The name of a class for a name in snake case."""
    return name.title().replace("_", "")


def identifier(name: str) -> str:
    """The name in snake case."""
    return re.sub(r"\W+", "_", name).lower()
