"""A folder that more than one study was run in: each takes its own records, and says what else lies there."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from dftt.analysis import rescore
from dftt.report.__main__ import main as report
from dftt.study.manifest import Intended, read_intended, wanted_records
from dftt.study.records import load_records, load_versions
from dftt.study.runner import Runner
from tests.commands import Commands, row
from tests.fakes import tiny_target_dir
from tests.integration.test_evaluator import outcome
from tests.integration.test_study_grid import counted

SHORT = ("--evaluator.decoding.max_new_tokens=5", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
STEPS = "--model.ttt.steps=2"
ARMS = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: own}]"
DATED = "{{ strftime_now('%d %b %Y') }}{% for message in messages %}[{{ message['content'] }}]{% endfor %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "study"


@pytest.fixture
def four(commands: Commands) -> Path:
    """Four contexts, each with one task."""
    return commands.write([row(f"Goat {name} is red. Which?", task_id=name, context_id=name) for name in "abcd"])


@pytest.fixture
def study(commands: Commands, folder: Path, four: Path) -> Callable[..., dict[str, int]]:
    """Runs a study in the folder; what it computed."""

    def run(*flags: str, data: Path = four) -> dict[str, int]:
        with counted() as counts:
            commands("test", *SHORT, STEPS, ARMS, *flags, f"--evaluator.run_dir={folder}", data=data)
        return counts

    return run


def tasks_of(folder: Path, file: str) -> list[Any]:
    """The numbers of tasks that a table counts."""
    return [entry["tasks"] for entry in json.loads((folder / file).read_text())]


def test_a_smaller_study_in_the_same_folder_takes_its_own_tasks(
    study: Callable[..., dict[str, int]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study()
    assert tasks_of(folder, "summary.json") == [4, 4]
    capsys.readouterr()
    counts = study("--data.max_contexts=2")
    assert counts["generations"] == 0  # the settings are the same, so all is there
    printed = capsys.readouterr().out
    assert "left out: 4 records in this folder that are not this study's: 4 of other tasks" in printed
    assert tasks_of(folder, "summary.json") == [2, 2]
    assert {comparison["n"] for each in verdicts(folder) for comparison in each["comparisons"]} == {2}
    rescore.main([str(folder)])
    printed = capsys.readouterr().out
    assert "0 of 4 unscored" in printed
    assert "left out: 4 records" in printed
    report([str(folder)])
    assert "2 on 2 contexts" in (folder / "report.html").read_text()


def verdicts(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "verdict.json").read_text())["verdicts"]


def test_changed_settings_are_told_and_kept_apart(
    study: Callable[..., dict[str, int]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study()
    first = [outcome(record) for record in wanted_records(folder).records]
    capsys.readouterr()
    assert study("--model.ttt.steps=3")["generations"] == 4  # the adapted arm alone
    printed = capsys.readouterr().out
    assert "made anew: 4 records, since their arm's settings, the models or the precision have changed" in printed
    assert "left out: 4 records in this folder that are not this study's: 4 of the same tasks and arms" in printed
    assert [record.adaptation.get("steps", 0) for record in wanted_records(folder).records] == [0, 3] * 4
    assert study()["generations"] == 0  # back to the first settings, whose records are still there
    assert [outcome(record) for record in wanted_records(folder).records] == first


def test_another_file_in_the_same_folder_is_another_study(
    study: Callable[..., dict[str, int]], commands: Commands, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study()
    other = commands.write([row("Boat e is blue. Which?", task_id="e", context_id="e")], "other.jsonl")
    study(data=other)
    assert tasks_of(folder, "summary.json") == [1, 1]
    assert "8 of other tasks, arms or seeds (4 tasks and 0 arms)" in capsys.readouterr().out
    rows = [row("Boat f is blue. Which?", task_id="e", context_id="e")]
    study(data=commands.write(rows, "changed.jsonl"))
    assert "since their prompts have changed: the rows of the data are others" in capsys.readouterr().out


def test_another_adapter_in_the_same_folder_is_another_study(
    study: Callable[..., dict[str, int]], commands: Commands, folder: Path
) -> None:
    study()
    checkpoint = commands.checkpoint("--model.ttt.steps=2", "--model.ttt.lr=0.02")
    assert study(f"--ckpt_path={checkpoint}")["generations"] == 8
    wanted = wanted_records(folder)
    assert (len(wanted.records), len(wanted.others)) == (8, 8)


def test_a_study_of_some_batches_intends_just_those(study: Callable[..., dict[str, int]], folder: Path) -> None:
    study("--trainer.limit_test_batches=3")
    intended, wanted = read_intended(folder), wanted_records(folder)
    assert intended is not None
    assert (list(intended.contexts), wanted.missing) == (["a", "b", "c"], [])


def test_what_a_killed_study_lacks_is_known(
    study: Callable[..., dict[str, int]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Runner.measure

    def killed_at_c(self: Runner, item: Any) -> Any:
        if item.context_id == "c":
            raise KeyboardInterrupt
        return measure(self, item)

    monkeypatch.setattr(Runner, "measure", killed_at_c)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        study()
    assert {key[0] for key in wanted_records(folder).missing} == {"c", "d"}


def test_a_study_that_another_one_began_in_is_refused(
    commands: Commands, folder: Path, four: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    measure = Runner.measure

    def meanwhile(self: Runner, item: Any) -> Any:
        Intended({"z": "z"}, ("target",), (0,), {("z", "target", 0): "spec"}).write(folder)
        return measure(self, item)

    monkeypatch.setattr(Runner, "measure", meanwhile)
    arguments = commands.arguments("test", *SHORT, STEPS, ARMS, f"--evaluator.run_dir={folder}", data=four)
    line = commands.refused_late(capfd, *arguments)
    assert "another study has begun in" in line
    assert "give each an evaluator.run_dir of its own" in line
    assert len(load_records(folder)) == 8


def test_answers_are_those_of_the_file_at_hand(commands: Commands, folder: Path, four: Path) -> None:
    answers = commands.root / "answers.jsonl"
    flags = (*SHORT, STEPS, f"--evaluator.run_dir={folder}", f"--evaluator.answers={answers}")
    commands("predict", *flags, data=four)
    commands("predict", *flags, "--data.max_contexts=1", data=four)
    assert [json.loads(line)["task_id"] for line in answers.read_text().splitlines()] == ["a"]


def test_an_answer_in_the_folder_of_a_study_leaves_the_study(
    study: Callable[..., dict[str, int]], commands: Commands, folder: Path, four: Path
) -> None:
    study()
    before = wanted_records(folder)
    commands("predict", *SHORT, "--model.ttt.steps=1", f"--evaluator.run_dir={folder}", data=four)
    after = wanted_records(folder)
    assert after.records == before.records
    assert len(after.others) == 4


# -- templates that read the clock ------------------------------------------------------------------------------------


class Clock(datetime):
    """A clock that stands."""

    day_of_month = 1

    @classmethod
    def now(cls, tz: Any = None) -> Clock:
        return cls(2026, 11, cls.day_of_month)


@pytest.fixture
def dated(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """A target whose template puts the date into the prompt, and the clock that it reads."""
    commands.target = tiny_target_dir(commands.root / "dated", "qwen3")
    tokenizer = AutoTokenizer.from_pretrained(commands.target)
    tokenizer.chat_template = DATED
    tokenizer.save_pretrained(commands.target)
    monkeypatch.setattr(Clock, "day_of_month", 1)
    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    return Clock


def test_prompts_that_hold_the_date_are_told_the_day_after(
    study: Callable[..., dict[str, int]], dated: type[Clock], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study()
    assert study()["generations"] == 0
    capsys.readouterr()
    dated.day_of_month = 2
    assert study()["generations"] == 8
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("made anew")]
    assert line.startswith("made anew: 8 records, since their prompts have changed, though the rows have not: the chat")
    assert "puts the date into them (strftime_now)" in line
    assert len(load_versions(folder)) == 16
    dated.day_of_month = 1
    assert study()["generations"] == 0


def test_a_study_over_midnight_keeps_the_day_it_began_on(
    study: Callable[..., dict[str, int]], dated: type[Clock], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Runner.measure

    def at_midnight(self: Runner, item: Any) -> Any:
        dated.day_of_month += 1
        return measure(self, item)

    monkeypatch.setattr(Runner, "measure", at_midnight)
    study()
    wanted = wanted_records(folder)
    assert (wanted.missing, wanted.others) == ([], [])
