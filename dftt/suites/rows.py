"""Rows of JSON files and text files, each with the place that an error message names."""

from __future__ import annotations

import gzip
import json
import math
import re
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dftt.types import check_file
from dftt.types.checks import whole_characters

ROW_ENDINGS = (".jsonl", ".ndjson", ".json")
_DEEPEST = 64  # copies of a row are made recursively, and Python bears only so much of that
_MOST_DIGITS = 640  # what Python reads and writes at any setting of its own limit
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Row:
    """One row of a data set; what is null or NaN is left out."""

    place: str  # where it stands, for messages: "tasks.jsonl, line 3"
    default_id: str  # its id where it names none itself
    values: Mapping[str, Any]


def make_row(place: str, default_id: str, values: object) -> Row:
    """A row of a file or the hub; ValueError, with its place, where it is no object or no file could keep it."""
    if not isinstance(values, dict):
        raise ValueError(f"{place}: row must be a JSON object, got {type(values).__name__}")
    with _errors_at(place):
        given = {name: _readable(value) for name, value in values.items()}
    return Row(place, default_id, {name: value for name, value in given.items() if value is not None})


def holds_rows(path: str | Path) -> bool:
    """Whether a file's name ends as one of rows does, in whatever case, .gz behind it or not."""
    return str(path).lower().removesuffix(".gz").endswith(ROW_ENDINGS)


def read_rows(path: str | Path, *, name: str = "tasks") -> Iterator[Row]:
    """Rows of a file in file order: one JSON object a line, blank lines skipped, or one JSON list of objects.

    Args:
        path: The file; a name that ends in .gz is decompressed.
        name: What the file is, for the message that it is missing.

    Raises:
        ValueError: The file or a row cannot be read; the message names file and line.
    """
    path = check_file(name, path)
    stem = re.sub(r"(\.(jsonl|ndjson|json))?(\.gz)?$", "", path.name, count=1, flags=re.IGNORECASE)
    text = read_text(path)
    if text.lstrip().startswith("["):
        for number, (place, values) in enumerate(_elements(text, path), start=1):
            yield make_row(place, f"{stem}/{number}", values)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            with _errors_at(place):
                values = _DECODER.decode(line)
            yield make_row(place, f"{stem}/{number}", values)


def read_text(path: Path) -> str:
    """A UTF-8 text file, or such a file compressed (.gz); ValueError where it is something else, or not complete."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise ValueError(f"{path} is not a complete gzip file; compress it again or drop the .gz") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; convert it to UTF-8") from None
    if "\0" in text:  # what UTF-16 looks like without its mark
        raise ValueError(f"{path} is not UTF-8 text, it holds zero bytes; convert it to UTF-8")
    return text


def text_of(values: Mapping[str, Any], key: str, *, may_be_blank: bool = False) -> str:
    """The text under a key of a row; ValueError where it is missing, not text, or blank although it may not be."""
    text = values.get(key)
    if not isinstance(text, str) or not (text.strip() or may_be_blank):
        raise ValueError(f"empty context: `{key}` must be text, got {text!r}")
    return text


def phrases_of(values: Mapping[str, Any], key: str) -> list[str]:
    """Texts under a key of a row or, as a list, its plural; numbers as one writes them, ValueError for all else."""
    plural = f"{key}s"
    value = values.get(plural, values.get(key))
    if isinstance(value, list):
        return [as_written(key, each) for each in value if each is not None]
    if plural in values and value is not None:
        raise ValueError(f"`{plural}` must be a list of phrases, got {type(value).__name__}")
    return [] if value is None else [as_written(key, value)]


def id_of(values: Mapping[str, Any], keys: Sequence[str], default: str) -> str:
    """The id under the first of these keys that a row gives, or a default; ValueError where it is blank or no id."""
    name = next((key for key in keys if values.get(key) is not None), None)
    if name is None:
        return default
    found = as_written(name, values[name])
    if not found.strip():
        raise ValueError(f"`{name}` is blank; write an id or leave it out")
    return found


def as_written(name: str, value: object) -> str:
    """A text as it is, a number as one writes it; ValueError, with the name, for all else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{name}` must be text or a number, got {json.dumps(value)}")
    # A table that knows missing values makes 2.0 of 2.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def is_list_of_texts(value: object) -> bool:
    """Whether a value is a list of texts, none of them blank; an empty list is one."""
    return isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)


def _elements(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    """Place and value of each element of a JSON list."""
    ends = [found.start() for found in re.finditer("\n", text)]

    def place(position: int) -> str:
        return f"{path}, line {bisect_left(ends, position) + 1}"

    end, mark = text.index("["), "["
    while mark != "]":
        begin = _after_space(text, end + 1)
        if mark == "[" and text[begin : begin + 1] == "]":
            end = begin
            break
        with _errors_at(place(begin)):
            value, stop = _DECODER.raw_decode(text, begin)
        yield place(begin), value
        end = _after_space(text, stop)
        mark = text[end : end + 1]
        if mark not in (",", "]"):
            raise ValueError(f"{place(end)}: a comma or the closing bracket of the list of rows is missing")
    if text[end + 1 :].strip():
        raise ValueError(f"{place(end)}: something follows the list of rows; write one list, or one row a line")


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


@contextmanager
def _errors_at(place: str) -> Iterator[None]:
    """What cannot be read as one sentence that names the place."""
    try:
        yield
    except json.JSONDecodeError as error:
        form = "write one JSON object a line, or one list of them"
        raise ValueError(f"{place}: row is not JSON ({error.msg}); {form}") from None
    except RecursionError:
        raise ValueError(f"{place}: {_too_deep()}") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _readable(value: Any, depth: int = 1) -> Any:
    """The value with None for NaN, which stands for what is missing; ValueError for what no file could keep."""
    if depth > _DEEPEST:
        raise ValueError(_too_deep())
    if isinstance(value, str):
        return whole_characters("row", value)
    if isinstance(value, dict):
        return {whole_characters("row", name): _readable(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_readable(each, depth + 1) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise ValueError("row holds an infinite number; write null where a value is missing")
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"row holds a value of type {type(value).__name__}, which JSON has not; leave it out")


def _too_deep() -> str:
    return f"row is nested deeper than {_DEEPEST} levels; flatten it"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"row names {twice!r} twice; keep one of them")
    return values


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"row holds a number of {len(digits)} digits; write it as text, in quotes")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)
