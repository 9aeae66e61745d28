"""Threads that wait for each other sleep, so that another busy process costs its share and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def started(*command: str, **variables: str) -> str:
    """What a command prints on standard error when OpenMP is asked for its settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "OMP_DISPLAY_ENV": "TRUE", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this torch has no OpenMP")
@pytest.mark.parametrize("command", [("cli.py",), ("-m", "dftt.report")], ids=["cli", "module"])
def test_threads_sleep_where_they_wait(command: tuple[str, ...]) -> None:
    """As OpenMP itself says, which reads it when torch is imported."""
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in started(*command)


@pytest.mark.slow
@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="this torch has no OpenMP")
def test_a_users_own_wait_policy_wins() -> None:
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in started("cli.py", OMP_WAIT_POLICY="ACTIVE")


def test_this_suite_and_make_wait_so_too() -> None:
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    make = subprocess.run(
        ["make", "--print-data-base", "--question", "help"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OMP_WAIT_POLICY := PASSIVE" in make.stdout or "OMP_WAIT_POLICY = PASSIVE" in make.stdout
