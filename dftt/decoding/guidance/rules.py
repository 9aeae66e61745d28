"""The one rule of guidance, on logits that are given: target + alpha * (numerator - reference), bounded as asked.

Beside it its control: the target at the temperature that makes it as unsure as the guided distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dftt.types import GuidanceSpec

Weight = float | Tensor  # alpha, or one per position (..., 1)

LOWEST, HIGHEST = 1e-2, 1e2  # temperatures that are looked at
_HALVINGS = 60


def guide(
    spec: GuidanceSpec,
    target: Tensor,  # (..., V)
    numerator: Tensor,  # (..., V)
    reference: Tensor,  # (..., V)
    alpha: Tensor | None = None,  # (R, 1, ...)
) -> Tensor:  # (..., V)
    """The guided logits. Bitwise the target's at alpha 0; tokens that are ruled out are -inf.

    Where `alpha` is given, each row has its own instead of the rule's; none of them is 0.

    Pass the very tensor `target` as numerator or reference where the spec names the target: the rule is then an
    interpolation, exact at alpha 0 and 1.
    """
    if spec.alpha == 0:
        return target
    numerator, reference = numerator.to(target.dtype), reference.to(target.dtype)
    alphas = spec.alpha if alpha is None else alpha.to(target.dtype)
    weight = alphas * FACTORS[spec.adapt](target, numerator, reference)
    if spec.top_k:
        mixed = _move_top(spec, target, numerator, reference, weight)
    else:
        mixed = SPACES[spec.space](target, numerator, reference, weight)
    if spec.least_plausible:
        mixed = mixed.masked_fill(~plausible(target, spec.least_plausible), -torch.inf)
    return mixed


def interpolate(target: Tensor, other: Tensor, alpha: Weight) -> Tensor:
    """target + alpha * (other - target) on finite logits, alpha of any sign: bitwise target at 0, other at 1."""
    other = other.to(target.dtype)
    return torch.lerp(target, other, alpha.to(target.dtype) if isinstance(alpha, Tensor) else alpha)


def plausible(target: Tensor, least: float) -> Tensor:
    """Tokens at least `least` times as likely as the most likely one (arXiv 2210.15097: the mask V_head)."""
    return target >= target.amax(-1, keepdim=True) + math.log(least)


def _add_logits(target: Tensor, numerator: Tensor, reference: Tensor, weight: Weight) -> Tensor:
    if reference is target:
        return interpolate(target, numerator, weight)
    if numerator is target:
        return interpolate(target, reference, -weight)
    return target + weight * (numerator - reference)


def _add_probabilities(target: Tensor, numerator: Tensor, reference: Tensor, weight: Weight) -> Tensor:
    """Logarithm of p + weight * (n - r); what falls to 0 or below becomes the smallest number there is."""
    mixed = target.softmax(-1) + weight * (numerator.softmax(-1) - reference.softmax(-1))
    # Not 0: where the plausible tokens were all at -inf, there would be nothing to draw.
    return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()


def _move_top(spec: GuidanceSpec, target: Tensor, numerator: Tensor, reference: Tensor, weight: Weight) -> Tensor:
    """Guided log-probabilities of the target's most likely tokens, the target's own of all others.

    Logits have no zero point of their own, so those that move and those that stay are compared as log-probabilities.
    """
    own = target.log_softmax(-1)
    parts = [own if part is target else part.log_softmax(-1) for part in (numerator, reference)]
    least = target.topk(min(spec.top_k, target.shape[-1]), dim=-1).values[..., -1:]
    return torch.where(target >= least, SPACES[spec.space](own, parts[0], parts[1], weight), own)


def _by_divergence(_target: Tensor, numerator: Tensor, reference: Tensor) -> Tensor:
    """As AdaCAD does for CAD (arXiv 2409.07394): the more the two disagree, the more their difference counts."""
    return jensen_shannon(numerator, reference)[..., None]


SPACES: dict[str, Callable[[Tensor, Tensor, Tensor, Weight], Tensor]] = {
    "logits": _add_logits,
    "probability": _add_probabilities,
}
# Number in [0, 1] that alpha is multiplied by at each position.
FACTORS: dict[str, Callable[[Tensor, Tensor, Tensor], Weight]] = {
    "none": lambda _target, _numerator, _reference: 1.0,
    "divergence": _by_divergence,
    "entropy": lambda target, _numerator, _reference: (entropy(target) / math.log(target.shape[-1]))[..., None],
}


def entropy(logits: Tensor) -> Tensor:  # (..., V) -> (...)
    """Shannon entropy in nats; tokens at -inf count nothing."""
    return torch.special.entr(logits.softmax(-1)).sum(-1)


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:  # (..., V), (..., V) -> (...)
    """Jensen-Shannon divergence of two distributions in bits, hence between 0 (equal) and 1 (disjoint)."""
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    middle = torch.logaddexp(p, q) - math.log(2)
    nats = (p.exp() * (p - middle)).sum(-1) + (q.exp() * (q - middle)).sum(-1)
    return (nats / (2 * math.log(2))).clamp(0, 1)


def mean_entropy(logits: Tensor, *, temperature: float = 1.0) -> float:
    """Mean over positions of the entropy, in nats, of logits (..., V) at a temperature."""
    return float(entropy(logits / temperature).mean())


def matched_temperature(
    target: Tensor,  # (..., V)
    guided: Tensor,  # (..., V)
    *,
    temperature: float = 1.0,
) -> float:
    """The temperature at which the target is, on average over the positions, as unsure as the guided distribution.

    Decode with mode target at it, and what is left between the two arms is not owed to entropy. Mean entropy grows with
    temperature, so it is found by bisection, on a logarithmic scale.

    Args:
        target: The target's logits at some positions, such as those of `forced_logits`.
        guided: Guided logits at the same positions.
        temperature: The temperature of the guided arm, above 0.

    Raises:
        ValueError: If no temperature between 0.01 and 100 will do, or the guided arm is greedy.
    """
    if not temperature > 0:
        raise ValueError(f"temperature of the guided arm must be above 0, got {temperature}: greedy has no entropy")
    wanted = mean_entropy(guided, temperature=temperature)
    low, high = math.log(LOWEST), math.log(HIGHEST)
    least, most = (mean_entropy(target, temperature=each) for each in (LOWEST, HIGHEST))
    if not least <= wanted <= most:
        raise ValueError(
            f"no temperature between {LOWEST:g} and {HIGHEST:g} gives the target the guided mean entropy of "
            f"{wanted:.4g} nats: it reaches {least:.4g} to {most:.4g}; compare at another alpha"
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if mean_entropy(target, temperature=math.exp(middle)) < wanted:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)
