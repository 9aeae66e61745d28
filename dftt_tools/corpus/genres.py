"""The kinds of document that can be invented, each with a file of its own in `vocabulary/genres/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dftt_tools.corpus.wordbank import wordbank

# The order decides which genre a seed gets.
_NAMES = (
    "rule book",
    "specification",
    "manual",
    "field guide",
    "gazetteer",
    "cli reference",
    "api reference",
    "proposal",
    "faq",
    "minutes",
    "lab protocol",
    "terms",
    "chronicle",
)


@dataclass(frozen=True)
class Genre:
    """The vocabulary and the habits of one kind of document."""

    titles: tuple[str, ...]  # templates
    kinds: tuple[str, ...]  # what the things of the cast are
    units: tuple[str, ...]  # what their numbers count
    naming: str  # how things are called: "invented", "compound" or "snake"
    headings: tuple[str, ...]  # templates, in a plausible order
    actors: tuple[str, ...]
    objects: tuple[str, ...]  # what is acted on; regular nouns
    acts: tuple[str, ...]  # verb phrases after "to"
    events: tuple[str, ...]  # clauses after "when"
    sentences: tuple[str, ...]
    special: str  # the form in `blocks.BLOCKS` that is the genre's own


def _genre(name: str) -> Genre:
    content: dict[str, Any] = wordbank(f"genres/{name.replace(' ', '_')}.yaml")
    content = {field: tuple(value) if isinstance(value, list) else value for field, value in content.items()}
    return Genre(**content)


GENRES: dict[str, Genre] = {name: _genre(name) for name in _NAMES}
