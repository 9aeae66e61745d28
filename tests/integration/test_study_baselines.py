"""Baselines and the temperature-matched target as arms of a study."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from dftt.decoding.forced import forced_logits
from dftt.decoding.generate import generate
from dftt.decoding.guidance.rules import mean_entropy
from dftt.decoding.methods import generate_by
from dftt.models.pair import Pair, load_pair
from dftt.study import Arm
from dftt.study.plan import ROUGH, make_plan
from dftt.study.records import load_records
from dftt.types import DecodingSpec, GuidanceSpec, TTTSpec
from dftt.types.methods import make_method
from tests.commands import Commands, row
from tests.integration.test_evaluator import records_of
from tests.integration.test_study_grid import counted
from tests.integration.test_study_materials import prompt_of, qa

SHORT = (
    "--evaluator.decoding.max_new_tokens=8",
    "--evaluator.decoding.ignore_eos=true",
    "--evaluator.decoding.temperature=0.8",
    "--model.ttt.anchors=4",
    "--model.ttt.steps=2",
    "--evaluator.baseline=target",
)
SPEC = DecodingSpec(max_new_tokens=8, ignore_eos=True, temperature=0.8)
MATCHED = "target,T=guided@0.7+none"


def arms(*more: str) -> str:
    return f"--evaluator.arms=[{{mode: target}}, {', '.join(more)}]"


@pytest.fixture
def pair(commands: Commands) -> Pair:
    return load_pair(commands.target, commands.draft)


def test_baselines_are_those_of_the_public_functions(commands: Commands, pair: Pair) -> None:
    power, rerank = "{mode: power, parameters: {blocks: 2, steps: 1}}", "{mode: rerank, parameters: {samples: 3}}"
    records = records_of(commands("test", *SHORT, arms(power, rerank), data=qa(commands)))
    for arm, method in (
        ("power+none,power.blocks=2,power.steps=1", make_method("power", {"blocks": 2, "steps": 1})),
        ("rerank+none,rerank.samples=3", make_method("rerank", {"samples": 3})),
    ):
        for name in "ab":
            made = generate_by(pair, prompt_of(pair, name), SPEC, method, sample_name=name)
            record = records[name, arm]
            assert (record.token_ids, record.target_calls) == (made.token_ids, made.target_calls)


def test_a_matched_arm_is_the_target_as_unsure_as_the_guided_one(commands: Commands, pair: Pair) -> None:
    matched = "{mode: target, matched_to: guided@0.7+none}"
    flags = (*SHORT, arms(matched, "{mode: guided, alpha: 0.7}"))  # in whatever order
    records = records_of(commands("test", *flags, data=qa(commands)))
    found = {name: records[name, MATCHED].metadata["matched_temperature"] for name in "ab"}
    assert found["a"] != found["b"]  # each task has its own
    for name, temperature in found.items():
        prompt, rule = prompt_of(pair, name), GuidanceSpec(alpha=0.7)
        guided = records[name, "guided@0.7+none"].token_ids
        forced = forced_logits(pair, prompt, guided, [rule])
        wanted = mean_entropy(forced.guided[0], temperature=0.8)
        assert mean_entropy(forced.target, temperature=temperature) == pytest.approx(wanted, rel=1e-4)
        spec = DecodingSpec("target", 8, ignore_eos=True, temperature=temperature)
        assert records[name, MATCHED].token_ids == generate(pair, prompt, spec, sample_names=[name]).token_ids


def test_a_matched_arm_follows_the_arm_it_is_matched_to(commands: Commands, tmp_path: Path) -> None:
    matched = "{mode: target, matched_to: guided@0.7+own}"
    flags = (*SHORT, arms(matched, "{mode: guided, alpha: 0.7, ttt: own}"), f"--evaluator.run_dir={tmp_path / 's'}")

    def hashes(*more: str, new: int) -> dict[str, str]:
        with counted() as counts:
            commands("test", *flags, *more, data=qa(commands))
        assert counts["generations"] == new
        return {each.arm: each.spec_hash for each in load_records(tmp_path / "s") if each.task_id == "a"}

    before = hashes(new=6)
    assert hashes(new=0) == before
    after = hashes("--model.ttt.lr=0.01", new=4)
    assert {arm for arm in before if before[arm] != after[arm]} == {"guided@0.7+own", "target,T=guided@0.7+own"}


def test_what_is_matched_to_a_missing_answer_is_missing(commands: Commands) -> None:
    """CAD has no answer where no question is told apart: nothing may be matched with some other temperature."""
    cad = "{mode: guided, alpha: 0.7, guidance: {rule: cad}}"
    data = commands.write([row("Goats vote.", task_id="a", context_id="a")])
    flags = (*SHORT, arms(cad, '{mode: target, matched_to: "guided:cad@0.7+none"}'))
    record = records_of(commands("test", *flags, data=data))["a", "target,T=guided:cad@0.7+none"]
    assert (record.finish_reason, record.token_ids) == ("error", ())
    assert "the answer of guided:cad@0.7+none is missing" in record.explanation


def test_arms_that_do_not_fit_are_refused_before_loading(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    def refused(command: str, *flags: str) -> str:
        return commands.refused(capfd, *commands.arguments(command, *SHORT, *flags, data=qa(commands)))

    greedy = "--evaluator.decoding.temperature=0"
    assert "reranking needs samples that differ" in refused("test", arms("{mode: rerank}"), greedy)
    assert "'guided@1+own' is not a guided arm" in refused("test", arms("{mode: target, matched_to: guided@1+own}"))
    answer_with = "--evaluator.answer_with={mode: target, ttt: none, matched_to: guided@1+own}"
    assert "predict needs one with a temperature" in refused("predict", answer_with)


def test_a_baseline_answers_in_predict(commands: Commands) -> None:
    printed: list[list[int]] = []
    answer_with = "--evaluator.answer_with={mode: rerank, ttt: none, parameters: {samples: 2}}"
    with patch("dftt.evaluator.AnswerPrinter", lambda _: lambda _row, tokens: printed.append(tokens)):
        records = records_of(commands("predict", *SHORT, answer_with, data=qa(commands)))
    assert [tuple(tokens) for tokens in printed] == [record.token_ids for record in records.values()]


def test_a_plan_counts_baselines_draws_and_learnt_answers() -> None:
    def steps_and_tokens(arm: Arm) -> tuple[int, int, int]:
        plan = make_plan([[1], [1]], [arm], [0], TTTSpec(steps=10), DecodingSpec(max_new_tokens=64))
        return plan.adaptations, plan.steps, plan.new_tokens

    other = Arm("guided", "own", 1.0, guidance={"rule": "own_minus_other"})
    assert steps_and_tokens(other) == (2, 20, 128)  # another context's is that one's own
    assert steps_and_tokens(Arm("guided", "shuffled", 1.0, guidance={"rule": "own_minus_other"})) == (4, 40, 128)
    assert steps_and_tokens(Arm("rerank", parameters={"samples": 4})) == (0, 0, 512)
    assert steps_and_tokens(Arm("power", parameters={"blocks": 1, "steps": 2})) == (0, 0, 384)
    during = Arm(ttt="own", ttt_overrides={"learns_from": "generation"})
    assert steps_and_tokens(during) == (2, 20, 128)
    both = Arm(ttt="own", ttt_overrides={"learns_from": "context+generation"})
    assert steps_and_tokens(both) == (4, 20, 128)


def test_a_plan_counts_answers_side_by_side_once() -> None:
    """The estimate of 55 arms was three times too long: it took each answer as decoded alone."""
    alphas = [Arm("guided", "none", alpha) for alpha in (0.0, 0.1, 0.2, 0.3)]
    alphas += [Arm("guided", "own", alpha) for alpha in (0.1, 0.2)]
    alone = [Arm("guided", "own", 0.3, rounds=2), Arm("rerank", parameters={"samples": 2})]
    turns, spec = [[1, 1], [2]], DecodingSpec(max_new_tokens=10)
    plan = make_plan(turns, [*alphas, *alone], [0], TTTSpec(steps=2), spec, rows=4)
    # Of the first context: alpha 0 on both tasks, 6 answers in 2 passes, 4 in 1, and alone 2 x (2 + 1).
    assert plan.passes == (1 + 2 + 1 + 6) + (6 * 2 + 2 * 2 + 2)
    one_by_one = make_plan(turns, [*alphas, *alone], [0], TTTSpec(steps=2), spec)
    assert one_by_one.passes == one_by_one.generations == plan.generations
    assert plan.seconds(ROUGH["cpu"]) < one_by_one.seconds(ROUGH["cpu"])
