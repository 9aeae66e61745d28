"""Intervals cover and families err as they say, on made-up studies of few contexts with several seeds."""

from __future__ import annotations

import pytest

from benchmarks.coverage import coverage, family_error, main
from dftt.analysis.arm_roles import Measure


@pytest.mark.parametrize("measure", ["pass rate", "tau"])
@pytest.mark.parametrize(
    ("contexts", "trials"),
    [(8, 200), pytest.param(12, 600, marks=pytest.mark.slow), pytest.param(24, 400, marks=pytest.mark.slow)],
)
def test_intervals_of_few_contexts_cover(contexts: int, trials: int, measure: Measure) -> None:
    """A percentile bootstrap covers 84 % at five contexts and 91 % at twelve; so many draws err by 1 to 2 %."""
    assert coverage(contexts, measure, trials) >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["pass rate", "tau"])
def test_a_family_claims_nothing_where_nothing_is(measure: Measure) -> None:
    """McNemar on tasks and seeds, with Holm, claimed something in a quarter of such studies."""
    assert family_error(8, measure, 60) <= 0.1


def test_the_command_prints_a_row_per_number(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--trials", "2", "--contexts", "5", "8"])
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["5", "8"]
