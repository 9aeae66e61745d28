"""Parts of a suite: a fraction that keeps the shares of its categories, some categories, some lengths."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from dftt.suites.tasks import LENGTH_BUCKETS, length_bucket
from dftt.types import Task

Contexts = Mapping[str, Sequence[Task]]


def category_of(task: Task) -> str:
    """The category that a task's metadata names; empty where there is none."""
    return str(task.metadata.get("context_category") or task.metadata.get("category") or "")


def fraction_of(contexts: Contexts, fraction: float, *, seed: int) -> dict[str, Sequence[Task]]:
    """So large a part of the contexts of each suite and category, rounded, at least one of each; the order stays.

    A larger fraction of the same seed holds the smaller one, so that its records are taken over.

    Raises:
        ValueError: fraction is not above 0 and at most 1.
    """
    # The parser lets a null through among the arguments of a class.
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"data.fraction must be above 0 and at most 1, got {fraction}")
    strata: dict[str, list[str]] = {}
    for name, tasks in contexts.items():
        suite = tasks[0].metadata.get("suite", "")
        strata.setdefault(f"{suite} {category_of(tasks[0])}", []).append(name)
    kept = set()
    for stratum, names in strata.items():
        random.Random(f"{seed} {stratum}").shuffle(names)
        kept.update(names[: max(1, round(fraction * len(names)))])
    return {name: tasks for name, tasks in contexts.items() if name in kept}


def of_categories(contexts: Contexts, categories: Sequence[str]) -> dict[str, Sequence[Task]]:
    """Contexts whose first task is of one of the categories; ValueError, with those there are, for another one."""
    known = {category_of(tasks[0]) for tasks in contexts.values()}
    if missing := [name for name in categories if name not in known]:
        there = ", ".join(sorted(known - {""})) or "none"
        raise ValueError(f"data.categories: no context of category {missing[0]!r}; there are {there}")
    return {name: tasks for name, tasks in contexts.items() if category_of(tasks[0]) in categories}


def of_lengths(
    contexts: Contexts, buckets: Sequence[str], length_of: Callable[[Task], int]
) -> dict[str, Sequence[Task]]:
    """Contexts with their tasks whose prompts are of one of the length classes, such as "4-8k".

    Raises:
        ValueError: No prompt is of these lengths.
    """
    kept: dict[str, Sequence[Task]] = {}
    for name, tasks in contexts.items():
        if fitting := tuple(task for task in tasks if length_bucket(length_of(task)) in buckets):
            kept[name] = fitting
    if not kept:
        raise ValueError(
            f"data.length_buckets: no prompt is of length {', '.join(buckets)} with this target's tokenizer"
        )
    return kept


def check_buckets(buckets: Sequence[str]) -> None:
    """Raise ValueError for a name that is no length class."""
    for name in buckets:
        if name not in LENGTH_BUCKETS:
            raise ValueError(f"data.length_buckets: unknown {name!r}; choose from {', '.join(LENGTH_BUCKETS)}")
