"""Baselines on tiny models, margins, and methods by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.margins import is_long_enough
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.baselines.power import generate_power
from dftt.decoding.baselines.rerank import generate_reranked, mean_log_probability
from dftt.decoding.forced import forced_logits, token_log_probabilities
from dftt.decoding.generate import generate
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.methods import generate_by
from dftt.types import DecodingSpec, GuidanceSpec, Prompt, TTTSpec
from dftt.types.methods import METHODS, PowerSpec, RerankSpec, make_method
from dftt_tools.margin import Margin, answer_margins
from tests.fakes import EOS_ID

SPEC = DecodingSpec(max_new_tokens=8, temperature=0.8, ignore_eos=True)
POWER = PowerSpec(blocks=2, steps=3)


def log_probability(model: Any, prompt: Prompt, tokens: Any, temperature: float = 1.0) -> torch.Tensor:
    """Log-probability of each token, as transformers gives it in one pass."""
    ids = prompt.input_ids + tuple(tokens)
    logits = model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def test_forced_log_probabilities_are_transformers(good_pair, reference) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    tokens = tuple(range(40, 51))  # more than two blocks
    ours = token_log_probabilities(forced_logits(pair, prompt, tokens).target, tokens)
    torch.testing.assert_close(ours, log_probability(reference("qwen3", torch.float64), prompt, tokens))


@pytest.mark.parametrize(("prefilled", "message"), [((1, 2, 3), "not of the first"), (None, "continuation is empty")])
def test_what_cannot_be_forced_is_refused(good_pair, prefilled: Any, message: str) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    prefill = None if prefilled is None else pair.prefill(Prompt(prefilled))
    with pytest.raises(ValueError, match=message):
        forced_logits(pair, prompt, (5,) if prefilled else (), prefill=prefill)


# -- Power Sampling ----------------------------------------------------------------------------------------------------


def test_power_one_is_plain_sampling_and_every_step_is_taken(good_pair) -> None:
    """At alpha 1 proposal and goal are the same distribution, so the ratio is 1."""
    pair, prompt = good_pair("qwen3", dtype="float64")
    answer = generate_power(pair, prompt, SPEC, replace(POWER, alpha=1.0, steps=0, blocks=1), sample_name="x")
    plain = generate(pair, prompt, replace(SPEC, temperature=1.0), sample_names=["x/0"])
    assert answer.token_ids == plain.token_ids


def test_power_sampling_finds_likelier_answers(good_pair, reference) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    model = reference("qwen3", torch.float64)

    def mean(power: PowerSpec) -> float:
        drawn = [generate_power(pair, prompt, replace(SPEC, seed=seed), power).token_ids for seed in range(4)]
        return sum(float(log_probability(model, prompt, tokens).sum()) for tokens in drawn) / len(drawn)

    assert mean(POWER) > mean(PowerSpec(alpha=1.0, blocks=1, steps=0)) + 1


def test_power_sampling_is_repeatable_and_counts_its_work(good_pair) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    first, again = (generate_power(pair, prompt, SPEC, POWER, sample_name="x") for _ in range(2))
    assert first.token_ids == again.token_ids
    assert len(first.token_ids) == SPEC.max_new_tokens
    assert first.target_calls == sum(1 for _ in first.acceptance_lengths) + 2 + 2 * 3
    prefilled = generate_power(pair, prompt, SPEC, POWER, prefill=pair.prefill(prompt), sample_name="x")
    assert prefilled.token_ids == first.token_ids


def test_power_sampling_stops_where_an_answer_ends(good_pair) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    plain = generate_power(pair, prompt, SPEC, POWER, sample_name="x")
    spec = replace(SPEC, ignore_eos=False, eos_token_ids=(plain.token_ids[1], EOS_ID))
    answer = generate_power(pair, prompt, spec, POWER, sample_name="x")
    ends = [token in spec.eos_token_ids for token in answer.token_ids]
    assert not any(ends[:-1])
    assert answer.finish_reason == ("eos" if ends[-1] else "length")


# -- reranking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["target", "draft"])
def test_the_best_sample_by_its_judge_is_the_answer(good_pair, by: Any) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    adaptation = ttt_adapt(pair, prompt, TTTSpec(steps=4, lr=2e-2))
    names = [f"x/{number}" for number in range(4)]
    samples = generate(pair, [prompt] * 4, SPEC, sample_names=names)
    prefill = pair.prefill(prompt)
    scores = {
        sample.token_ids: mean_log_probability(
            pair, prompt, sample, spec=SPEC, by=by, adaptation=adaptation, prefill=prefill
        )
        for sample in samples
    }
    best = generate_reranked(pair, prompt, SPEC, RerankSpec(by, 4), adaptation=adaptation, sample_name="x")
    assert len(scores) == 4
    assert best.token_ids == max(scores, key=lambda tokens: scores[tokens])
    assert best.target_calls > max(sample.target_calls for sample in samples)


def test_the_targets_judgement_is_its_mean_log_probability(good_pair, reference) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    sample = generate(pair, prompt, SPEC)
    ours = mean_log_probability(
        pair, prompt, sample, spec=SPEC, by="target", adaptation=None, prefill=pair.prefill(prompt)
    )
    theirs = log_probability(reference("qwen3", torch.float64), prompt, sample.token_ids).mean()
    assert ours == pytest.approx(float(theirs))


def test_greedy_samples_cannot_be_reranked(good_pair) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        generate_reranked(pair, prompt, replace(SPEC, temperature=0.0), RerankSpec())


# -- margins -----------------------------------------------------------------------------------------------------------


def test_a_margin_by_hand() -> None:
    margin = Margin(in_context=(-1.0, -2.0), memorised=(-4.0,))
    assert margin.mean == 2.5
    assert margin.total == 1.0


def test_margins_are_those_of_the_mixed_distributions(good_pair, reference) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    question = Prompt(prompt.input_ids[-4:])
    model, answers = reference("qwen3", torch.float64), ((65, 66, 67, 68, 69), (70,))
    rules = [GuidanceSpec("cad", alpha=0.5), GuidanceSpec(alpha=0.3)]
    target, cad, _ = answer_margins(
        pair, prompt, answers[0], answers[1], rules, materials=Materials(without_context=(question,))
    )

    def expected(alpha: float, tokens: tuple[int, ...]) -> list[float]:
        logits = []
        for before in (prompt, question):
            ids = torch.tensor([before.input_ids + tokens])
            logits.append(model(ids).logits[0, len(before) - 1 : -1])
        mixed = (logits[0] + alpha * (logits[0] - logits[1])).log_softmax(-1)
        return mixed.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()

    for margin, alpha in ((target, 0.0), (cad, 0.5)):
        assert margin.in_context == pytest.approx(expected(alpha, answers[0]))
        assert margin.memorised == pytest.approx(expected(alpha, answers[1]))


def test_a_passage_too_short_is_left_out_of_margins(good_pair, capsys) -> None:
    """One row of two tokens ended the measurement of all behind it."""
    pair, _ = good_pair("qwen3")
    kept = [name for name in ("ab", "abc") if is_long_enough(pair, {"id": name, "context": name})]
    assert kept == ["abc"]
    assert "left out ab: a passage of 2 tokens" in capsys.readouterr().err


# -- methods by name ---------------------------------------------------------------------------------------------------


def test_a_rule_by_name_is_guided_decoding(good_pair) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    method = make_method("interpolate", {"alpha": 0.5, "top_k": 20})
    spec = replace(SPEC, mode="guided", guidance=GuidanceSpec(alpha=0.5, top_k=20))
    assert generate_by(pair, prompt, SPEC, method).token_ids == generate(pair, prompt, spec).token_ids


@pytest.mark.parametrize(
    ("name", "parameters", "kind"), [("power", {"blocks": 2, "steps": 1}, PowerSpec), ("rerank", {}, RerankSpec)]
)
def test_a_baseline_by_name(good_pair, name: str, parameters: dict[str, Any], kind: type) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    method = make_method(name, parameters)
    assert isinstance(method, kind)
    assert len(generate_by(pair, prompt, replace(SPEC, alpha=0.3), method).token_ids) == SPEC.max_new_tokens


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_made_without_parameters(name: str) -> None:
    make_method(name)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("hope", {}, "method: unknown 'hope'; choose from interpolate"),
        ("cad", {"beta": 1}, "method cad: unknown parameters beta; it takes alpha, numerator"),
        ("cad", {"rule": "dola"}, "method cad: unknown parameters rule"),
        ("power", {"alpha": 0}, "power.alpha must be >= 1, got 0"),
    ],
)
def test_a_bad_method_is_named(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make_method(name, parameters)
