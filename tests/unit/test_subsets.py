"""Subsets of contexts."""

from __future__ import annotations

from typing import Any

import pytest

from dftt.data import ContextDataModule
from dftt.suites.subsets import fraction_of, of_categories, of_lengths
from dftt.types import Task

CONTEXTS = {
    f"{category}{number}": [Task(f"{category}{number}/0", f"{category}{number}", (), metadata={"category": category})]
    for category, count in (("a", 40), ("b", 20), ("c", 3))
    for number in range(count)
}


def test_fraction_keeps_the_shares_and_at_least_one_of_each() -> None:
    kept = list(fraction_of(CONTEXTS, 0.1, seed=0))
    assert [sum(name.startswith(category) for name in kept) for category in "abc"] == [4, 2, 1]
    assert kept == [name for name in CONTEXTS if name in kept]


def test_larger_fractions_hold_smaller_ones_and_seeds_differ() -> None:
    small, large = fraction_of(CONTEXTS, 0.2, seed=1), fraction_of(CONTEXTS, 0.5, seed=1)
    assert set(small) < set(large)
    assert set(small) != set(fraction_of(CONTEXTS, 0.2, seed=2))
    assert fraction_of(CONTEXTS, 1.0, seed=0) == CONTEXTS


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, None])
def test_senseless_fractions_are_refused(fraction: Any) -> None:
    with pytest.raises(ValueError, match=r"data\.fraction must be above 0 and at most 1"):
        fraction_of(CONTEXTS, fraction, seed=0)


def test_categories() -> None:
    assert list(of_categories(CONTEXTS, ["c"])) == ["c0", "c1", "c2"]
    with pytest.raises(ValueError, match=r"no context of category 'd'; there are a, b, c"):
        of_categories(CONTEXTS, ["d"])


def test_lengths_choose_tasks() -> None:
    contexts = {"x": [Task("short", "x", ()), Task("long", "x", ())], "y": [Task("short too", "y", ())]}
    kept = of_lengths(contexts, ["4-8k"], lambda task: 5000 if task.task_id == "long" else 10)
    assert {name: [task.task_id for task in tasks] for name, tasks in kept.items()} == {"x": ["long"]}
    with pytest.raises(ValueError, match="no prompt is of length 64k"):
        of_lengths(contexts, ["64k+"], lambda task: 10)


def test_data_module_takes_subsets() -> None:
    assert len(ContextDataModule(fraction=0.5).contexts) == 2  # one of each category
    assert len(ContextDataModule(categories=["Rule System Application"]).contexts) == 1
    with pytest.raises(ValueError, match=r"data\.length_buckets: unknown '5k'; choose from 0-4k"):
        ContextDataModule(length_buckets=["5k"])
    with pytest.raises(ValueError, match=r"data\.suites stands alone"):
        ContextDataModule(suite="gsm8k", suites={"gsm8k": None})
