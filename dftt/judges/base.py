"""What every judge is, and the one that needs no model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dftt.scoring.rubrics import score_rubrics
from dftt.types import Score


class JudgeError(Exception):
    """The judge gave no reply; the message says why."""


class UnreadableError(JudgeError):
    """A reply that is no verdict, or none that counts; another try may bring one."""


class Judge(ABC):
    """Scores answers by rubrics; may be called from `concurrency` threads at once.

    Attributes:
        name: Who judges, as records carry it.
        concurrency: Answers that may be judged at the same time.
        shares_device: Judging competes with decoding for the device, so it waits until decoding is done.
    """

    name: str = ""
    concurrency: int = 1
    shares_device: bool = False

    @abstractmethod
    def judge(self, rubrics: Sequence[Any], answer: str) -> Score:
        """Score of an answer; unscored (None), with the reason, where the judge failed. Never raises for a failure.

        Args:
            rubrics: What a good answer fulfils, at least one.
            answer: The decoded text; only what follows its thinking is judged.
        """

    def keep_replies(self, folder: str | Path) -> None:  # noqa: B027 - a judge without a cost has nothing to keep
        """Keep replies in a folder, so that nothing is asked twice; a judge with a folder of its own keeps that."""

    def usage(self) -> str:
        """What judging has cost so far, in words; empty for a judge without a cost."""
        return ""


class ProgrammaticJudge(Judge):
    """Scores checkable rubrics by program; an answer with a rubric in words stays unscored."""

    name = "program"

    def judge(self, rubrics: Sequence[Any], answer: str) -> Score:
        """As `score_rubrics`."""
        return score_rubrics(rubrics, answer)
