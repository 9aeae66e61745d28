"""What CONTRIBUTING promises a stranger: a suite is a class and a line, an arm's setting a field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from dftt.data import ContextDataModule
from dftt.study.grid import expand
from dftt.suites.base import Suite, with_prompt
from dftt.suites.registry import SUITES, score_answer
from dftt.types import DecodingSpec, TTTSpec
from dftt.types.arms import DRAFTING, Arm
from tests.commands import Commands

# Of each setting of an adaptation that a default of another kind would not do for, a value that differs from it.
OTHERWISE = {"loss": "ce", "modules": ["fc"], "learns_from": "self_study", "held_out": 5, "store": "kept"}
DRAFTED = {"drafter": "hybrid", "lookup_suffix": 3, "lookup_study": True, "draft_window": 9, "draft_sinks": 2}


class Riddles(Suite):
    """Riddles with a phrase as answer."""

    name = "riddles"
    hub_id = ""
    homepage = ""
    licence = "CC0"
    citation = ""

    def adapt(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row's question as a prompt, its answer as a checkable rubric."""
        rubric = {"type": "contains", "any_of": [row["answer"]]}
        return {**with_prompt({"prompt": row["question"]}, "{prompt}"), "rubrics": [rubric]}


def test_a_new_suite_is_a_class_and_a_line(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "riddles", Riddles())
    path = commands.write([{"question": "What has keys and no locks?", "answer": "piano"}])
    data = ContextDataModule(path=str(path), suite="riddles")
    data.prepare_data()
    data.setup("test")
    (task,) = data.items()[0].tasks
    assert task.messages[0]["content"] == "What has keys and no locks?"
    assert [score_answer(task, answer).passed for answer in ("A piano.", "A door.")] == [True, False]


@pytest.mark.parametrize("name", [each.name for each in fields(TTTSpec)])
def test_a_setting_of_adaptation_is_an_axis_at_once(name: str) -> None:
    default = getattr(TTTSpec(), name)
    value = OTHERWISE.get(
        name, not default if isinstance(default, bool) else default / 2 if isinstance(default, float) and default else 7
    )
    if name == "study_prompts":
        value = str(Path(__file__))
    (arm,) = expand({"source": ["own"], name: [value]})
    assert getattr(arm.ttt_spec(TTTSpec()), name) == (tuple(value) if isinstance(value, list) else value)
    assert f"{name}=" in arm.id


@pytest.mark.parametrize("name", DRAFTING)
def test_a_setting_of_what_proposes_is_an_arms(name: str) -> None:
    needed = {"lookup_study": {"drafter": "hybrid"}, "draft_sinks": {"draft_window": 9}}.get(name, {})
    value = DRAFTED.get(name, 4)
    arm = Arm(ttt="own", drafting={**needed, name: value})
    assert getattr(arm.decoding(DecodingSpec()), name) == value
    assert f"{name}=" in arm.id
