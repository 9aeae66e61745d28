"""What guides the target: one rule with named parts, and the settings of it that have a name in the literature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dftt.types.checks import check_fields, finite, one_of, share

# Where logits come from, beside early_exit:8 and dola:2,4,6, which name layers.
PLAIN_SOURCES: tuple[str, ...] = (
    "target",  # the target itself
    "draft",  # slot 1 of the draft under the adapter that is decoded under
    "base",  # slot 1 of the draft without any adapter
    "other",  # slot 1 of the draft under the adapter of another context
    "generic",  # slot 1 of the draft under an adapter made over many contexts
    "without_context",  # the target, which has read the question alone
    "amateur",  # a smaller model of the same vocabulary
    "uniform",  # the same logit for every token
    "noise:spread",  # target + Gaussian noise as large as draft - target, both without their mean over the vocabulary
    "noise:norm",  # the same with their mean, which softmax ignores: louder noise, the control of earlier studies
    "dola",  # of some early layers of the target, the one that differs most; the same as dola:low
    "dola:low",
    "dola:high",
)

# Numerator and reference; the plausibility that the method's authors use, where they use one.
RULES: dict[str, tuple[str, str, float]] = {
    "interpolate": ("draft", "target", 0.0),
    "contrast": ("target", "draft", 0.0),
    "own_minus_other": ("draft", "other", 0.0),
    "own_minus_generic": ("draft", "generic", 0.0),
    "own_minus_base": ("draft", "base", 0.0),
    "cad": ("target", "without_context", 0.0),  # arXiv 2305.14739
    "contrastive": ("target", "amateur", 0.1),  # arXiv 2309.09117: (1 + alpha) expert - alpha amateur
    "contrastive_ratio": ("uniform", "amateur", 0.1),  # arXiv 2210.15097, with alpha = 1: expert - amateur
    "dola": ("uniform", "dola", 0.1),  # arXiv 2309.03883, with alpha = 1
    "noise_spread": ("noise:spread", "target", 0.0),
    "noise_norm": ("noise:norm", "target", 0.0),
}


@dataclass(frozen=True)
class GuidanceSpec:
    """target + alpha * (numerator - reference), and what bounds it.

    Args:
        rule: Names a numerator, a reference and a plausibility: interpolate, contrast, own_minus_other,
            own_minus_generic, own_minus_base, cad, contrastive, contrastive_ratio, dola, noise_spread or noise_norm.
        alpha: Weight of the difference, of either sign; 0 is the target, whatever else is set.
        numerator: Source of logits in place of the rule's: target, draft, base, other, generic, without_context,
            amateur, early_exit:LAYER, dola, dola:low, dola:high, dola:LAYER,LAYER, uniform, noise:spread, noise:norm.
        reference: As numerator.
        space: Where the difference is added: to logits, or to probabilities (negative ones become 0).
        adapt: Multiplies alpha, token by token, by a number in [0, 1]: divergence (Jensen-Shannon divergence of
            numerator and reference in bits), entropy (the target's, over that of the uniform distribution) or none.
        top_k: Only the target's so many most likely tokens may move; 0 lets all move.
        plausibility: Rule out tokens less likely, to the target, than this fraction of its most likely one (0 rules out
            none). Where not given, the rule's own.
        draft_context: What the draft has read of the target where it is asked: strict (all before the anchor, as it was
            trained) or inclusive (the anchor too).
    """

    rule: str = "interpolate"
    alpha: float = 0.0
    numerator: str = ""
    reference: str = ""
    space: Literal["logits", "probability"] = "logits"
    adapt: Literal["none", "divergence", "entropy"] = "none"
    top_k: int = 0
    plausibility: float | None = None
    draft_context: Literal["strict", "inclusive"] = "strict"

    def __post_init__(self) -> None:
        check_fields("guidance", self, top_k=0)
        one_of("guidance.rule", self.rule, tuple(RULES))
        numerator, reference, plausibility = RULES[self.rule]
        object.__setattr__(self, "numerator", self.numerator or numerator)
        object.__setattr__(self, "reference", self.reference or reference)
        object.__setattr__(self, "plausibility", plausibility if self.plausibility is None else self.plausibility)
        finite("guidance.alpha", self.alpha)
        share("guidance.plausibility", self.least_plausible)
        _check_source("guidance.numerator", self.numerator)
        _check_source("guidance.reference", self.reference)
        if self.numerator == self.reference:
            raise ValueError(
                f"guidance.numerator and guidance.reference are both {self.numerator!r}, so nothing would change; "
                "name two different sources"
            )

    @property
    def least_plausible(self) -> float:
        """The plausibility as a number."""
        return self.plausibility or 0.0


def layers_of(source: str) -> tuple[int, ...]:
    """The layers that a source such as early_exit:8 or dola:2,4 names; none where it names none."""
    digits = source.partition(":")[2].split(",")
    return tuple(int(digit) for digit in digits) if all(digit.isdecimal() for digit in digits) else ()


def _check_source(name: str, source: str) -> None:
    plain = dict.fromkeys((*PLAIN_SOURCES, *(each for rule in RULES.values() for each in rule[:2])))
    if source in plain:
        return
    kind, layers = source.partition(":")[0], layers_of(source)
    if not (len(layers) == 1 if kind == "early_exit" else layers and kind == "dola"):
        raise ValueError(
            f"{name}: unknown source {source!r}; choose from {', '.join(plain)}, early_exit:LAYER, dola:LAYER,LAYER"
        )
