"""`test` with a judge: scores arrive beside decoding, and a judge that fails is made up for by the next run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dftt.study.records import load_records
from dftt.types import Record
from tests.commands import Commands
from tests.scripted_server import Endpoint, Response, scripted_endpoint, verdict

SHORT = ("--evaluator.decoding.max_new_tokens=6", "--evaluator.decoding.ignore_eos=true")
ARMS = ("--evaluator.arms=[{mode: target}, {mode: speculative}]",)


def judged(endpoint: Endpoint, run_dir: Path) -> list[str]:
    judge = "--evaluator.judge"
    return [
        *SHORT,
        *ARMS,
        f"--evaluator.run_dir={run_dir}",
        f"{judge}=dftt.judges.openai_compatible.OpenAIJudge",
        f"{judge}.base_url={endpoint.url}",
        f"{judge}.options={{}}",
    ]


@pytest.fixture
def rows(commands: Commands) -> Path:
    """Two contexts; the first task's rubric is in words, the second's is checkable."""
    rubrics: list[list[Any]] = [["names the mayor"], [{"type": "contains", "any_of": ["mayor"]}]]
    return commands.write(
        [
            {"messages": [{"role": "user", "content": f"Rule {number} of the town."}], "rubrics": rubrics[number]}
            | {"metadata": {"task_id": f"t{number}", "context_id": f"c{number}"}}
            for number in range(2)
        ]
    )


def by_key(folder: Path) -> dict[tuple[str, str], Record]:
    return {(record.task_id, record.arm): record for record in load_records(folder)}


def test_rubrics_in_words_are_judged_and_others_are_not(commands: Commands, rows: Path, tmp_path: Path) -> None:
    with scripted_endpoint([Response(verdict("yes"))]) as endpoint:
        cli = commands("test", *judged(endpoint, tmp_path / "run"), data=rows)
    records = by_key(tmp_path / "run")
    assert [records["t0", arm].passed for arm in ("target", "speculative+none")] == [True, True]
    assert [records["t1", arm].judge for arm in ("target", "speculative+none")] == ["", ""]
    assert records["t0", "target"].judge.startswith("gpt-5.1@")
    assert len(endpoint.requests) == 1  # both arms gave the same answer
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [row["unscored"] for row in summary] == [0, 0]
    assert float(cli.trainer.callback_metrics["test/pass_rate@target"]) == 0.5


def test_a_dead_judge_leaves_answers_that_the_next_run_judges(commands: Commands, rows: Path, tmp_path: Path) -> None:
    with scripted_endpoint([Response(status=503, body="{}")]) as endpoint:
        commands("test", *judged(endpoint, tmp_path / "run"), data=rows)
    before = by_key(tmp_path / "run")
    assert before["t0", "target"].passed is None
    assert before["t0", "target"].explanation == "judge: HTTP 503 (3 tries)"
    with scripted_endpoint([Response(verdict("no"))]) as endpoint:
        commands("test", *judged(endpoint, tmp_path / "run"), data=rows)
    after = by_key(tmp_path / "run")
    assert after["t0", "target"].passed is False
    assert after["t0", "target"].seconds == before["t0", "target"].seconds  # nothing was decoded again


def test_a_local_judge_is_asked_after_decoding(commands: Commands, rows: Path, tmp_path: Path) -> None:
    """A random model writes no JSON: its answers stay unscored, with the reason."""
    judge = "--evaluator.judge"
    flags = [f"{judge}=dftt.judges.local.LocalJudge", f"{judge}.model={commands.target}"]
    run_dir = f"--evaluator.run_dir={tmp_path / 'run'}"
    commands("test", *SHORT, *ARMS, run_dir, *flags, f"{judge}.max_new_tokens=8", data=rows)
    record = by_key(tmp_path / "run")["t0", "target"]
    assert record.passed is None
    assert record.explanation.startswith("judge: ")
