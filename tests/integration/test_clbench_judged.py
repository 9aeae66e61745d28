"""Real CL-bench rows, the bundled target, and a judge server that dies halfway."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from dftt.analysis.rescore import main
from dftt.study.records import load_records
from dftt.suites.tasks import group_by_context, length_bucket, load_tasks

ROOT = Path(__file__).resolve().parents[2]
WINDOW = 8192
NEW_TOKENS = 8


@contextmanager
def judge_server(port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """URL and process of the bundled target as a judge."""
    command = [sys.executable, "-m", "tests.bundled_judge", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield (process.stdout.readline().strip() if process.stdout else ""), process
        finally:
            process.kill()


def kill_after(verdicts: int, folder: Path, process: subprocess.Popen[str], stop: Event) -> None:
    while not stop.wait(0.05):
        if len(list(folder.rglob("*.json"))) >= verdicts:
            os.kill(process.pid, signal.SIGKILL)
            return


def test_the_sample_loads_groups_and_buckets(shared_data: Path) -> None:
    tasks = load_tasks(shared_data / "clbench_sample.jsonl")
    assert len(tasks) == 28
    assert len(group_by_context(tasks)) == 21
    assert len({task.metadata["context_category"] for task in tasks}) == 4
    assert all(task.rubrics and all(isinstance(rubric, str) for rubric in task.rubrics) for task in tasks)
    assert {task.messages[-1]["role"] for task in tasks} == {"user"}


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("bundled_weights")
def test_answers_are_judged_through_a_server_that_dies_halfway(shared_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    judge = "--evaluator.judge"
    with judge_server() as (url, server):
        stop = Event()
        killer = Thread(target=kill_after, args=(2, run / "verdicts", server, stop))
        killer.start()
        study = subprocess.run(
            [
                *(sys.executable, "cli.py", "test"),
                *("--trainer", "configs/trainer/cpu.yaml", "--model", "configs/model/smollm2.yaml"),
                *("--model.allow_long", "true", "--data", "ContextDataModule"),
                *("--data.path", str(shared_data / "clbench_sample.jsonl")),
                *("--evaluator", "configs/evaluator/judge_openai.yaml"),
                *("--evaluator.decoding.max_new_tokens", str(NEW_TOKENS), "--evaluator.decoding.ignore_eos", "true"),
                *("--evaluator.run_dir", str(run), "--trainer.default_root_dir", str(tmp_path)),
                *("--evaluator.trace_tasks", "0"),  # a trace reads its prompt again
                *(f"{judge}.base_url", url, f"{judge}.model", "bundled", f"{judge}.options", "{}"),
                *(f"{judge}.concurrency", "1", f"{judge}.timeout", "600"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        stop.set()
        killer.join()
    assert study.returncode == 0, study.stderr
    records = load_records(run)
    too_long = [record for record in records if record.finish_reason == "error"]
    answered = [record for record in records if record.finish_reason != "error"]
    assert (len(records), len(answered), len(too_long)) == (28, 8, 20)
    assert all(record.prompt_tokens + NEW_TOKENS <= WINDOW for record in answered)
    assert all(re.fullmatch(r"context too long: \d+ tokens .*", record.explanation) for record in too_long)
    assert {length_bucket(record.prompt_tokens) for record in records} == {
        *("0-4k", "4-8k", "8-16k", "16-32k", "32-64k")
    }
    scored = {record.task_id: record.statuses for record in answered if record.passed is not None}
    assert len(scored) == 2
    assert all(record.explanation.startswith("judge: ") for record in answered if record.passed is None)

    port = url.split(":")[2].split("/")[0]
    with judge_server(int(port)):
        main([str(run), "--judge", "openai", "--base-url", url, "--model", "bundled", "--options", "{}"])
    after = {record.task_id: record for record in load_records(run)}
    assert sum(record.passed is not None for record in after.values()) == 8
    assert all(after[task].statuses == statuses for task, statuses in scored.items())
    assert all(len(after[r.task_id].statuses) == len(r.rubrics) for r in answered)
