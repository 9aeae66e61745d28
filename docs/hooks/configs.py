"""The page of all files in configs/: what each is for, and its lines."""

from __future__ import annotations

import html
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GROUPS = {
    "experiment": "A whole run in one file. Later flags and files win.",
    "model": "In place of an experiment's target and draft: `--model FILE`.",
    "evaluator": "In place of an experiment's arms and decoding: `--evaluator FILE`.",
    "trainer": "Where it runs: `--trainer FILE`.",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/configs.md", content=page()))
    return files


def page() -> str:
    """The page in Markdown."""
    sections = [_section(group, about) for group, about in GROUPS.items()]
    return "# Config files\n\nMade from `configs/` when these pages are built.\n\n" + "\n".join(sections)


def _section(group: str, about: str) -> str:
    files = sorted((CONFIGS / group).glob("*.yaml"))
    return f"## {group}\n\n{about}\n\n" + "\n".join(_entry(group, file) for file in files)


def _entry(group: str, file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    head = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    comment = html.escape(" ".join(line.lstrip("# ") for line in lines[:head]), quote=False)
    body = "\n".join(lines[head:])
    command = [_command(file)] if group == "experiment" else []
    text = "\n\n".join([comment, *command, f"```yaml\n{body}\n```"])
    return f"### {file.stem} {{ #{group}-{file.stem} }}\n\n{text}\n"


def _command(file: Path) -> str:
    subcommand = "fit" if file.stem.endswith("draft") else "test"
    return f"`python cli.py {subcommand} --config configs/experiment/{file.name}`"
