"""Suites through the command line, on the tiny pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dftt.models.target import encode
from dftt.scoring.sandbox import missing_layer
from dftt.study.records import load_records
from tests.commands import Commands, log_dir

ARMS = "--evaluator.arms=[{mode: target}, {mode: speculative}, {mode: speculative, ttt: own}]"
FLAGS = (ARMS, "--evaluator.decoding.ignore_eos=true", "--model.ttt.steps=2", "--model.ttt.anchors=4")


def test_a_conversation_continues_after_the_models_own_answer(commands: Commands) -> None:
    """Every arm has its own first answer in the history of its second turn; lossless arms agree on both."""
    row = {"prompt_id": 1, "category": "writing", "prompt": ["Write of goats.", "Now of boats."]}
    short = "--evaluator.decoding.max_new_tokens=8"
    cli = commands("test", *FLAGS, short, "--data.suite=mtbench", data=commands.write([row]))
    records = load_records(log_dir(cli))
    assert {record.arm for record in records} == {"target", "speculative+none", "speculative+own"}
    assert len({record.token_ids for record in records}) == 1
    (first, *_) = records
    assert len(first.token_ids) == 16
    assert (first.passed, first.metadata["suite"]) == (None, "mtbench")

    # The second half is what the target says when it is shown the first.
    tokenizer = cli.model.pair.target.tokenizer
    answer = tokenizer.decode(first.token_ids[:8], skip_special_tokens=True)
    history = [
        {"role": "user", "content": "Write of goats."},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": "Now of boats."},
    ]
    data = commands.write([{"messages": history, "rubrics": [], "metadata": {"task_id": "second"}}], "second.jsonl")
    (second,) = load_records(log_dir(commands("test", *FLAGS, short, "--evaluator.arms=[{mode: target}]",
                                              "--evaluator.baseline=target", data=data)))  # fmt: skip
    assert second.token_ids == first.token_ids[8:]
    assert second.prompt_tokens == len(encode(tokenizer, history))


def test_all_turns_must_fit_the_window(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    row = {"prompt_id": 1, "category": "writing", "prompt": ["Write of goats.", "Now of boats."]}
    flags = ("--data.suite=mtbench", "--evaluator.decoding.max_new_tokens=250")
    line = commands.refused(capfd, *commands.arguments("test", *flags, data=commands.write([row])))
    assert "500 new ones do not fit the target's window of 512" in line


@pytest.mark.skipif(bool(missing_layer()), reason=missing_layer())
@pytest.mark.parametrize(("allowed", "passed"), [(False, None), (True, False)])
def test_answers_are_run_with_leave_only(commands: Commands, allowed: bool, passed: bool | None) -> None:
    row = {
        "task_id": "HumanEval/0",
        "prompt": "def f(x):\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n",
        "entry_point": "f",
    }
    flag = f"--evaluator.allow_code_execution={str(allowed).lower()}"
    arms = ("--evaluator.arms=[{mode: target}]", "--evaluator.baseline=target")
    short = "--evaluator.decoding.max_new_tokens=4"
    cli = commands("test", *arms, short, flag, "--data.suite=humaneval", data=commands.write([row]))
    (record,) = load_records(log_dir(cli))
    assert record.passed is passed
    assert ("allow_code_execution" in record.explanation) is not allowed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data.suite=glue",), "suite 'glue' is unknown; choose from clbench"),
        (("--data.suite=gsm8k", "--data.question=Why?"), "gsm8k has questions of its own"),
    ],
)
def test_bad_suites_are_refused(
    commands: Commands, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    assert message in commands.refused(capfd, *commands.arguments("test", *flags, data=commands.contexts()))


def test_clbench_as_a_suite_is_protected_whatever_its_rows_say(
    commands: Commands, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bare.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Rules. Why?"}], "rubrics": ["says why"]}))
    line = commands.refused(capfd, *commands.arguments("test", "--data.suite=clbench", data=path))
    assert "forbids training or any parameter update" in line
    assert "not allowed" in commands.refused(capfd, *commands.arguments("fit", "--data.suite=clbench", data=path))
