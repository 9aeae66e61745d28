"""Code in a model's answer: found, and run against tests in the sandbox."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from markdown_it import MarkdownIt

from dftt.scoring.sandbox import Limits, run_python
from dftt.types import Score

_CODE_LINE = re.compile(r"^(?:(?:def|class|import|from|async def)\b|@|[A-Z_]+ = )", re.MULTILINE)
_PYTHON = {"", "python", "python3", "py"}
# Without indented blocks, a fence may be indented as far as it likes, as models do below list items; without HTML
# blocks, one may stand in <details>.
_MARKDOWN = MarkdownIt("commonmark").disable(["code", "html_block"])


def extract_code(answer: str, function: str = "") -> str:
    """The program in an answer.

    Of fenced Python blocks the last one that defines the function counts, else the first one. An answer without a block
    is code as a whole, or what of it is: prose before and behind the code is dropped.
    """
    tokens = [token for token in _MARKDOWN.parse(answer) if token.type == "fence"]
    blocks = [token.content for token in tokens if _language(token.info) in _PYTHON]
    if blocks:
        return next((code for code in reversed(blocks) if defines(code, function)), blocks[0])
    return next((code for code in _unfenced(answer) if code), answer)


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


def _language(info: str) -> str:
    return (info.split() or [""])[0].strip("{}.").casefold()


def _unfenced(answer: str) -> Iterator[str]:
    """Code of an answer without a fence: from its start or from a line that opens code, and a function's bare body."""
    if answer[:1].isspace():  # a body, which goes on where the prompt ends
        yield _parsing_part(answer, "def body():\n")
    yield _parsing_part(answer)
    for line in _CODE_LINE.finditer(answer):
        yield _parsing_part(answer[line.start() :])


def _parsing_part(text: str, before: str = "") -> str:
    """The longest run of leading lines that is Python with a definition or an assignment, trailing prose left out."""
    lines = text.splitlines(keepends=True)
    for end in range(len(lines), 0, -1):
        code = "".join(lines[:end])
        tree = _parsed(before + code)
        if tree is not None:
            return code if before else _without_trailing_words(code, tree)
    return ""


def _without_trailing_words(code: str, tree: ast.Module) -> str:
    """Code up to its last statement that is no mere name: "Done" behind a function parses, and is prose."""
    body = list(tree.body)
    while body and _is_words(body[-1]):
        body.pop()
    end = body[-1].end_lineno if body else 0
    return code if len(body) == len(tree.body) else "".join(code.splitlines(keepends=True)[:end])


def _is_words(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None  # "Note: recursion"
    return isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Call | ast.Constant)


def _parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the answer's escapes, such as a lone backslash
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
