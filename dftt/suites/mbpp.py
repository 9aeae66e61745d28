"""MBPP: write a Python function from a sentence and three tests."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.scoring.code_answers import extract_code, score_program
from dftt.suites.base import Suite, with_prompt
from dftt.types import Score, Task

_TEMPLATE = "{prompt}\nIt must pass these tests:\n\n```python\n{tests}\n```\n\nGive the function in one code block."
_CALL = re.compile(r"(\w+)\(")
_WRAPPERS = {*dir(builtins), "isclose"}  # what tests put around the function's result


class MBPP(Suite):
    """pass@1 on the test split (ids 11 to 510); the tests are shown in the prompt, as the authors do."""

    name = "mbpp"
    hub_id = "google-research-datasets/mbpp"
    hub_config = "full"
    homepage = "https://github.com/google-research/google-research/tree/master/mbpp"
    licence = "CC-BY-4.0"
    citation = "Austin et al., Program Synthesis with Large Language Models, 2021, arXiv:2108.07732"
    runs_code = True
    columns: ClassVar = {"text": "prompt", "task_id": "id", "code": "answer", "test_list": "tests"}

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """A file of all splits says in `split` which one a row is of."""
        return row.get("split", "test") == "test"

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The tests become part of the prompt."""
        tests = row.get("tests")
        if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
            raise ValueError(f"`tests` must be a list of assert statements, got {tests!r}")
        return {**with_prompt(row, _TEMPLATE, tests="\n".join(tests)), "rubrics": []}

    def score(self, task: Task, answer: str) -> Score:
        """Whether the answer passes the tests, run in the sandbox."""
        return score_program(self.program(task, answer))

    def program(self, task: Task, answer: str) -> str:
        """Answer, set-up and tests as one program that raises where a test fails."""
        tests = task.metadata["tests"]
        called = (name for name in _CALL.findall(tests[0]) if name not in _WRAPPERS)
        code = extract_code(answer, next(called, ""))
        # Some set-ups use classes that the answer defines.
        return "\n".join([code, str(task.metadata.get("test_setup_code") or ""), *tests, ""])
