"""Invented documents: rule books, specifications, manuals, minutes … about worlds that do not exist.

A document is planned before it is written: its cast of people, places and things, with their numbers, is drawn once, so
that every later sentence, table and cross reference repeats the same facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dftt_tools.corpus.blocks import write_block
from dftt_tools.corpus.plan import World
from dftt_tools.corpus.wordbank import wordbank

MIN_WORDS, MAX_WORDS = 200, 6000
SECTION_WORDS = 240
QUESTIONS: tuple[str, ...] = wordbank("questions.txt")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeioAEIO]|u(?!ni|se|rin))")


def generate_world(seed: int, num_words: int) -> str:
    """An invented Markdown document of `num_words` to about 60 more words; seeds go through the genres in turn."""
    if not MIN_WORDS <= num_words <= MAX_WORDS:
        raise ValueError(
            f"num_words must be between {MIN_WORDS} and {MAX_WORDS}, got {num_words}: ask for several documents instead"
        )
    return _write(World(seed, max(2, num_words // SECTION_WORDS)), num_words)


def _write(world: World, num_words: int) -> str:
    blocks = [f"# {world.title}", world.paragraph(0, 2)]
    written = _count(blocks)
    for section, heading in enumerate(world.headings):
        blocks.append(f"## {section + 1}. {heading}" if world.numbered else f"## {heading}")
        blocks.append(world.paragraph(section, 2))
        written += _count(blocks[-2:])
        budget = num_words * (section + 1) // len(world.headings)
        while written < budget:
            missing = budget - written  # what a block would overshoot is filled by a sentence or two
            blocks.append(write_block(world, section) if missing > 70 else world.paragraph(section, missing // 19 + 1))
            written += _count(blocks[-1:])
    return _ARTICLE.sub(r"\1n ", "\n\n".join(blocks)) + "\n"


def _count(blocks: Sequence[str]) -> int:
    return sum(len(block.split()) for block in blocks)
