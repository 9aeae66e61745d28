from typing import Any

import pytest
import torch
from torch import Tensor

from dftt.models.attention import grouped_attention
from dftt.models.blocks import dense_block_mask
from dftt.models.spans import block_spans, causal_spans, dense_of_spans, forked_spans


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("anchored", [None, 5])
@pytest.mark.parametrize("window", [None, 5, 33])
def test_block_spans_are_the_dense_block_mask(window: int | None, anchored: int | None, causal: bool) -> None:
    rule: dict[str, Any] = {"sliding_window": window, "anchored_window": anchored, "causal": causal}
    anchors = torch.tensor([[3, 50, 7], [120, 9, 0]])
    spans = block_spans(anchors, block_size=4, context_slots=130, **rule)
    dense = dense_block_mask(anchors, block_size=4, context_slots=130, **rule)
    assert torch.equal(dense_of_spans(spans, 142), dense)


def test_causal_spans_see_themselves_and_what_is_before() -> None:
    dense = dense_of_spans(causal_spans(torch.tensor([[0, 3]])), 6)[0, 0].long()
    assert dense.tolist() == [[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]
    assert (
        dense_of_spans(causal_spans(torch.tensor([[3]]), 2), 6)[0, 0, 0].tolist()
        == [False, False, True, True] + [False] * 2
    )


@pytest.fixture(scope="module")
def interpreted() -> None:
    """Triton's interpreter, which runs kernels on the CPU (asked for in conftest)."""
    pytest.importorskip("triton", reason="Triton is not installed")


def states(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("splits", [1, 4])
@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("positions", [[[5, 6, 7], [150, 151, 152]], [[0, 1, 2], [199, 198, 3]]])
def test_kernel_equals_attention_under_the_dense_mask(interpreted, positions, window, splits: int) -> None:
    from dftt.models.span_attention import span_attention

    at = torch.tensor(positions)
    query, key, value = states(2, 4, 3, 16, seed=0), states(2, 2, 200, 16, seed=1), states(2, 2, 200, 16, seed=2)
    spans = causal_spans(at, window)
    expected = grouped_attention(query, key, value, dense_of_spans(spans, 200), scale=0.25)
    for row, last in enumerate(at.max(1).values.tolist()):
        key[row, :, last + 1 :] = value[row, :, last + 1 :] = float("nan")  # nobody looks there
    got = span_attention(query, key, value, spans, scale=0.25, splits=splits)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_kernel_reads_blocks_behind_the_context(interpreted) -> None:
    from dftt.models.span_attention import span_attention

    anchors = torch.tensor([[3, 50, 7], [120, 9, 0]])
    query, key, value = states(2, 4, 12, 16, seed=0), states(2, 2, 142, 16, seed=1), states(2, 2, 142, 16, seed=2)
    spans = block_spans(anchors, block_size=4, context_slots=130)
    expected = grouped_attention(query, key, value, dense_of_spans(spans, 142), scale=0.25)
    got = span_attention(query, key, value, spans, scale=0.25, splits=4)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_kernel_reads_shared_positions_in_row_0(interpreted) -> None:
    from dftt.models.span_attention import span_attention

    query, key, value = states(3, 4, 2, 16, seed=0), states(3, 2, 200, 16, seed=1), states(3, 2, 200, 16, seed=2)
    spans = causal_spans(torch.tensor([[80, 81], [198, 199], [71, 72]]), shared=64)
    for each in (key, value):
        each[1:, :, :64] = each[:1, :, :64]
    expected = grouped_attention(query, key, value, dense_of_spans(spans, 200), scale=0.25)
    for each in (key, value):
        each[1:, :, :64] = float("nan")  # nobody looks there
    got = span_attention(query, key, value, spans, scale=0.25, splits=2)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 50])
def test_many_rows_read_what_they_share_together(interpreted, window) -> None:
    from dftt.models.span_attention import ROWS_TOGETHER, span_attention

    rows = ROWS_TOGETHER
    query, key, value = (
        states(rows, heads, slots, 16, seed=seed) for seed, (heads, slots) in enumerate(((4, 2), (2, 200), (2, 200)))
    )
    at = torch.arange(rows)[:, None] * 7 + 66 + torch.arange(2)
    spans = causal_spans(at, window, shared=64)
    for each in (key, value):
        each[1:, :, :64] = each[:1, :, :64]
    expected = grouped_attention(query, key, value, dense_of_spans(spans, 200), scale=0.25)
    for each in (key, value):
        each[1:, :, :64] = float("nan")  # nobody looks there
    got = span_attention(query, key, value, spans, scale=0.25, splits=2)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_branches_see_the_anchor_and_themselves() -> None:
    """Slots 10 to 14: an anchor, two tokens behind it, and two more that stand further back but follow it, too."""
    dense = dense_of_spans(forked_spans(torch.arange(10, 15)[None], 3), 16)[0, 0]
    assert [row.nonzero()[:, 0].tolist()[10:] for row in dense] == [
        [10],
        [10, 11],
        [10, 11, 12],
        [10, 13],
        [10, 13, 14],
    ]
    banded = dense_of_spans(forked_spans(torch.arange(10, 15)[None], 3, 2), 16)[0, 0]
    assert [row.nonzero()[:, 0].tolist() for row in banded] == [[9, 10], [10, 11], [11, 12], [10, 13], [13, 14]]


def test_rows_are_written_at_their_positions(interpreted) -> None:
    from dftt.models.span_attention import write_rows

    keys, values = states(2, 3, 40, 16, seed=0), states(2, 3, 40, 16, seed=1)
    new_keys, new_values = states(2, 3, 2, 16, seed=2), states(2, 3, 2, 16, seed=3)
    at = torch.tensor([[1, 2], [38, 39]])
    wanted_keys, wanted_values, rows = keys.clone(), values.clone(), torch.arange(2)[:, None]
    wanted_keys[rows, :, at], wanted_values[rows, :, at] = new_keys.transpose(1, 2), new_values.transpose(1, 2)
    write_rows(keys, values, new_keys, new_values, at)
    assert torch.equal(keys, wanted_keys)
    assert torch.equal(values, wanted_values)


@pytest.mark.parametrize("window", [None, 20])
def test_kernel_reads_two_branches(interpreted, window) -> None:
    from dftt.models.span_attention import span_attention

    at = torch.tensor([[100, 37]]).T + torch.arange(19)
    query, key, value = states(2, 9, 19, 64, seed=0), states(2, 3, 200, 64, seed=1), states(2, 3, 200, 64, seed=2)
    spans = forked_spans(at, 10, window)
    expected = grouped_attention(query, key, value, dense_of_spans(spans, 200), scale=0.125)
    for row, last in enumerate(at.max(1).values.tolist()):
        key[row, :, last + 1 :] = value[row, :, last + 1 :] = float("nan")  # nobody looks there
    got = span_attention(query, key, value, spans, scale=0.125, splits=4)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
