"""What ids of arms say to those who have records alone."""

from __future__ import annotations

import pytest

from dftt.evaluation.arm_names import arm_parts
from dftt.study import Arm


@pytest.mark.parametrize(
    ("arm", "parts"),
    [
        (Arm("target"), ("target", 0.0, "none", "")),
        (Arm("guided", "own", -0.5), ("guided", -0.5, "own", "")),
        (Arm("guided", alpha=1.0, guidance={"rule": "cad"}), ("guided", 1.0, "none", "cad")),
        (
            Arm("guided", "own", 0.3, guidance={"rule": "own_minus_other", "top_k": 5}),
            ("guided", 0.3, "own,top_k=5", "own_minus_other"),
        ),
        (Arm("rerank", "own"), ("rerank", None, "own", "")),
    ],
)
def test_the_parts_of_an_id_are_those_of_the_arm(arm: Arm, parts: tuple[object, ...]) -> None:
    assert arm_parts(arm.id) == parts
