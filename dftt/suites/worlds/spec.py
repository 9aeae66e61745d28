"""What a generated suite is asked to be."""

from __future__ import annotations

from dataclasses import dataclass

CATEGORIES: tuple[str, ...] = (
    "Domain Knowledge Reasoning",
    "Rule System Application",
    "Procedural Task Execution",
    "Empirical Discovery & Simulation",
)
VERSION = 1  # raised whenever equal specs come to give other tasks
MIN_LENGTH, MAX_LENGTH = 700, 65536
# Facts joined and sums made for an answer, by difficulty.
LEVELS: dict[int, tuple[int, int]] = {1: (1, 0), 2: (1, 1), 3: (2, 1), 4: (2, 2), 5: (3, 3)}


@dataclass(frozen=True)
class WorldsSpec:
    """Size and difficulty of a generated suite; equal specs give equal suites on every machine.

    Args:
        contexts: Number of documents, shared out evenly among the categories.
        tasks: Tasks on each document, 1 to 6.
        length: Tokens of a document, 700 to 65536, kept within 15 %.
        difficulty: 1 to 5: one look-up; one sum on it; two facts joined and a sum; and two sums; three facts and three
            sums. It is the most that a question takes: some kinds of question cannot be made that hard.
        distractors: Entries of a document that compete with the one that is asked about, 1 to 12.
        conflict: Share of the tasks, 0 to 1, whose document contradicts what is commonly known.
        categories: The categories to use, of `CATEGORIES`.
        seed: Documents of different seeds share no name and no number but by chance.
    """

    contexts: int = 20
    tasks: int = 4
    length: int = 1024
    difficulty: int = 1
    distractors: int = 4
    conflict: float = 0.5
    categories: tuple[str, ...] = CATEGORIES
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        ranges = {
            "contexts": (1, 1_000_000),
            "tasks": (1, 6),
            "length": (MIN_LENGTH, MAX_LENGTH),
            "difficulty": (min(LEVELS), max(LEVELS)),
            "distractors": (1, 12),
            "conflict": (0, 1),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"worlds.{name} must be between {low} and {high}, got {getattr(self, name)}")
        if not self.categories:
            raise ValueError(f"worlds.categories is empty; name at least one of {', '.join(CATEGORIES)}")
        for category in self.categories:
            if category not in CATEGORIES:
                raise ValueError(f"worlds.categories: unknown {category!r}; choose from {', '.join(CATEGORIES)}")

    @property
    def hops(self) -> int:
        """Facts of the document that an answer joins, at most."""
        return LEVELS[self.difficulty][0]

    @property
    def sums(self) -> int:
        """Sums that an answer takes, at most."""
        return LEVELS[self.difficulty][1]
