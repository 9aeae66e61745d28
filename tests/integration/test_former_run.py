"""What earlier versions left on disk still loads: records, arms.json, study.json, traces, adapters, checkpoints.

The folder was written on the tiny pair by the version before the study became a room of its own.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from dftt.adaptation.store import AdapterStore
from dftt.analysis.arms_file import read_arms
from dftt.study.manifest import wanted_records
from dftt.study.traces import load_traces
from tests.commands import Commands
from tests.integration.test_evaluator import records_of

FORMER = Path(__file__).resolve().parents[1] / "former_run"
SHAPE = ("--model.ttt.rank=1", "--model.ttt.modules=[fc]")


def test_records_arms_and_traces_of_before_load() -> None:
    wanted = wanted_records(FORMER)
    assert (len(wanted.records), wanted.missing, wanted.others) == (4, [], [])
    first = wanted.records[0]
    assert (first.key, first.spec_hash) == (("rules/0", "speculative+none", 0), "b0eec1471b76204f")
    assert (first.token_ids, first.acceptance_lengths) == ((56, 253, 46, 146, 120, 243), (1, 1, 2, 1))
    assert [arm.id for arm in read_arms(FORMER).arms] == ["speculative+none", "speculative+own"]
    assert tuple(token.token_id for token in load_traces(FORMER)[first.key].tokens) == first.token_ids


def test_an_adapter_kept_before_is_found() -> None:
    found = AdapterStore(FORMER / "store").find("e5644d5a2ca1fd8c5c3ce5a71b0ed8c4")
    assert found is not None
    assert found.losses == (2.6273891925811768, 2.0308167934417725)
    assert found.adapter.identity == (1, 16.0, ("fc",))


def test_a_checkpoint_of_before_is_what_all_arms_start_from(commands: Commands) -> None:
    flags = (*SHAPE, "--model.ttt.steps=1", "--model.ttt.anchors=4", "--evaluator.decoding.max_new_tokens=4")
    checkpoint = torch.load(FORMER / "last.ckpt", weights_only=True)
    cli = commands("test", *flags, f"--ckpt_path={FORMER / 'last.ckpt'}", data=commands.contexts("rules"))
    assert cli.model.adapter is not None
    stored = sorted(float(weight.sum()) for weight in checkpoint["state_dict"].values())
    assert sorted(float(weight.sum()) for weight in cli.model.adapter.weights.values()) == pytest.approx(stored)
    assert all(record.finish_reason != "error" for record in records_of(cli).values())


def test_a_folder_of_before_takes_the_records_of_now(commands: Commands, tmp_path: Path) -> None:
    folder = shutil.copytree(FORMER, tmp_path / "study")
    flags = (*SHAPE, "--model.ttt.steps=2", "--model.ttt.anchors=4", "--evaluator.decoding.max_new_tokens=6")
    arms = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: own}]"
    commands("test", *flags, arms, f"--evaluator.run_dir={folder}", data=commands.contexts("boats"))
    wanted = wanted_records(folder)
    assert (len(wanted.records), wanted.missing, len(wanted.others)) == (4, [], 4)
