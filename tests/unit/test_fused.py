import copy

import pytest
import torch
from torch import nn

from dftt.models.fused import fuse_norms_, unfuse_norms_
from dftt.models.target import Target
from tests.fakes import random_prompt


class CountedFromOne(nn.Module):
    """A norm whose weight is counted from one, as Gemma's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.zeros(8)), 1e-6

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps) * (1 + self.weight)


@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-moe"])
def test_fused_norms_change_no_hidden_state(tiny_pair, family: str) -> None:
    plain: Target = tiny_pair(family, dtype="float64").target
    model = copy.deepcopy(plain.model)
    unfuse_norms_(model)
    fused = Target(model, plain.tokenizer, plain.name)
    unfuse_norms_(model)
    assert fuse_norms_(fused.model, everywhere=True) >= 2 * plain.num_layers + 1
    ids = random_prompt(12).input_ids
    expected = plain.prefill(ids, tap_ids=(1,))
    got = fused.prefill(ids, tap_ids=(1,))
    torch.testing.assert_close(got.hidden, expected.hidden, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.features, expected.features, atol=1e-5, rtol=0)


def test_other_norms_stay_as_they_are() -> None:
    model = nn.Sequential(CountedFromOne(), nn.LayerNorm(8))
    before = model(torch.ones(1, 8))
    assert fuse_norms_(model, everywhere=True) == 0
    assert torch.equal(model(torch.ones(1, 8)), before)


class Gated(nn.Module):
    """A norm that cannot be called without its gate, as linear-attention layers have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(8)), 1e-6

    def forward(self, hidden: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        return hidden * gate.to(hidden.dtype)  # pyright: ignore[reportOptionalMemberAccess]


def test_a_gated_norm_stays_as_it_is() -> None:
    assert fuse_norms_(nn.Sequential(Gated()), everywhere=True) == 0
