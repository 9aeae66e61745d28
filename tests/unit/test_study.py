"""Arms: their names, their decoding settings, and what makes no sense."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dftt.study import Arm, check_arms
from dftt.study.checks import check_materials, check_seeds
from dftt.types import DecodingSpec, TTTSpec


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        (Arm("target"), "target"),
        (Arm(), "speculative+none"),
        (Arm("speculative", "wrong"), "speculative+wrong"),
        (Arm("guided", "own", 0.5), "guided@0.5+own"),
        (Arm("guided", "none", -1.0), "guided@-1+none"),
        (Arm("target", temperature=0.3, top_p=0.9), "target,T=0.3,top_p=0.9"),
        (Arm("speculative", "shuffled"), "speculative+shuffled"),
        (Arm(ttt="own", ttt_overrides={"lr": 1e-4, "steps": 10}), "speculative+own,steps=10,lr=0.0001"),
        (Arm(ttt="own", ttt_overrides={"modules": ["fc", "q_proj"]}), "speculative+own,modules=fc-q_proj"),
        (Arm(ttt="own", taps="deep", rounds=2), "speculative+own,taps=deep,rounds=2"),
        (Arm(taps=0), "speculative+none,taps=0"),
        (Arm("guided", alpha=-0.5, guidance={"rule": "cad"}), "guided:cad@-0.5+none"),
        (
            Arm("guided", "own", 1.0, guidance={"rule": "contrastive", "reference": "early_exit:8"}),
            "guided:contrastive@1+own,reference=early_exit:8",
        ),
        (Arm("power", parameters={"steps": 2, "alpha": 3.0}), "power+none,power.alpha=3,power.steps=2"),
        (Arm("rerank", "own", 0.0, 0.7, parameters={"by": "target"}), "rerank+own,T=0.7,rerank.by=target"),
        (Arm("target", matched_to="guided@0.3+own"), "target,T=guided@0.3+own"),
    ],
)
def test_id_names_mode_strength_and_source(arm: Arm, name: str) -> None:
    assert arm.id == name


def test_an_arm_sets_its_own_temperature_top_p_and_seed() -> None:
    base = DecodingSpec(temperature=0.6, top_p=0.5, seed=3)
    spec = Arm("target", temperature=1.0, top_p=0.9).decoding(base, seed=7)
    assert (spec.temperature, spec.top_p, spec.seed) == (1.0, 0.9, 7)
    inherited = Arm("target").decoding(base)
    assert (inherited.temperature, inherited.top_p, inherited.seed) == (0.6, 0.5, 3)


def test_an_arm_overrides_what_it_names_of_ttt() -> None:
    base = TTTSpec(steps=40, rank=4)
    assert Arm(ttt="own", ttt_overrides={"lr": 0.5}).ttt_spec(base) == TTTSpec(steps=40, rank=4, lr=0.5)


def test_rounds_share_out_the_steps() -> None:
    arm = Arm(ttt="own", rounds=3)
    assert [arm.ttt_spec(TTTSpec(steps=11), number=number).steps for number in range(3)] == [4, 4, 3]


def test_decoding_takes_all_but_mode_and_alpha_from_the_base() -> None:
    base = DecodingSpec(mode="target", max_new_tokens=7, temperature=0.6, seed=3)
    spec = Arm("guided", "own", 0.3).decoding(base)
    assert (spec.mode, spec.alpha) == ("guided", 0.3)
    assert (spec.max_new_tokens, spec.temperature, spec.seed) == (7, 0.6, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "fast"}, "unknown mode 'fast'; choose from target, speculative, guided"),
        ({"ttt": "others"}, "unknown ttt 'others'; choose from none, own, wrong, shuffled"),
        ({"mode": "target", "ttt": "own"}, "never looks at the draft"),
        ({"mode": "speculative", "alpha": 0.5}, "alpha 0.5 needs mode guided"),
        ({"ttt": "own", "ttt_overrides": {"stps": 3}}, "unknown setting 'stps' of ttt; choose from steps, lr"),
        ({"ttt": "own", "ttt_overrides": {"steps": -3}}, "ttt.steps must be >= 0, got -3"),
        ({"ttt_overrides": {"steps": 3}}, "need a ttt other than none"),
        ({"ttt": "own", "rounds": 0}, "rounds must be >= 1, got 0"),
        ({"ttt": "wrong", "rounds": 2}, "use ttt own, got wrong"),
        ({"ttt": "own", "rounds": 4, "ttt_overrides": {"steps": 3}}, "3 ttt steps cannot be shared out over 4"),
        ({"taps": "middle"}, "unknown taps 'middle'; choose from all, shallow, deep, or a number"),
        ({"taps": -1}, "unknown taps -1"),
        ({"mode": "target", "taps": 1}, "taps 1 have no meaning; use all"),
        ({"temperature": -1.0}, "decoding.temperature must be finite and >= 0, got -1"),
        ({"guidance": {"rule": "cad"}}, "needs mode guided, got mode speculative"),
        ({"mode": "guided", "alpha": math.nan}, "must be a finite number, got nan"),
        ({"mode": "guided", "alpha": math.inf}, "must be a finite number, got inf"),
        ({"mode": "guided", "guidance": {"rule": "hope"}}, "unknown 'hope'; choose from interpolate"),
        ({"mode": "guided", "guidance": {"beta": 1}}, "unknown guidance setting 'beta'; choose from rule, numerator"),
        ({"mode": "guided", "guidance": {"alpha": 1}}, "write the weight as the arm's own alpha"),
        ({"mode": "guided", "guidance": {"rule": "own_minus_base"}}, "own_minus_base needs an adaptation: use ttt own"),
        (
            {"mode": "guided", "alpha": 1.0, "ttt": "wrong", "guidance": {"rule": "own_minus_other"}},
            "needs ttt own or shuffled to set it against, got wrong",
        ),
        ({"mode": "guided", "alpha": 1.0, "guidance": {"reference": "base"}}, "draft and base are the same"),
        (
            {"mode": "guided", "alpha": 1.0, "ttt": "own", "rounds": 2, "guidance": {"rule": "own_minus_other"}},
            "source other knows no rounds, got 2; use 1",
        ),
        ({"parameters": {"by": "draft"}}, "need mode power, rerank or copy, got mode speculative"),
        ({"mode": "rerank", "parameters": {"by": "chance"}}, "rerank.by: unknown 'chance'; choose from target, draft"),
        ({"mode": "power", "parameters": {"samples": 3}}, "unknown parameters samples; it takes alpha, blocks, steps"),
        ({"mode": "power", "temperature": 0.5}, "draws at temperature 1 / power.alpha; leave temperature out"),
        ({"mode": "guided", "matched_to": "target"}, "needs mode target, got mode guided"),
        ({"mode": "target", "matched_to": "x", "temperature": 1.0}, "finds the temperature; leave temperature out"),
        (
            {"ttt": "own", "ttt_overrides": {"learns_from": "luck"}},
            "unknown 'luck'; choose from context, self_study",
        ),
        ({"ttt": "own", "ttt_overrides": {"every": 1}}, "ttt.every must be >= 4, got 1"),
        ({"ttt": "wrong", "ttt_overrides": {"learns_from": "generation"}}, "'generation' needs ttt own, got wrong"),
        (
            {"mode": "guided", "alpha": 0.3, "ttt": "own", "ttt_overrides": {"learns_from": "generation"}},
            "'generation' needs mode speculative, got guided",
        ),
        (
            {"ttt": "own", "rounds": 2, "ttt_overrides": {"learns_from": "context+generation"}},
            "needs rounds 1, got 2",
        ),
    ],
)
def test_senseless_arms_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arm(**fields)


@pytest.mark.parametrize(
    ("arms", "baseline", "message"),
    [
        ([], "target", "evaluator.arms is empty"),
        ([Arm(), Arm()], "speculative+none", r"names speculative\+none more than once"),
        ([Arm("guided", alpha=0.5), Arm("guided", alpha=0.50)], "target", "more than once"),
        ([Arm()], "target", r"'target' is not an arm; arms are speculative\+none"),
        ([Arm("rerank")], "rerank+none", "needs samples that differ, but the temperature is 0"),
        ([Arm("target", matched_to="guided@1+own")], "target,T=guided@1+own", "is not a guided arm.*there are none"),
        (
            [Arm("guided", alpha=0.5), Arm("target", matched_to="guided@0.5+none")],
            "guided@0.5+none",
            "a greedy answer has no entropy",
        ),
    ],
)
def test_senseless_studies_are_refused(arms: list[Arm], baseline: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_arms(arms, baseline, DecodingSpec(), TTTSpec())


def test_a_sensible_study_passes() -> None:
    arms = [Arm("target"), Arm(), Arm("guided", alpha=0.2), Arm("target", matched_to="guided@0.2+none"), Arm("rerank")]
    check_arms(arms, "target", DecodingSpec(temperature=0.6), TTTSpec())


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_senseless_seeds_are_refused(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match=r"evaluator\.seeds must be different numbers, at least one"):
        check_seeds(seeds)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("contrastive", "needs an amateur: set evaluator.amateur"),
        ("contrastive_ratio", "needs an amateur: set evaluator.amateur"),
        ("own_minus_generic", "needs a generic adapter: set evaluator.generic_adapter"),
    ],
)
def test_a_rule_without_its_material_is_refused(rule: str, message: str) -> None:
    arm = Arm("guided", "own", 0.5, guidance={"rule": rule})
    with pytest.raises(ValueError, match=message):
        check_materials([arm], amateur=None, has_generic=False)
    check_materials([arm], amateur="a/model", has_generic=True)
    check_materials([Arm("guided", "own", 0.0, guidance={"rule": rule})], amateur=None, has_generic=False)
    early = Arm("guided", alpha=1.0, guidance={"rule": "contrastive", "reference": "early_exit:8"})
    check_materials([early], amateur=None, has_generic=False)


def test_an_answer_too_short_to_learn_from_is_refused() -> None:
    arm = Arm(ttt="own", ttt_overrides={"learns_from": "generation"})
    check_arms([arm], arm.id, DecodingSpec(max_new_tokens=34), TTTSpec())
    with pytest.raises(ValueError, match=r"ttt.every 32 leaves no update in an answer of at most 33 tokens"):
        check_arms([arm], arm.id, DecodingSpec(max_new_tokens=33), TTTSpec())


def test_what_the_study_says_of_learning_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"guided@1\+own: ttt.learns_from 'generation' needs mode speculative"):
        check_arms([Arm("guided", "own", 1.0)], "guided@1+own", DecodingSpec(), TTTSpec(learns_from="generation"))
