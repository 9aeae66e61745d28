"""What every suite offers: tasks from a file or from the hub, a score, and where the data comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dftt.scoring import rubrics
from dftt.suites.rows import Row, make_row, read_rows
from dftt.suites.tasks import make_tasks, metadata_of, task_from_row
from dftt.types import Score, Task


class Suite:
    """A set of tasks with its scorer. A new one names its source, and overrides `adapt` and `score` where it must.

    Attributes:
        name: As users write it.
        hub_id: Data set on the Hugging Face hub; empty where there is none.
        hub_config: Its configuration; None takes the only one.
        hub_split: Its split.
        homepage: Where the authors describe it.
        licence: Of the data.
        citation: The publication, in one line.
        columns: What the hub calls a column, and what `task_from_row` and `adapt` call it.
        template: The prompt of a task, with the row's own for {prompt}; empty where the row's is asked as it is.
        runs_code: Scoring runs the answer, so it needs leave to do so.
    """

    name: ClassVar[str]
    hub_id: ClassVar[str] = ""
    hub_config: ClassVar[str | None] = None
    hub_split: ClassVar[str] = "test"
    homepage: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    columns: ClassVar[Mapping[str, str]] = {}
    template: ClassVar[str] = ""
    runs_code: ClassVar[bool] = False

    def tasks(self, path: str | Path | None = None, questions: Sequence[str] = ()) -> list[Task]:
        """Tasks in the order of their source; each says in its metadata which `suite` it is of.

        Args:
            path: A file of rows (.jsonl, .ndjson, .json; .gz too), or a folder that holds a data set in the hub's
                layout. By default the hub's own data set, downloaded once by `datasets`.
            questions: For suites of documents; others ask their own.

        Raises:
            ValueError: The source is missing or cannot be read, or a row of it is not of this suite.
        """
        if questions:
            raise ValueError(f"suite {self.name} has questions of its own; leave data.questions out")
        rows = read_rows(path) if path is not None and not Path(path).is_dir() else self._hub_rows(path)
        kept = (row for row in rows if self.keeps(row.values))
        return make_tasks(kept, self.task, source=str(path or self.hub_id))

    def task(self, row: Mapping[str, Any], default_id: str) -> Task:
        """The task of one row, as the hub or a local file has it."""
        adapted = self.adapt({self.columns.get(key, key): value for key, value in row.items()})
        if self.template:
            adapted = with_prompt(adapted, self.template)
        return task_from_row({**adapted, "metadata": {**metadata_of(adapted), "suite": self.name}}, default_id)

    def keeps(self, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whether a row belongs to what is evaluated; some files hold several splits."""
        return True

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row, its columns renamed, in a form that `task_from_row` reads; by default it is in one already."""
        return row

    def score(self, task: Task, answer: str) -> Score:
        """Score of an answer; by default by the task's own rubrics."""
        return rubrics.score(task, answer)

    def _hub_rows(self, folder: str | Path | None) -> Iterator[Row]:
        if folder is None and not self.hub_id:
            raise ValueError(f"suite {self.name} is not on the hub; give its file with data.path")
        import datasets  # takes a second, and most runs read a file

        source = str(folder or self.hub_id)
        try:
            rows = datasets.load_dataset(source, self.hub_config, split=self.hub_split)
        except Exception as error:  # the hub, the network, the disk and the format each have errors of their own
            raise ValueError(
                f"suite {self.name} could not be loaded from {source} ({type(error).__name__}: {error}); "
                "give a local file with data.path, or in data.suites"
            ) from error
        for number, values in enumerate(rows):
            yield make_row(f"{source}, {self.hub_split} row {number}", f"{self.name}/{number}", dict(values))


def with_prompt(row: Mapping[str, Any], template: str, **values: Any) -> dict[str, Any]:
    """The row with its `prompt` put into a template's {prompt}; ValueError where it has none."""
    return {**row, "prompt": template.format(prompt=need_text(row, "prompt"), **values)}


def need_text(row: Mapping[str, Any], key: str) -> str:
    """The text under a key of a row; ValueError where there is none."""
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"`{key}` must be text, got {text!r}")
    return text
