"""Sources of logits that are read off the target's own pass or off a draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.guidance.distributions import jensen_shannon
from dftt.decoding.guidance.step import Stateless, Step
from dftt.decoding.sampling import normal_noise
from dftt.models.cache import Placement
from dftt.models.target import Target


class TargetLogits(Stateless):
    """The target itself."""

    def logits(self, step: Step) -> Tensor:
        """The very tensor of the step, which `guide` knows again."""
        return step.target


class UniformLogits(Stateless):
    """The same logit for every token."""

    def logits(self, step: Step) -> Tensor:
        """Zeros."""
        return torch.zeros_like(step.target)


class EarlyExit(Stateless):
    """The target's logits after one of its layers, read through its last norm and head.

    Args:
        target: The target.
        layer: Layers that were passed, from 1.
    """

    def __init__(self, target: Target, layer: int) -> None:
        self.target, self.layer = target, layer
        self.taps = (layer,)

    def logits(self, step: Step) -> Tensor:
        """Logits of the tapped layer."""
        return self.target.exit_head(step.early[self.layer])


class DolaLayer(Stateless):
    """Of some early layers, position by position, the one whose distribution is furthest from the target's (DoLa).

    arXiv 2309.03883, section 2.2: the candidate with the largest Jensen-Shannon divergence. Early states meet the head
    without the last norm, as in the authors' code.

    Args:
        target: The target.
        layers: Candidates, as hidden-state indices; 0 is the embedding output.
    """

    def __init__(self, target: Target, layers: Sequence[int]) -> None:
        self.target = target
        self.taps = tuple(layers)

    def logits(self, step: Step) -> Tensor:
        """Logits of the layer chosen at each position."""
        candidates = torch.stack([self.target.head(step.early[layer]) for layer in self.taps])
        return furthest(step.target, candidates.to(step.target.dtype))


def furthest(target: Tensor, candidates: Tensor) -> Tensor:  # (..., V), (L, ..., V) -> (..., V)
    """At each position the candidate with the largest Jensen-Shannon divergence from the target."""
    chosen = torch.stack([jensen_shannon(target, each) for each in candidates]).argmax(0)
    index = chosen[None, ..., None].expand(1, *target.shape)
    return candidates.gather(0, index)[0]


class DraftLogits:
    """Slot 1 of the draft.

    Args:
        drafter: The draft with its cache.
        inclusive: Let it see the target's features at the anchor too.
        is_own: The drafter belongs to this source; otherwise the engine begins and extends it.
    """

    taps: tuple[int, ...] = ()

    def __init__(self, drafter: DFlashDrafter, *, inclusive: bool, is_own: bool) -> None:
        self.drafter, self.inclusive, self.is_own = drafter, inclusive, is_own

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Read the known features under the drafter's own adapter."""
        if self.is_own:
            self.drafter.begin(features, capacity=capacity)

    def extend(self, features: Tensor, at: Placement) -> None:
        """Read the new features."""
        if self.is_own:
            self.drafter.extend(features, at)

    def copy_rows(self, rows: Sequence[int], other: Self) -> None:
        """Take over what another one's drafter has read."""
        if self.is_own:
            self.drafter.copy_rows(rows, other.drafter)

    def logits(self, step: Step) -> Tensor:
        """Logits of slot 1 of a block anchored at each position."""
        return self.drafter.first_slot_logits(step.block, step.at, inclusive=self.inclusive)


class NoiseLogits:
    """The target plus Gaussian noise as large as the draft's difference from it: the control for what is in it.

    Args:
        draft: The draft whose difference is matched.
        measure: spread (what is left of the difference without its mean over the vocabulary, which softmax ignores) or
            norm (the difference as it is: louder noise wherever that mean is large; the control of earlier studies).
    """

    taps: tuple[int, ...] = ()

    def __init__(self, draft: DraftLogits, measure: str) -> None:
        self.draft, self.measure = draft, measure

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """As the draft."""
        self.draft.begin(features, capacity=capacity)

    def extend(self, features: Tensor, at: Placement) -> None:
        """As the draft."""
        self.draft.extend(features, at)

    def copy_rows(self, rows: Sequence[int], other: Self) -> None:
        """As the draft."""
        self.draft.copy_rows(rows, other.draft)

    def logits(self, step: Step) -> Tensor:
        """Target plus noise, which belongs to the position of the token to come."""
        difference = self.draft.logits(step).to(step.target.dtype) - step.target
        noise = normal_noise(step.keys, step.at.positions + 1, difference.shape[-1]).to(difference.dtype)
        return step.target + scaled_like(noise, difference, self.measure)


def scaled_like(noise: Tensor, difference: Tensor, measure: str) -> Tensor:  # (..., V), (..., V) -> (..., V)
    """The noise, scaled at each position to the difference's norm; for spread both are first freed of their mean."""
    if measure == "spread":
        noise, difference = (each - each.mean(-1, keepdim=True) for each in (noise, difference))
    return noise * (difference.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True))
