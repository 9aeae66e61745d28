"""Settings of the baselines, checked before any model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dftt.types import LEAST_TEMPERATURE
from dftt.types.checks import at_least, of_declared_types, one_of, whole


@dataclass(frozen=True)
class PowerSpec:
    """Power Sampling: answers drawn in proportion to p(answer) ** alpha (arXiv 2510.14901).

    Args:
        alpha: The power, at least 1; proposals are drawn at temperature 1 / alpha.
        blocks: The answer grows in so many equal blocks, each followed by Metropolis-Hastings steps on all of it.
        steps: Metropolis-Hastings steps after each block.
    """

    alpha: float = 4.0
    blocks: int = 16
    steps: int = 10

    def __post_init__(self) -> None:
        of_declared_types("power", self)
        at_least("power.alpha", self.alpha, 1)
        if self.alpha > 1 / LEAST_TEMPERATURE:
            raise ValueError(f"power.alpha must be at most {1 / LEAST_TEMPERATURE:g}, got {self.alpha}")
        whole("power.blocks", self.blocks, 1)
        whole("power.steps", self.steps, 0)


@dataclass(frozen=True)
class RerankSpec:
    """The best of several samples by mean log-probability per token.

    Args:
        by: Who judges: target, or draft (slot 1, under the adapter that is decoded under).
        samples: How many are drawn.
    """

    by: Literal["target", "draft"] = "draft"
    samples: int = 8

    def __post_init__(self) -> None:
        one_of("rerank.by", self.by, ("target", "draft"))
        of_declared_types("rerank", self)
        whole("rerank.samples", self.samples, 2)
