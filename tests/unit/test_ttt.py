import logging
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dftt.adaptation import steps, ttt
from dftt.adaptation.lessons import context_batch
from dftt.adaptation.losses import block_loss
from dftt.adaptation.online import learning
from dftt.adaptation.steps import lr_factor
from dftt.adaptation.ttt import Adaptation, ttt_adapt
from dftt.decoding.generate import generate
from dftt.models.lora import applied
from dftt.models.pair import Pair, load_pair
from dftt.types import LORA_MODULES, DecodingSpec, LossName, Prompt, TTTSpec
from tests.fakes import random_prompt

SHORT = TTTSpec(steps=6, warmup=1, anchors=4)


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Pair:
    """The tiny Qwen3 pair."""
    return tiny_pair("qwen3")


def same_adapters(first: Adaptation, second: Adaptation) -> bool:
    ours, theirs = first.adapter.weights, second.adapter.weights
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def broken_loss(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the loss of step `at` not a number."""

    def install(at: int) -> None:
        calls = iter(range(1000))

        def broken(*args, **kwargs):
            result = block_loss(*args, **kwargs)
            return replace(result, loss=result.loss * math.nan) if next(calls) == at else result

        monkeypatch.setattr(steps, "block_loss", broken)

    return install


def test_the_pair_is_bitwise_unchanged(pair: Pair) -> None:
    models = (pair.target.model, pair.draft)
    before = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models]
    ttt_adapt(pair, random_prompt(30), SHORT)
    for model, tensors in zip(models, before, strict=True):
        after = model.state_dict()
        assert after.keys() == tensors.keys()
        assert all(torch.equal(after[name], tensor) for name, tensor in tensors.items())
        assert not any(parameter.requires_grad for parameter in model.parameters())


REPEATED = Prompt(random_prompt(8, seed=3).input_ids * 4)
OVERFIT = TTTSpec(steps=350, lr=2e-2, rank=16, lora_alpha=32, modules=LORA_MODULES, anchors=24)


def test_a_repeated_context_is_learnt_by_heart(pair: Pair) -> None:
    adaptation = ttt_adapt(pair, REPEATED, OVERFIT)
    batch = context_batch(pair.draft, pair.prefill(REPEATED), len(REPEATED), OVERFIT, step=1000)
    with torch.no_grad():
        before = block_loss(pair.draft, pair.target, batch, loss="kl")
        with applied(pair.draft, adaptation.adapter):
            after = block_loss(pair.draft, pair.target, batch, loss="kl")
    assert float(before.estimated_tau) < 1.3
    assert float(after.estimated_tau) > 3.5
    assert float((after.correct & after.counted).sum() / after.counted.sum()) > 0.95


@pytest.mark.parametrize("loss", ["ce", "kl", "mixed"])
def test_the_loss_falls(pair: Pair, loss: LossName) -> None:
    trace = ttt_adapt(pair, REPEATED, replace(OVERFIT, steps=60, loss=loss)).losses
    assert sum(trace[-5:]) < 0.5 * sum(trace[:5])


def test_steps_of_the_schedule() -> None:
    factors = [lr_factor(step, TTTSpec(steps=11, warmup=4, decay=0.1)) for step in range(11)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == pytest.approx([1 - 0.9 * step / 6 for step in range(1, 7)])


@pytest.mark.parametrize("learns_from", ["context", "self_study"])
def test_every_step_draws_anchors_of_its_own(pair: Pair, learns_from: str) -> None:
    """At a rate of nothing the adapter stays, and losses say which blocks were drawn."""
    study = {"learns_from": learns_from, "study_samples": 6, "study_tokens": 12} if learns_from != "context" else {}
    losses = ttt_adapt(pair, random_prompt(40), TTTSpec(steps=6, lr=1e-12, anchors=4, **study)).losses
    assert len({round(loss, 4) for loss in losses}) == 6


def test_the_same_seed_gives_the_same_adapter(pair: Pair) -> None:
    first = ttt_adapt(pair, random_prompt(30), SHORT)
    torch.manual_seed(99)
    second = ttt_adapt(pair, random_prompt(30), SHORT)
    assert same_adapters(first, second)
    assert first.losses == second.losses


def test_another_seed_gives_another_adapter(pair: Pair) -> None:
    first, second = (ttt_adapt(pair, random_prompt(30), replace(SHORT, seed=seed)) for seed in (0, 1))
    assert not same_adapters(first, second)


@pytest.fixture
def seeded_devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Accelerators whose global generators are seeded, whether this machine has them or not."""
    seen: list[str] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: seen.append("cuda"))
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)
    monkeypatch.setattr(torch.xpu, "manual_seed_all", lambda _: seen.append("xpu"))
    monkeypatch.setattr(torch.xpu, "_is_in_bad_fork", lambda: False)
    return seen


def test_adapting_and_decoding_leave_every_global_random_state(pair: Pair, seeded_devices: list[str]) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    prompt = random_prompt(30)
    adaptation = ttt_adapt(pair, prompt, SHORT)
    generate(pair, prompt, DecodingSpec(max_new_tokens=6, temperature=1.0), adaptation=adaptation)
    generate(pair, prompt, DecodingSpec("guided", 6, alpha=0.5), adaptation=adaptation)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]
    assert all(np.array_equal(one, two) for one, two in zip(before[2], after[2], strict=True))
    assert seeded_devices == []


def test_seeding_the_usual_way_would_be_seen(seeded_devices: list[str]) -> None:
    torch.manual_seed(0)
    assert "cuda" in seeded_devices


def test_tokens_after_the_context_do_not_matter(pair: Pair) -> None:
    ids = random_prompt(40).input_ids
    prompts = [Prompt(ids, 25), Prompt(ids[:25] + (7,) * 15, 25), Prompt(ids[:25])]
    first, *others = (ttt_adapt(pair, prompt, SHORT) for prompt in prompts)
    assert all(same_adapters(first, other) for other in others)


def test_a_longer_prefill_serves_a_shorter_context(pair: Pair) -> None:
    """Equal up to rounding: passes of 40 and of 25 tokens round differently."""
    prompt = Prompt(random_prompt(40).input_ids, 25)
    own, given = (ttt_adapt(pair, prompt, SHORT, prefill=prefill) for prefill in (None, pair.prefill(prompt)))
    assert given.losses == pytest.approx(own.losses, abs=1e-4)


def test_a_prefill_of_another_context_is_not_used(pair: Pair) -> None:
    prompt = random_prompt(30)
    given = ttt_adapt(pair, prompt, SHORT, prefill=pair.prefill(random_prompt(30, seed=5)))
    assert same_adapters(given, ttt_adapt(pair, prompt, SHORT))


def test_no_steps_change_nothing(pair: Pair) -> None:
    adaptation = ttt_adapt(pair, random_prompt(30), TTTSpec(steps=0))
    assert adaptation.losses == ()
    assert all((tensor == 0).all() for name, tensor in adaptation.adapter.weights.items() if "lora_B" in name)


def test_every_lora_matrix_learns(pair: Pair) -> None:
    weights = ttt_adapt(pair, random_prompt(30), replace(SHORT, modules=LORA_MODULES)).adapter.weights
    assert all(tensor.abs().max() > 0 for tensor in weights.values())


@pytest.mark.parametrize("at", [0, 3])
def test_a_loss_that_is_not_finite_stops_and_says_so(pair, broken_loss, caplog, at: int) -> None:
    broken_loss(at)
    with caplog.at_level(logging.WARNING):
        adaptation = ttt_adapt(pair, random_prompt(30), SHORT)
    assert adaptation.stopped == f"non-finite loss or gradient at step {at}: kept the weights before it"
    assert adaptation.stopped in caplog.text
    assert len(adaptation.losses) == at


def test_the_last_weights_with_a_finite_loss_are_kept(pair: Pair, broken_loss: Callable[[int], None]) -> None:
    """The update that led to the bad loss is not proven good, so it is taken back too."""
    weights = {}

    def watch(step: int, _loss: float) -> None:
        weights[step] = None

    broken_loss(3)
    stopped = ttt_adapt(pair, random_prompt(30), SHORT, on_step=watch)
    assert list(weights) == [0, 1, 2]
    assert all(torch.isfinite(tensor).all() for tensor in stopped.adapter.weights.values())
    assert same_adapters(stopped, adapter_after(pair, 2))


def adapter_after(pair: Pair, updates: int) -> Adaptation:
    """What SHORT gives when its run ends after so many updates, its schedule unchanged."""

    class EndError(Exception):
        pass

    kept = {}
    draft = pair.draft

    def watch(step: int, _loss: float) -> None:
        if step == updates - 1:
            kept.update(ttt.lora.read_weights(draft))
            raise EndError

    with pytest.raises(EndError):
        ttt_adapt(pair, random_prompt(30), SHORT, on_step=watch)
    adapter = ttt_adapt(pair, random_prompt(30), TTTSpec(steps=0)).adapter
    return Adaptation(replace(adapter, weights=kept), (), 0.0, 0)


def test_an_error_on_the_way_leaves_the_base_draft(pair: Pair) -> None:
    def fail(step: int, _loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ttt_adapt(pair, random_prompt(30), SHORT, on_step=fail)
    assert not ttt.lora.is_attached(pair.draft)


def test_patience_stops_a_loss_that_does_not_fall(pair: Pair) -> None:
    adaptation = ttt_adapt(pair, random_prompt(30), TTTSpec(steps=100, lr=1e-12, patience=4, seed=1))
    assert adaptation.stopped == "no better loss for 4 steps"
    assert len(adaptation.losses) < 100


def test_patience_leaves_no_update_that_is_not_finite(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step at which patience ends is checked as the last one of a full run is."""
    spec = TTTSpec(steps=100, lr=1e-12, patience=4, seed=1)
    step, steps = torch.optim.AdamW.step, len(ttt_adapt(pair, random_prompt(30), spec).losses)
    calls = iter(range(1, 1000))

    def poisoned(optimizer: torch.optim.AdamW, *args: Any) -> Any:
        step(optimizer, *args)
        if next(calls) == steps:
            optimizer.param_groups[0]["params"][0].data.fill_(math.nan)

    monkeypatch.setattr(torch.optim.AdamW, "step", poisoned)
    adaptation = ttt_adapt(pair, random_prompt(30), spec)
    assert len(adaptation.losses) == steps
    assert adaptation.stopped == "the last update was not finite: kept the weights before it"
    assert all(tensor.isfinite().all() for tensor in adaptation.adapter.weights.values())


def test_without_patience_all_steps_run(pair: Pair) -> None:
    adaptation = ttt_adapt(pair, random_prompt(30), TTTSpec(steps=30, lr=1e-12))
    assert (len(adaptation.losses), adaptation.stopped) == (30, "")


def test_each_step_is_reported(pair: Pair) -> None:
    seen = []
    adaptation = ttt_adapt(pair, random_prompt(30), SHORT, on_step=lambda step, loss: seen.append((step, loss)))
    assert seen == list(enumerate(adaptation.losses))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("given", [False, True], ids=["prefilled there", "given a prefill made there"])
def test_adapting_works_inside_no_grad_and_inference_mode(pair: Pair, mode: Any, given: bool) -> None:
    prompt = random_prompt(30)
    expected = ttt_adapt(pair, prompt, SHORT)
    with mode():
        prefill = pair.prefill(prompt) if given else None
        assert prefill is None or prefill.features.is_inference() == (mode is torch.inference_mode)
        inside = ttt_adapt(pair, prompt, SHORT, prefill=prefill)
    assert same_adapters(inside, expected)
    assert inside.losses == expected.losses


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_prefill_made_inside_serves_adapting_outside(pair: Pair, mode: Any) -> None:
    prompt = random_prompt(30)
    with mode():
        prefill = pair.prefill(prompt)
    assert same_adapters(ttt_adapt(pair, prompt, SHORT, prefill=prefill), ttt_adapt(pair, prompt, SHORT))


def test_a_pair_loaded_in_inference_mode_adapts(tiny_target, tiny_draft, pair: Pair) -> None:
    with torch.inference_mode():
        loaded = load_pair(tiny_target("qwen3"), tiny_draft())
        inside = ttt_adapt(loaded, random_prompt(30), SHORT)
    assert same_adapters(inside, ttt_adapt(pair, random_prompt(30), SHORT))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_learning_from_an_answer_works_inside_inference_mode(pair: Pair, mode: Any) -> None:
    prompt, spec = random_prompt(30), DecodingSpec(max_new_tokens=30, ignore_eos=True)
    ttt_spec = replace(SHORT, learns_from="generation", every=4)

    def learnt() -> Adaptation:
        with learning(pair, ttt_spec, answer_tokens=30) as learner:
            generate(pair, prompt, spec, learner=learner)
            return learner.adaptation

    expected = learnt()
    assert len(expected.losses) > 2
    with mode():
        inside = learnt()
    assert same_adapters(inside, expected)


def test_the_adapter_says_what_it_is(pair: Pair) -> None:
    adapter = ttt_adapt(
        pair, random_prompt(30), replace(SHORT, rank=3, lora_alpha=5.0, modules=("v_proj", "fc"))
    ).adapter
    assert adapter.identity == (3, 5.0, ("fc", "v_proj"))


@pytest.mark.parametrize("length", [1, 2])
def test_a_context_too_short_to_adapt_to_is_refused(pair: Pair, length: int) -> None:
    with pytest.raises(ValueError, match=f"context of {length} tokens"):
        ttt_adapt(pair, random_prompt(length), SHORT)
    assert not ttt.lora.is_attached(pair.draft)
