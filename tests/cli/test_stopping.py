"""A signal ends a run within seconds, says how to go on, and costs nothing that was finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dftt.module import DraftTTTModule
from dftt.study.records import RecordStore
from tests.commands import Commands
from tests.forked import ending

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--evaluator.decoding.max_new_tokens=6", "--evaluator.decoding.ignore_eos=true", "--model.ttt.steps=1")


def after(calls: int, number: signal.Signals, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, which sends its own process a signal at the end of its so-many-th call."""
    seen = []

    def called(*args: Any, **kwargs: Any) -> Any:
        made = method(*args, **kwargs)
        seen.append(1)
        if len(seen) == calls:
            os.kill(os.getpid(), number)
        return made

    return called


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_study_goes_on_where_it_stopped(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """SIGTERM ended with code 0 after the context, with a table of half the study; SIGINT with 1."""
    data, append = commands.contexts(), RecordStore.append
    with monkeypatch.context() as patched:
        patched.setattr(RecordStore, "append", after(2, number, append))
        ended, printed = ending(lambda: commands("test", *FLAGS, data=data), commands.root)
    run = commands.root / "lightning_logs" / "version_0"
    assert ended == code, printed
    assert printed.startswith(f"stopped by {number.name}. Finished answers are kept. Resume with: ")
    assert printed.endswith(f" --evaluator.run_dir {run}\n")
    assert not (run / "summary.json").exists()
    assert len((run / "records.0.jsonl").read_text().splitlines()) == 2
    commands("test", *FLAGS, f"--evaluator.run_dir={run}", data=data)
    assert len((run / "records.0.jsonl").read_text().splitlines()) == 12  # 2 contexts x 2 tasks x 3 arms, none twice


def test_a_stopped_fit_names_its_checkpoint(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = ("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=1")
    monkeypatch.setattr(DraftTTTModule, "training_step", after(3, signal.SIGTERM, DraftTTTModule.training_step))
    arguments = ("--model.ttt.steps=9", "--model.ttt.anchors=4", *saved, "--trainer.callbacks.save_last=true")
    ended, printed = ending(lambda: commands("fit", *arguments, data=commands.contexts("rules")), commands.root)
    last = commands.root / "lightning_logs" / "version_0" / "checkpoints" / "last.ckpt"
    assert ended == 143, printed
    assert printed.endswith(f" --ckpt_path {last}\n")
    assert last.is_file()


@pytest.mark.slow
def test_the_shell_sees_the_end_within_seconds(commands: Commands) -> None:
    flags = ("--evaluator.decoding.max_new_tokens=400", "--evaluator.decoding.ignore_eos=true", "--model.ttt.steps=50")
    call = [sys.executable, "cli.py", *commands.arguments("test", *flags, data=commands.contexts())]
    run = subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    records = commands.root / "lightning_logs" / "version_0" / "records.0.jsonl"
    while run.poll() is None and not (records.exists() and records.stat().st_size):
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, printed = run.communicate(timeout=60)
    assert run.returncode == 143
    assert time.monotonic() - begun < 10
    assert printed.startswith("stopped by SIGTERM. Finished answers are kept. Resume with: ")
    assert len(printed.splitlines()) == 1  # and no library said anything
