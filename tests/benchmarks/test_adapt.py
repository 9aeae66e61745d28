"""The benchmarks of adaptation, memory and budget on a tiny shape, and the bundled pair's where the pair is at hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import adapt, budget, memory, pair, self_study
from benchmarks.budget import break_even
from benchmarks.memory import plain_prefill
from benchmarks.plain_adapt import PlainAdaptation
from dftt.adaptation.lessons import Lessons
from dftt.adaptation.self_study import write_study
from dftt.adaptation.ttt import ttt_adapt
from dftt.models.pair import Pair
from dftt.types import TTTSpec
from tests.fakes import random_prompt

TINY = ["--shape", "tiny", "--device", "cpu", "--contexts", "40", "--cycles", "1", "--anchors", "4"]


def test_the_plain_loop_learns_as_ttt_adapt_does(tiny_pair: Callable[..., Pair]) -> None:
    tiny, prompt, spec = tiny_pair("qwen3"), random_prompt(40), TTTSpec(steps=5, warmup=1, anchors=4)
    wanted = ttt_adapt(tiny, prompt, spec)
    loop = PlainAdaptation(tiny, Lessons(tiny.draft, tiny.prefill(prompt), len(prompt), spec), spec)
    try:
        losses = [loop.step() for _ in range(5)]
    finally:
        loop.close()
    assert losses == pytest.approx(wanted.losses, rel=1e-4)


def test_the_plain_loop_learns_from_a_study_as_ttt_adapt_does(tiny_pair: Callable[..., Pair]) -> None:
    tiny, prompt = tiny_pair("qwen3"), random_prompt(40)
    spec = TTTSpec(steps=5, warmup=1, anchors=4, learns_from="self_study", study_samples=3, study_tokens=9)
    context = tiny.prefill(prompt)
    study = write_study(tiny, context, len(prompt), spec)
    wanted = ttt_adapt(tiny, prompt, spec, study=study)
    loop = PlainAdaptation(tiny, Lessons(tiny.draft, context, len(prompt), spec, study), spec)
    try:
        losses = [loop.step() for _ in range(5)]
    finally:
        loop.close()
    assert losses == pytest.approx(wanted.losses, rel=1e-4)


def test_the_plain_prefill_gives_the_features_of_ours(tiny_pair: Callable[..., Pair]) -> None:
    tiny, prompt = tiny_pair("qwen3"), random_prompt(40)
    torch.testing.assert_close(plain_prefill(tiny, prompt)[0], tiny.prefill(prompt).features, atol=1e-4, rtol=1e-4)


def test_adaptation_is_measured_on_both_sides() -> None:
    report = adapt.main([*TINY, "--checkpointing"])
    assert [row["side"] for row in report.rows] == ["ours", "plain"]
    assert all(row["step, ms"] > 0 for row in report.rows)


def test_memory_is_measured_for_every_kind_of_work() -> None:
    report = memory.main([*TINY, "--new-tokens", "4"])
    assert len(report.rows) == 5
    assert all(row["peak, GB"] >= row["before, GB"] > 0 for row in report.rows)


def test_the_budget_names_all_parts(tmp_path: Path) -> None:
    budget.main([*TINY, "--steps", "10", "--gains", "0.5", "--out", str(tmp_path / "budget")])
    (row,) = json.loads((tmp_path / "budget.json").read_text())["rows"]
    assert row["break-even at +0.5, tokens"] > 0
    assert row["features, GB"] == 0.0  # 40 tokens
    assert row["TTT steps per prefill"] > 0


def test_break_even_is_where_the_seconds_are_won_back() -> None:
    tokens = break_even(3.0, 0.01, before=3, after=4)
    assert tokens * 0.01 / 3 == pytest.approx(3.0 + tokens * 0.01 / 4)


def test_without_a_gain_there_is_no_break_even() -> None:
    with pytest.raises(ValueError, match="before < after"):
        break_even(3.0, 0.01, before=3, after=3)


def test_lines_without_a_question_are_refused(tmp_path: Path, tiny_pair: Callable[..., Pair]) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"text": "hello"}\n')
    with pytest.raises(ValueError, match="question, problem, prompt"):
        pair.read_prompts(tiny_pair("qwen3"), path, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_the_bundled_pair_is_measured_on_prompts(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"question": "A baker sells 3 trays of 12 rolls. How many rolls?"}\n')
    passes, prompts = pair.main(["--prompts", str(path), "--new-tokens", "16", "--cycles", "1", "--block-sizes", "8"])
    assert passes.rows[0]["verify pass, ms"] > 0
    assert prompts.rows[0]["equal answers"] == "1 of 1"


def test_self_study_is_measured_on_both_sides(tmp_path: Path) -> None:
    sizes = ["--samples", "3", "--tokens", "6", "--steps", "2", "--anchors", "4", "--rank", "2"]
    report = self_study.main(["--shape", "tiny", "--contexts", "40", "--device", "cpu", *sizes])
    assert [row["what"] for row in report.rows] == [
        "writing",
        "steps, all",
        "steps, without fc",
        "steps, fc, q, k, v",
    ]
    assert all(row["ours, s"] > 0 and row["plain, s"] > 0 for row in report.rows)
