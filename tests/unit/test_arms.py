"""Arms as values: what arms.json gives back, in every format that there was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dftt.analysis.arms_file import read_arms, write_arms
from dftt.types import DecodingSpec, TTTSpec
from dftt.types.arms import Arm

ARMS = (
    Arm("target", temperature=0.6),
    Arm(),
    Arm(ttt="own", rounds=3, ttt_overrides={"steps": 9, "modules": ("fc",)}),
    Arm(ttt="own", taps=2),
    Arm("guided", "wrong", -0.3),
    Arm("guided", "own", 0.5, guidance={"rule": "own_minus_base", "top_k": 50}),
    Arm("target", matched_to="guided@-0.3+wrong"),
    Arm("power", parameters={"alpha": 4.0}),
    Arm("rerank", parameters={"by": "target"}, top_p=0.9),
    Arm("copy", parameters={"what": "last_sentence"}),
    Arm(ttt="own", name="mine"),
)
TTT, DECODING = TTTSpec(steps=2, lr=0.5), DecodingSpec(temperature=0.7, top_p=0.8)


def test_arms_json_gives_back_the_arms_of_the_study(tmp_path: Path) -> None:
    write_arms(tmp_path, ARMS, TTT, DECODING)
    read = read_arms(tmp_path).arms
    assert [arm.id for arm in read] == [arm.id for arm in ARMS]
    for arm, back in zip(ARMS, read, strict=True):
        assert back.decoding(DecodingSpec()) == replace(arm.decoding(DECODING), temperature=back.temperature or 0.0)
        assert back.temperature == (None if arm.matched_to else arm.decoding(DECODING).temperature)
        assert (back.mode, back.ttt, back.rule, back.taps) == (arm.mode, arm.ttt, arm.rule, arm.taps)
        if arm.ttt != "none":
            assert TTTSpec(**back.ttt_overrides) == replace(TTT, **arm.ttt_overrides)
    assert [Arm.from_json(json.loads(json.dumps(arm.to_json()))) for arm in read] == list(read)


@pytest.mark.parametrize(
    "study", sorted(Path(__file__).parents[2].glob("benchmarks/*/arms.json")), ids=lambda p: p.parent.name
)
def test_arms_of_committed_studies_load(study: Path) -> None:
    rows = json.loads(study.read_text())
    rows = rows if isinstance(rows, list) else rows["arms"]
    arms = read_arms(study.parent).arms
    assert [arm.id for arm in arms] == [row["id"] for row in rows]
    assert [arm.alpha for arm in arms] == [row["alpha"] for row in rows]


def test_what_an_old_arm_does_not_say_has_its_default() -> None:
    arm = Arm.from_json({"id": "speculative+own,lr=0.1", "mode": "speculative", "ttt": "own"})
    assert arm == Arm(ttt="own", name="speculative+own,lr=0.1", temperature=0.0, top_p=1.0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a", "beta": 1}, "unknown setting 'beta'"),
        ({"mode": "target"}, "no id among"),
        ({"id": "a", "mode": "magic"}, "unknown mode 'magic'"),
    ],
)
def test_an_arm_that_is_none_is_named(row: dict[str, object], message: str, tmp_path: Path) -> None:
    (tmp_path / "arms.json").write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=message) as said:
        read_arms(tmp_path)
    assert "arms.json cannot be read" in str(said.value)


def test_a_name_takes_the_place_of_the_settings() -> None:
    assert Arm(ttt="own", name="mine").id == "mine"
    assert Arm("guided", alpha=0.2, name="mine").family == Arm("guided", alpha=0.7).family
