"""Sums that are added to a question, one after the other."""

from __future__ import annotations

from dftt.suites.worlds.draw import Draw


def extend(text: str, working: str, unit: str, count: int, draw: Draw) -> tuple[str, str]:
    """Question and working with up to two more sums: something is added, then something taken off."""
    if count >= 1:
        more = draw.integer(11, 39)
        text, working = f"{text} Add {more} {unit} to that.", f"{working} + {more}"
    if count >= 2:
        less = draw.integer(2, 10)
        text, working = f"{text} Then take {less} {unit} off.", f"{working} - {less}"
    return text, working


def value(working: str) -> int:
    """The result of a working such as "4 * 9 + 5 - 3"."""
    total = 0
    for term in working.replace("- ", "+ -1 * ").split(" + "):
        product = 1
        for factor in term.split(" * "):
            product *= int(factor)
        total += product
    return total
