"""Files of one JSON value a line, plain or compressed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dftt.types.inputs import reading


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Every value of a JSONL or JSONL.GZ file with the words that say where it stands."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file: give a JSONL or JSONL.GZ file")
    opener = gzip.open if path.suffix == ".gz" else open
    with (
        reading(f"{path} cannot be read", fix="give UTF-8 text, or such text gzipped"),
        opener(path, "rt", encoding="utf-8") as lines,
    ):
        for number, line in enumerate(lines, 1):
            place = f"{path}, line {number}"
            with reading(f"{place}: not a JSON object", fix="write one object a line"):
                row = json.loads(line)
            yield place, row
