"""`python -m dftt.suites.worlds`: writes a generated suite, in CL-bench's schema."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dftt.command import command_line
from dftt.models.target import load_tokenizer
from dftt.suites.worlds import CATEGORIES, VERSION, WorldsSpec, estimate_tokens, generate_tasks, to_row
from dftt.types.outputs import check_output_file


def main(args: Sequence[str] | None = None) -> None:
    """Write the suite and its notice, as `command_line` runs commands."""
    with command_line():
        _write(vars(_parser().parse_args(args)))


def _write(options: dict[str, Any]) -> None:
    out, tokenizer = Path(options.pop("out")), options.pop("tokenizer")
    check_output_file("--out", out)
    spec = WorldsSpec(**{**options, "categories": tuple(options["categories"])})
    rows = [to_row(task) for task in generate_tasks(spec, _measure(tokenizer))]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
    notice = out.with_suffix(".NOTICE.json")
    notice.write_text(json.dumps(_notice(spec, tokenizer, len(rows)), indent=2) + "\n", encoding="utf-8")
    print(f"{out}: {len(rows)} tasks on {spec.contexts} documents; how they were made: {notice}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dftt.suites.worlds", description=__doc__)
    default = WorldsSpec()
    parser.add_argument("--out", required=True, help="JSONL file to write; a .NOTICE.json is written beside it")
    parser.add_argument("--contexts", type=int, default=default.contexts, help="documents (default %(default)s)")
    parser.add_argument("--tasks", type=int, default=default.tasks, help="tasks on each document (default %(default)s)")
    parser.add_argument("--length", type=int, default=default.length, help="tokens of a document (default %(default)s)")
    parser.add_argument("--difficulty", type=int, default=default.difficulty, help="1 to 5 (default %(default)s)")
    parser.add_argument(
        "--distractors", type=int, default=default.distractors, help="competing entries (default %(default)s)"
    )
    parser.add_argument(
        "--conflict",
        type=float,
        default=default.conflict,
        help="share of tasks whose document contradicts what is commonly known (default %(default)s)",
    )
    parser.add_argument(
        "--categories", nargs="+", default=CATEGORIES, metavar="CATEGORY", help=f"some of: {', '.join(CATEGORIES)}"
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="(default %(default)s)")
    parser.add_argument("--tokenizer", help="measure lengths with this target's tokenizer; estimated without")
    return parser


def _measure(tokenizer: str | None) -> Any:
    if tokenizer is None:
        return estimate_tokens
    loaded, _ = load_tokenizer(tokenizer)
    return lambda text: len(loaded(text, add_special_tokens=False).input_ids)


def _notice(spec: WorldsSpec, tokenizer: str | None, tasks: int) -> dict[str, Any]:
    return {
        "about": "Fictional documents and tasks, written by a program; any likeness to a real name is chance.",
        "made_by": "python -m dftt.suites.worlds",
        "licence": "Apache-2.0",
        "version": VERSION,
        "spec": asdict(spec),
        "length_measured_with": tokenizer or "estimate_tokens",
        "tasks": tasks,
    }


if __name__ == "__main__":
    main()
