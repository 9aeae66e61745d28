"""What adapting costs, and after how many tokens it has paid."""

from typing import Any

import pytest

from dftt.report.costs import cost_of
from dftt.types import Record

STUDY = {"texts": 2, "tokens": 9, "seconds": 3.0, "share_of_answer": 0.0}
ADAPTED = {"seconds": 5.0, "study": STUDY}


def record(*, seconds: float, adaptation: dict[str, Any] | None = None) -> Record:
    return Record(
        task_id="a/1",
        context_id="a",
        arm="an arm",
        seed=0,
        spec_hash="",
        answer="",
        token_ids=tuple(range(10)),
        acceptance_lengths=(10,),
        finish_reason="eos",
        seconds=seconds,
        target_calls=1,
        prompt_tokens=1,
        adaptation=adaptation or {},
    )


def test_what_the_target_wrote_counts_as_adapting() -> None:
    cost = cost_of([record(seconds=1.0, adaptation=ADAPTED)])
    assert (cost.adapting_s, cost.writing_s, cost.learning_s) == (8.0, 3.0, 5.0)
    assert cost_of([record(seconds=1.0, adaptation={"seconds": 5.0})]).writing_s == 0


def test_an_adaptation_pays_after_what_it_saves() -> None:
    """0.2 s a token become 0.1 s: the 8 s of adapting are saved after 80 tokens."""
    plain = cost_of([record(seconds=2.0)])
    assert cost_of([record(seconds=1.0, adaptation=ADAPTED)]).pays_after(plain) == pytest.approx(80)
    assert plain.pays_after(plain) is None
