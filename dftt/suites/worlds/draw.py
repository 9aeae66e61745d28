"""Random draws and invented names that come out the same on every machine and Python version.

Python promises the sequence of `Random.random()` for a seed, but not what `choice`, `sample` or `shuffle` make of it,
and `hash()` differs between processes. So seeds come from SHA-256 and every draw is made of `random()` here.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

from dftt.suites.worlds.vocabulary import vocabulary

Item = TypeVar("Item")


class Draw:
    """Draws that depend on the key alone, for example `Draw(seed, "context", 3)`."""

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "big"))

    def integer(self, low: int, high: int, step: int = 1) -> int:
        """One of low, low + step, …, at most high."""
        return low + step * int(self._random.random() * ((high - low) // step + 1))

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.integer(0, len(items) - 1)]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different items, in random order."""
        left = list(items)
        return [left.pop(self.integer(0, len(left) - 1)) for _ in range(count)]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """All items in random order."""
        return self.sample(items, len(items))

    def distinct_integers(self, count: int, low: int, high: int, step: int = 1) -> list[int]:
        """`count` different integers of low, low + step, …, high."""
        return self.sample(range(low, high + 1, step), count)


class Names:
    """Invented names, none twice in a document.

    A name joins a part that ends in l, m, n or r to one that starts with another consonant ("Halverin"). The names of
    the training corpora (`dftt_tools/corpus`) hold no such pair inside a word, so no name of this suite occurs
    there.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._used: set[str] = set()

    def word(self) -> str:
        """An invented capitalised word."""
        parts = vocabulary("names")
        while True:
            name = self._draw.pick(parts["heads"]) + self._draw.pick(parts["middles"]) + self._draw.pick(parts["tails"])
            if name not in self._used:
                self._used.add(name)
                return name

    def person(self) -> str:
        """Given name and family name."""
        return f"{self.word()} {self.word()}"

    def words(self, count: int) -> list[str]:
        """Several invented words."""
        return [self.word() for _ in range(count)]
