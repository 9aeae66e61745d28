"""Code in a model's answer: found, and run against tests in the sandbox."""

from __future__ import annotations

import ast
import re

from dftt.evaluation.sandbox import Limits, run_python
from dftt.types import Score

# An opening fence with its language, and everything to the closing one or, where the answer was cut, to the end.
_BLOCK = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.MULTILINE | re.DOTALL)
_CODE_LINE = re.compile(r"^(?:(?:def|class|import|from|async def)\b|@)", re.MULTILINE)
_PYTHON = {"", "python", "python3", "py"}


def extract_code(answer: str, function: str = "") -> str:
    """The program in an answer.

    Of fenced Python blocks the last one that defines the function counts, else the first one. An answer without a block
    is code as a whole, or, where words stand before it, from the first line that opens a definition or an import.

    Args:
        answer: What the model wrote, Markdown or plain code.
        function: Name of the function that was asked for.
    """
    blocks = [code for language, code in _BLOCK.findall(answer) if language.casefold() in _PYTHON]
    if blocks:
        return next((code for code in reversed(blocks) if defines(code, function)), blocks[0])
    start = None if _is_python(answer) or not defines(answer, function) else _CODE_LINE.search(answer)
    return answer[start.start() :] if start else answer


def defines(code: str, function: str) -> bool:
    """Whether the code defines a function of that name at its top level."""
    return re.search(rf"^(?:async )?def {re.escape(function)}\b", code, re.MULTILINE) is not None


def score_program(program: str, limits: Limits = Limits()) -> Score:
    """Passed when the program runs to its end in the sandbox; unscored where there is no sandbox."""
    run = run_python(program, limits)
    if run.outcome == "refused":
        return Score(passed=None, explanation=f"not run: {run.detail}")
    explanation = "" if run.outcome == "finished" else f"{run.outcome}: {run.detail}"
    return Score(passed=run.outcome == "finished", explanation=explanation)


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
