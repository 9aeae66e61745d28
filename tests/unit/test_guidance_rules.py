import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from dftt.decoding.guidance.rules import entropy, guide, interpolate, jensen_shannon, matched_temperature, mean_entropy
from dftt.decoding.guidance.sources import dola_layers, furthest, scaled_like
from dftt.decoding.sampling import gumbel_noise, normal_noise
from dftt.types import DecodingSpec, GuidanceSpec
from dftt.types.guidance import RULES


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
def test_mixing_logits_equals_mixing_hidden_states(alpha: float) -> None:
    head = torch.nn.Linear(16, 80, bias=False, dtype=torch.float64)
    target, draft = torch.randn(2, 5, 16, dtype=torch.float64)
    mixed = interpolate(head(target), head(draft), alpha)
    torch.testing.assert_close(mixed, head((1 - alpha) * target + alpha * draft), atol=1e-12, rtol=0)


def test_a_draft_in_another_precision_is_taken_in_the_targets() -> None:
    mixed = interpolate(torch.tensor([1.0]), torch.tensor([2.0], dtype=torch.bfloat16), 0.5)
    assert mixed.dtype == torch.float32
    assert mixed.item() == 1.5


# -- the rule and its bounds, on distributions small enough to work out by hand ----------------------------------------

TARGET = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
OTHER = torch.tensor([0.2, 0.2, 0.2, 0.4], dtype=torch.float64).log()
THIRD = torch.tensor([0.1, 0.6, 0.2, 0.1], dtype=torch.float64).log()


def as_probabilities(logits: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in logits.softmax(-1).tolist()]


def normalised(*weights: float) -> list[float]:
    return [round(weight / sum(weights), 6) for weight in weights]


def test_cad_is_the_papers_formula() -> None:
    """p(y | c, x) * (p(y | c, x) / p(y | x)) ** alpha, arXiv 2305.14739."""
    guided = guide(GuidanceSpec("cad", alpha=1.0), TARGET, TARGET, OTHER)
    assert as_probabilities(guided) == normalised(0.5**2 / 0.2, 0.3**2 / 0.2, 0.15**2 / 0.2, 0.05**2 / 0.4)


def test_contrastive_decoding_is_the_first_papers_formula() -> None:
    """log p_expert - log p_amateur where p_expert >= lambda max p_expert, arXiv 2210.15097."""
    spec = GuidanceSpec("contrastive_ratio", alpha=1.0, plausibility=0.09)
    guided = guide(spec, TARGET, torch.zeros_like(TARGET), OTHER)
    assert as_probabilities(guided) == normalised(2.5, 1.5, 0.75, 0.125)
    stricter = guide(replace(spec, plausibility=0.25), TARGET, torch.zeros_like(TARGET), OTHER)
    assert as_probabilities(stricter) == normalised(2.5, 1.5, 0.75, 0.0)


def test_contrastive_decoding_is_the_second_papers_formula() -> None:
    """(1 + beta) expert - beta amateur, arXiv 2309.09117."""
    guided = guide(GuidanceSpec("contrastive", alpha=0.5), TARGET, TARGET, OTHER)
    torch.testing.assert_close(guided, 1.5 * TARGET - 0.5 * OTHER)


def test_dola_contrasts_with_the_furthest_layer() -> None:
    """softmax of log q_N - log q_M on V_head, M the candidate with the largest divergence, arXiv 2309.03883."""
    near = (TARGET.exp() * 0.9 + 0.025).log()
    early = furthest(TARGET[None], torch.stack([near, OTHER, THIRD])[:, None])
    assert torch.equal(early[0], OTHER)  # 0.170 bits; THIRD is at 0.151, `near` at 0.002
    guided = guide(GuidanceSpec("dola", alpha=1.0, plausibility=0.2), TARGET, torch.zeros_like(TARGET), early[0])
    assert as_probabilities(guided) == normalised(2.5, 1.5, 0.75, 0.0)


def test_dola_chooses_a_layer_for_each_position() -> None:
    targets = torch.stack([OTHER, THIRD])
    chosen = furthest(targets, torch.stack([OTHER.expand(2, 4), THIRD.expand(2, 4)]))
    assert torch.equal(chosen, torch.stack([THIRD, OTHER]))


def test_an_adapter_difference_is_added_to_the_target() -> None:
    guided = guide(GuidanceSpec("own_minus_other", alpha=2.0), TARGET, OTHER, THIRD)
    assert as_probabilities(guided) == normalised(0.5 * 4, 0.3 / 9, 0.15, 0.05 * 16)


def test_probabilities_are_mixed_linearly() -> None:
    guided = guide(GuidanceSpec(alpha=0.25, space="probability"), TARGET, OTHER, TARGET)
    assert as_probabilities(guided) == [0.425, 0.275, 0.1625, 0.1375]


def test_a_probability_that_falls_below_zero_is_never_drawn() -> None:
    guided = guide(GuidanceSpec(alpha=-0.5, space="probability"), TARGET, OTHER, TARGET)
    assert as_probabilities(guided) == normalised(0.65, 0.35, 0.125, 0.0)


def test_only_the_targets_top_k_may_move() -> None:
    guided = guide(GuidanceSpec(alpha=1.0, top_k=2), TARGET, OTHER + 7.0, TARGET)
    torch.testing.assert_close(guided.exp(), torch.tensor([0.2, 0.2, 0.15, 0.05], dtype=torch.float64))


def test_top_k_beyond_the_vocabulary_lets_all_move() -> None:
    guided = guide(GuidanceSpec(alpha=0.3, top_k=99), TARGET, OTHER, TARGET)
    assert as_probabilities(guided) == as_probabilities(guide(GuidanceSpec(alpha=0.3), TARGET, OTHER, TARGET))


def test_the_divergence_is_jensen_shannons_in_bits() -> None:
    certain, even = torch.tensor([1.0, 0.0]).clamp_min(1e-30).log(), torch.zeros(2)
    assert jensen_shannon(certain, even).item() == pytest.approx(0.311278, abs=1e-6)
    assert jensen_shannon(certain, certain.flip(0)).item() == pytest.approx(1.0)
    assert jensen_shannon(even, even + 3).item() == 0


def test_alpha_adapts_to_the_divergence_token_by_token() -> None:
    targets, others = torch.stack([TARGET, TARGET]), torch.stack([TARGET, OTHER])
    guided = guide(GuidanceSpec(alpha=1.0, adapt="divergence"), targets, others, targets)
    assert torch.equal(guided[0], TARGET)
    weight = jensen_shannon(TARGET, OTHER)
    torch.testing.assert_close(guided[1], TARGET + weight * (OTHER - TARGET))


def test_alpha_adapts_to_the_targets_entropy() -> None:
    even, certain = torch.zeros(4), torch.tensor([90.0, 0.0, 0.0, 0.0])
    other = torch.tensor([1.0, 2.0, 3.0, 4.0])
    spec = GuidanceSpec(alpha=1.0, adapt="entropy")
    torch.testing.assert_close(guide(spec, even, other, even), other)
    torch.testing.assert_close(guide(spec, certain, other, certain), certain)


@pytest.mark.parametrize("rule", list(RULES))
@pytest.mark.parametrize("space", ["logits", "probability"])
@pytest.mark.parametrize("bounds", [{}, {"top_k": 3}, {"plausibility": 0.5}, {"adapt": "divergence"}])
def test_alpha_zero_is_bitwise_the_target_under_every_rule(rule: str, space: Any, bounds: dict[str, Any]) -> None:
    target, *others = torch.randn(3, 5, 40) * 10
    spec = GuidanceSpec(rule, alpha=0.0, space=space, **bounds)
    assert torch.equal(guide(spec, target, others[0], others[1]), target)


@pytest.mark.parametrize("measure", ["norm", "spread"])
def test_noise_is_as_large_as_the_difference(measure: str) -> None:
    noise, difference = torch.randn(2, 3, 500, dtype=torch.float64), torch.randn(2, 3, 500, dtype=torch.float64) + 4
    scaled = scaled_like(noise, difference, measure)
    size = {"norm": lambda each: each.norm(dim=-1), "spread": lambda each: each.std(-1)}[measure]
    torch.testing.assert_close(size(scaled), size(difference))
    assert torch.corrcoef(torch.stack([scaled[0, 0], difference[0, 0]]))[0, 1].abs() < 0.15


def test_a_shift_of_all_logits_makes_the_noise_no_louder() -> None:
    """Softmax ignores it: noise of the same norm was more than twice as loud as the guidance it stood for."""
    noise, difference = torch.randn(2, 3, 500, dtype=torch.float64) + 1, torch.randn(2, 3, 500, dtype=torch.float64)
    shifted = scaled_like(noise, difference - 6, "spread")
    torch.testing.assert_close(shifted, scaled_like(noise, difference, "spread"))
    torch.testing.assert_close(shifted.mean(-1), torch.zeros_like(shifted.mean(-1)))
    loud = scaled_like(noise, difference - 6, "norm")
    assert (loud.std(-1) > 2 * difference.std(-1)).all()


def test_normal_noise_belongs_to_its_position() -> None:
    keys, positions = torch.tensor([5, -9]), torch.tensor([[3, 4, 5], [7, 8, 9]])
    whole = normal_noise(keys, positions, 2000)
    assert torch.equal(whole[1:, 1:2], normal_noise(keys[1:], positions[1:, 1:2], 2000))
    assert whole.mean().item() == pytest.approx(0, abs=0.03)
    assert whole.std().item() == pytest.approx(1, abs=0.03)
    gumbel = gumbel_noise(keys, positions, 2000).double()
    assert torch.corrcoef(torch.stack([whole.flatten(), gumbel.flatten()]))[0, 1].abs() < 0.03


# -- specs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "magic"}, r"guidance.rule: unknown 'magic'; choose from interpolate, contrast"),
        ({"alpha": math.nan}, r"guidance.alpha must be a finite number, got nan"),
        ({"top_k": -1}, r"guidance.top_k must be >= 0, got -1"),
        ({"plausibility": 1.5}, r"guidance.plausibility must be between 0 and 1, got 1.5"),
        ({"space": "odds"}, r"guidance.space: unknown 'odds'; choose from logits, probability"),
        ({"adapt": "mood"}, r"guidance.adapt: unknown 'mood'; choose from none, divergence, entropy"),
        ({"draft_context": "wide"}, r"guidance.draft_context: unknown 'wide'; choose from strict, inclusive"),
        ({"numerator": "oracle"}, r"guidance.numerator: unknown source 'oracle'; choose from target, draft"),
        ({"reference": "early_exit"}, r"guidance.reference: unknown source 'early_exit'"),
        ({"reference": "early_exit:2,3"}, r"guidance.reference: unknown source 'early_exit:2,3'"),
        ({"reference": "dola:x"}, r"guidance.reference: unknown source 'dola:x'"),
        ({"reference": "draft"}, r"both 'draft'.*name two different sources"),
    ],
)
def test_a_bad_rule_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuidanceSpec(**settings)


def test_a_rule_names_its_sources_and_either_may_be_replaced() -> None:
    spec = GuidanceSpec("contrastive", alpha=0.5, reference="early_exit:10")
    assert (spec.numerator, spec.reference, spec.plausibility) == ("target", "early_exit:10", 0.1)
    assert GuidanceSpec("contrastive", plausibility=0.0).least_plausible == 0


def test_alpha_is_the_simple_form_of_a_rule() -> None:
    assert DecodingSpec(alpha=0.3).rule == GuidanceSpec("interpolate", alpha=0.3)
    with pytest.raises(ValueError, match=r"decoding.guidance.alpha and leave decoding.alpha at 0"):
        DecodingSpec(alpha=0.3, guidance=GuidanceSpec("cad", alpha=1.0))


@pytest.mark.parametrize(
    ("num_layers", "half", "tied", "layers"),
    [
        (32, "low", False, tuple(range(0, 16, 2))),
        (32, "high", False, tuple(range(16, 32, 2))),
        (32, "low", True, tuple(range(2, 16, 2))),
        (80, "low", False, tuple(range(0, 20, 2))),
        (80, "high", False, tuple(range(60, 80, 2))),
        (4, "low", True, (1,)),
    ],
)
def test_dolas_candidates(num_layers: int, half: str, tied: bool, layers: tuple[int, ...]) -> None:
    assert dola_layers(num_layers, half=half, tied=tied) == layers


# -- temperature -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_the_matched_temperature_gives_the_guided_entropy(temperature: float) -> None:
    target, draft = torch.randn(2, 30, 100, dtype=torch.float64) * 3
    guided = interpolate(target, draft, 0.5)
    matched = matched_temperature(target, guided, temperature=temperature)
    wanted = mean_entropy(guided, temperature=temperature)
    assert mean_entropy(target, temperature=matched) == pytest.approx(wanted, abs=1e-9)


def test_a_target_that_was_only_cooled_is_matched_exactly() -> None:
    target = torch.randn(10, 50, dtype=torch.float64)
    assert matched_temperature(target, target / 0.37) == pytest.approx(0.37, abs=1e-9)


def test_tokens_that_are_ruled_out_count_nothing() -> None:
    assert entropy(torch.tensor([0.0, 0.0, -math.inf])).item() == pytest.approx(math.log(2))


def test_an_entropy_out_of_reach_is_refused() -> None:
    sure = torch.tensor([[1.0, 1.0, 0.0]]).double()  # never below ln 2, however cold
    with pytest.raises(ValueError, match=r"no temperature between 0\.01 and 100"):
        matched_temperature(sure, torch.tensor([[50.0, 0.0, 0.0]]).double())
    with pytest.raises(ValueError, match="must be above 0, got 0"):
        matched_temperature(sure, sure, temperature=0.0)
