"""Packed linears give what plain ones give, whatever happens to the module that carries them."""

import copy
import logging
import pickle

import pytest
import torch
from torch import nn

from dftt.models import packed
from dftt.models.packed import PackedLinear, pack_, unpack_


@pytest.fixture
def linear() -> nn.Linear:
    """A frozen, packed linear."""
    if not packed._onednn_packs():
        pytest.skip("no oneDNN product on reordered weights in this build or on this CPU")
    made = nn.Linear(96, 160).requires_grad_(False)
    assert pack_(made) == 1
    return made


def plain(linear: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(rows, linear.weight, linear.bias)


def uses_copy(linear: nn.Linear) -> bool:
    return "_copy" in linear.__dict__


@pytest.mark.parametrize("shape", [(96,), (1, 96), (7, 96), (2, 3, 96), (2, 16, 96), (0, 96), (300, 96)])
def test_equals_a_plain_linear(linear: nn.Linear, shape: tuple[int, ...]) -> None:
    rows = torch.randn(shape)
    torch.testing.assert_close(linear(rows), plain(linear, rows))


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="seen with AVX-512 only")
@pytest.mark.parametrize("width", [96, 576])
def test_a_row_does_not_depend_on_the_rows_beside_it(width: int) -> None:
    linear = nn.Linear(width, 160, bias=False).requires_grad_(False)
    pack_(linear)
    rows = torch.randn(33, width)
    wide = linear(rows)
    for count in (2, 3, 8, 10, 16, 17):
        assert torch.equal(linear(rows[:count]), wide[:count])


def test_the_gradient_to_the_input_is_that_of_a_plain_linear(linear: nn.Linear) -> None:
    rows = torch.randn(5, 96, requires_grad=True)
    (got,) = torch.autograd.grad(linear(rows).square().sum(), rows)
    (wanted,) = torch.autograd.grad(plain(linear, rows).square().sum(), rows)
    assert uses_copy(linear)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_changed_weight_is_packed_again(linear: nn.Linear) -> None:
    rows = torch.randn(4, 96)
    linear(rows)
    linear.load_state_dict({"weight": torch.randn(160, 96), "bias": torch.zeros(160)})
    torch.testing.assert_close(linear(rows), plain(linear, rows))


def test_a_weight_in_training_is_not_packed_and_learns(linear: nn.Linear) -> None:
    linear.requires_grad_(True)
    linear(torch.randn(4, 96)).sum().backward()
    assert linear.weight.grad is not None
    assert not uses_copy(linear)


def test_other_precisions_run_as_before(linear: nn.Linear) -> None:
    double = linear.double()
    rows = torch.randn(4, 96, dtype=torch.float64)
    assert torch.equal(double(rows), plain(double, rows))
    assert not uses_copy(double)


def test_autocast_runs_as_before(linear: nn.Linear) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(torch.randn(4, 96)).dtype == torch.bfloat16


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda linear: pickle.loads(pickle.dumps(linear))])
def test_copies_do_not_share_the_packed_weight(linear: nn.Linear, duplicate) -> None:
    rows = torch.randn(4, 96)
    linear(rows)
    other = duplicate(linear)
    with torch.no_grad():
        other.weight.zero_()
    assert torch.equal(other(rows), other.bias.expand(4, 160))
    torch.testing.assert_close(linear(rows), plain(linear, rows))


def test_the_state_dict_is_that_of_a_plain_linear(linear: nn.Linear) -> None:
    linear(torch.randn(4, 96))
    assert list(linear.state_dict()) == ["weight", "bias"]


def test_unpacking_gives_plain_linears_back(linear: nn.Linear) -> None:
    linear(torch.randn(4, 96))
    unpack_(linear)
    assert type(linear) is nn.Linear
    assert not uses_copy(linear)


def test_only_plain_float32_linears_are_packed() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(Own(96, 96), nn.Linear(96, 96, dtype=torch.bfloat16), nn.LayerNorm(96))
    assert pack_(model) == 0


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("_onednn_packs", lambda: False, "has no oneDNN"), ("MAX_BYTES", 100, "would take")],
)
def test_what_cannot_be_packed_stays_and_is_logged_once(name, value, reason, monkeypatch, caplog) -> None:
    monkeypatch.setattr(packed, name, value)
    model = nn.Sequential(nn.Linear(96, 96), nn.Linear(96, 96))
    with caplog.at_level(logging.INFO, logger="dftt"):
        assert pack_(model) == 0
    assert not any(isinstance(module, PackedLinear) for module in model)
    assert [reason in record.message for record in caplog.records] == [True]


def test_small_linears_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(32, 64), nn.Linear(64, 256)).requires_grad_(False)
    assert pack_(model) == 1
    assert [type(module) for module in model] == [nn.Linear, PackedLinear]
