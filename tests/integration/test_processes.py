"""A study shared out over two processes or jobs leaves the records of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dftt.adaptation.token_corpus import TokenCorpus
from dftt.study.records import load_records
from tests.commands import QUESTIONS, Commands, row
from tests.fakes import MASK_ID
from tests.integration.test_evaluator import outcome

ROOT = Path(__file__).resolve().parents[2]
FLAGS = (
    "--evaluator.decoding.max_new_tokens=6",
    "--evaluator.decoding.ignore_eos=true",
    "--model.ttt.anchors=4",
    "--model.ttt.steps=2",
    "--evaluator.arms=[{mode: target}, {mode: speculative}, {mode: speculative, ttt: own},"
    " {mode: speculative, ttt: wrong}]",
)


def study_of(commands: Commands) -> Path:
    """Three contexts with two tasks each."""
    rows = [
        row(f"Context {name}. {question}", task_id=f"{name}{number}", context_id=name)
        for name in "abc"
        for number, question in enumerate(QUESTIONS)
    ]
    return commands.write(rows)


def test_jobs_that_share_a_study_leave_the_records_of_one(commands: Commands) -> None:
    """Job by job into one folder; the wrong context of the last one of a share is the next of the whole study."""
    data, folders = study_of(commands), [commands.root / "one", commands.root / "two"]
    commands("test", *FLAGS, f"--evaluator.run_dir={folders[0]}", data=data)
    for number in (0, 1):
        share = f"--data.shard=[{number}, 2]"
        commands("test", *FLAGS, f"--evaluator.run_dir={folders[1]}", share, data=data)
    one, two = map(load_records, folders)
    assert [len((folders[1] / f"records.{rank}.jsonl").read_text().splitlines()) for rank in (0, 1)] == [16, 8]
    assert [outcome(record) for record in two] == [outcome(record) for record in one]
    assert (folders[0] / "summary.json").read_text() == (folders[1] / "summary.json").read_text()


def in_processes(arguments: list[str]) -> None:
    """Run the command line as a process of its own, which starts the others itself."""
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "NODE_RANK")}
    call = [sys.executable, str(ROOT / "cli.py"), *arguments]
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_a_killed_fit_of_two_processes_ends_as_one_unkilled(commands: Commands) -> None:
    generator = torch.Generator().manual_seed(5)
    sequences = [torch.randint(0, 256, (20 + 3 * number,), generator=generator).tolist() for number in range(16)]
    TokenCorpus.of(sequences, [4] * 16).save(commands.root / "corpus.safetensors")
    flags = (
        *("--model.draft=new", "--model.trainable=full", "--model.new_layers=2", "--model.new_block_size=4"),
        *("--model.new_taps=3", f"--model.new_mask_token_id={MASK_ID}", "--model.training.warmup=1"),
        *("--data=CorpusDataModule", f"--data.paths=[{commands.root / 'corpus.safetensors'}]"),
        *("--data.val_sequences=3", "--data.tokens_per_batch=120", "--data.anchors_per_batch=16"),
        *("--trainer.max_steps=5", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.logger=CSVLogger"),
        *("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.every_n_train_steps=1"),
        *("--trainer.callbacks.save_top_k=-1", "--trainer.callbacks.filename={step}"),
    )
    whole, resumed = commands.root / "whole", commands.root / "resumed"
    in_processes(commands.arguments("fit", *flags, f"--trainer.logger.save_dir={whole}"))
    (path,) = whole.rglob("step=2.ckpt")
    assert 2 < torch.load(path, weights_only=True)["CorpusDataModule"]["taken"] == 4  # of 7 in an epoch
    in_processes(commands.arguments("fit", *flags, f"--trainer.logger.save_dir={resumed}", f"--ckpt_path={path}"))
    one, two = (load_file(next(folder.rglob("draft/model.safetensors"))) for folder in (whole, resumed))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.slow
def test_two_processes_leave_the_records_of_one(commands: Commands) -> None:
    """Three contexts over two processes: a share that is filled up would count one of them twice."""
    data, folders = study_of(commands), [commands.root / "one", commands.root / "two"]
    values = []
    for folder, devices in zip(folders, (1, 2), strict=True):
        flags = (*FLAGS, f"--evaluator.run_dir={folder}", f"--trainer.devices={devices}")
        flags += ("--trainer.strategy=ddp", "--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={folder}")
        in_processes(commands.arguments("test", *flags, data=data))
        values.append(next(folder.rglob("metrics.csv")).read_text())
    one, two = map(load_records, folders)
    assert sorted(path.name for path in folders[1].glob("records.*")) == ["records.0.jsonl", "records.1.jsonl"]
    assert len(two) == 24
    assert [outcome(record) for record in two] == [outcome(record) for record in one]
    assert sum(len((folders[1] / f"records.{rank}.jsonl").read_text().splitlines()) for rank in (0, 1)) == 24
    assert values[0] == values[1]
    assert (folders[0] / "summary.json").read_text() == (folders[1] / "summary.json").read_text()
