"""Arms: their names, their decoding settings, and what makes no sense."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dftt.study import Arm, check_arms
from dftt.types import DecodingSpec


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        (Arm("target"), "target"),
        (Arm(), "speculative+none"),
        (Arm("speculative", "wrong"), "speculative+wrong"),
        (Arm("guided", "own", 0.5), "guided@0.5+own"),
        (Arm("guided", "none", -1.0), "guided@-1+none"),
    ],
)
def test_id_names_mode_strength_and_source(arm: Arm, name: str) -> None:
    assert arm.id == name


def test_decoding_takes_all_but_mode_and_alpha_from_the_base() -> None:
    base = DecodingSpec(mode="target", max_new_tokens=7, temperature=0.6, seed=3)
    spec = Arm("guided", "own", 0.3).decoding(base)
    assert (spec.mode, spec.alpha) == ("guided", 0.3)
    assert (spec.max_new_tokens, spec.temperature, spec.seed) == (7, 0.6, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "fast"}, "unknown mode 'fast'; choose from target, speculative, guided"),
        ({"ttt": "others"}, "unknown ttt 'others'; choose from none, own, wrong"),
        ({"mode": "target", "ttt": "own"}, "never looks at the draft"),
        ({"mode": "speculative", "alpha": 0.5}, "alpha 0.5 needs mode guided"),
        ({"mode": "guided", "alpha": math.nan}, "must be a finite number, got nan"),
        ({"mode": "guided", "alpha": math.inf}, "must be a finite number, got inf"),
    ],
)
def test_senseless_arms_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arm(**fields)


@pytest.mark.parametrize(
    ("arms", "baseline", "message"),
    [
        ([], "target", "evaluator.arms is empty"),
        ([Arm(), Arm()], "speculative+none", r"names speculative\+none more than once"),
        ([Arm("guided", alpha=0.5), Arm("guided", alpha=0.50)], "target", "more than once"),
        ([Arm()], "target", r"'target' is not an arm; arms are speculative\+none"),
    ],
)
def test_senseless_studies_are_refused(arms: list[Arm], baseline: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arms(arms, baseline)


def test_a_sensible_study_passes() -> None:
    check_arms([Arm("target"), Arm(), Arm("guided", alpha=0.2), Arm("guided", alpha=0.3)], "target")
