import pytest
import torch

from dftt.decoding.guidance import interpolate


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of very different sizes, where t + (d - t) is not d."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(500, generator=generator) * 1e4, torch.randn(500, generator=generator) * 1e-3


def test_alpha_zero_is_bitwise_the_target(logits) -> None:
    target, draft = logits
    assert torch.equal(interpolate(target, draft, 0.0), target)


def test_alpha_one_is_bitwise_the_draft(logits) -> None:
    target, draft = logits
    assert not torch.equal(target + 1.0 * (draft - target), draft)
    assert torch.equal(interpolate(target, draft, 1.0), draft)


@pytest.mark.parametrize("alpha", [-2.0, -0.5, 0.1, 0.3, 0.5, 1.5])
def test_the_rule_is_target_plus_alpha_times_the_difference(alpha: float) -> None:
    target, draft = torch.randn(2, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(interpolate(target, draft, alpha), target + alpha * (draft - target))


def test_a_negative_alpha_leads_away_from_the_draft() -> None:
    mixed = interpolate(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 0.0]), -0.5)
    assert mixed.tolist() == [0.0, 1.5]


@pytest.mark.parametrize("alpha", [-1.0, 0.3, 1.0])
def test_mixing_logits_equals_mixing_hidden_states_before_the_head(alpha: float) -> None:
    head = torch.nn.Linear(16, 80, bias=False, dtype=torch.float64)
    target, draft = torch.randn(2, 5, 16, dtype=torch.float64)
    mixed = interpolate(head(target), head(draft), alpha)
    torch.testing.assert_close(mixed, head((1 - alpha) * target + alpha * draft), atol=1e-12, rtol=0)


def test_a_draft_in_another_precision_is_taken_in_the_targets() -> None:
    mixed = interpolate(torch.tensor([1.0]), torch.tensor([2.0], dtype=torch.bfloat16), 0.5)
    assert mixed.dtype == torch.float32
    assert mixed.item() == 1.5
