"""Frozen float32 linears on the CPU, run by oneDNN on weights that are reordered once.

The layout that oneDNN wants makes a pass over a block of tokens cost about as much as a pass over one, which is what
speculative decoding lives on. With AVX-512, a row's result does not depend on how many rows run beside it (a wide row
quite alone may differ in the last bit), so verifying a block rounds nearly as decoding token by token does. The price
is memory: the original weights stay, for gradients and state dicts, so a packed linear takes twice its bytes.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

MAX_BYTES = 4 << 30  # weights of a larger model are left as they are: their copies may not fit
MIN_WEIGHTS = 1 << 13  # of a smaller linear the call to oneDNN alone takes longer than the plain product
_ROWS = 16  # rows that oneDNN plans the layout for; planned for one, blocks run at half the speed


def pack_(model: nn.Module) -> int:
    """Make every plain float32 linear of a model that is not tiny a PackedLinear, in place; returns how many.

    Names, parameters and state dict stay what they are. A weight is reordered on first use, and again after it has
    changed. Whatever the packed product cannot do (training the weight, autocast, another device) runs as before.
    """
    linears = [
        module
        for module in model.modules()
        if type(module) is nn.Linear and module.weight.dtype == torch.float32 and module.weight.numel() >= MIN_WEIGHTS
    ]
    copies = sum(linear.weight.nbytes for linear in linears)
    if copies > MAX_BYTES:
        logger.info("linears stay as they are: reordered copies would take %.1f GiB", copies / 2**30)
        return 0
    if linears and not _onednn_packs():
        logger.info("linears stay as they are: torch or this CPU has no oneDNN product on reordered weights")
        return 0
    for linear in linears:
        linear.__class__ = PackedLinear
    return len(linears)


def unpack_(model: nn.Module) -> None:
    """Make every PackedLinear of a model a plain linear again, and free the copies."""
    packed = [module for module in model.modules() if type(module) is PackedLinear]
    for module in cast(list[nn.Linear], packed):
        module.__dict__.pop("_copy", None)
        module.__class__ = nn.Linear


class PackedLinear(nn.Linear):
    """A linear that keeps a reordered copy of its frozen weight; made by `pack_`."""

    def forward(self, input: Tensor) -> Tensor:
        """input @ weight.T + bias."""
        weight = self.weight
        if input.device.type != "cpu" or input.dtype != torch.float32 or input.numel() == 0:
            return super().forward(input)
        if weight.requires_grad or weight.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        copy = self.__dict__.get("_copy")
        if copy is None or not copy.is_of(weight):
            copy = self.__dict__["_copy"] = _Copy(weight)
        if input.requires_grad and torch.is_grad_enabled():
            return _PackedProduct.apply(input, weight, self.bias, copy)
        return copy.product(input, self.bias)


class _Copy:
    """A reordered weight and what it was made from. Copying or pickling leaves it behind: it is made anew on use."""

    def __init__(self, weight: Tensor | None = None) -> None:
        self.origin = None if weight is None else (weight.data_ptr(), weight._version)
        self.packed = None if weight is None else torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _ROWS)

    def is_of(self, weight: Tensor) -> bool:
        """Whether the weight is still what it was."""
        return self.origin == (weight.data_ptr(), weight._version)

    def product(self, rows: Tensor, bias: Tensor | None) -> Tensor:
        """rows @ weight.T + bias."""
        return torch.ops.mkldnn._linear_pointwise(rows, self.packed, bias, "none", [], "")

    def __reduce__(self) -> tuple[type[_Copy], tuple[()]]:
        return _Copy, ()


class _PackedProduct(torch.autograd.Function):
    """The packed product with its gradient to the input; the weight is frozen."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, copy: _Copy
    ) -> Tensor:
        ctx.save_for_backward(weight)
        return copy.product(rows, bias)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (weight,) = ctx.saved_tensors
        return grad_outputs[0] @ weight, None, None, None


@lru_cache(maxsize=1)
def _onednn_packs() -> bool:
    """Whether torch was built with oneDNN and its packed product runs here."""
    if not torch.backends.mkldnn.is_available():
        return False
    weight, rows = torch.eye(32), torch.ones(2, 32)
    try:
        return torch.equal(_Copy(weight).product(rows, None), rows)
    except (AttributeError, RuntimeError):  # an older torch has other names, or this CPU no such kernel
        return False
