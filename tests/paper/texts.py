"""Reads TeX as far as the tests need it: which text stands for given flags, and what in it is a number."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CONDITION = re.compile(r"\\(if[A-Z]\w*|else\b|fi\b)")
# What may hold digits without being a number of the study: keys of references, file names, lengths.
_NO_NUMBERS = re.compile(
    r"(?<!\\)%[^\n]*|\\(?:cite[pt]?|ref|label|input|studytable|studyfigure)\s*\{[^}]*\}|\\\w+|\{@\{\}.*?@\{\}\}"
)


def standing(text: str, flags: Mapping[str, bool]) -> str:
    """The text that is left when every \\ifName is decided."""
    kept, place = [], 0
    open_: list[bool] = []  # for each condition around a place: whether its branch stands
    for match in _CONDITION.finditer(text):
        if all(open_):
            kept.append(text[place : match.start()])
        word, place = match[1], match.end()
        if word == "fi":
            open_.pop()
        elif word == "else":
            open_[-1] = not open_[-1]
        else:
            open_.append(flags[word.removeprefix("if")])
    assert not open_, "a condition is never closed"
    return "".join([*kept, text[place:]])


def typed_numbers(text: str) -> list[str]:
    """Numbers that were written by hand."""
    return re.findall(r"\d+", _NO_NUMBERS.sub(" ", text))


def macros_in(text: str) -> set[str]:
    """Names of macros that the build has to define: those that begin with a capital."""
    return set(re.findall(r"\\([A-Z]\w*)", text))
