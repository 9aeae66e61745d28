"""What the id of an arm says, for tables and pictures that only have records."""

from __future__ import annotations

import re
from typing import NamedTuple

_ARM = re.compile(
    r"(?P<mode>[a-z_]+)(?::(?P<rule>[a-z_]+))?(?:@(?P<alpha>[-+]?[0-9.]+(?:e[-+]?\d+)?))?(?:\+(?P<ttt>.+))?"
)


class ArmParts(NamedTuple):
    """The parts of an arm's id.

    Args:
        mode: Its mode.
        alpha: Guidance weight; 0 for mode target, None where the id names none.
        ttt: What follows: the adaptation and the arm's own settings.
        rule: Rule of guidance; empty where the id names none.
    """

    mode: str
    alpha: float | None
    ttt: str
    rule: str = ""


def arm_parts(arm: str) -> ArmParts:
    """The parts of an id such as "guided@0.3+own"; an id of another form is a mode of its own."""
    match = _ARM.fullmatch(arm)
    if match is None:
        return ArmParts(arm, None, "none")
    mode = match["mode"]
    alpha = 0.0 if mode == "target" else None if match["alpha"] is None else float(match["alpha"])
    return ArmParts(mode, alpha, match["ttt"] or "none", match["rule"] or "")
