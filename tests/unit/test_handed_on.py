"""Settings and adapters that a function is given reach what computes with them, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import pytest
import torch

import dftt.decoding.methods
from dftt.adaptation.lessons import context_batch
from dftt.adaptation.losses import block_loss
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.methods import generate_by
from dftt.models.draft import tapped
from dftt.models.lora import Adapter, applied
from dftt.models.pair import Pair
from dftt.study.adapters import Adapters
from dftt.study.progress import StudyProgress
from dftt.study.spec import Contexts, Study
from dftt.types import LOSSES, DecodingSpec, GuidanceSpec, LossName, TTTSpec
from dftt.types.arms import Arm
from dftt.types.methods import PowerSpec, RerankSpec
from tests.fakes import random_prompt

PROMPT = random_prompt(40, seed=4)
TTT = TTTSpec(steps=1, warmup=0, lr=1e-12, anchors=4, held_out=0)


@pytest.fixture
def pair(tiny_pair: Callable[..., Pair]) -> Pair:
    return tiny_pair("qwen3")


def learnt(pair: Pair, **settings: Any) -> Adapter:
    """An adapter that changes the draft."""
    return ttt_adapt(pair, random_prompt(30, seed=8), replace(TTT, steps=8, lr=0.05, **settings)).adapter


# -- adapting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_asked_for_is_learnt(pair: Pair, loss: LossName) -> None:
    batch = context_batch(pair.draft, pair.prefill(PROMPT), len(PROMPT), TTT, 0)
    wanted = [float(block_loss(pair.draft, pair.target, batch, loss=each).loss) for each in get_args(LossName)]
    made = ttt_adapt(pair, PROMPT, replace(TTT, loss=loss)).losses
    assert made == pytest.approx([wanted[LOSSES.index(loss)]], rel=1e-5)
    assert len({round(each, 3) for each in wanted}) == len(LOSSES)


@pytest.mark.parametrize("settings", [{"rank": 2}, {"lora_alpha": 64.0}, {"modules": ("fc",)}], ids=str)
def test_an_adapter_is_learnt_at_its_scale(pair: Pair, settings: dict[str, Any]) -> None:
    """The first loss is that of the draft that decodes under the adapter."""
    spec, initial = replace(TTT, **settings), learnt(pair, **settings)
    batch = context_batch(pair.draft, pair.prefill(PROMPT), len(PROMPT), spec, 0)
    with applied(pair.draft, initial), torch.no_grad():
        wanted = float(block_loss(pair.draft, pair.target, batch, loss="kl").loss)
    made = ttt_adapt(pair, PROMPT, spec, initial=initial)
    assert made.losses == pytest.approx([wanted], rel=1e-4)
    assert made.losses != pytest.approx(ttt_adapt(pair, PROMPT, spec).losses, rel=1e-2)


def test_the_seed_decides_what_an_adapter_begins_as(pair: Pair) -> None:
    """And not only what is learnt at each step: here nothing is."""
    first, again, other = (ttt_adapt(pair, PROMPT, replace(TTT, steps=0, seed=seed)).adapter for seed in (0, 0, 1))
    drawn = [name for name in first.weights if name.endswith("lora_A.weight")]
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in drawn)
    assert not any(torch.equal(first.weights[name], other.weights[name]) for name in drawn)


@pytest.mark.parametrize("anchors", [3, 6])
@pytest.mark.parametrize("window", [0, 16])
def test_as_many_anchors_are_drawn_within_the_window(pair: Pair, anchors: int, window: int) -> None:
    spec = replace(TTT, anchors=anchors, window=window)
    prefill = pair.prefill(PROMPT)
    drawn = [context_batch(pair.draft, prefill, len(PROMPT), spec, step).anchors[0].tolist() for step in range(20)]
    assert {len(each) for each in drawn} == {anchors}
    assert (min(min(each) for each in drawn) >= len(PROMPT) - 16) is bool(window)


# -- adapters of a study ----------------------------------------------------------------------------------------------


def progress() -> StudyProgress:
    return StudyProgress(num_contexts=1, quiet=True)


def test_a_store_keeps_adapters_apart_by_taps_and_start(pair: Pair, tmp_path: Path) -> None:
    """What was adapted otherwise is never taken for it; what was adapted alike is."""
    spec = replace(TTT, store=str(tmp_path / "store"), steps=2, lr=0.01)
    arms = [Arm(ttt="own"), Arm(ttt="own", taps=0)]
    losses: list[tuple[float, ...]] = []
    for initial in (None, learnt(pair), None):
        adapters = Adapters(Study(pair, tuple(arms), DecodingSpec(), spec, initial=initial), progress())
        losses += [adapters.adaptation(arm, Contexts(PROMPT), to="own").losses for arm in arms]
    assert len(set(losses[:4])) == 4
    assert losses[4:] == losses[:2]


def test_arms_with_other_taps_do_not_share_an_adapter(pair: Pair) -> None:
    arms = [Arm(ttt="own", taps=taps) for taps in ("all", 0)]
    adapters = Adapters(Study(pair, tuple(arms), DecodingSpec(), replace(TTT, lr=0.01)), progress())
    for arm in arms:
        with tapped(pair.draft, arm.taps):
            wanted = ttt_adapt(pair, PROMPT, replace(TTT, lr=0.01)).losses
        assert adapters.adaptation(arm, Contexts(PROMPT), to="own").losses == pytest.approx(wanted)


def test_the_other_adapter_is_learnt_with_the_arms_taps(pair: Pair) -> None:
    arm, other = Arm("guided", "own", 1.0, guidance={"rule": "own_minus_other"}, taps=0), random_prompt(30, seed=6)
    adapters = Adapters(Study(pair, (arm,), DecodingSpec(), replace(TTT, lr=0.01)), progress())
    materials = adapters.materials(arm, Contexts(PROMPT, other, "other"), None)
    assert materials is not None
    with tapped(pair.draft, 0):
        wanted = ttt_adapt(pair, other, replace(TTT, lr=0.01)).adapter.weights
    assert all(torch.equal(materials.adapters["other"].weights[name], wanted[name]) for name in wanted)


# -- methods by name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "runs", "known"),
    [
        (PowerSpec(), "generate_power", ("adaptation", "prefill")),
        (RerankSpec(), "generate_reranked", ("adaptation", "prefill")),
        (GuidanceSpec("cad", alpha=0.5), "generate", ("adaptation", "prefill", "materials")),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_method_gets_all_that_it_is_run_with(pair: Pair, method: Any, runs: str, known: tuple[str, ...]) -> None:
    given = {"adaptation": learnt(pair), "prefill": pair.prefill(PROMPT), "materials": Materials()}
    with patch.object(dftt.decoding.methods, runs) as run:
        generate_by(pair, PROMPT, DecodingSpec(temperature=0.5, seed=3), method, sample_name="named", **given)
    (_, prompt, spec, *rest), options = run.call_args
    assert prompt is PROMPT
    assert all(options[name] is given[name] for name in known)
    assert (spec.temperature, spec.seed) == (0.5, 3)
    assert options.get("sample_name", options.get("sample_names")) in ("named", ["named"])
    assert method in (*rest, spec.guidance)
