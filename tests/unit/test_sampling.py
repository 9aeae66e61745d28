import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers.generation.logits_process import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from dftt.decoding.generate import generate
from dftt.decoding.sampling import draw, gumbel_noise, process_logits, sample_key
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Mode
from tests.fakes import random_prompt


def noise(positions: int, tokens: int, *, name: str = "a", seed: int = 0) -> Tensor:
    return gumbel_noise(torch.tensor([sample_key(seed, name)]), torch.arange(positions)[None], tokens)[0]


def test_noise_has_the_moments_of_a_gumbel() -> None:
    """Mean 0.57722 and variance pi^2 / 6; a million draws err by 0.0013 and 0.005 (standard deviations)."""
    values = noise(2000, 500)
    assert float(values.mean()) == pytest.approx(0.5772157, abs=0.006)
    assert float(values.var()) == pytest.approx(math.pi**2 / 6, abs=0.02)
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("lag", [1, 2, 500])
def test_noise_is_uncorrelated_along_tokens_and_positions(lag: int) -> None:
    values = noise(2000, 500).flatten()
    values = (values - values.mean()) / values.std()
    assert abs(float((values[lag:] * values[:-lag]).mean())) < 0.005


def test_noise_of_another_sample_is_unrelated() -> None:
    first, second = noise(1000, 500).flatten(), noise(1000, 500, name="b").flatten()
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.007


def test_noise_does_not_depend_on_batch_neighbours() -> None:
    keys = torch.tensor([sample_key(0, name) for name in "abc"])
    positions = torch.tensor([[3, 4, 5], [90, 91, 92], [7, 8, 9]])
    together = gumbel_noise(keys, positions, 50)
    for row in range(3):
        for place in range(3):
            alone = gumbel_noise(keys[row : row + 1], positions[row : row + 1, place : place + 1], 50)
            assert torch.equal(together[row, place], alone[0, 0])


def test_noise_of_a_token_does_not_depend_on_the_vocabulary() -> None:
    assert torch.equal(noise(4, 10), noise(4, 300)[:, :10])


def test_sample_keys_differ_by_seed_and_name() -> None:
    keys = {sample_key(seed, name) for seed in range(50) for name in ("a", "b", "1/a")}
    assert len(keys) == 150
    assert all(-(2**63) <= key < 2**63 for key in keys)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_follow_the_softmax(temperature: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -0.5, -1.0, 0.3, -3.0])
    count = 20_000
    drawn = draw(
        logits.expand(1, count, 8),
        torch.tensor([sample_key(0, "x")]),
        torch.arange(count)[None],
        temperature=temperature,
    )
    frequencies = torch.bincount(drawn[0], minlength=8) / count
    assert float((frequencies - (logits / temperature).softmax(-1)).abs().sum() / 2) < 0.02


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("top_k", [0, 1, 5, 40, 100])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
def test_top_k_and_top_p_keep_what_transformers_keeps(temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.randn(20, 40, generator=torch.Generator().manual_seed(8)) * 3
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    expected = logits
    for warper in warpers:
        expected = warper(None, expected)  # pyright: ignore[reportArgumentType]
    got = process_logits(logits[None], temperature=temperature, top_k=top_k, top_p=top_p)[0]
    assert torch.equal(torch.isinf(got), torch.isinf(expected))
    torch.testing.assert_close(got, expected)


def test_temperature_zero_is_the_argmax() -> None:
    logits = torch.randn(2, 30, 50)
    drawn = draw(logits, torch.tensor([1, 2]), torch.arange(30).expand(2, 30), temperature=0)
    assert torch.equal(drawn, logits.argmax(-1))


def test_removed_tokens_are_never_drawn() -> None:
    logits = torch.arange(6.0).expand(1, 2000, 6)
    drawn = draw(logits, torch.tensor([3]), torch.arange(2000)[None], temperature=5.0, top_k=3)
    assert set(drawn.flatten().tolist()) == {3, 4, 5}


def test_bf16_logits_are_drawn_in_float32() -> None:
    """Near the top of a large logit, bf16 steps of 0.125 would swallow the noise."""
    logits = torch.full((1, 4000, 4), 30.0, dtype=torch.bfloat16)
    drawn = draw(logits, torch.tensor([3]), torch.arange(4000)[None], temperature=1.0)
    assert torch.equal(drawn, draw(logits.float(), torch.tensor([3]), torch.arange(4000)[None], temperature=1.0))
    assert (torch.bincount(drawn[0], minlength=4) / 4000 - 0.25).abs().max() < 0.03


@pytest.mark.parametrize("mode", ["speculative", "guided"])
def test_the_draft_proposes_with_the_noise_of_the_position(tiny_pair: Callable[..., Pair], mode: Mode) -> None:
    """So hot that noise alone decides: a draft that draws with the target's noise is accepted as a whole."""
    spec = DecodingSpec(mode, 24, temperature=1e5, alpha=0.5 if mode == "guided" else 0.0, ignore_eos=True)
    made = generate(tiny_pair("qwen3"), random_prompt(9), spec)
    assert set(made.acceptance_lengths) == {4}
