"""The command line in this process, on a tiny pair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from lightning.pytorch.cli import LightningCLI

from dftt.cli import DfttCLI, main
from dftt.models.target import Target

CONTEXTS = {"rules": "No goat may vote twice. The mayor counts the goats.", "boats": "A red boat waits for a blue one."}
QUESTIONS = ("Who counts?", "Why?")


class Commands:
    """Runs subcommands; `main` is called as the shell calls it.

    Args:
        root: Where runs are left and files written.
        target: Folder of the target.
        draft: Folder of the draft.
    """

    def __init__(self, root: Path, target: Path, draft: Path) -> None:
        self.root, self.target, self.draft = root, target, draft

    def run(self, *arguments: str | Path) -> DfttCLI:
        """Run a subcommand to its end; what it was made of is in the answer."""
        seen: list[DfttCLI] = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("sys.argv", ["cli.py"])  # Lightning warns about arguments on top of pytest's
            for name in LightningCLI.subcommands():
                patched.setattr(DfttCLI, f"after_{name}", lambda cli: seen.append(cli), raising=False)
            main([str(argument) for argument in arguments])
        return seen[0]

    def __call__(self, subcommand: str, *flags: str | Path, data: Path | None = None) -> DfttCLI:
        """Run a subcommand on the tiny pair and a file of contexts; later flags win."""
        return self.run(*self.arguments(subcommand, *flags, data=data))

    def arguments(self, subcommand: str, *flags: str | Path, data: Path | None = None) -> list[str]:
        """Arguments that `__call__` gives."""
        quiet = ("accelerator=cpu", "enable_progress_bar=false", "enable_model_summary=false", "num_sanity_val_steps=0")
        return [
            subcommand,
            *(f"--trainer.{flag}" for flag in quiet),
            f"--trainer.default_root_dir={self.root}",
            f"--model.target={self.target}",
            f"--model.draft={self.draft}",
            *(["--data=ContextDataModule", f"--data.path={data}"] if data else []),
            *map(str, flags),
        ]

    def checkpoint(self, *flags: str) -> Path:
        """last.ckpt of a fit on one context."""
        last = ("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.save_last=true")
        cli = self("fit", "--model.ttt.anchors=4", *last, *flags, data=self.contexts("rules", name="fitted.jsonl"))
        return log_dir(cli) / "checkpoints" / "last.ckpt"

    def refused(self, capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        """The one line that bad input is answered with; exit code 2, no traceback, and no target was loaded."""
        capfd.readouterr()
        with patch.object(Target, "load", side_effect=AssertionError("the target was loaded")):
            return self.refused_late(capfd, *arguments)

    def refused_late(self, capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
        """As `refused`, where only the loaded pair can tell."""
        with pytest.raises(SystemExit) as stopped:
            self.run(*arguments)
        assert stopped.value.code == 2
        printed = capfd.readouterr().err
        assert "Traceback" not in printed
        *before, last = printed.strip().splitlines()
        assert last.startswith("error: ")
        assert not [line for line in before if "error" in line.lower() or "usage" in line.lower()], printed
        return last

    def contexts(self, *names: str, tasks: int = 2, name: str = "contexts.jsonl") -> Path:
        """A file in the CL-bench schema with these contexts, in this order; all of them where none is named."""
        rows = [
            row(f"{CONTEXTS[context]}\n\n{question}", task_id=f"{context}/{number}", context_id=context)
            for context in names or CONTEXTS
            for number, question in enumerate(QUESTIONS[:tasks])
        ]
        return self.write(rows, name)

    def write(self, rows: Sequence[object], name: str = "rows.jsonl") -> Path:
        """A JSONL file of these rows."""
        path = self.root / name
        path.write_text("".join(f"{json.dumps(entry)}\n" for entry in rows))
        return path


def row(text: str, **metadata: Any) -> dict[str, Any]:
    """A row of CL-bench's schema with one checkable rubric."""
    rubrics = [{"type": "contains", "any_of": ["mayor"]}]
    return {"messages": [{"role": "user", "content": text}], "rubrics": rubrics, "metadata": metadata}


def log_dir(cli: DfttCLI) -> Path:
    """Folder of a run."""
    return Path(str(cli.trainer.log_dir))
