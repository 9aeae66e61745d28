"""Records on disk: one JSON line each, safe against killed runs, merged over ranks."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from dftt.types import Record

Key = tuple[str, str, int]


class RecordStore:
    """Appends records to `records.<rank>.jsonl` of a folder; each is on disk before `append` returns.

    A line that a killed run left half-written is removed when the store is opened.

    Args:
        folder: Created where missing; all ranks of a study share it.
        rank: Each process writes its own file, and so does what re-scores it.
    """

    def __init__(self, folder: str | Path, rank: int | str = 0) -> None:
        self.folder, self.rank = Path(folder), rank
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / f"records.{rank}.jsonl"
        if self.path.exists():
            _repair(self.path)

    def append(self, record: Record) -> None:
        """Write the record as one line, flushed and synced to disk."""
        line = json.dumps({**record.to_json(), "written_at": time.time()}) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def load_records(folder: str | Path) -> list[Record]:
    """Records of all ranks, sorted by key, one per key: the one written last.

    Args:
        folder: Where `records.<rank>.jsonl` files lie, or such files gzipped; a half-written last line in each is
            ignored.

    Raises:
        ValueError: The folder is missing, or another line is broken; the message names file and line.
    """
    return _newest(folder, lambda record: record.key)


def load_versions(folder: str | Path) -> list[Record]:
    """Records of all ranks, sorted, one per key and `spec_hash`: also those made under earlier settings."""
    return _newest(folder, lambda record: (record.key, record.spec_hash))


def _newest(folder: str | Path, identity: Callable[[Record], Hashable]) -> list[Record]:
    """Of the records of equal identity the one written last; sorted by key."""
    if not Path(folder).is_dir():
        raise ValueError(f"records: no folder at {folder}; name the folder of a study")
    newest: dict[Hashable, tuple[float, Record]] = {}
    for path in shards(folder, "records"):
        # Inside a file the order of lines is the order of writing, whatever the clock said.
        for same, entry in {identity(entry[1]): entry for entry in _read_records(path)}.items():
            if same not in newest or entry[0] >= newest[same][0]:
                newest[same] = entry
    return sorted((record for _, record in newest.values()), key=lambda record: (record.key, record.spec_hash))


def replace_file(path: Path, text: str) -> None:
    """Write a file so that whoever reads it, and a killed run, finds the old text or the new one, never a part."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def shards(folder: str | Path, kind: str) -> list[Path]:
    """Files `<kind>.<rank>.jsonl` of a folder, gzipped ones (`.gz`, as studies are kept) too."""
    return sorted(path for end in ("", ".gz") for path in Path(folder).glob(f"{kind}.*.jsonl{end}"))


def read_shard(path: Path) -> bytes:
    """What a shard holds; ValueError where it is a gzip file that lacks a part."""
    data = path.read_bytes()
    try:
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, gzip.BadGzipFile):
        raise ValueError(f"{path} is not a complete gzip file; compress it again") from None


def spec_hash(spec: Mapping[str, Any]) -> str:
    """Short sha256 of a specification, equal for equal content whatever the order of keys.

    Args:
        spec: Names to values: JSON values, paths, and dataclasses and tuples of them.

    Raises:
        ValueError: A value has no stable form in JSON.
    """
    try:
        canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), default=_plain)
    except TypeError as error:
        raise ValueError(f"spec cannot be hashed: {error}; use JSON values, paths, tuples and dataclasses") from None
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _read_records(path: Path) -> Iterator[tuple[float, Record]]:
    """When each record of a file was written, and the record."""
    *lines, tail = read_shard(path).split(b"\n")
    # Only an unfinished write leaves a last line without newline; if it parses, just the newline is missing.
    for number, line in enumerate([*lines, tail] if _is_json(tail) else lines, start=1):
        try:
            row = json.loads(line)
            yield row.pop("written_at", 0.0), Record.from_json(row)
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a record ({error}); repair or remove the line") from None


def _repair(path: Path) -> None:
    """Take half a line off the end of a file, or add the newline that a whole one lacks."""
    data = path.read_bytes()
    tail = data[data.rfind(b"\n") + 1 :]
    if not tail:
        return
    with path.open("r+b") as file:
        if _is_json(tail):
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            file.truncate(len(data) - len(tail))


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
