"""What a study shows away from a terminal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dftt.study.progress import StudyProgress

CLOCK = "dftt.study.progress.time.perf_counter"


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
        "[1/2] rules  0 of 1 answers",
        "[1/2] rules  tau: speculative+own 2.35",
        "[2/2] [boats]  tau: speculative+own 2.35",
    ]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass."""
    now = [100.0]
    monkeypatch.setattr(CLOCK, lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_a_line_names_context_and_arm_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    """A study of one long context said nothing until it was done."""
    progress = StudyProgress(num_contexts=1, quiet=False)
    progress.start_context("rules", num_parts=6)
    for number in range(6):
        clock(4)
        progress.finish_part(f"arm{number}")
    clock(9)
    progress.note("adapting for arm6")
    clock(1)
    progress.note("adapting for arm7")
    assert capsys.readouterr().out.splitlines() == [
        "[1/1] rules  0 of 6 answers",
        "[1/1] rules  3 of 6 answers, arm2",
        "[1/1] rules  6 of 6 answers, arm5",
        "[1/1] rules  6 of 6 answers, adapting for arm7",
    ]


def test_long_lines_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    progress = StudyProgress(num_contexts=1, quiet=False)
    progress.start_context("rules", num_parts=1)
    progress.finish_context("rules", {f"speculative+own,steps={number}": 2.0 for number in range(9)})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_other_processes_are_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    study(quiet=True)
    assert not capsys.readouterr().out.strip()
