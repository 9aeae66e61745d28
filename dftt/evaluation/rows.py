"""Rows of JSONL files and text files, each with the place that an error message names."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.types import check_file


@dataclass(frozen=True)
class Row:
    """One row of a data set.

    Args:
        place: Where it stands, for messages: "tasks.jsonl, line 3".
        default_id: Its id where it names none itself.
        values: What it says.
    """

    place: str
    default_id: str
    values: Mapping[str, Any]


def read_rows(path: str | Path, *, name: str = "tasks") -> Iterator[Row]:
    """Rows of a JSONL file in file order; blank lines are skipped, a name that ends in .gz is decompressed.

    Args:
        path: The .jsonl or .jsonl.gz file.
        name: What the file is, for the message that it is missing.

    Raises:
        ValueError: The file or a row cannot be read; the message names file and line.
    """
    path = check_file(name, path)
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            yield Row(place, f"{stem}/{number}", _values(line, place))


def read_text(path: Path) -> str:
    """A UTF-8 text file, or such a file compressed (.gz).

    Raises:
        ValueError: It is not UTF-8 text, or not complete.
    """
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile):
        raise ValueError(f"{path} is not a complete gzip file; compress it again or drop the .gz") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; convert it to UTF-8") from None


def text_of(values: Mapping[str, Any], key: str, *, may_be_blank: bool = False) -> str:
    """The text under a key of a row.

    Raises:
        ValueError: It is missing, not text, or blank although it may not be.
    """
    text = values.get(key)
    if not isinstance(text, str) or not (text.strip() or may_be_blank):
        raise ValueError(f"empty context: `{key}` must be text, got {text!r}")
    return text


def _values(line: str, place: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: row is not JSON ({error.msg}); write one JSON object a line") from None
    if not isinstance(values, dict):
        raise ValueError(f"{place}: row must be a JSON object, got {type(values).__name__}")
    return values
