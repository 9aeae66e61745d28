"""Code in answers: found in Markdown, and run only in the sandbox."""

from __future__ import annotations

import pytest

from dftt.evaluation import code_answers
from dftt.evaluation.code_answers import extract_code, score_program
from dftt.evaluation.sandbox import Run

FUNCTION = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{FUNCTION}```",
        f"Here it is:\n\n```python\n{FUNCTION}```\nIt returns x.",
        f"```\n{FUNCTION}```",
        f"``` py\n{FUNCTION}```",
        f"```python\n{FUNCTION}",  # cut at the length limit
        f"First ```pip``` it.\n```bash\npip install f\n```\n```python\n{FUNCTION}```",
        f"```python\ndef g(): ...\n```\nand\n```python\n{FUNCTION}```\nUse it:\n```python\nprint(f(1))\n```",
        FUNCTION,
        f"Sure, I can do that.\n\n{FUNCTION}",
    ],
)
def test_the_function_is_found(answer: str) -> None:
    assert extract_code(answer, "f") == FUNCTION


def test_a_body_without_a_block_is_taken_as_it_is() -> None:
    assert extract_code("    return x\n", "f") == "    return x\n"


def test_code_without_a_block_keeps_what_stands_before_the_function() -> None:
    assert extract_code(f"LIMIT = 3\n{FUNCTION}", "f") == f"LIMIT = 3\n{FUNCTION}"


def test_without_the_function_the_first_block_counts() -> None:
    assert extract_code("```python\nx = 1\n```\n```python\ny = 2\n```", "f") == "x = 1\n"


@pytest.mark.parametrize(
    ("run", "passed", "explanation"),
    [
        (Run("finished"), True, ""),
        (Run("raised", "AssertionError: "), False, "raised: AssertionError: "),
        (Run("timeout", "stopped after 10 s"), False, "timeout: stopped after 10 s"),
        (Run("killed", "Killed"), False, "killed: Killed"),
        (Run("refused", "needs Linux"), None, "not run: needs Linux"),
    ],
)
def test_a_refused_run_is_unscored_and_every_other_one_is_scored(
    monkeypatch: pytest.MonkeyPatch, run: Run, passed: bool | None, explanation: str
) -> None:
    monkeypatch.setattr(code_answers, "run_python", lambda *_: run)
    score = score_program("pass")
    assert (score.passed, score.explanation) == (passed, explanation)
