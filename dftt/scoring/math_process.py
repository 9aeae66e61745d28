"""math-verify in a process of its own, which is ended where a pair of formulas takes too long.

sympy has no limit of time, and that of math-verify is a signal, which works in a main thread only; answers are scored
in others, too. This file is both sides: imported it asks, run as a script it answers. Each line that the script reads
is a JSON list of an answer and the reference, in LaTeX; the line that it writes is true, false, or null where one of
them cannot be read.
"""

from __future__ import annotations

import atexit
import json
import logging
import resource
import subprocess
import sys
import time
from threading import Lock, Timer
from typing import Any

SECONDS = 10.0
MEMORY_BYTES = 4 << 30
DIGITS = 50  # to which numbers agree; with the library's 15, a difference of 1e-20 is lost


class MathProcess:
    """Asks math-verify in another process: one for all threads, started at first use.

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
            self._process = self._process or _start()
            begun = time.monotonic()
            line = _ask(self._process, [given, reference], self.seconds)
            too_late = time.monotonic() - begun >= self.seconds
            if too_late or not line:
                self.close()
        if line:
            return json.loads(line)
        if too_late:
            raise TimeoutError(f"not decided within {self.seconds:g} s whether it is {reference[:60]!r}")
        return None  # it died of this pair: out of memory, or of the interpreter's stack

    def close(self) -> None:
        """End the process; the next pair starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _start() -> subprocess.Popen[str]:
    """A process that has imported what it needs: that is no part of the first pair's time."""
    pipe, command = subprocess.PIPE, [sys.executable, __file__]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    if _ask(process, ["1", "1"], seconds=600) != "true\n":
        process.kill()
        process.communicate()
        raise ValueError("math-verify does not work here, and mathematical answers need it: pip install math-verify")
    return process


def _ask(process: subprocess.Popen[str], pair: list[str], seconds: float) -> str:
    """The line that answers a pair; empty where the process ended, or was ended after so many seconds."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
    watch = Timer(seconds, process.kill)
    watch.start()
    try:
        process.stdin.write(json.dumps(pair) + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except BrokenPipeError:
        return ""
    finally:
        watch.cancel()


SHARED = MathProcess()
atexit.register(SHARED.close)


def compare(given: str, reference: str) -> bool:
    """Whether two formulas are the same to math-verify, case, infinities and the imaginary unit told apart."""
    from math_verify import verify
    from sympy import nan, zoo
    from sympy.core.relational import Relational

    left, right = _read(given), _read(reference)
    if all(isinstance(side, Relational) and not side.free_symbols for side in (left, right)):
        return False  # 3 > 2 and 5 > 4 are both true, and not the same
    if any(side.has(zoo, nan) for side in (left, right)):
        return False
    return verify(right, left, numeric_precision=DIGITS, timeout_seconds=None, allow_set_relation_comp=True)


def _read(latex: str) -> Any:
    """The formula as sympy has it."""
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy
    from sympy import Basic, I, MatrixBase

    # Upper and lower case are different variables; the library takes them for one.
    reading = ConversionConfig(lowercase_symbols=False)
    normalising = NormalizationConfig(malformed_operators=True, nits=True, boxed="none")
    formula: Any = latex2sympy(latex, normalization_config=normalising, conversion_config=reading)
    if not isinstance(formula, Basic | MatrixBase):
        raise ValueError(f"no formula: {latex!r}")
    letters = {symbol for symbol in getattr(formula, "free_symbols", ()) if symbol.name == "i"}
    return formula.subs(dict.fromkeys(letters, I)) if letters else formula


def main() -> None:
    """Answer every line until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)  # the library warns that nobody watches the time
    for line in sys.stdin:
        try:
            same = compare(*json.loads(line))
        except Exception:  # the grammar, sympy and the memory have errors of their own
            same = None
        print(json.dumps(same), flush=True)


if __name__ == "__main__":
    main()
