"""Compares formulas with math-verify in a process of its own; started by math_process.py as a script, never imported.

Each line of standard input is a JSON list of an answer and the reference, in LaTeX; the line of output that follows it
is true, false, or null where one of them cannot be read. Whoever started it watches the time: sympy has no limit.
"""

import json
import logging
import resource
import sys
from typing import Any

from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy
from math_verify import verify
from sympy import Basic, I, MatrixBase, nan, zoo
from sympy.core.relational import Relational

MEMORY_BYTES = 4 << 30
# Upper and lower case are different variables; the library takes them for one.
READING = ConversionConfig(lowercase_symbols=False)
NORMALISING = NormalizationConfig(malformed_operators=True, nits=True, boxed="none")
DIGITS = 50  # to which numbers agree; with the library's 15, a difference of 1e-20 is lost


def main() -> None:
    """Answer every line until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)  # the library warns that nobody watches the time
    for line in sys.stdin:
        given, reference = json.loads(line)
        try:
            same = compare(given, reference)
        except Exception:  # the grammar, sympy and the memory have errors of their own
            same = None
        print(json.dumps(same), flush=True)


def compare(given: str, reference: str) -> bool:
    """Whether two formulas are the same to math-verify, case, infinities and the imaginary unit told apart."""
    left, right = read(given), read(reference)
    if all(isinstance(side, Relational) and not side.free_symbols for side in (left, right)):
        return False  # 3 > 2 and 5 > 4 are both true, and not the same
    if any(side.has(zoo, nan) for side in (left, right)):
        return False
    return verify(right, left, numeric_precision=DIGITS, timeout_seconds=None, allow_set_relation_comp=True)


def read(latex: str) -> Basic | MatrixBase:
    """The formula as sympy has it."""
    formula: Any = latex2sympy(latex, normalization_config=NORMALISING, conversion_config=READING)
    if not isinstance(formula, Basic | MatrixBase):
        raise ValueError(f"no formula: {latex!r}")
    letters = {symbol for symbol in getattr(formula, "free_symbols", ()) if symbol.name == "i"}
    return formula.subs(dict.fromkeys(letters, I)) if letters else formula


if __name__ == "__main__":
    main()
