"""The temperature-matched target: a control for guidance that does nothing but make answers surer or less sure."""

from __future__ import annotations

import math

from torch import Tensor

from dftt.decoding.guidance.distributions import entropy

LOWEST, HIGHEST = 1e-2, 1e2
_HALVINGS = 60


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
