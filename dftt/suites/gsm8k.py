"""GSM8K: grade-school word problems whose answer is a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.scoring.final_answer import final_answer
from dftt.scoring.rubrics import NUMBER_RULES
from dftt.suites.base import Suite
from dftt.suites.rows import as_written
from dftt.types import Score, Task

COUNTED = "flexible-extract"  # the prompt asks for a box, so "#### " is no fault of the answer
_MARK = "####"


class GSM8K(Suite):
    """Scored by lm-evaluation-harness's rules: passed by flexible-extract, and by both in the statuses."""

    name = "gsm8k"
    hub_id = "openai/gsm8k"
    hub_config = "main"
    homepage = "https://github.com/openai/grade-school-math"
    licence = "MIT"
    citation = "Cobbe et al., Training Verifiers to Solve Math Word Problems, 2021, arXiv:2110.14168"
    columns: ClassVar = {"question": "prompt"}
    template = "{prompt}\n\nReason step by step and put the final number in \\boxed{{}}."

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """An `answer` that is a solution and ends in "#### 18" becomes answer and solution."""
        answer = as_written("answer", row.get("answer", ""))
        if _MARK in answer:
            row = {**row, "answer": answer.rpartition(_MARK)[2].strip(), "solution": answer}
        value = as_written("answer", row.get("answer", ""))
        if not NUMBER_RULES[COUNTED](value, value):
            raise ValueError(f"`answer` must be '18' or a solution that ends in '#### 18', got {row.get('answer')!r}")
        return {**row, "rubrics": [{"type": rule, "value": value} for rule in NUMBER_RULES]}

    def score(self, task: Task, answer: str) -> Score:
        """Whether flexible-extract finds the reference; the statuses are those of both rules."""
        answer, reference = final_answer(answer), as_written("answer", task.metadata["answer"])
        found = {rule: matches(answer, reference) for rule, matches in NUMBER_RULES.items()}
        explanation = ", ".join(f"{rule} {'passed' if passed else 'failed'}" for rule, passed in found.items())
        statuses = tuple(found.values()) if len(task.rubrics) == len(found) else (found[COUNTED],) * len(task.rubrics)
        return Score(found[COUNTED], statuses, explanation)
