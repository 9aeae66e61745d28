"""The process that compares formulas: one for all threads, started at first use, ended where a pair takes too long.

math-verify bounds its time by a signal, which works in a main thread only, and answers are scored in others, too.
"""

from __future__ import annotations

import atexit
import json
import selectors
import subprocess
import sys
from pathlib import Path
from threading import Lock

SECONDS = 10.0
_CHILD = Path(__file__).with_name("math_child.py")


class MathProcess:
    """Asks math-verify in another process.

    Args:
        seconds: That a comparison may take.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def same(self, given: str, reference: str) -> bool | None:
        """Whether two formulas in LaTeX are the same; None where one cannot be read.

        Raises:
            TimeoutError: It was not decided in time.
        """
        with self._lock:
            process = self._process = self._process or _start()
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
            try:
                process.stdin.write(json.dumps([given, reference]) + "\n")
                process.stdin.flush()
                line = process.stdout.readline() if _is_readable(process, self.seconds) else None
            except BrokenPipeError:
                line = ""
            if line:
                return json.loads(line)
            self.close()
        if line is None:
            raise TimeoutError(f"not decided within {self.seconds:g} s whether it is {reference[:60]!r}")
        return None  # it died of this pair: out of memory, or of the interpreter's stack

    def close(self) -> None:
        """End the process; the next pair starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _start() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    # Importing sympy is no part of the first pair's time.
    _ask_nothing(process)
    return process


def _ask_nothing(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018
    process.stdin.write('["1", "1"]\n')
    process.stdin.flush()
    if process.stdout.readline().strip() != "true":
        raise ValueError("math-verify does not work here, and mathematical answers need it: pip install math-verify")


def _is_readable(process: subprocess.Popen[str], seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)  # pyright: ignore[reportArgumentType]
        return bool(selector.select(seconds))


SHARED = MathProcess()
atexit.register(SHARED.close)
