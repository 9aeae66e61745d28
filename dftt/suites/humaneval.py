"""HumanEval: complete a Python function; hidden tests decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.scoring.code_answers import defines, extract_code, score_program
from dftt.suites.base import Suite, need_text
from dftt.types import Score, Task


class HumanEval(Suite):
    """pass@1. The answer is the whole function, or its body, which is then put after the prompt."""

    name = "humaneval"
    hub_id = "openai/openai_humaneval"
    homepage = "https://github.com/openai/human-eval"
    licence = "MIT"
    citation = "Chen et al., Evaluating Large Language Models Trained on Code, 2021, arXiv:2107.03374"
    runs_code = True
    columns: ClassVar = {"task_id": "id", "canonical_solution": "answer", "test": "tests"}
    template = "Complete this Python function and give all of it in one code block.\n\n```python\n{prompt}\n```"

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The prompt as given is kept as `stub`."""
        for key in ("tests", "entry_point"):
            need_text(row, key)
        return {**row, "stub": need_text(row, "prompt"), "rubrics": []}

    def score(self, task: Task, answer: str) -> Score:
        """Whether the answer passes the hidden tests, run in the sandbox."""
        return score_program(self.program(task, answer))

    def program(self, task: Task, answer: str) -> str:
        """Prompt, answer and tests as one program that raises where a test fails."""
        entry_point = str(task.metadata["entry_point"])
        code = extract_code(answer, entry_point)
        # A body goes on where the prompt ends; a whole function replaces the prompt's, which keeps imports and helpers.
        joint = "\n" if defines(code, entry_point) else ""
        return f"{task.metadata['stub']}{joint}{code}\n{task.metadata['tests']}\ncheck({entry_point})\n"
