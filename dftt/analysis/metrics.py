"""Metrics that sum over processes: ratios are made once, at the end, from sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class AcceptanceLength(Metric):
    """Tau: tokens committed per verify step, over all steps seen; NaN where there was none.

    One verify step commits the accepted proposals plus the bonus token, so between 1 and the block size. A
    last step cut short by the end of the text or the length limit counts at its full committed length. Every
    step weighs the same; `dftt.analysis.frame.tau_per_prompt` is the other convention.
    """

    full_state_update = False
    higher_is_better = True
    committed: Tensor
    steps: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("committed", default=torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("steps", default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, acceptance_lengths: Sequence[int]) -> None:
        """Add the verify steps of one generation, each as the number of tokens it committed."""
        if min(acceptance_lengths, default=1) < 1:
            raise ValueError(f"acceptance lengths count the bonus token, so must be >= 1, got {acceptance_lengths}")
        self.committed += sum(acceptance_lengths)
        self.steps += len(acceptance_lengths)

    def compute(self) -> Tensor:
        """Tau of everything seen so far."""
        return self.committed / self.steps


class PassRate(Metric):
    """Share of scored answers that passed; NaN where none was scored.

    Unscored answers (None) are counted apart, in the state `unscored`, and never as failures.
    """

    full_state_update = False
    higher_is_better = True
    passed: Tensor
    scored: Tensor
    unscored: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for state in ("passed", "scored", "unscored"):
            self.add_state(state, default=torch.tensor(0), dist_reduce_fx="sum")

    def update(self, passed: bool | None) -> None:
        """Add one answer's verdict; None is unscored."""
        if passed is None:
            self.unscored += 1
        else:
            self.passed += int(passed)
            self.scored += 1

    def compute(self) -> Tensor:
        """Pass rate of everything scored so far."""
        return self.passed / self.scored
