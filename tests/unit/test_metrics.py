import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftt.analysis.frame import tau_per_prompt
from dftt.analysis.metrics import AcceptanceLength, PassRate
from dftt.analysis.summary import summarise
from dftt.types import Record


def record(number: int, lengths: list[int]) -> Record:
    return Record(
        task_id=f"t{number}",
        context_id=f"c{number % 3}",
        arm="a",
        seed=0,
        spec_hash="h",
        acceptance_lengths=tuple(lengths),
    )


def test_tau_weighs_every_step_the_same():
    metric = AcceptanceLength()
    metric.update([4, 4, 4])
    metric.update([1])
    assert metric.compute().item() == pytest.approx(13 / 4)


def test_tau_per_prompt_weighs_every_prompt_the_same():
    assert tau_per_prompt([record(0, [4, 4, 4]), record(1, [1]), record(2, [])]) == pytest.approx(2.5)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_tau_without_steps_is_nan():
    metric = AcceptanceLength()
    metric.update([])
    assert math.isnan(metric.compute())


def test_tau_per_prompt_without_steps_is_nan():
    assert math.isnan(tau_per_prompt([record(0, [])]))


def test_acceptance_length_without_the_bonus_token_is_refused():
    with pytest.raises(ValueError, match="bonus"):
        AcceptanceLength().update([0, 3])


def test_reset_forgets_all_steps():
    metric = AcceptanceLength()
    metric.update([5])
    metric.reset()
    metric.update([2])
    assert metric.compute().item() == 2


@given(st.lists(st.lists(st.integers(1, 16), max_size=5), min_size=1, max_size=6).filter(any))
def test_tau_of_records_equals_tau_of_the_metric(lengths):
    metric = AcceptanceLength()
    for row in lengths:
        metric.update(row)
    (summary,) = summarise([record(number, row) for number, row in enumerate(lengths)])
    assert summary["tau"] == pytest.approx(metric.compute().item(), rel=1e-6)


def test_states_of_two_processes_sum_to_the_whole():
    whole, first, second = AcceptanceLength(), AcceptanceLength(), AcceptanceLength()
    whole.update([3, 5, 1])
    first.update([3, 5])
    second.update([1])
    assert first.committed + second.committed == whole.committed
    assert first.steps + second.steps == whole.steps


def test_unscored_answers_do_not_lower_the_pass_rate():
    metric = PassRate()
    for passed in (True, None, False, None):
        metric.update(passed)
    assert metric.compute().item() == 0.5
    assert (metric.scored.item(), metric.unscored.item()) == (2, 2)


def test_pass_rate_without_a_scored_answer_is_nan():
    metric = PassRate()
    metric.update(None)
    assert math.isnan(metric.compute())
