"""When an adaptation ends early, and which weights it then leaves: one rule for `ttt_adapt` and `fit` on a context."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)
_SMOOTHING = 0.9


class Watch:
    """Looks at every step, and takes back the updates that lead to no finite number.

    Args:
        parameters: The adapter's.
        patience: Stop after so many steps without a new best (smoothed) loss; 0 never stops early.
    """

    def __init__(self, parameters: Sequence[Tensor], patience: int) -> None:
        self.parameters, self.patience = parameters, patience
        self.steps = 0  # that were allowed
        self.stopped = ""  # why no more steps are to be taken
        self.best, self.best_step, self.smooth = math.inf, 0, 0.0
        self._good = [parameter.detach().clone() for parameter in parameters]

    def allows(self, loss: float, norm: float) -> bool:
        """Whether the update that these gradients ask for may be made; where not, the weights are those before it.

        Args:
            loss: Loss of the weights as they are.
            norm: Norm of its gradients.
        """
        if self.stopped:
            return False
        if not math.isfinite(loss) or not math.isfinite(norm):
            self._take_back(f"non-finite loss or gradient at step {self.steps}: kept the weights before it")
            return False
        # The weights that gave this finite loss are good; the update that follows is proven by the next step only.
        _copy_(self._good, self.parameters)
        self.smooth = loss if self.steps == 0 else _SMOOTHING * self.smooth + (1 - _SMOOTHING) * loss
        if self.smooth < self.best:
            self.best, self.best_step = self.smooth, self.steps
        elif self.patience and self.steps - self.best_step >= self.patience:
            self.stopped = f"no better loss for {self.patience} steps"
        self.steps += 1
        return True

    def check_update(self) -> None:
        """Take the last update back if it is not finite."""
        if not all(torch.isfinite(parameter).all() for parameter in self.parameters):
            self._take_back("the last update was not finite: kept the weights before it")

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on as an uninterrupted one would."""
        names = ("steps", "stopped", "best", "best_step", "smooth")
        return {"good": [tensor.cpu() for tensor in self._good], **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        _copy_(self._good, state["good"])
        vars(self).update({name: value for name, value in state.items() if name != "good"})

    def _take_back(self, reason: str) -> None:
        _copy_(self.parameters, self._good)
        self.stopped = reason
        logger.warning("test-time training stopped: %s", reason)


@torch.no_grad()
def _copy_(to: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    for destination, origin in zip(to, source, strict=True):
        destination.copy_(origin)
