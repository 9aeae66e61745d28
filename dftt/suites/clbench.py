"""CL-bench: learning from a context; rubrics for a judge. Its data card allows evaluation only: that is kept here."""

from __future__ import annotations

from collections.abc import Iterable

from dftt.suites.base import Suite
from dftt.types import Task

NOTICE = (
    "CL-bench's data card allows evaluation, testing and benchmarking only, and forbids training or any parameter "
    "update on it. Test-time training on its contexts is for research, is to be disclosed with any result and stays "
    "off its leaderboard; the adapter is discarded after use."
)


class CLBench(Suite):
    """Rows hold `messages` (earlier turns and their answers included), `rubrics` and `metadata`.

    Tasks with the same `context_id` share a context; a row without one is a context of its own. The rubrics are for a
    judge, so a program leaves the answers unscored.
    """

    name = "clbench"
    hub_id = "tencent/CL-bench"
    hub_split = "train"  # the only one, so called by `datasets`
    homepage = "https://www.clbench.com"
    licence = "CL-bench data card: evaluation, testing and benchmarking only; no training or parameter updates"
    citation = "CL-bench: A Benchmark for Context Learning, 2026, arXiv:2602.03587"


def clbench_contexts(tasks: Iterable[Task]) -> list[str]:
    """Ids of the contexts of the suite, or whose rows carry CL-bench's metadata, in order, each once.

    A row of another suite in the same schema says so in its metadata: `suite`, with a name of its own.
    """
    fields = {"context_category", "sub_category"}
    found = [
        task.context_id
        for task in tasks
        if task.metadata.get("suite") == CLBench.name
        or (not task.metadata.get("suite") and fields <= set(task.metadata))
    ]
    return list(dict.fromkeys(found))
