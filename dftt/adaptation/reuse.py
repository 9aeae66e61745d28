"""What every step of test-time training would compute again from the same features, computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from dftt.models.draft import DFlashDraft
from dftt.models.lora import base_of


@contextmanager
def reused(draft: DFlashDraft) -> Iterator[None]:
    """Inside the block, frozen parts of the draft that read the context return what they returned for it before.

    That is the base product of fc, and, where fc carries no LoRA, the norm behind it and the base products of the keys
    and values too. Results are bitwise the same: only the work is left out.
    """
    attention = [layer.self_attn for layer in draft.draft_layers()]
    parts = [base_of(draft.fc), draft.hidden_norm]
    parts += [base_of(projection) for each in attention for projection in (each.k_proj, each.v_proj)]
    own = [part.__dict__.get("forward") for part in parts]  # usually the class's, hence none of its own
    for part in parts:
        part.forward = _Remembered(part.forward)
    try:
        yield
    finally:
        for part, forward in zip(parts, own, strict=True):
            del part.forward
            if forward is not None:
                part.forward = forward


class _Remembered:
    """A frozen forward that keeps the result of its first input that carries no gradient: the context's features."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward
        self.input: Tensor | None = None  # held, so that its memory cannot become another input's
        self.version = -1
        self.output: Tensor | None = None

    def __call__(self, states: Tensor) -> Tensor:
        if states.requires_grad:
            return self.forward(states)
        if self.input is None:
            self.input, self.version, self.output = states, states._version, self.forward(states)
        if self.output is not None and not self.output.requires_grad and self._is_input(states):
            return self.output
        return self.forward(states)

    def _is_input(self, states: Tensor) -> bool:
        """Whether a tensor is the memory that was read first, unchanged since."""
        first = self.input
        return (
            first is not None
            and states.data_ptr() == first.data_ptr()
            and states.shape == first.shape
            and states.stride() == first.stride()
            and states.dtype == first.dtype
            and states.device == first.device
            and states._version == self.version
        )
