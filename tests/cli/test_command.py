"""What all command lines do alike: how they end, and what they show."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import dftt
from dftt.command import command_line
from tests.commands import Commands, log_dir
from tests.forked import ending

PACKAGE = Path(dftt.__file__).parent


def run_as(filename: Path | str, source: str) -> None:
    """Run source as if it stood in a file, as a command."""
    with command_line():
        exec(compile(source, str(filename), "exec"), {})


# -- errors -----------------------------------------------------------------------------------------------------------


def test_a_value_error_that_we_raise_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_as(PACKAGE / "made_up.py", "raise ValueError('steps must be >= 1, got 0')")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: steps must be >= 1, got 0\n"


@pytest.mark.parametrize("source", ["int('x')", "min([])", "[][0]", "1 + 'x'", "raise KeyError('x')"])
def test_our_own_mistakes_keep_their_traceback(source: str) -> None:
    """min([]) in a line of ours was taken for bad input: error: min() arg is an empty sequence."""
    with pytest.raises((ValueError, TypeError, LookupError)):
        run_as(PACKAGE / "made_up.py", source)


def test_a_value_error_of_a_library_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="no"):
        run_as("/somewhere/library.py", "raise ValueError('no')")


def test_what_the_machine_refuses_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run_as(PACKAGE / "made_up.py", f"open({str(tmp_path)!r})")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: Is a directory (IsADirectoryError; ")


def test_debugging_shows_the_traceback_of_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFTT_DEBUG", "1")
    with pytest.raises(ValueError, match="no"):
        run_as(PACKAGE / "made_up.py", "raise ValueError('no')")


# -- signals and pipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_with_its_code(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Twice, as launchers send it: to the process, and to its group."""

    def body() -> None:
        with command_line():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)

    ended, printed = ending(body, tmp_path)
    assert (ended, printed) == (code, f"stopped by {number.name}.\n")


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As under nohup, or in the background of a script."""

    def body() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with command_line():
            os.kill(os.getpid(), signal.SIGINT)

    assert ending(body, tmp_path) == (0, "")


def test_signals_are_as_before_after_a_command() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with command_line():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    """As `| head` leaves it."""

    def body() -> None:
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        with command_line():
            print("text")

    assert ending(body, tmp_path) == (141, "")


# -- what is shown ----------------------------------------------------------------------------------------------------


def complain() -> None:
    """What libraries say that nobody can do anything about."""
    warnings.warn("old name", FutureWarning, stacklevel=1)
    warnings.warn("old name", DeprecationWarning, stacklevel=1)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").info("buy this")


def test_deprecations_and_products_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with command_line():
        complain()
        shows = logging.getLogger("lightning.pytorch").isEnabledFor(logging.INFO)
    assert not shows
    assert logging.getLogger("lightning.pytorch").isEnabledFor(logging.INFO)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_whoever_asks_sees_deprecations(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """This suite turns warnings into errors, as `-W error` does."""
    if way == "flag":
        monkeypatch.setattr(sys, "warnoptions", ["error"])
    else:
        monkeypatch.setenv("DFTT_DEBUG", "1")
    with pytest.raises(FutureWarning), command_line():
        complain()


def test_our_own_warnings_are_shown() -> None:
    with warnings.catch_warnings(record=True) as seen, command_line():
        warnings.warn_explicit("of ours", FutureWarning, "made_up.py", 1, module="dftt.made_up")
    assert [str(each.message) for each in seen] == ["of ours"]


def predicted(commands: Commands) -> list[str]:
    """Lines of the records that predict leaves of two questions."""
    flags = ("--evaluator.decoding.max_new_tokens=40", "--evaluator.decoding.ignore_eos=true", "--model.ttt.steps=1")
    run_dir = commands.root / "run"
    commands("predict", *flags, f"--evaluator.run_dir={run_dir}", data=commands.contexts("rules"))
    return (run_dir / "records.0.jsonl").read_text().splitlines()


def test_a_terminal_that_lacks_a_character_shows_others(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """LANG=C: UnicodeEncodeError, after the work and before the record."""
    shown = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(shown, encoding="ascii"))
    with command_line():
        print("τ is 2.5")
    records = predicted(commands)
    sys.stdout.flush()
    assert len(records) == 2
    assert shown.getvalue().startswith(b"? is 2.5\n")
    assert b"tokens, tau " in shown.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_answers_that_cannot_be_shown_are_stored(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as ended:
            predicted(commands)
    assert ended.value.code == 2
    assert "error: No space left on device" in capfd.readouterr().err
    assert len((commands.root / "run" / "records.0.jsonl").read_text().splitlines()) == 2


# -- outputs are tried before the work --------------------------------------------------------------------------------


@pytest.fixture
def refused(commands: Commands, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The line that a subcommand with these flags is refused with, no target loaded."""

    def line(subcommand: str, *flags: str) -> str:
        return commands.refused(capfd, *commands.arguments(subcommand, *flags, data=commands.contexts("rules")))

    return line


def test_answers_must_be_a_file_that_can_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    assert f"evaluator.answers: {tmp_path} is there and is no file" in refused(
        "predict", f"--evaluator.answers={tmp_path}"
    )
    line = refused("predict", f"--evaluator.answers={tmp_path}/file/answers.jsonl")
    assert f"evaluator.answers: nothing can be written in {tmp_path}/file (Not a directory)" in line
    if Path("/dev/full").exists():
        assert "/dev/full is there and is no file" in refused("predict", "--evaluator.answers=/dev/full")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_run_dir_that_cannot_be_made_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused("test", f"--evaluator.run_dir={tmp_path}/file/run")
    assert f"evaluator.run_dir: nothing can be written in {tmp_path}/file/run (Not a directory)" in line
    for subcommand in ("fit", "test"):
        assert f"{tmp_path}/file" in refused(subcommand, f"--trainer.default_root_dir={tmp_path}/file")


def test_a_full_disk_is_found_before_the_work(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dftt.types.outputs.os.fsync", full)
    assert "(No space left on device); name a folder on a disk with room" in refused("test")


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_finished_run_leaves_no_trial_files(commands: Commands) -> None:
    cli = commands("validate", data=commands.contexts("rules"))
    assert {path.name.split(".")[0] for path in log_dir(cli).iterdir()} == {"config", "provenance", "events", "hparams"}
