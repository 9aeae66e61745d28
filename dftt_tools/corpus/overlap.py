"""Which texts share a run of words with evaluation sets, and so must not be trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dftt_tools.corpus.jsonl import read_rows

RUN_WORDS = 10
FIELDS = ("text", "prompt", "question")


def word_runs(text: str) -> set[str]:
    """Every run of ten words in the text, without case and punctuation."""
    words = re.findall(r"[a-z0-9_]+", text.lower())
    return {" ".join(words[start : start + RUN_WORDS]) for start in range(len(words) - RUN_WORDS + 1)}


def evaluation_runs(paths: Iterable[Path]) -> set[str]:
    """The word runs in the fields `text`, `prompt` and `question` of all rows of JSONL files."""
    runs: set[str] = set()
    for path in paths:
        for place, row in read_rows(path):
            texts = [row[field] for field in FIELDS if isinstance(row, dict) and isinstance(row.get(field), str)]
            if not texts:
                raise ValueError(f"{place}: needs one of the strings {', '.join(FIELDS)}")
            for text in texts:
                runs |= word_runs(text)
    return runs
