"""One runner for a whole command: what it loads, reads and hashes once, and what it leaves alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import dftt.study.prompts
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.models import lora
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.study import fingerprint
from dftt.study.runner import Runner
from dftt.types import DecodingSpec, TTTSpec
from tests.commands import Commands
from tests.fakes import random_prompt, tiny_target_dir

SHORT = ("--evaluator.decoding.max_new_tokens=4", "--model.ttt.anchors=4", "--model.ttt.steps=1")
ARMS = "--evaluator.arms=[{mode: speculative}, {mode: target}, {mode: guided, alpha: 0.3}]"


def test_a_prompt_is_tokenised_and_hashed_once_for_all_arms(commands: Commands) -> None:
    texts, hashed = Counter[str](), Counter[Any]()
    encode, of_prompt = dftt.study.prompts.encode, fingerprint._of_prompt

    def counting(tokenizer: Any, messages: Sequence[Any]) -> list[int]:
        texts[str(messages)] += 1
        return encode(tokenizer, messages)

    def counting_hashes(asked: Any) -> str:
        hashed[asked.task.task_id] += 1
        return of_prompt(asked)

    with (
        patch.object(dftt.study.prompts, "encode", counting),
        patch.object(fingerprint, "_of_prompt", counting_hashes),
    ):
        commands("test", *SHORT, ARMS, "--evaluator.seeds=[0, 1]", data=commands.contexts())
    assert set(texts.values()) == set(hashed.values()) == {1}
    assert len(texts) == len(hashed) == 4


def test_predict_has_one_runner_and_loads_an_amateur_once(commands: Commands) -> None:
    made: list[str] = []
    init, load = Runner.__init__, Target.load.__func__  # pyright: ignore[reportFunctionMemberAccess]

    def counting_init(self: Runner, *arguments: Any) -> None:
        made.append("runner")
        init(self, *arguments)

    def counting_load(kind: type[Target], name: Any, **options: Any) -> Target:
        made.append("amateur" if "amateur" in str(name) else "target")
        return load(kind, name, **options)

    amateur = tiny_target_dir(commands.root / "amateur", "llama")
    arm = "--evaluator.answer_with={mode: guided, alpha: 0.3, guidance: {rule: contrastive}}"
    with patch.object(Runner, "__init__", counting_init), patch.object(Target, "load", classmethod(counting_load)):
        commands("predict", *SHORT, arm, f"--evaluator.amateur={amateur}", data=commands.contexts())
    assert sorted(made) == ["amateur", "runner", "target"]


def test_test_puts_no_adapter_on_the_draft_by_itself(commands: Commands) -> None:
    """It was put on when the model was loaded, and taken off and put back for every context."""
    attached: list[object] = []
    attach = lora.attach_

    def counting(*arguments: Any, **options: Any) -> Any:
        attached.append(arguments)
        return attach(*arguments, **options)

    with patch.object(lora, "attach_", counting):
        commands("test", *SHORT, ARMS, "--evaluator.trace_tasks=0", data=commands.contexts())
    assert attached == []


def test_a_study_says_what_it_is_at(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    """The parts of a context went to a progress that shows nothing."""
    commands("test", *SHORT, ARMS, data=commands.contexts("rules"))
    assert "[1/1] rules  0 of 6 answers" in capfd.readouterr().out


def test_an_adapter_and_the_adaptation_around_it_decode_alike(tiny_pair: Callable[..., Pair]) -> None:
    pair, prompt, spec = tiny_pair("qwen3"), random_prompt(20), DecodingSpec(mode="guided", alpha=0.5, max_new_tokens=8)
    made = ttt_adapt(pair, prompt, TTTSpec(steps=3, anchors=4, lr=0.05))
    answers = [generate(pair, prompt, spec, adaptation=each).token_ids for each in (made, made.adapter, None)]
    assert answers[0] == answers[1] != answers[2]
    both = generate(pair, [prompt] * 3, spec, adaptation=[made, made.adapter, None])
    assert [each.token_ids for each in both] == answers


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("fit", ["--model.ttt.store=kept"], "leave model.ttt.store out, got 'kept'"),
        ("fit", ["--model.ttt.seconds=9"], "ttt.seconds 9 bounds self-study alone, but ttt.learns_from is 'context'"),
        ("test", ["--model.ttt.seconds=9"], "ttt.seconds 9 bounds self-study alone, but ttt.learns_from is 'context'"),
        ("predict", ["--model.ttt.seconds=9"], "name self_study there, or leave seconds out and set ttt.steps"),
        (
            "test",
            [
                "--model.ttt.learns_from=self_study",
                "--evaluator.arms+={mode: speculative, ttt: own, ttt_overrides: {learns_from: context, seconds: 9}}",
                "--evaluator.baseline=speculative+own,learns_from=context,seconds=9",
            ],
            "ttt.seconds 9 bounds self-study alone",
        ),
        (
            "test",
            [
                "--evaluator.arms+={mode: speculative, ttt: own, drafting: {drafter: hybrid, lookup_study: true}}",
                "--evaluator.baseline=speculative+own,drafter=hybrid,lookup_study=True",
            ],
            "lookup_study looks in what the target wrote about the context, but ttt.learns_from is 'context'",
        ),
        (
            "test",
            ["--evaluator.decoding.drafter=hybrid", "--evaluator.decoding.lookup_study=true"],
            "evaluator.decoding.lookup_study looks in what the target wrote about the context, but no arm learns",
        ),
    ],
)
def test_settings_that_nothing_would_follow_are_refused(
    commands: Commands, capfd: pytest.CaptureFixture[str], command: str, flags: list[str], message: str
) -> None:
    data: Path = commands.contexts("rules")
    assert message in commands.refused(capfd, *commands.arguments(command, *SHORT, *flags, data=data))


def test_seconds_that_an_arm_studies_within_are_accepted(commands: Commands) -> None:
    """An arm beside it that learns from the context takes its steps, whatever the seconds."""
    context = "{mode: speculative, ttt: own, ttt_overrides: {learns_from: context}}"
    arms = f"--evaluator.arms=[{context}, {{mode: speculative, ttt: own}}]"
    flags = ("--model.ttt.learns_from=self_study", "--model.ttt.seconds=60", "--model.ttt.study_samples=2")
    small = ("--model.ttt.study_tokens=6", "--evaluator.baseline=speculative+own")
    commands("test", *SHORT, *flags, *small, arms, data=commands.contexts("rules"))


def test_ttt_adapt_refuses_a_store_that_it_would_not_use(tiny_pair: Callable[..., Pair]) -> None:
    with pytest.raises(ValueError, match=r"ttt_adapt keeps no adapters, but ttt.store is 'kept': leave it out"):
        ttt_adapt(tiny_pair("qwen3"), random_prompt(20), TTTSpec(store="kept"))
