"""Guided decoding against its token-by-token meaning, written here a second time without any cache."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from dftt.adaptation.losses import run_blocks
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding import engine
from dftt.decoding.generate import generate, guided_generate
from dftt.decoding.sampling import gumbel_noise, sample_key
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Prompt, TTTSpec
from tests.fakes import random_prompt

SPEC = DecodingSpec(mode="guided", max_new_tokens=24, ignore_eos=True)
ALPHAS = [0.1, 0.3, 0.5, 1.0]
TEMPERATURES = [0.0, 0.6]


Mix = Callable[[Tensor, Tensor, DecodingSpec], Tensor]


def filtered(logits: Tensor, spec: DecodingSpec) -> Tensor:
    """Logits (V,) after temperature, top-k and top-p, by transformers' own code."""
    filters = [TemperatureLogitsWarper(spec.temperature)]
    filters += [TopKLogitsWarper(spec.top_k)] if spec.top_k else []
    filters += [TopPLogitsWarper(spec.top_p)] if spec.top_p < 1 else []
    for each in filters:
        logits = each(torch.empty(0), logits[None])[0]  # pyright: ignore[reportArgumentType]
    return logits


def mixed_then_filtered(target: Tensor, draft: Tensor, spec: DecodingSpec) -> Tensor:
    """What a token is drawn from, by the definition."""
    logits = target + spec.alpha * (draft - target)
    return filtered(logits, spec) if spec.temperature else logits


def filtered_then_mixed(target: Tensor, draft: Tensor, spec: DecodingSpec) -> Tensor:
    """The other order: only what the target would have kept may be drawn."""
    logits = (target + spec.alpha * (draft - target)) / spec.temperature
    return logits.masked_fill(filtered(target, spec).isneginf(), -torch.inf)


def naive_guided(
    model: Any, pair: Pair, prompt: Prompt, spec: DecodingSpec, name: str, mix: Mix = mixed_then_filtered
) -> tuple[int, ...]:
    """The guided distribution by its definition: the whole text read anew for every token, no cache."""
    ids = list(prompt.input_ids)
    key = torch.tensor([sample_key(spec.seed, name)])
    for _ in range(spec.max_new_tokens):
        out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        features = torch.cat([out.hidden_states[tap] for tap in pair.draft.config.tap_ids], dim=-1)
        anchor = torch.tensor([[len(ids) - 1]])
        with torch.no_grad():
            blocks = run_blocks(
                pair.draft,
                pair.target,
                features=features,
                anchors=anchor,
                anchor_ids=torch.tensor([[ids[-1]]]),
            )
        logits = mix(out.logits[0, -1], model.lm_head(blocks[0, 0, 1]), spec)
        if spec.temperature:
            logits = logits + gumbel_noise(key, anchor + 1, len(logits))[0, 0]
        ids.append(int(logits.argmax()))
    return tuple(ids[len(prompt) :])


@pytest.fixture
def drawn_logits(monkeypatch: pytest.MonkeyPatch) -> Callable[[Pair, Prompt, DecodingSpec], list[Tensor]]:
    """The logits from which the engine draws, call by call."""
    seen: list[Tensor] = []
    draw = engine.draw

    def spy(logits: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(logits)
        return draw(logits, *args, **kwargs)

    monkeypatch.setattr(engine, "draw", spy)

    def run(pair: Pair, prompt: Prompt, spec: DecodingSpec) -> list[Tensor]:
        seen.clear()
        generate(pair, prompt, spec)
        return list(seen)

    return run


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("alpha", [-0.5, *ALPHAS])
@pytest.mark.parametrize("verify_size", [1, 4])
def test_guided_equals_its_definition(good_pair, reference, verify_size: int, alpha: float, temperature: float) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    spec = replace(SPEC, alpha=alpha, temperature=temperature, verify_size=verify_size, max_new_tokens=16)
    answer = generate(pair, prompt, spec, sample_names=["x"])
    assert answer.token_ids == naive_guided(reference("qwen3", torch.float64), pair, prompt, spec, "x")


@pytest.mark.parametrize("family", ["llama", "qwen3-sliding", "qwen3-moe"])
def test_guided_equals_its_definition_in_every_family(good_pair, reference, family: str) -> None:
    pair, prompt = good_pair(family, dtype="float64")
    spec = replace(SPEC, alpha=0.3, temperature=0.6, max_new_tokens=16)
    answer = generate(pair, prompt, spec, sample_names=["x"])
    assert answer.token_ids == naive_guided(reference(family, torch.float64), pair, prompt, spec, "x")


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-moe"])
def test_block_verified_equals_the_reference_loop(good_pair, family: str, alpha: float, temperature: float) -> None:
    pair, prompt = good_pair(family)
    spec = replace(SPEC, alpha=alpha, temperature=temperature)
    loop = generate(pair, prompt, replace(spec, verify_size=1))
    assert generate(pair, prompt, spec).token_ids == loop.token_ids


@pytest.mark.parametrize("verify_size", [2, 3, 4])
def test_block_verified_equals_the_reference_loop_at_any_size(good_pair, verify_size: int) -> None:
    pair, prompt = good_pair("qwen3")
    spec = replace(SPEC, alpha=0.3)
    loop = generate(pair, prompt, replace(spec, verify_size=1))
    answer = generate(pair, prompt, replace(spec, verify_size=verify_size))
    assert answer.token_ids == loop.token_ids
    assert 1 < answer.tau <= verify_size
    assert answer.target_calls < loop.target_calls


def test_guidance_changes_the_answer(good_pair: Callable[..., Any]) -> None:
    pair, _ = good_pair("qwen3")
    answers = {generate(pair, random_prompt(20), replace(SPEC, alpha=alpha)).token_ids for alpha in (0.0, *ALPHAS)}
    assert len(answers) >= 3


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("verify_size", [1, 3, 4])
def test_alpha_zero_gives_the_targets_tokens(good_pair, verify_size: int, temperature: float) -> None:
    pair, prompt = good_pair("qwen3")
    spec = replace(SPEC, alpha=0.0, temperature=temperature, verify_size=verify_size)
    plain = generate(pair, prompt, replace(spec, mode="target"))
    assert generate(pair, prompt, spec).token_ids == plain.token_ids


def test_alpha_zero_is_bitwise_the_targets_logits(good_pair, drawn_logits) -> None:
    pair, prompt = good_pair("qwen3")
    guided = drawn_logits(pair, prompt, replace(SPEC, alpha=0.0, verify_size=1))
    plain = drawn_logits(pair, prompt, replace(SPEC, mode="target"))
    assert len(guided) == len(plain) == 24
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(guided, plain, strict=True))


def test_alpha_one_is_slot_one_of_the_draft(good_pair, drawn_logits) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    logits = torch.cat(drawn_logits(pair, prompt, replace(SPEC, alpha=1.0, verify_size=1)), dim=1)[0]
    ids = prompt.input_ids + generate(pair, prompt, replace(SPEC, alpha=1.0)).token_ids
    anchors = torch.arange(len(prompt) - 1, len(ids) - 1)[None]
    with torch.no_grad():
        blocks = run_blocks(
            pair.draft,
            pair.target,
            features=pair.prefill(Prompt(ids)).features[None],
            anchors=anchors,
            anchor_ids=torch.tensor([ids])[:, anchors[0]],
        )
    torch.testing.assert_close(logits, pair.target.head(blocks[0, :, 1]), atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    "limits", [{"top_k": 3}, {"top_p": 0.5}, {"top_k": 20, "top_p": 0.8}], ids=["top-k", "top-p", "both"]
)
@pytest.mark.parametrize("verify_size", [1, 4])
def test_top_k_and_top_p_apply_to_the_mixed_logits(good_pair, reference, limits: Any, verify_size: int) -> None:
    """Not to the target's before mixing: that would give other tokens, and so would no limit."""
    pair, prompt = good_pair("qwen3", dtype="float64")
    model = reference("qwen3", torch.float64)
    spec = replace(SPEC, alpha=0.5, temperature=1.5, verify_size=verify_size, max_new_tokens=16, **limits)
    answer = generate(pair, prompt, spec, sample_names=["x"]).token_ids
    assert answer == naive_guided(model, pair, prompt, spec, "x")
    assert answer != naive_guided(model, pair, prompt, spec, "x", filtered_then_mixed)
    assert answer != generate(pair, prompt, replace(spec, top_k=0, top_p=1.0), sample_names=["x"]).token_ids


def test_guided_generate_is_generate_in_mode_guided(good_pair: Callable[..., Any]) -> None:
    pair, prompt = good_pair("qwen3")
    spec = replace(SPEC, alpha=0.5)
    answer = guided_generate(pair, prompt, replace(spec, mode="speculative"))
    assert answer.token_ids == generate(pair, prompt, spec).token_ids


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_block_verified_equals_the_loop_under_an_adapter(good_pair, temperature: float) -> None:
    pair, prompt = good_pair("qwen3")
    adaptation = ttt_adapt(pair, random_prompt(30), TTTSpec(steps=20, lr=2e-2))
    spec = replace(SPEC, alpha=0.5, temperature=temperature)
    loop = generate(pair, prompt, replace(spec, verify_size=1), adaptation=adaptation)
    assert loop.token_ids != generate(pair, prompt, replace(spec, verify_size=1)).token_ids
    assert generate(pair, prompt, spec, adaptation=adaptation).token_ids == loop.token_ids
