"""All benchmarks in one command, on a tiny shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import everything

TINY = ("--shape", "tiny", "--device", "cpu", "--cycles", "2", "--contexts", "48", "64", "--rows", "1", "2")


@pytest.mark.slow
def test_every_part_leaves_its_results(tmp_path: Path) -> None:
    assert everything.main([*TINY, "--out", str(tmp_path)]) == []
    for name in ("decode", "rows", "adapt", "memory", "budget"):
        written = json.loads((tmp_path / f"{name}.json").read_text())
        assert {row["context"] for row in written["rows"]} == ({48} if name == "rows" else {48, 64})
        assert (tmp_path / f"{name}.md").read_text().startswith(f"# {written['title']}")
    assert "A step of test-time training" in (tmp_path / "growth.md").read_text()


@pytest.mark.slow
def test_what_fails_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no card")

    monkeypatch.setattr(everything.adapt, "main", broken)
    only = ("--only", "adapt", "memory")
    assert everything.main([*TINY, *only, "--out", str(tmp_path)]) == ["adapt"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        *(f"growth-memory.{end}" for end in ("csv", "png", "svg")),
        "growth.md",
        "memory.json",
        "memory.md",
    ]


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--only: unknown 'decoding'; choose from decode, rows, adapt, memory, budget"):
        everything.main([*TINY, "--only", "decoding", "--out", str(tmp_path)])
