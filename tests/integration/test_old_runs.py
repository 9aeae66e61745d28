"""Folders of earlier versions (tests/data/old_run): their studies, adapters and checkpoints are still read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dftt import Adapter, TTTSpec, load_pair, ttt_adapt
from dftt.analysis.arms_file import read_arms
from dftt.analysis.rescore import main as rescore
from dftt.analysis.verdict import main as verdict
from dftt.report.__main__ import main as report
from dftt.study.records import load_records
from tests.commands import Commands
from tests.fakes import random_prompt

OLD = Path(__file__).resolve().parents[1] / "data" / "old_run"
VERSIONS = ("4895cc5", "2afe035")
ARM_IDS = ["target", "speculative+none", "speculative+own", "guided@0.3+own", "speculative+own,lr=0.01"]
SETTINGS = (
    "--evaluator.decoding.max_new_tokens=8",
    "--evaluator.decoding.ignore_eos=true",
    "--model.ttt.anchors=4",
    "--model.ttt.steps=2",
    "--trainer.logger=false",
)
ARMS = (
    "--evaluator.arms=[{mode: target}, {mode: speculative}, {mode: speculative, ttt: own},"
    " {mode: guided, alpha: 0.3, ttt: own}, {mode: speculative, ttt: own, ttt_overrides: {lr: 0.01}}]"
)


@pytest.fixture(params=VERSIONS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a study of an earlier version."""
    return shutil.copytree(OLD / request.param / "study", tmp_path / "study")


def records_on_disk(folder: Path) -> list[str]:
    return (folder / "records.0.jsonl").read_text(encoding="utf-8").splitlines()


def test_old_records_and_arms_are_read(folder: Path) -> None:
    records, arms = load_records(folder), read_arms(folder).arms
    assert [arm.id for arm in arms] == ARM_IDS
    assert [dict(arm.ttt_overrides).get("lr") for arm in arms] == [None, None, 0.001, 0.001, 0.01]
    assert len(records) == 4 * len(arms)
    for record in records:
        assert (len(record.token_ids), sum(record.acceptance_lengths) >= 7) == (8, True)
        assert (record.adaptation.get("steps"), record.passed) == (2 if "own" in record.arm else None, False)


def test_the_report_of_an_old_study_is_written(folder: Path) -> None:
    report([str(folder)])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(arm in page for arm in ("speculative+own", "guided@0.3+own"))
    assert "too few" in page


def test_the_verdict_of_an_old_study_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four records an arm: each question is named, and none is answered."""
    verdict([str(folder)])
    printed = capsys.readouterr().out
    assert "speculative+own against speculative+none" in printed
    assert "guided@0.3+own against target" in printed
    assert printed.count("4 pairs are too few") == 2


def test_an_old_study_is_scored_again(folder: Path) -> None:
    """A program finds the same: no answer names the mayor."""
    before = records_on_disk(folder)
    rescore([str(folder)])
    assert records_on_disk(folder) == before
    assert [record.passed for record in load_records(folder)] == [False] * len(before)
    assert len(json.loads((folder / "summary.json").read_text())) == len(ARM_IDS)


def test_a_resumed_old_study_says_why_it_is_made_anew(
    commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its records do not say what decided them, so none can count; they are kept, and another run makes nothing."""
    folder = shutil.copytree(OLD / "4895cc5" / "study", tmp_path / "study")
    before, data = records_on_disk(folder), OLD / "contexts.jsonl"
    commands("test", *SETTINGS, ARMS, f"--evaluator.run_dir={folder}", data=data)
    assert "made anew: 20 records, since they were made by an older version" in capsys.readouterr().out
    after = records_on_disk(folder)
    assert after[:20] == before
    assert len(after) == 40


def test_a_resumed_study_skips_what_counts(
    commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the same models stand behind it, nothing is made anew; where other weights do, it says so."""
    folder = shutil.copytree(OLD / "2afe035" / "study", tmp_path / "study")
    commands("test", *SETTINGS, ARMS, f"--evaluator.run_dir={folder}", data=OLD / "contexts.jsonl")
    made = len(records_on_disk(folder)) - 20
    printed = capsys.readouterr().out
    told = "since their arm's settings, the models or the precision have changed"
    assert (made, told in printed) in [(0, False), (20, True)]


def test_an_old_adapter_is_what_its_file_holds(commands: Commands) -> None:
    adapter = Adapter.load(OLD / "4895cc5" / "adapter")
    stored = load_file(OLD / "4895cc5" / "adapter" / "adapter_model.safetensors")
    assert (adapter.rank, adapter.lora_alpha, sorted(adapter.modules)) == (8, 16, ["fc", "k_proj", "q_proj", "v_proj"])
    assert sorted(float(each.sum()) for each in adapter.weights.values()) == sorted(
        float(each.sum()) for each in stored.values()
    )
    pair = load_pair(commands.target, commands.draft)
    assert len(ttt_adapt(pair, random_prompt(20), TTTSpec(steps=1), initial=adapter).losses) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_checkpoint_is_what_arms_start_from(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """It was made with the folders `target` and `draft`."""
    monkeypatch.chdir(commands.root)
    for name in ("target", "draft"):
        (commands.root / name).symlink_to(getattr(commands, name))
        setattr(commands, name, Path(name))
    arm, checkpoint = "--evaluator.answer_with={mode: speculative, ttt: none}", OLD / version / "fit.ckpt"
    cli = commands("predict", *SETTINGS, arm, f"--ckpt_path={checkpoint}", data=OLD / "contexts.jsonl")
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    stored = {name.removeprefix("draft.").replace(".default", ""): weight for name, weight in stored.items()}
    assert stored.keys() == cli.model.adapter.weights.keys()
    assert all(torch.equal(weight, stored[name]) for name, weight in cli.model.adapter.weights.items())
