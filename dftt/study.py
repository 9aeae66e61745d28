"""Arms: what is compared on equal prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dftt.types import MODES, DecodingSpec, Mode

Source = Literal["none", "own", "wrong"]
SOURCES: tuple[str, ...] = ("none", "own", "wrong")


@dataclass(frozen=True)
class Arm:
    """One setting of a study.

    Args:
        mode: target, speculative or guided.
        ttt: What the draft was adapted to: none, own (the task's context) or wrong (another context: the control).
        alpha: Guidance weight, for mode guided.
    """

    mode: Mode = "speculative"
    ttt: Source = "none"
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"arm: unknown mode {self.mode!r}; choose from {', '.join(MODES)}")
        if self.ttt not in SOURCES:
            raise ValueError(f"arm: unknown ttt {self.ttt!r}; choose from {', '.join(SOURCES)}")
        if self.mode == "target" and self.ttt != "none":
            raise ValueError(f"arm: mode target never looks at the draft, so ttt {self.ttt!r} has no meaning; use none")
        if self.mode != "guided" and self.alpha != 0:
            raise ValueError(f"arm: alpha {self.alpha} needs mode guided, got mode {self.mode}")
        replace(DecodingSpec(), mode=self.mode, alpha=self.alpha)  # refuses an alpha that is not a number

    @property
    def id(self) -> str:
        """Stable name: mode, alpha where guided, and what the draft was adapted to."""
        strength = f"@{self.alpha:g}" if self.mode == "guided" else ""
        source = "" if self.mode == "target" else f"+{self.ttt}"
        return f"{self.mode}{strength}{source}"

    def decoding(self, base: DecodingSpec) -> DecodingSpec:
        """The decoding spec of this arm: `base` with the arm's mode and alpha."""
        return replace(base, mode=self.mode, alpha=self.alpha)


def check_arms(arms: Sequence[Arm], baseline: str) -> None:
    """Raise ValueError where two arms are the same or the baseline is none of them."""
    ids = [arm.id for arm in arms]
    if not ids:
        raise ValueError("evaluator.arms is empty: name at least one arm")
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"evaluator.arms names {', '.join(repeated)} more than once")
    if baseline not in ids:
        raise ValueError(f"evaluator.baseline {baseline!r} is not an arm; arms are {', '.join(ids)}")
