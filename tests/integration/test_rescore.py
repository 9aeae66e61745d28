"""Re-scoring of records on disk, without a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dftt.analysis.rescore import main
from dftt.study.records import RecordStore, load_records
from dftt.types import Record
from tests.scripted_server import Endpoint, Response, scripted_endpoint, verdict

RUBRICS = ("names the river", "gives the year")
GOOD, BAD = Response(verdict("yes", "yes")), Response(verdict("yes", "no"))
DOWN = Response(status=500, body="{}")


def make_run(folder: Path, answers: int = 4, arms: tuple[str, ...] = ("target",), **changes: Any) -> Path:
    store = RecordStore(folder)
    for arm in arms:
        for number in range(answers):
            values = {"answer": f"{arm} says {number}", "rubrics": RUBRICS, "finish_reason": "eos"} | changes
            store.append(Record(f"t{number}", f"c{number // 2}", arm, 0, "h", **values))
    return folder


def openai(folder: Path, endpoint: Endpoint, *flags: str) -> list[str]:
    judge = (
        "--judge",
        "openai",
        "--base-url",
        endpoint.url,
        "--options",
        "{}",
        "--concurrency",
        "1",
    )
    return [str(folder), *judge, *flags]


def passes(folder: Path) -> list[bool | None]:
    return [record.passed for record in load_records(folder)]


def test_records_get_the_rubrics_that_a_suite_has_today(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record of bAbI held the file's one distractor, and passed where it named every other place."""
    row = {"id": "t0", "context": "Ann is in the hall. Bo went to the garden, the kitchen and the office."}
    (tmp_path / "babi.jsonl").write_text(json.dumps(row | {"question": "Where is Bo?", "answer": "office"}))
    old = ({"type": "contains", "any_of": ["office"]}, {"type": "excludes", "any_of": ["garden"]})
    metadata = {"suite": "babi", "answer": "office", "distractors": ["garden"], "tau_note": 1}
    run = make_run(
        tmp_path / "run", 1, answer="In the kitchen or the office", rubrics=old, metadata=metadata, passed=True
    )
    main([str(run), "--all", "--suite", f"babi={tmp_path / 'babi.jsonl'}"])
    (record,) = load_records(run)
    assert (record.passed, record.metadata["entities"]) == (False, ["garden", "kitchen"])
    assert "distractors" not in record.metadata
    assert record.metadata["tau_note"] == 1
    (error,) = json.loads((run / "errors.json").read_text())
    assert error["class"] == "context-misused"


@pytest.mark.parametrize("given", ["babi", "babi=", "glue=a.jsonl"])
def test_a_suite_without_a_file_or_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    with pytest.raises(SystemExit):
        main([str(make_run(tmp_path)), "--suite", given])
    assert capsys.readouterr().err.startswith("error: ")


def test_answers_are_scored_and_originals_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (make_run(tmp_path) / "records.0.jsonl").read_bytes()
    with scripted_endpoint([GOOD, BAD]) as endpoint:
        main(openai(tmp_path, endpoint))
    assert passes(tmp_path) == [True, False, False, False]
    assert (tmp_path / "records.0.jsonl").read_bytes() == before
    breakdown = json.loads((tmp_path / "breakdown.json").read_text())
    assert (breakdown[0]["solved"], breakdown[0]["intended"], breakdown[0]["rubric_rate"]) == (1, 4, 5 / 8)
    printed = capsys.readouterr().out
    assert "4 answers scored anew, 0 of 4 unscored" in printed
    assert "4 replies, 0 from the cache" in printed


def test_a_second_call_asks_nothing(tmp_path: Path) -> None:
    make_run(tmp_path)
    with scripted_endpoint([GOOD]) as endpoint:
        main(openai(tmp_path, endpoint))
        main(openai(tmp_path, endpoint))
        shard = (tmp_path / "records.rescored.jsonl").read_bytes()
        main(openai(tmp_path, endpoint, "--all"))
    assert len(endpoint.requests) == 4
    assert (tmp_path / "records.rescored.jsonl").read_bytes() == shard


def test_what_a_dead_endpoint_left_is_scored_by_the_next_call(tmp_path: Path) -> None:
    make_run(tmp_path)
    with scripted_endpoint(lambda number, _: GOOD if number < 2 else DOWN) as endpoint:
        main([*openai(tmp_path, endpoint)])
    assert passes(tmp_path) == [True, True, None, None]
    port = int(endpoint.url.split(":")[2].split("/")[0])
    with scripted_endpoint([BAD], port=port) as endpoint:
        main(openai(tmp_path, endpoint))
    assert passes(tmp_path) == [True, True, False, False]
    assert len(endpoint.requests) == 2


def test_a_program_leaves_the_judges_reason_as_it_is(tmp_path: Path) -> None:
    make_run(tmp_path, answers=1, explanation="judge: HTTP 500 (3 tries)")
    main([str(tmp_path)])
    assert load_records(tmp_path)[0].explanation == "judge: HTTP 500 (3 tries)"


def test_a_failed_second_opinion_keeps_the_first(tmp_path: Path) -> None:
    make_run(tmp_path, answers=1, passed=True, statuses=(True, True), explanation="first")
    with scripted_endpoint([Response("no JSON")]) as endpoint:
        main(openai(tmp_path, endpoint, "--all"))
    assert load_records(tmp_path)[0].explanation == "first"


def test_old_records_get_rubrics_and_missing_ones_count(tmp_path: Path) -> None:
    make_run(tmp_path / "run", answers=2, rubrics=())
    tasks = tmp_path / "tasks.jsonl"
    rows = [
        {
            "messages": [{"role": "user", "content": "q"}],
            "rubrics": [{"type": "contains", "any_of": ["1"]}],
            "metadata": {"task_id": f"t{number}"},
        }
        for number in range(3)
    ]
    tasks.write_text("\n".join(map(json.dumps, rows)))
    main([str(tmp_path / "run"), "--tasks", str(tasks)])
    assert passes(tmp_path / "run") == [False, True]
    row = json.loads((tmp_path / "run" / "breakdown.json").read_text())[0]
    assert (row["solved"], row["intended"], row["unscored"]) == (1, 3, 1)


def test_error_classes_are_paired_with_the_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = {"answer": "guided says 1", "prior_answer": "target says 1"}
    rubrics = ({"type": "contains", "any_of": ["guided"]},)
    make_run(tmp_path, arms=("guided", "target"), rubrics=rubrics, metadata=metadata)
    main([str(tmp_path), "--baseline", "target"])
    assert "context-ignored" in capsys.readouterr().out
    classes = {entry["task_id"]: entry["class"] for entry in json.loads((tmp_path / "errors.json").read_text())}
    assert classes == {"t0": "reasoning", "t1": "context-ignored", "t2": "reasoning", "t3": "reasoning"}


def test_a_judge_says_why_where_a_program_cannot(tmp_path: Path) -> None:
    def answer(_: int, prompt: str) -> Response:
        if "## Classes" in prompt:
            return Response('{"reason": "wrong form", "class": "format"}')
        return BAD

    make_run(tmp_path, answers=1)
    with scripted_endpoint(answer) as endpoint:
        main(openai(tmp_path, endpoint, "--taxonomy", "judge"))
    (entry,) = json.loads((tmp_path / "errors.json").read_text())
    assert (entry["class"], entry["reason"]) == ("format", "wrong form")


def test_clbench_rows_bring_the_notice_and_the_leaderboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("task_id", "context_id", "context_category", "sub_category")
    make_run(tmp_path, passed=True, statuses=(True, True), metadata=dict.fromkeys(names, "x"))
    main([str(tmp_path)])
    assert "evaluation, testing and benchmarking only" in capsys.readouterr().out
    main([str(tmp_path), "--leaderboard"])
    printed = capsys.readouterr().out
    assert printed.index("* target") < printed.index("GPT-5.4 (xhigh)")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["nowhere"], "no folder at nowhere"),
        (["--judge", "local"], "--judge local needs --model"),
        (["--judge", "openai"], "OPENAI_API_KEY"),
        (["--taxonomy", "judge"], "--taxonomy judge needs --judge"),
        (["--baseline", "guided"], "baseline 'guided' is not among the arms"),
        (["--tasks", "nowhere.jsonl"], "no file at nowhere.jsonl"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    complaint: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    run = [] if flags == ["nowhere"] else [str(make_run(tmp_path, passed=False))]
    with pytest.raises(SystemExit) as stopped:
        main([*run, *flags])
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_killed_call_is_resumed_without_paying_twice(tmp_path: Path) -> None:
    make_run(tmp_path, answers=6)
    with scripted_endpoint(lambda *_: Response(verdict("yes", "no"), delay=0.3)) as endpoint:
        command = [sys.executable, "-m", "dftt.analysis.rescore", *openai(tmp_path, endpoint)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while len(endpoint.requests) < 3 and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert None in passes(tmp_path)
        main(openai(tmp_path, endpoint))
    assert passes(tmp_path) == [False] * 6
    assert len(endpoint.requests) <= 7  # the one in flight was lost


def test_a_judge_is_a_class_with_its_settings(tmp_path: Path) -> None:
    with scripted_endpoint([GOOD]) as endpoint:
        judge = ("--judge.base_url", endpoint.url, "--judge.options={}", "--judge", "OpenAIJudge")
        main([*judge, "--all=true", str(make_run(tmp_path, answers=1))])
    assert passes(tmp_path) == [True]


def test_a_setting_without_its_judge_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was dropped without a word."""
    with pytest.raises(SystemExit) as stopped:
        main([str(make_run(tmp_path)), "--price-in", "2"])
    assert stopped.value.code == 2
    assert "judge" in capsys.readouterr().err.splitlines()[-1]
