"""A body of a test in a process of its own, which takes none of the seconds that an interpreter takes to start."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path


def ending(body: Callable[[], object], folder: Path) -> tuple[int, str]:
    """The exit code of a process that does `body` and nothing else, and what it printed on standard error."""
    printed = folder / "printed.txt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of threads, none of which the child needs
        child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(printed, os.O_WRONLY | os.O_CREAT), 2)
            # A test run in the background of a shell has it ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.stdout, sys.stderr = (open(stream, "w", closefd=False) for stream in (1, 2))  # noqa: SIM115
            code = _run(body)
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), printed.read_text()


def _run(body: Callable[[], object]) -> int:
    try:
        body()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        return 98
    return 0
