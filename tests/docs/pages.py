"""Fenced blocks of README.md and the documentation, each with the marker above it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_MARKER = re.compile(r"<!-- (.+) -->\n\Z")


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Args:
        page: Its page, relative to the repository.
        line: Line of its opening.
        language: First word behind the opening.
        title: Name of the file that it shows; empty where it shows none.
        marker: Text of the comment directly above it, empty where there is none.
        text: What is in it.
    """

    page: str
    line: int
    language: str
    title: str
    marker: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, continued lines joined."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def fences_of(page: Path) -> Iterator[Fence]:
    """The fenced blocks of a page, in order."""
    source = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(source):
        before, info = source[: found.start()], found["info"].strip()
        title, marker = _TITLE.search(info), _MARKER.search(before)
        yield Fence(
            page=page.relative_to(ROOT).as_posix(),
            line=before.count("\n") + 1,
            language=info.partition(" ")[0],
            title=title[1] if title else "",
            marker=marker[1] if marker else "",
            text=found["text"],
        )
