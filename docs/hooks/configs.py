"""The page of all files in configs/: what each is for, what an experiment is composed of, and its lines."""

from __future__ import annotations

import html
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GROUPS = {
    "experiment": "A file for a whole run: it names one file of each other group. Later flags and files win.",
    "model": "Target, draft, and how the draft is adapted or trained: `--model FILE`.",
    "data": "What is asked: `--data FILE`.",
    "evaluator": "Arms and decoding: `--evaluator FILE`.",
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
    parts = [_command(file), _parts(body)] if group == "experiment" else []
    text = "\n\n".join([comment, *parts, f"```yaml\n{body}\n```"])
    return f"### {file.stem} {{ #{group}-{file.stem} }}\n\n{text}\n"


def _command(file: Path) -> str:
    subcommand = "fit" if file.stem.endswith("draft") else "test"
    return f"`python cli.py {subcommand} --config configs/experiment/{file.name}`"


def _parts(body: str) -> str:
    parts = {group: Path(name).stem for group, name in yaml.safe_load(body).items() if group in GROUPS}
    links = [f"[{group}/{stem}](#{group}-{stem})" for group, stem in parts.items()]
    return f"Composed of {', '.join(links)}."
