"""`python -m dftt.suites.worlds`: writes a generated suite, in CL-bench's schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from dftt.command import command_line
from dftt.models.target import load_tokenizer
from dftt.suites.worlds import CATEGORIES, VERSION, WorldsSpec, estimate_tokens, generate_tasks, to_row
from dftt.types.outputs import check_output_file


def main(args: Sequence[str] | None = None) -> None:
    """Write the suite and its notice, as `command_line` runs commands."""
    parser = ArgumentParser(prog="python -m dftt.suites.worlds", description=__doc__)
    parser.add_argument("--out", required=True, help="JSONL file to write; a .NOTICE.json is written beside it")
    parser.add_argument("--tokenizer", help="measure lengths with this target's tokenizer; estimated without")
    parser.add_class_arguments(WorldsSpec, skip={"categories"})
    parser.add_argument(
        "--categories", nargs="+", default=CATEGORIES, metavar="CATEGORY", help=f"some of: {', '.join(CATEGORIES)}"
    )
    with command_line():
        _write(**parser.parse_args(args).as_dict())


def _write(out: str, tokenizer: str | None, **settings: Any) -> None:
    path = Path(out)
    check_output_file("--out", path)
    spec = WorldsSpec(**settings)
    rows = [to_row(task) for task in generate_tasks(spec, _measure(tokenizer))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    about = {
        "about": "Fictional documents and tasks, written by a program; any likeness to a real name is chance.",
        "made_by": "python -m dftt.suites.worlds",
        "licence": "Apache-2.0",
        "version": VERSION,
        "spec": asdict(spec),
        "length_measured_with": tokenizer or "estimate_tokens",
        "tasks": len(rows),
    }
    notice = path.with_suffix(".NOTICE.json")
    notice.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(f"{path}: {len(rows)} tasks on {spec.contexts} documents; how they were made: {notice}")


def _measure(tokenizer: str | None) -> Callable[[str], float]:
    if tokenizer is None:
        return estimate_tokens
    loaded, _ = load_tokenizer(tokenizer)
    return lambda text: len(loaded(text, add_special_tokens=False).input_ids)


if __name__ == "__main__":
    main()
