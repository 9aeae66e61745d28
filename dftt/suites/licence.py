"""CL-bench's data card allows evaluation only; this is where that is kept."""

from __future__ import annotations

from collections.abc import Iterable

from dftt.types import Task

NOTICE = (
    "CL-bench's data card allows evaluation, testing and benchmarking only, and forbids training or any parameter "
    "update on it. Test-time training on its contexts is for research, is to be disclosed with any result and stays "
    "off its leaderboard; the adapter is discarded after use."
)
CLBENCH = "clbench"  # the suite's name
_FIELDS = {"context_category", "sub_category"}


def clbench_contexts(tasks: Iterable[Task]) -> list[str]:
    """Ids of the contexts of the suite, or whose rows carry CL-bench's metadata, in order, each once.

    A row of another suite in the same schema says so in its metadata: `suite`, with a name of its own.
    """
    found = [task.context_id for task in tasks if _is_clbench(task)]
    return list(dict.fromkeys(found))


def _is_clbench(task: Task) -> bool:
    suite = task.metadata.get("suite")
    return suite == CLBENCH or (not suite and set(task.metadata) >= _FIELDS)
