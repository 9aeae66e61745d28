"""A failure is a record, unscored and with its reason, and never the end of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import AutoTokenizer

import dftt.adaptation.ttt
import dftt.study.adapters
import dftt.study.answers
import dftt.study.results
from dftt.study.adapters import Adapters
from dftt.study.answers import Answers
from dftt.study.manifest import wanted_records
from dftt.study.records import RecordStore
from dftt.types import Record
from tests.commands import Commands, row
from tests.fakes import tiny_target_dir
from tests.integration.test_study_grid import counted

SHORT = ("--evaluator.decoding.max_new_tokens=8", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
STEPS = "--model.ttt.steps=2"
ARMS = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: own}]"
Records = dict[tuple[str, str], Record]


@pytest.fixture
def study(commands: Commands, tmp_path: Path) -> Callable[..., Records]:
    """Runs a study on two contexts with two tasks each; its records by task and arm."""

    def run(*flags: str, data: Path | None = None) -> Records:
        folder = tmp_path / "study"
        arguments = (*SHORT, STEPS, ARMS, *flags, f"--evaluator.run_dir={folder}")
        commands("test", *arguments, data=data or commands.contexts())
        wanted = wanted_records(folder)
        assert wanted.missing == []
        return {(record.task_id, record.arm): record for record in wanted.records}

    return run


def failed(records: Records) -> set[tuple[str, str]]:
    """Task and arm of what could not be measured."""
    assert all(each.passed is None and each.explanation for each in records.values() if each.finish_reason == "error")
    return {key for key, record in records.items() if record.finish_reason == "error"}


def failing(function: Callable[..., Any], when: Callable[..., bool], error: BaseException) -> Callable[..., Any]:
    """The function, which fails for some arguments."""

    def call(*args: Any, **options: Any) -> Any:
        if when(*args, **options):
            raise error
        return function(*args, **options)

    return call


def of_task(name: str) -> Callable[..., bool]:
    """Whether an answer to this task is decoded, alone or beside others."""
    return lambda *_, sample_names, **__: name in sample_names


def test_an_answer_that_fails_is_a_record_and_tried_again(study: Callable[..., Records]) -> None:
    broken = failing(dftt.study.answers.generate, of_task("rules/1"), RuntimeError("CUDA error: out\nof luck"))
    with patch.object(dftt.study.answers, "generate", broken):
        records = study()
    assert failed(records) == {("rules/1", "speculative+none"), ("rules/1", "speculative+own")}
    assert records["rules/1", "speculative+none"].explanation == "RuntimeError: CUDA error: out of luck"
    with counted() as counts:
        assert failed(study()) == set()
    assert counts["generations"] == 2


def test_one_that_fails_beside_others_fails_alone(study: Callable[..., Records]) -> None:
    grid = "--evaluator.grid={mode: [guided], alpha: [0.2, 0.4], ttt: [none]}"
    broken = failing(dftt.study.answers.generate, of_task("rules/1"), ValueError("no luck"))
    with patch.object(dftt.study.answers, "generate", broken):
        records = study("--evaluator.arms=[{mode: speculative}]", grid, "--evaluator.rows=4")
    assert {task for task, _ in failed(records)} == {"rules/1"}
    assert len(records) - len(failed(records)) == 9


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_whoever_ends_a_study_ends_it(study: Callable[..., Records], end: type[BaseException]) -> None:
    broken = failing(dftt.study.answers.generate, of_task("rules/1"), end(7))
    with patch.object(dftt.study.answers, "generate", broken), pytest.raises((KeyboardInterrupt, SystemExit)):
        study()


def test_a_disk_that_is_full_ends_a_study(study: Callable[..., Records], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be written down must not pass for measured."""
    full = failing(RecordStore.append, lambda *_: True, OSError("No space left on device"))
    with patch.object(RecordStore, "append", full), pytest.raises(SystemExit) as stopped:
        study()
    assert stopped.value.code == 2
    assert "No space left" in capsys.readouterr().err


def test_a_context_that_cannot_be_read_fails_alone(study: Callable[..., Records]) -> None:
    broken = failing(Adapters.begin, lambda _, contexts: len(contexts.own) > 60, torch.OutOfMemoryError("full"))
    with patch.object(Adapters, "begin", broken):
        records = study()
    assert {task for task, _ in failed(records)} == {"rules/0", "rules/1"}
    assert records["rules/0", "speculative+none"].explanation == "OutOfMemoryError: full"


def test_an_adaptation_that_fails_spares_the_other_arms(study: Callable[..., Records]) -> None:
    broken = failing(dftt.study.adapters.ttt_adapt, lambda *_, **__: True, MemoryError("does not fit"))
    with patch.object(dftt.study.adapters, "ttt_adapt", broken):
        assert {arm for _, arm in failed(study())} == {"speculative+own"}


def test_a_scorer_that_fails_leaves_the_answer_unscored(study: Callable[..., Records]) -> None:
    broken = failing(
        dftt.study.results.score_answer, lambda task, *_, **__: task.task_id == "rules/1", KeyError("answer")
    )
    with patch.object(dftt.study.results, "score_answer", broken):
        records = study()
    record = records["rules/1", "speculative+none"]
    assert (record.passed, record.explanation) == (None, "not scored: KeyError: 'answer'")
    assert len(record.token_ids) == 8
    assert records["rules/0", "speculative+none"].passed is False


def test_a_trace_that_fails_costs_the_trace_alone(study: Callable[..., Records]) -> None:
    broken = failing(Answers.trace, lambda *_, **__: True, RuntimeError("no memory"))
    with patch.object(Answers, "trace", broken), pytest.warns(UserWarning, match="no trace of rules/0 .* no memory"):
        assert failed(study("--evaluator.trace_tasks=1")) == set()


@pytest.fixture
def bare_template(commands: Commands) -> Commands:
    """A target whose template puts nothing before what the user says."""
    return with_template(commands, "{% for message in messages %}{{ message['content'] }}{% endfor %}")


def with_template(commands: Commands, template: str) -> Commands:
    commands.target = tiny_target_dir(commands.root / "bare", "qwen3")
    tokenizer = AutoTokenizer.from_pretrained(commands.target)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(commands.target)
    return commands


def test_a_context_of_one_token_fails_where_it_is_learnt_from(
    bare_template: Commands, study: Callable[..., Records]
) -> None:
    texts = {"a": ("Go", "Gs"), "b": ("Red boats sail.", "Red boats wait.")}
    rows = [
        row(each, task_id=f"{name}{n}", context_id=name) for name, two in texts.items() for n, each in enumerate(two)
    ]
    records = study(data=bare_template.write(rows))
    assert failed(records) == {("a0", "speculative+own"), ("a1", "speculative+own")}
    assert "context of 1 tokens (window whole) is too short" in records["a0", "speculative+own"].explanation


def test_tasks_that_share_no_token_fail_alone(commands: Commands, study: Callable[..., Records]) -> None:
    """Their texts begin alike, but the template puts another number before each."""
    counting = with_template(
        commands, "{% for m in messages %}{{ m['content']|length }} {{ m['content'] }}{% endfor %}"
    )
    texts = {"a": ("Goats vot", "Goats vote"), "b": ("Red boats sail.", "Red boats wait.")}
    rows = [
        row(each, task_id=f"{name}{n}", context_id=name) for name, two in texts.items() for n, each in enumerate(two)
    ]
    records = study(data=counting.write(rows))
    assert {task for task, _ in failed(records)} == {"a0", "a1"}
    assert "share no first token" in records["a0", "speculative+none"].explanation


@pytest.mark.parametrize(
    ("arm", "steps"),
    [("rounds: 2", 4), ("ttt_overrides: {learns_from: context+generation, every: 4}", 4)],
)
def test_an_adapter_that_lost_modules_is_led_on(study: Callable[..., Records], arm: str, steps: int) -> None:
    """Where memory runs out until the adapter is on fc alone, later rounds and learning from the answer go on there."""
    adapt = dftt.adaptation.ttt._adapt
    little = failing(adapt, lambda _p, _f, _l, spec, *_: spec.modules != ("fc",), torch.OutOfMemoryError("full"))
    arms = f"--evaluator.arms=[{{mode: speculative}}, {{mode: speculative, ttt: own, {arm}}}]"
    with patch.object(dftt.adaptation.ttt, "_adapt", little):
        records = study(arms, "--model.ttt.steps=4")
    assert failed(records) == set()
    (record,) = [record for (task, name), record in records.items() if task == "rules/0" and "own" in name]
    assert record.adaptation["fallbacks"][-1] == "LoRA on fc only"
    assert record.adaptation["steps"] == steps


def test_why_answers_are_missing_is_said_below_the_table(
    study: Callable[..., Records], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = failing(dftt.study.adapters.ttt_adapt, lambda *_, **__: True, MemoryError("does not fit"))
    with patch.object(dftt.study.adapters, "ttt_adapt", broken):
        study()
    assert "not made: 4 answers, since: MemoryError: does not fit" in capsys.readouterr().out


def test_a_start_of_another_shape_is_refused_at_once(
    commands: Commands, study: Callable[..., Records], capfd: pytest.CaptureFixture[str]
) -> None:
    """A setting, not a failure: no answer of the arm could be made."""
    checkpoint = commands.checkpoint("--model.ttt.steps=2", "--model.ttt.lr=0.02")
    arms = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: own, ttt_overrides: {rank: 2}}]"
    flags = (*SHORT, STEPS, arms, f"--ckpt_path={checkpoint}")
    line = commands.refused_late(capfd, *commands.arguments("test", *flags, data=commands.contexts()))
    assert "the adapter to start from has (rank, lora_alpha, modules) (8, 16.0" in line
