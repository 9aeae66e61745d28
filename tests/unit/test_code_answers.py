"""Code in answers: found in Markdown, and run only in the sandbox."""

from __future__ import annotations

import pytest

from dftt.scoring import code_answers
from dftt.scoring.code_answers import extract_code, score_program
from dftt.scoring.sandbox import Run

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
        f"~~~python\n{FUNCTION}~~~",
        f"~~~\n{FUNCTION}~~~\nIt returns x.",
        f"````python\n{FUNCTION}````",
        "1. Write it:\n\n   ```python\n   def f(x):\n       return x\n   ```\n2. Run it.",
        "- Write it:\n  ```python\n  def f(x):\n      return x\n  ```\n",
        "- Write it:\n\n        ```python\n        def f(x):\n            return x\n        ```\n",
        "* a\n  * b\n    ~~~py\n    def f(x):\n        return x\n    ~~~",
        "> ```python\n> def f(x):\n>     return x\n> ```\n> Done.",
        f"<details>\n```python\n{FUNCTION}```\n</details>",
        FUNCTION,
        f"Sure, I can do that.\n\n{FUNCTION}",
        f"{FUNCTION}\nThis function returns x.",
        f"{FUNCTION}\nDone",
        f"{FUNCTION}\nNote: recursion",
        f"from these examples it is clear:\n\n{FUNCTION}\nIt doesn't change x.",
    ],
)
def test_the_function_is_found(answer: str) -> None:
    assert extract_code(answer, "f").rstrip("\n") == FUNCTION.rstrip("\n")


def test_a_body_without_a_block_is_taken_as_it_is() -> None:
    assert extract_code("    return x\n", "f") == "    return x\n"


def test_prose_behind_a_body_is_dropped() -> None:
    assert extract_code("    y = x\n    return y\n\nIt returns x.", "f").rstrip() == "    y = x\n    return y"


def test_code_that_python_warns_of_is_code() -> None:
    code = "import re\ndef f(x):\n    return re.search('\\w', x)\n"
    assert extract_code(code, "f") == code


def test_what_is_guarded_as_main_does_not_run() -> None:
    """As in the official harness, whose programs have another name."""
    assert score_program('if __name__ == "__main__":\n    raise SystemExit\n').passed is not False
    assert score_program('assert __name__ != "__main__"\n').passed is not False


def test_dataclasses_and_pickles_find_their_module() -> None:
    program = (
        "from __future__ import annotations\nimport pickle\nfrom dataclasses import dataclass, field\n"
        "@dataclass\nclass A:\n    x: list[int] = field(default_factory=list)\n"
        "assert pickle.loads(pickle.dumps(A([1]))) == A([1])\n"
    )
    assert score_program(program).passed is not False


def test_code_without_a_block_keeps_what_precedes_it() -> None:
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
