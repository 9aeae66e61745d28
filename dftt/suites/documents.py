"""Documents of the user's own, with questions: for acceptance length, not for scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dftt.suites.base import Suite
from dftt.suites.tasks import tasks_from_documents
from dftt.types import Task

QUESTIONS = (
    "Summarise the document above in one paragraph.",
    "Explain the most important rule or idea of the document above to a newcomer, step by step.",
)


class Documents(Suite):
    """Every question on every document; nothing is scored, because nobody knows the answers."""

    name = "documents"
    homepage = ""
    licence = "that of the documents"
    citation = ""

    def tasks(self, path: str | Path | None = None, questions: Sequence[str] = ()) -> list[Task]:
        """As `tasks_from_documents`; the questions are by default a summary and an explanation."""
        if path is None:
            raise ValueError("suite documents needs the documents: give data.path")
        tasks = tasks_from_documents(path, questions or QUESTIONS)
        return [replace(task, metadata={**task.metadata, "suite": self.name}) for task in tasks]
