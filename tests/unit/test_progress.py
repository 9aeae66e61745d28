"""What a study shows away from a terminal."""

from __future__ import annotations

import pytest

from dftt.progress import StudyProgress


def study(*, quiet: bool) -> None:
    """Two contexts of one part each."""
    progress = StudyProgress(num_contexts=2, quiet=quiet)
    progress.start()
    for name in ("rules", "[boats]"):
        progress.start_context(name, num_parts=1)
        progress.note(f"adapting to {name}")
        progress.finish_part("speculative+own")
        progress.finish_context(name, {"speculative+own": 2.345})
    progress.stop()


def test_one_line_per_context(capsys: pytest.CaptureFixture[str]) -> None:
    study(quiet=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.split("  (")[0] for line in lines] == [
        "[1/2] rules  tau: speculative+own 2.35",
        "[2/2] [boats]  tau: speculative+own 2.35",
    ]


def test_other_processes_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    study(quiet=True)
    assert not capsys.readouterr().out.strip()
