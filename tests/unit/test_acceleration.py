"""What the environment turns off, and what is tried once."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dftt.models import acceleration
from dftt.models.acceleration import cache_folder, is_wanted, runs

CARD, CPU = torch.device("cuda"), torch.device("cpu")
PACKAGE = Path(__file__).parents[2] / "dftt"
SWITCHES: list[Any] = ["DFTT_KERNELS", "DFTT_FLEX", "DFTT_COMPILE", "DFTT_GRAPHS"]


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_of_0_turns_off_what_a_card_has(switch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for value, on in ((None, True), ("1", True), ("0", False)):
        if value is not None:
            monkeypatch.setenv(switch, value)
        assert is_wanted(switch, CARD) == on
        assert not is_wanted(switch, CPU)
        assert all(is_wanted(other, CARD) for other in SWITCHES if other != switch)


@pytest.mark.parametrize(("said", "shown"), [("no compiler\nat all", "no compiler"), ("", "")])
def test_a_trial_that_fails_is_one_logged_line(caplog: pytest.LogCaptureFixture, said: str, shown: str) -> None:
    """An error without a message ended in an IndexError."""

    def trial() -> None:
        raise RuntimeError(said)

    with caplog.at_level(logging.WARNING, logger="dftt"):
        assert not runs(trial, "kernels are not available (%s); using masks")
        assert runs(lambda: None, "never said (%s)")
    assert caplog.messages == [f"kernels are not available ({shown}); using masks"]


@pytest.mark.parametrize(("width", "fits"), [(8, False), (16, True), (64, True), (96, False), (128, True)])
def test_kernels_take_widths_that_are_powers_of_two(width: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_kernels_tried", lambda _: True)
    assert acceleration.kernels_run(CARD, width) == fits
    assert not acceleration.kernels_run(CPU, width)


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DFTT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "dftt"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dftt"
    monkeypatch.setenv("DFTT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_one_file_reads_the_switches() -> None:
    reads = re.compile(r"environ[^\n]*DFTT_(KERNELS|FLEX|COMPILE|GRAPHS|CACHE)")
    readers = [file.name for file in PACKAGE.rglob("*.py") if reads.search(file.read_text(encoding="utf-8"))]
    assert readers == ["acceleration.py"]
