"""GSM8K: grade-school word problems whose answer is a number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dftt.evaluation import scoring
from dftt.evaluation.math_answers import boxed, normalise
from dftt.evaluation.rows import as_written
from dftt.evaluation.scoring import last_number
from dftt.evaluation.suites.base import Suite, renamed, with_prompt
from dftt.types import Score, Task

_MARK = re.compile(r"####\s*([^\n]*)")
_TEMPLATE = "{prompt}\n\nReason step by step and put the final number in \\boxed{{}}."


class GSM8K(Suite):
    """The number after the last "####" counts, else the one in the last \\boxed{}, else the last one of the answer."""

    name = "gsm8k"
    hub_id = "openai/gsm8k"
    hub_config = "main"
    homepage = "https://github.com/openai/grade-school-math"
    licence = "MIT"
    citation = "Cobbe et al., Training Verifiers to Solve Math Word Problems, 2021, arXiv:2110.14168"

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hub's `question` and `answer` (a solution that ends in "#### 18") become prompt, answer and solution."""
        row = renamed(row, {"question": "prompt"})
        answer = as_written("answer", row.get("answer", ""))
        if marked := _MARK.findall(answer):
            row = {**row, "answer": marked[-1].strip(), "solution": answer}
        value = last_number(marked[-1] if marked else answer)
        if value is None:
            raise ValueError(f"`answer` must be '18' or a solution that ends in '#### 18', got {row.get('answer')!r}")
        return {**with_prompt(row, _TEMPLATE), "rubrics": [{"type": "number", "value": value}]}

    def score(self, task: Task, answer: str) -> Score:
        """Whether the final number is the reference."""
        return scoring.score(task, final_answer(answer))


def final_answer(answer: str) -> str:
    """The part of an answer that states its result, or all of it where no part is marked as such."""
    for found in ((_MARK.findall(answer) or [""])[-1], normalise(boxed(answer) or "")):
        if last_number(found) is not None:
            return found
    return answer
