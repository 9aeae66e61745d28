"""The pinned versions: they can be installed on every Python that is promised."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_all_pins_go_with_the_oldest_python() -> None:
    """One that needed 3.11.5 kept pip searching without end on Debian's 3.11.2."""
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = f"{promised.removeprefix('>=')}.0"
    refusing, seen = [], 0
    for name in PINNED:
        try:
            needed = metadata(name).get_all("Requires-Python")
        except PackageNotFoundError:  # an optional part that is not installed here
            continue
        seen += 1
        if needed and not SpecifierSet(needed[0]).contains(oldest):
            refusing.append(f"{name} needs Python {needed[0]}")
    if not seen:
        pytest.skip("none of the pinned packages is installed")
    assert not refusing
