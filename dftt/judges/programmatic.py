"""The judge that needs no model: checkable rubrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dftt.judges.base import Judge
from dftt.scoring.rubrics import score_rubrics
from dftt.types import Score


class ProgrammaticJudge(Judge):
    """Scores checkable rubrics by program; an answer with a rubric in words stays unscored."""

    name = "program"

    def judge(self, rubrics: Sequence[Any], answer: str) -> Score:
        """As `score_rubrics`."""
        return score_rubrics(rubrics, answer)
