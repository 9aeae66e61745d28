"""Prompts for synthesis from files, without those that overlap with evaluation sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from dftt_tools.corpus.jsonl import read_rows

EVALUATION_PREFIXES: tuple[str, ...] = (
    "gsm8k/test",
    "HumanEval",
    "mtbench",
    "math500",
    "mbpp",
    "contexts",
    "pep-",
    "erc-",
    "cairn2-",
    "speculators-",
    "nqswap",
    "babi",
    "memotrap",
    "conflictnq",
    "clbench",
)


def load_prompts(paths: Sequence[str | Path], drop_ids_file: str | Path | None = None) -> list[str]:
    """The prompts of all JSONL files in order, without exact duplicates and the ids that a JSON file lists."""
    dropped = _read_drop_ids(Path(drop_ids_file)) if drop_ids_file is not None else frozenset()
    prompts: dict[str, None] = {}
    for path in map(Path, paths):
        for place, row in read_rows(path):
            for key in ("id", "prompt"):
                if not isinstance(row, dict) or not isinstance(row.get(key), str) or not row[key].strip():
                    raise ValueError(f"{place}: needs a non-empty string {key!r}")
            if row["id"].startswith(EVALUATION_PREFIXES):
                raise ValueError(
                    f"{place}: id {row['id']!r} belongs to an evaluation set, which must not be trained on: "
                    "remove this file from the list"
                )
            if row["id"] not in dropped:
                prompts[row["prompt"]] = None
    return list(prompts)


def _read_drop_ids(path: Path) -> frozenset[str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a readable JSON file of ids to drop ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: needs a mapping of training files to lists of ids, got {type(content).__name__}")
    return frozenset(_ids(content))


def _ids(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for child in node.values():
            yield from _ids(child)
    elif isinstance(node, list):
        yield from (str(item) for item in node)
