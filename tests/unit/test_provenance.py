"""provenance.json: enough to say what made a number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dftt.study import provenance


def test_written_file_names_command_packages_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["cli.py", "test", "--config", "x.yaml"])
    provenance.write_provenance(tmp_path / "new" / "run")
    written = json.loads((tmp_path / "new" / "run" / "provenance.json").read_text())
    assert written["command"] == ["cli.py", "test", "--config", "x.yaml"]
    assert written["packages"]["torch"] == torch.__version__
    assert written["device"]
    assert written["threads"] == torch.get_num_threads()


def test_commit_is_the_projects_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(provenance.__file__).parents[1]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    monkeypatch.chdir(tmp_path)
    assert provenance.provenance()["commit"] == head.stdout.strip()


def test_runs_without_git_or_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_arguments: object, **_options: object) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(provenance.subprocess, "run", absent)
    monkeypatch.setattr(provenance, "_PACKAGES", ("no-such-package-at-all",))
    found = provenance.provenance()
    assert (found["commit"], found["modified"]) == ("", False)
    assert found["packages"] == {"no-such-package-at-all": None}
