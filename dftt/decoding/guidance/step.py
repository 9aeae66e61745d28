"""What a cycle hands to the sources of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from dftt.models.cache import Placement


@dataclass(frozen=True)
class Step:
    """The verified positions of one cycle; a function of device tensors alone, so that a cycle can be captured.

    Args:
        target: The target's logits for the token after each position, (R, Q, V), float32 or better.
        block: Tokens at these positions, (R, Q).
        at: Where they stand.
        early: Hidden states (R, Q, D) of the tapped layers that sources asked for, by hidden-state index.
        keys: Sample keys, (R,), int64.
    """

    target: Tensor
    block: Tensor
    at: Placement
    early: Mapping[int, Tensor]
    keys: Tensor


class Source(Protocol):
    """Gives logits for the token after each verified position."""

    @property
    def taps(self) -> tuple[int, ...]:
        """Hidden-state indices of the target that it reads in `Step.early`."""
        ...

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Get ready for rows of up to `capacity` positions; `features` as a drafter's `begin` takes them."""
        ...

    def extend(self, features: Tensor, at: Placement) -> None:
        """Take the features (R, Q, L*D) that the target has just computed."""
        ...

    def copy_rows(self, rows: Sequence[int], other: Self) -> None:
        """Take over all rows of a source of the same kind into these, in storage that stays where it is."""
        ...

    def logits(self, step: Step) -> Tensor:
        """Logits (R, Q, V) for the token after each position of the step."""
        ...


class Stateless:
    """A source that keeps nothing between cycles."""

    taps: tuple[int, ...] = ()

    def begin(self, features: Sequence[Tensor], *, capacity: int) -> None:
        """Nothing to get ready."""

    def extend(self, features: Tensor, at: Placement) -> None:
        """Nothing to take."""

    def copy_rows(self, rows: Sequence[int], other: Self) -> None:
        """Nothing to take over."""
