"""Every study that ships runs from its config: on the bundled pair (slow); those of few arms on the tiny one too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dftt.study.records import load_records
from dftt.suites.worlds import WorldsSpec, generate_tasks, to_row
from dftt.suites.worlds.spec import MIN_LENGTH
from tests.cli.test_cli import CONFIGS
from tests.commands import Commands, row

STUDIES = {
    "matrix": 33,
    "tau": 2,
    "suite_baseline": 1,
    "demo": 5,
    "worlds": 5,
    "pilot": 14,
    "delta_tau_standard": 3,
    "ttt_documents": 3,
    "self_study": 11,
    "sweep": 61,
    "sweep_axes": 21,
    "layers": 16,
    "adapter_difference": 8,
    "rounds": 9,
    "guidance": 56,
    "controls": 36,
    "on_policy": 4,
    "context_use": 54,
}
MANY = 30  # arms: too long for the default suite
SLOW = ("pilot", "adapter_difference")  # of fewer arms, all of kinds that other studies have, too
ONE_CONTEXT = ("matrix", "sweep", "layers", "rounds", "on_policy")  # no arm of theirs needs a wrong one
# Few tokens, few blocks, and no step after one that did not help.
SMALL = ("--evaluator.decoding.max_new_tokens=3", "--model.ttt.anchors=2", "--model.ttt.patience=1")
LETTERS = 5000  # of a document: more tokens than the widest window of a sweep, 1,024
ONE_DOCUMENT = "--data.init_args.context_ids=[pep-0802]"
UNTRACED = "--evaluator.trace_tasks=0"  # each trace reads its whole prompt again
# What learns from an answer needs one that is long enough.
MORE = {
    "on_policy": ("--evaluator.decoding.max_new_tokens=12", "--model.ttt.steps=4", "--model.ttt.every=4"),
    "self_study": ("--model.ttt.study_samples=2", "--model.ttt.study_tokens=8", "--model.ttt.steps=4"),
    "demo": ("--model.ttt.study_samples=2", "--model.ttt.study_tokens=8", "--model.ttt.steps=4"),
}
FILES = {
    name: f"{file}.jsonl"
    for name, file in (
        ("gsm8k", "gsm8k_test"),
        ("math500", "math500"),
        ("humaneval", "humaneval"),
        ("mbpp", "mbpp"),
        ("mtbench", "mtbench"),
        ("nqswap", "nqswap"),
        ("babi", "babi"),
    )
}


def answers_of_the_verdict(folder: Path) -> set[str]:
    return {each["answer"] for each in json.loads((folder / "verdict.json").read_text())["verdicts"]}


def test_every_study_that_ships_is_run_here() -> None:
    assert {path.stem for path in (CONFIGS / "experiment").glob("*.yaml")} == {*STUDIES, "smollm2_draft"}


@pytest.mark.parametrize("study", [name for name, arms in STUDIES.items() if arms < MANY and name not in SLOW])
def test_on_the_tiny_pair(commands: Commands, tiny_draft: Callable[..., Path], study: str) -> None:
    contexts = "a" if study in ONE_CONTEXT else "ab"
    rows = [
        {**row(f"Rule {name}.\n\nWhat?", task_id=name, context_id=name, category=name), "question": "What?"}
        for name in contexts
    ]
    commands.draft = tiny_draft(taps=(0, 1, 2, 3, 3))
    folder = commands.root / "study"
    commands(
        "test",
        *("--config", CONFIGS / "experiment" / f"{study}.yaml", "--data=ContextDataModule"),
        *("--data.path", commands.write(rows), *SMALL, *MORE.get(study, ()), f"--evaluator.run_dir={folder}"),
        *(f"--data.{name}=null" for name in ("suite", "suites", "questions", "context_ids", "categories")),
        *(f"--model.target={commands.target}", f"--model.draft={commands.draft}"),
    )
    records = load_records(folder)
    assert len({record.arm for record in records}) == STUDIES[study]
    assert len(records) == len(contexts) * STUDIES[study]
    assert {record.finish_reason for record in records} <= {"length", "eos"}
    assert answers_of_the_verdict(folder) <= {"cannot tell"}  # so few tasks tell nothing


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("study", STUDIES)
def test_on_the_bundled_pair(
    commands: Commands, shared_data: Path, capsys: pytest.CaptureFixture[str], study: str
) -> None:
    config, folder = CONFIGS / "experiment" / f"{study}.yaml", commands.root / "study"
    suites = {"tau": list(FILES), "delta_tau_standard": ["gsm8k", "humaneval"]}.get(study)
    if suites:
        files = ", ".join(f"{name}: {shared_data / FILES[name]}" for name in suites)
        # A fraction so small leaves one task of each suite and category.
        data = (f"--data.init_args.suites={{{files}}}", "--data.init_args.fraction=0.001")
    elif study in ("ttt_documents", "self_study", "sweep", "sweep_axes", "layers", "on_policy"):
        lines = (shared_data / "contexts.jsonl").read_text(encoding="utf-8").splitlines()
        path = commands.write([{**json.loads(line), "text": json.loads(line)["text"][:LETTERS]} for line in lines])
        data = (f"--data.init_args.path={path}", "--data.init_args.max_tasks=1", "--data.init_args.question=Why?")
        data += (ONE_DOCUMENT if study in ONE_CONTEXT else "--data.init_args.max_contexts=2",)
    else:
        # Controls need two documents.
        worlds = WorldsSpec(contexts=2, tasks=1, length=MIN_LENGTH)
        data = (f"--data.init_args.path={commands.write([*map(to_row, generate_tasks(worlds))])}",)
        data += tuple(f"--data.init_args.{name}=null" for name in ("suite", "suites", "categories"))
        data += ("--data.init_args.fraction=1",)
    where = (f"--trainer.default_root_dir={commands.root}", f"--evaluator.run_dir={folder}")
    if STUDIES[study] >= MANY:
        where += ("--evaluator.rows=8",)
    with pytest.raises(SystemExit) as stopped:
        commands.run("test", "--config", config, *data, *where, "--evaluator.dry_run=true")
    assert stopped.value.code == 0
    assert f"{STUDIES[study]} arms, " in capsys.readouterr().out
    commands.run("test", "--config", config, *data, *where, *SMALL, *MORE.get(study, ()), UNTRACED)
    records = load_records(folder)
    assert len({record.arm for record in records}) == STUDIES[study]
    assert "error" not in {record.finish_reason for record in records}
    assert answers_of_the_verdict(folder) <= {"cannot tell"}
