"""Grids: which arms they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from dftt.study import Arm, check_arms
from dftt.study.grid import expand
from dftt.types import DecodingSpec, TTTSpec
from tests.cli.test_cli import CONFIGS


def test_arms_are_the_product_in_the_order_of_the_axes() -> None:
    arms = expand({"mode": ["guided"], "temperature": [0.3, 1.0], "alpha": [0.1, 0.5], "ttt": ["none"]})
    assert [arm.id for arm in arms] == [
        "guided@0.1+none,T=0.3",
        "guided@0.5+none,T=0.3",
        "guided@0.1+none,T=1",
        "guided@0.5+none,T=1",
    ]


def test_axes_without_meaning_for_an_arm_do_not_repeat_it() -> None:
    grid = {
        "mode": ["target", "speculative", "guided"],
        "alpha": [0.1, 0.2],
        "ttt": ["none", "own"],
        "lr": [0.1, 1.0],
    }
    assert [arm.id for arm in expand(grid)] == [
        "target",
        "speculative+none",
        "speculative+own,lr=0.1",
        "speculative+own,lr=1",
        *("guided@0.1+none", "guided@0.1+own,lr=0.1", "guided@0.1+own,lr=1"),
        *("guided@0.2+none", "guided@0.2+own,lr=0.1", "guided@0.2+own,lr=1"),
    ]


def test_several_grids_stand_for_the_arms_of_each() -> None:
    drafting = {"mode": ["target", "speculative"], "ttt": ["none"]}
    guided = {"mode": ["guided", "target"], "alpha": [0.5], "guidance": [{"rule": "cad"}]}
    assert [arm.id for arm in expand([drafting, guided])] == ["target", "speculative+none", "guided:cad@0.5+none"]


def test_axes_go_to_the_modes_that_have_them() -> None:
    grid = {
        "mode": ["target", "speculative", "power", "rerank"],
        "temperature": [0.5, 1.0],
        "parameters": [None],
        "matched_to": ["guided@1+own"],
    }
    assert [arm.id for arm in expand({**grid, "matched_to": [""]})] == [
        *("target,T=0.5", "target,T=1", "speculative+none,T=0.5", "speculative+none,T=1"),
        *("power+none", "rerank+none,T=0.5", "rerank+none,T=1"),
    ]
    assert [arm.id for arm in expand({**grid, "mode": ["target", "power"]})] == ["target,T=guided@1+own", "power+none"]


def test_copies_take_no_axis_of_what_is_drawn_or_adapted() -> None:
    grid = {"mode": ["copy"], "temperature": [0.5, 1.0], "top_p": [0.9], "ttt": ["none", "own"], "taps": ["all", 0]}
    assert [arm.id for arm in expand({**grid, "steps": [2, 4]})] == ["copy"]
    whats = [{"what": "first_sentence"}, {"what": "passage"}]
    assert [arm.id for arm in expand({"mode": ["copy"], "parameters": whats})] == [
        *("copy,copy.what=first_sentence", "copy,copy.what=passage"),
    ]


def test_no_axes_are_no_arms() -> None:
    assert expand({}) == []


def test_rounds_and_taps_go_to_arms_that_have_them() -> None:
    grid = {"mode": ["target", "speculative"], "ttt": ["none", "own"], "rounds": [1, 2], "taps": ["all", 0]}
    assert [arm.id for arm in expand(grid)] == [
        "target",
        "speculative+none",
        "speculative+none,taps=0",
        *("speculative+own", "speculative+own,taps=0"),
        *("speculative+own,rounds=2", "speculative+own,taps=0,rounds=2"),
    ]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"alhpa": [1]}, "unknown axis 'alhpa'; choose from mode, ttt, alpha"),
        ({"alpha": []}, r"evaluator.grid.alpha must be a list of at least one value, got \[\]"),
        ({"mode": "guided"}, "evaluator.grid.mode must be a list of at least one value, got 'guided'"),
        ({"ttt": ["own"], "rank": [0]}, "ttt.rank must be >= 1, got 0"),
        ({"ttt": ["others"]}, "unknown ttt 'others'"),
    ],
)
def test_senseless_grids_are_refused(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(grid)


@pytest.mark.parametrize(
    ("name", "arms"),
    [
        ("matrix", 33),
        ("sweep", 61),
        ("sweep_axes", 21),
        ("layers", 16),
        ("rounds", 9),
        ("self_study", 11),
        ("pilot", 14),
        ("worlds", 5),
        ("ttt_documents", 3),
        ("guidance", 56),
        ("controls", 36),
        ("on_policy", 4),
        ("context_use", 54),
    ],
)
def test_shipped_grids_have_so_many_arms(name: str, arms: int) -> None:
    shipped = yaml.safe_load((CONFIGS / "experiment" / f"{name}.yaml").read_text())
    config = shipped["evaluator"]
    study = [*(Arm(**arm) for arm in config.get("arms", [])), *expand(config.get("grid", {}))]
    assert len(study) == arms
    decoding = DecodingSpec(**config["decoding"])
    ttt = shipped["model"]["ttt"] if isinstance(shipped["model"], dict) else {}
    check_arms(study, config["baseline"], decoding, TTTSpec(**ttt))


@pytest.mark.parametrize("name", ["rounds", "on_policy"])
def test_shipped_ways_to_learn_are_compared_at_equal_steps(name: str) -> None:
    config = yaml.safe_load((CONFIGS / "experiment" / f"{name}.yaml").read_text())["evaluator"]
    base = TTTSpec(steps=31)
    taken = {
        arm.id: sum(
            spec.before_answer().steps + spec.steps_of("generation")
            for spec in (arm.ttt_spec(base, number=number) for number in range(arm.rounds))
        )
        for arm in expand(config["grid"])
        if arm.ttt != "none"
    }
    assert len(taken) >= 3
    assert set(taken.values()) == {31}


def test_the_former_name_of_an_axis_still_counts() -> None:
    modes = {"mode": ["speculative", "guided"], "alpha": [0.3]}
    assert expand({**modes, "source": ["none", "own"]}) == expand({**modes, "ttt": ["none", "own"]})
    with pytest.raises(ValueError, match=r"evaluator\.grid has ttt and source, its former name: leave source out"):
        expand({"source": ["own"], "ttt": ["own"]})
