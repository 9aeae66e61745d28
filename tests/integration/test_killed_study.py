"""A study that is killed at any moment and run again leaves the records of one that never was."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dftt.study.records import load_records
from tests.commands import QUESTIONS, Commands, row
from tests.integration.test_evaluator import outcome

ARMS = (
    "--evaluator.arms=[{mode: target}, {mode: speculative}, {mode: speculative, ttt: own},"
    " {mode: speculative, ttt: wrong}, {mode: guided, alpha: 0.3, ttt: own}]"
)
FLAGS = ("--evaluator.decoding.max_new_tokens=8", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
NUM_RECORDS = 30
KILLS = 10


def run_study(root: Path, target: Path, draft: Path, data: Path, folder: Path) -> None:
    """One run, in a process that may be killed."""
    flags = (*FLAGS, ARMS, "--model.ttt.steps=2", f"--evaluator.run_dir={folder}")
    torch.set_num_threads(1)
    with (root / "printed.txt").open("w") as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
    Commands(root, target, draft)("test", *flags, data=data)


class Killable:
    """Runs a study in processes that start from one in which everything is imported already."""

    def __init__(self, commands: Commands) -> None:
        rows = [
            row(f"Context {name}. {question}", task_id=f"{name}{number}", context_id=name)
            for name in "abc"
            for number, question in enumerate(QUESTIONS)
        ]
        self.arguments = (commands.root, commands.target, commands.draft, commands.write(rows))
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tests.integration.test_killed_study"])

    def __call__(self, folder: Path, *, kill: Callable[[], bool] | None = None) -> int | None:
        """Run it, killed as soon as `kill` says so; the exit code."""
        process = self.context.Process(target=run_study, args=(*self.arguments, folder))
        process.start()
        while process.is_alive():
            if kill is not None and kill():
                process.kill()
            time.sleep(0.002)
        process.join()
        return process.exitcode


@pytest.mark.slow
def test_killed_ten_times(commands: Commands) -> None:
    """Each time after some more bytes and a moment; then it may end."""
    study, draw = Killable(commands), random.Random(KILLS)
    whole, killed = commands.root / "whole", commands.root / "killed"
    assert study(whole) == 0
    expected = [outcome(record) for record in load_records(whole)]
    assert len(expected) == NUM_RECORDS
    path = killed / "records.0.jsonl"
    size = (whole / "records.0.jsonl").stat().st_size
    stages = []
    for number in range(1, KILLS + 1):
        enough, pause = size * (number - draw.random()) / (KILLS + 1), draw.uniform(0, 0.05)

        def kill(enough: float = enough, pause: float = pause) -> bool:
            if not path.exists() or path.stat().st_size < enough:
                return False
            time.sleep(pause)
            return True

        assert study(killed, kill=kill) == -signal.SIGKILL, (commands.root / "printed.txt").read_text()
        stages.append(len(path.read_bytes().splitlines()))
    assert stages[0] < stages[-1] < NUM_RECORDS
    assert study(killed) == 0
    assert [outcome(record) for record in load_records(killed)] == expected
    keys = [record.key for record in load_records(killed)]
    assert len(path.read_text().splitlines()) == len(keys) == NUM_RECORDS  # nothing was computed twice
