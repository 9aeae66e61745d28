"""The page of the other commands, `python -m …`: what each prints for --help."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from unittest.mock import patch

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

MODULES = (
    "dftt.report",
    "dftt.analysis.verdict",
    "dftt.analysis.rescore",
    "dftt.export",
    "dftt_tools.diagnostic",
    "dftt.suites.worlds",
    "dftt_tools.synthesise",
    "dftt_tools.corpus.manuals",
    "benchmarks.decode",
    "benchmarks.adapt",
    "benchmarks.memory",
    "benchmarks.budget",
    "benchmarks.pair",
    "benchmarks.busy",
    "benchmarks.sharing",
    "benchmarks.margins",
    "benchmarks.growth",
)
INTRODUCTION = """# Commands

`python cli.py fit`, `validate`, `test` and `predict` take the [settings](settings.md). With the package installed,
`dftt fit` and so on do the same in any folder, and `dftt report`, `verdict`, `rescore`, `export`, `worlds`,
`synthesise` and `diagnostic` stand for the longer names below. `--config demo` names a study that ships.

The commands on this page stand beside them; what follows each is its `--help`, taken when these pages are built.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/commands.md", content=page()))
    return files


def page() -> str:
    """The page in Markdown."""
    return "\n".join([INTRODUCTION, *(f"## {name}\n\n```text\n{help_of(name)}```\n" for name in MODULES)])


def help_of(module: str) -> str:
    """What a module's `main` prints for --help, 100 columns wide."""
    sys.path[:0] = [os.getcwd()] if os.getcwd() not in sys.path else []  # noqa: PTH109
    name = module if hasattr(importlib.import_module(module), "main") else f"{module}.__main__"
    printed = StringIO()
    with (
        patch.object(sys, "argv", [f"python -m {module}"]),
        patch.dict(os.environ, {"COLUMNS": "100"}),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        importlib.import_module(name).main(["--help"])
    return printed.getvalue()
