"""What makes an answer, by a name and parameters: a rule of guidance, or a baseline made of lossless answers.

    name                                        parameters                          becomes
    a rule of guidance (a key of RULES)         alpha, fields of GuidanceSpec       mode guided with that GuidanceSpec
    power                                       alpha, blocks, steps                generate_power
    rerank                                      by, samples                         generate_reranked

Two arms of a study are no methods: a copied part of the passage (CopySpec), which no model makes, and the target at the
temperature that `matched_temperature` finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from dftt.types import LEAST_TEMPERATURE
from dftt.types.checks import check_fields
from dftt.types.guidance import RULES, GuidanceSpec


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
        check_fields("power", self, alpha=1, blocks=1, steps=0)
        if self.alpha > 1 / LEAST_TEMPERATURE:
            raise ValueError(f"power.alpha must be at most {1 / LEAST_TEMPERATURE:g}, got {self.alpha}")


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
        check_fields("rerank", self, samples=2)


@dataclass(frozen=True)
class CopySpec:
    """A part of the task's passage as the answer: what no model passes by itself, the floor of a suite.

    Args:
        what: first_tokens, first_sentence, last_sentence, or all of the passage.
        tokens: How many tokens of the target first_tokens copies.
    """

    what: Literal["first_tokens", "first_sentence", "last_sentence", "passage"] = "first_tokens"
    tokens: int = 32

    def __post_init__(self) -> None:
        check_fields("copy", self, tokens=1)
        if self.what != "first_tokens" and self.tokens != CopySpec.tokens:
            raise ValueError(f"copy.tokens {self.tokens} needs copy.what first_tokens, got {self.what}; leave it out")


Method = GuidanceSpec | PowerSpec | RerankSpec
METHODS: tuple[str, ...] = (*RULES, "power", "rerank")
Baseline = PowerSpec | RerankSpec | CopySpec
_BASELINES: Mapping[str, type[Baseline]] = {"power": PowerSpec, "rerank": RerankSpec, "copy": CopySpec}
BASELINES: tuple[str, ...] = tuple(_BASELINES)


def make_method(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """The settings of a method by its name, checked without a model.

    Raises:
        ValueError: If the name or a parameter is unknown, or a value out of range.
    """
    if name not in METHODS:
        raise ValueError(f"method: unknown {name!r}; choose from {', '.join(METHODS)}")
    if name in BASELINES:
        return _made(_BASELINES[name], name, parameters)
    return _made(GuidanceSpec, name, parameters, rule=name)


def make_baseline(name: str, parameters: Mapping[str, Any] | None = None) -> Baseline:
    """The settings of one of BASELINES by its name; raises ValueError as `make_method`."""
    return _made(_BASELINES[name], name, parameters)


def _made(kind: type, name: str, parameters: Mapping[str, Any] | None, **fixed: str) -> Any:
    """A spec of this kind from given parameters and fixed ones, which may not be given."""
    accepted = [field.name for field in fields(kind) if field.name not in fixed]
    given = dict(parameters or {})
    if unknown := sorted(set(given) - set(accepted)):
        raise ValueError(f"method {name}: unknown parameters {', '.join(unknown)}; it takes {', '.join(accepted)}")
    return kind(**fixed, **given)
