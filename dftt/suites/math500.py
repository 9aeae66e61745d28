"""MATH-500: competition problems whose answer stands in \\boxed{}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.scoring.math_answers import boxed, same_answer
from dftt.suites.base import Suite, need_text
from dftt.suites.rows import as_written
from dftt.types import Score, Task


class Math500(Suite):
    """The content of the last \\boxed{} is compared with the reference; math_answers.py says how."""

    name = "math500"
    hub_id = "HuggingFaceH4/MATH-500"
    homepage = "https://github.com/openai/prm800k"
    licence = "MIT"
    citation = "Lightman et al., Let's Verify Step by Step, 2023, arXiv:2305.20050"
    columns: ClassVar = {"problem": "prompt", "unique_id": "id"}
    template = "{prompt}\n\nReason step by step and put the final answer in \\boxed{{}}."

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A number is compared like any other answer, so there is no rubric."""
        row = {**row, "answer": as_written("answer", row.get("answer", "")), "rubrics": []}
        need_text(row, "answer")
        return row

    def score(self, task: Task, answer: str) -> Score:
        """Whether the boxed answer equals the reference; without a box it fails, undecided it is unscored."""
        found = boxed(answer)
        if found is None:
            return Score(passed=False, explanation="no \\boxed{} in the answer")
        try:
            passed = same_answer(found, str(task.metadata["answer"]))
        except TimeoutError as error:
            return Score(passed=None, explanation=str(error))
        return Score(passed, explanation="" if passed else f"{found!r} is not {task.metadata['answer']!r}")
