from typing import Any

import pytest
import torch
from torch import Tensor

from dftt.models.attention import UnknownArgumentError, _for_transformers, grouped_attention


def plain_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention with the keys copied for every head of a group, written out."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(-1, -2) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ value


def states(kv_heads: int, groups: int, queries: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(2, kv_heads * groups, queries, 8), (2, kv_heads, keys, 8), (2, kv_heads, keys, 8)]
    query, key, value = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return query, key, value


SHAPES = pytest.mark.parametrize(("kv_heads", "groups"), [(2, 1), (1, 3), (2, 4)])


@SHAPES
@pytest.mark.parametrize("queries", [1, 5])
def test_grouped_equals_repeated_keys_without_a_mask(kv_heads: int, groups: int, queries: int) -> None:
    query, key, value = states(kv_heads, groups, queries, 9)
    out = grouped_attention(query, key, value, None, scale=0.3)
    torch.testing.assert_close(out, plain_attention(query, key, value, None, 0.3), atol=1e-12, rtol=0)


@SHAPES
@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("mask_rows", [1, 2])
def test_grouped_equals_repeated_keys_under_a_mask(kv_heads: int, groups: int, queries: int, mask_rows: int) -> None:
    query, key, value = states(kv_heads, groups, queries, 9)
    mask = torch.rand(mask_rows, 1, queries, 9, generator=torch.Generator().manual_seed(5)) < 0.5
    mask[..., 0] = True
    out = grouped_attention(query, key, value, mask, scale=0.3)
    torch.testing.assert_close(out, plain_attention(query, key, value, mask, 0.3), atol=1e-12, rtol=0)


@SHAPES
def test_causal_equals_a_triangular_mask(kv_heads: int, groups: int) -> None:
    query, key, value = states(kv_heads, groups, 7, 7)
    triangle = torch.ones(7, 7, dtype=torch.bool).tril()[None, None]
    out = grouped_attention(query, key, value, None, scale=0.3, causal=True)
    torch.testing.assert_close(out, plain_attention(query, key, value, triangle, 0.3), atol=1e-12, rtol=0)


def test_values_may_be_wider_than_keys() -> None:
    query, key, value = states(2, 3, 4, 9)
    value = torch.cat([value, value + 1], dim=-1)
    out = grouped_attention(query, key, value, None, scale=0.3)
    torch.testing.assert_close(out, plain_attention(query, key, value, None, 0.3), atol=1e-12, rtol=0)


def called_by_transformers(**others: Any) -> Tensor:
    return _for_transformers(torch.nn.Identity(), *states(1, 1, 2, 2), None, **others)[0]


@pytest.mark.parametrize("name", ["s_aux", "softcap", "position_bias", "block_indices", "anything"])
def test_what_a_model_passes_to_its_attention_is_not_swallowed(name: str) -> None:
    with pytest.raises(UnknownArgumentError, match=f"passes {name} to its attention"):
        called_by_transformers(**{name: torch.ones(1)})


def test_what_is_off_or_neutral_may_be_passed_to_the_attention() -> None:
    out = called_by_transformers(s_aux=None, dropout=0.0, sliding_window=4)
    assert out.shape == (2, 2, 1, 8)
