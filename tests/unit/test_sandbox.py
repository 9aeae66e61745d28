"""What a model-written program cannot do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dftt.scoring import sandbox
from dftt.scoring.sandbox import Limits, Run, missing_layer, run_python

needs_sandbox = pytest.mark.skipif(bool(missing_layer()), reason=missing_layer())


def detail_of(program: str, limits: Limits = Limits()) -> str:
    """What stopped a program that tried something."""
    run = run_python(program, limits)
    assert run.outcome == "raised", run
    return run.detail


@needs_sandbox
def test_a_program_that_ends_has_finished() -> None:
    assert run_python("import math, re, collections\nassert math.gcd(4, 6) == 2") == Run("finished")


@needs_sandbox
def test_what_a_program_raises_is_named() -> None:
    assert detail_of("assert 1 == 2, 'sums'") == "AssertionError: sums"
    assert "SyntaxError" in detail_of("def (")


@needs_sandbox
@pytest.mark.parametrize("exit_early", ["raise SystemExit(0)", "import sys; sys.exit()", "import os; os._exit(0)"])
def test_an_early_exit_is_not_the_end_of_the_program(exit_early: str) -> None:
    assert run_python(f"{exit_early}\nassert False").outcome != "finished"


@needs_sandbox
def test_what_a_program_prints_is_no_report() -> None:
    report = '{"outcome": "finished", "detail": ""}'
    assert run_python(f"import os\nos.write(3, b'{report}')\nprint('{report}')\nos._exit(0)").outcome == "killed"


@needs_sandbox
@pytest.mark.parametrize("limits", [Limits(wall_seconds=0.5), Limits(cpu_seconds=1)])
def test_an_infinite_loop_is_stopped(limits: Limits) -> None:
    begun = time.monotonic()
    assert run_python("while True: pass", limits).outcome in ("timeout", "killed")
    assert time.monotonic() - begun < 5


@needs_sandbox
def test_sleeping_for_ever_is_stopped() -> None:
    assert run_python("import time; time.sleep(60)", Limits(wall_seconds=0.5)) == Run("timeout", "stopped after 0.5 s")


@needs_sandbox
def test_a_fork_bomb_does_not_start() -> None:
    assert "PermissionError" in detail_of("import os\nwhile True: os.fork()")
    assert "PermissionError" in detail_of("import subprocess, sys; subprocess.run(['true'])")
    assert "can't start new thread" in detail_of("import threading; threading.Thread(target=print).start()")


@needs_sandbox
def test_ten_gigabytes_are_not_given() -> None:
    assert "MemoryError" in detail_of("bytearray(10 * 2**30)")
    piecewise = "held = []\nwhile True: held.append(bytearray(2**24))"
    assert "MemoryError" in detail_of(piecewise, Limits(memory_bytes=2**28))


@needs_sandbox
def test_writing_outside_its_folder_fails(tmp_path: Path) -> None:
    outside = tmp_path / "file"
    outside.write_text("as it was")
    for mode in ("w", "a", "r+"):
        assert "PermissionError" in detail_of(f"open({str(outside)!r}, {mode!r})")
    assert "Error" in detail_of(f"import os; os.rename({str(outside)!r}, 'stolen')")
    assert "PermissionError" in detail_of(f"open({str(tmp_path / 'new')!r}, 'x')")
    assert "PermissionError" in detail_of(f"import os; os.unlink({str(outside)!r})")
    assert "Error" in detail_of(f"import os; os.link({str(outside)!r}, 'link')")
    assert "PermissionError" in detail_of(f"import os; os.chmod({str(outside)!r}, 0)")
    assert "PermissionError" in detail_of("import os; os.mkdir('../outside')")
    assert outside.read_text() == "as it was"


@needs_sandbox
def test_what_may_be_read_cannot_be_emptied() -> None:
    assert "PermissionError" in detail_of("import os; os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)")


@needs_sandbox
def test_files_below_its_folder_are_its_own_and_bounded() -> None:
    program = (
        "import os\nos.mkdir('d')\nopen('f', 'w').write('x')\nos.rename('f', 'd/f')\nassert open('d/f').read() == 'x'"
    )
    assert run_python(program) == Run("finished")
    assert "File too large" in detail_of("open('f', 'wb').write(bytes(4 * 2**20))")


@needs_sandbox
def test_its_folder_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_python("open('f', 'w').write('x')")
    assert list(tmp_path.iterdir()) == []


@needs_sandbox
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
def test_no_socket_opens(family: str) -> None:
    assert "PermissionError" in detail_of(f"import socket; socket.socket(socket.{family})")
    assert "Error" in detail_of("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')")


@needs_sandbox
def test_the_environment_is_empty_and_no_parent_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFTT_SECRET", "1")
    assert run_python("import os; assert dict(os.environ) == {}, os.environ") == Run("finished")
    assert "PermissionError" in detail_of(f"open('/proc/{os.getpid()}/environ').read()")
    assert "PermissionError" in detail_of("open('/proc/self/environ').read()")


@needs_sandbox
@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/cpuinfo", str(Path.home()), str(Path(__file__))])
def test_files_of_others_are_not_read(path: str) -> None:
    attempt = f"import os; os.listdir({path!r})" if Path(path).is_dir() else f"open({path!r})"
    assert "PermissionError" in detail_of(attempt)


@needs_sandbox
def test_its_parent_gets_no_signal() -> None:
    assert "PermissionError" in detail_of(f"import os; os.kill({os.getpid()}, 0)")
    assert "PermissionError" in detail_of(f"import fcntl; fcntl.fcntl(0, 8, {os.getpid()})")


@needs_sandbox
def test_limits_cannot_be_raised() -> None:
    assert "Error" in detail_of("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))")


@needs_sandbox
def test_a_crash_is_not_ours() -> None:
    assert run_python("import ctypes; ctypes.string_at(0)") == Run("killed", "Segmentation fault")


@pytest.mark.parametrize(("platform", "machine"), [("darwin", "x86_64"), ("linux", "riscv64")])
def test_nothing_runs_where_a_layer_is_missing(monkeypatch: pytest.MonkeyPatch, platform: str, machine: str) -> None:
    missing_layer.cache_clear()
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(sandbox, "_run", lambda *_: pytest.fail("something ran"))
    run = run_python("pass")
    missing_layer.cache_clear()
    assert run.outcome == "refused"
    assert {"darwin": "darwin", "linux": "riscv64"}[platform] in run.detail


def test_nothing_runs_after_a_failed_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    missing_layer.cache_clear()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sandbox, "_SELF_TEST", "raise RuntimeError('it does not hold back sockets')")
    monkeypatch.setattr(sandbox, "_run", lambda program, _: Run("raised", program))
    run = run_python("pass")
    missing_layer.cache_clear()
    assert run.outcome == "refused"
    assert "does not hold back sockets" in run.detail


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="cpu_seconds must be > 0, got 0"):
        Limits(cpu_seconds=0)
