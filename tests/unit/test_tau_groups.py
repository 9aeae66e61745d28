"""Tau by group: which groups there are, and when they have intervals."""

from __future__ import annotations

import pytest

from dftt.analysis.summary import format_groups, tau_by_group
from dftt.scoring.repetition import repeated_share, repetition_group
from dftt.types import DecodingSpec, Record, TTTSpec
from dftt.types.arms import Arm

LOOP, PROSE = tuple(range(10)) * 10, tuple(range(100))
NONE, OWN = "speculative+none", "speculative+own"
ARMS = [Arm(ttt=ttt).within(TTTSpec(), DecodingSpec()) for ttt in ("none", "own")]


def answer(number: int, arm: str, tokens: tuple[int, ...], *lengths: int, suite: str = "worlds") -> Record:
    return Record(
        f"t{number}",
        f"c{number}",
        arm,
        0,
        "",
        token_ids=tokens,
        acceptance_lengths=lengths,
        prompt_tokens=100,
        metadata={"suite": suite},
    )


def test_repeated_share_by_hand() -> None:
    assert repeated_share(()) == repeated_share((1, 2, 3)) == repeated_share(PROSE) == 0.0
    assert repeated_share((5,) * 9) == 0.5  # two runs of 8, equal
    assert repeated_share(LOOP) == pytest.approx(1 - 10 / 93)  # ten places to begin at, 93 runs


@pytest.mark.parametrize(
    ("tokens", "group"), [((), ""), (PROSE, "0-10 %"), (PROSE + PROSE[:30], "10-50 %"), (LOOP, "50-100 %")]
)
def test_groups_of_repetition(tokens: tuple[int, ...], group: str) -> None:
    assert repetition_group(answer(0, NONE, tokens, 1)) == group


def test_a_gain_on_loops_alone_shows_as_such() -> None:
    """A draft that learns from its answer gained on answers that went round in circles, and on no other."""
    records = [answer(n, NONE, PROSE if n < 6 else LOOP, *([2] * 50)) for n in range(12)]
    records += [answer(n, OWN, PROSE if n < 6 else LOOP, *([2] * 50 if n < 6 else [4] * 25)) for n in range(12)]
    rows = {(row["group"], row["arm"]): row for row in tau_by_group(records, ARMS) if row["by"] == "repetition"}
    assert rows["0-10 %", OWN]["tau_difference"] == 0.0
    assert rows["50-100 %", OWN]["tau_difference"] == 2.0
    assert rows["50-100 %", OWN]["tau_low"] == 4.0


def test_small_groups_have_no_intervals() -> None:
    records = [answer(n, arm, PROSE, 2, n + 1) for n in range(9) for arm in (NONE, OWN)]
    records += [answer(n, arm, PROSE, 2, n, suite="babi") for n in range(20, 24) for arm in (NONE, OWN)]
    rows = {(row["group"], row["arm"]): row for row in tau_by_group(records, ARMS) if row["by"] == "suite"}
    assert rows["worlds", OWN]["tau_low"] is not None
    few = rows["babi", OWN]
    assert few["tau"] is not None
    assert [few[name] for name in ("tau_low", "tau_high", "tau_difference_low", "tau_difference_high")] == [None] * 4
    assert "repetition" not in format_groups([*rows.values()])
