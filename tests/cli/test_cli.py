"""Configs, help and what a run starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from dftt.models.target import Target
from tests.commands import Commands, log_dir

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
EXPERIMENTS = sorted((CONFIGS / "experiment").glob("*.yaml"))


def printed_config(commands: Commands, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    """What `--print_config` prints, nothing loaded and no class made."""
    with patch.object(Target, "load", side_effect=AssertionError), pytest.raises(SystemExit) as stopped:
        commands.run(*arguments, "--print_config")
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "Unable to serialize" not in printed
    return yaml.safe_load(printed)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_parses(commands: Commands, capsys: pytest.CaptureFixture[str], path: Path) -> None:
    subcommand = "fit" if path.stem.endswith("draft") else "test"
    config = printed_config(commands, capsys, subcommand, "--config", path)
    parts = yaml.safe_load(path.read_text())
    assert {"trainer", "model", "data"} <= set(parts)
    assert all(isinstance(part, dict) for name, part in parts.items() if name != "seed_everything")  # nothing elsewhere
    assert config["trainer"]["inference_mode"] is False
    assert config["model"]["target"].startswith(("bundled:", "Qwen/"))
    assert config["data"]["class_path"].startswith("dftt.data.")


@pytest.mark.parametrize("group", ["trainer", "model", "evaluator"])
def test_every_part_parses_by_itself(commands: Commands, capsys: pytest.CaptureFixture[str], group: str) -> None:
    for path in sorted((CONFIGS / group).glob("*.yaml")):
        config = printed_config(commands, capsys, "test", f"--{group}={path}")
        assert set(yaml.safe_load(path.read_text())) <= set(config[group])


def test_flags_after_a_config_win(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    config = printed_config(
        commands, capsys, "test", "--config", CONFIGS / "experiment" / "demo.yaml", "--model.ttt.steps=7"
    )
    assert config["model"]["ttt"]["steps"] == 7


def test_printed_defaults_can_be_fed_back(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    config = printed_config(commands, capsys, "test")
    path = commands.root / "defaults.yaml"
    path.write_text(yaml.safe_dump(config))
    assert printed_config(commands, capsys, "test", "--config", path) == config


def test_fit_on_a_context_ends_after_ttt_steps(commands: Commands) -> None:
    """The context comes again for ever: without a bound of its own, fit would never end."""
    assert commands("fit", "--model.ttt.steps=2", data=commands.contexts("rules")).trainer.global_step == 2


def test_the_one_context_is_chosen_by_id(commands: Commands) -> None:
    cli = commands("fit", "--model.ttt.steps=1", "--data.context_ids=[boats]", data=commands.contexts())
    assert list(cli.datamodule.contexts) == ["boats"]


def test_predict_reads_a_document_with_questions(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    (commands.root / "manual.md").write_text("The pump has two valves.")
    flags = ('--data.questions=["How many?", "Why?"]', "--evaluator.decoding.max_new_tokens=4", "--model.ttt.steps=1")
    cli = commands("predict", *flags, data=commands.root / "manual.md")
    assert capsys.readouterr().out.count("tokens, tau ") == 2
    assert len((log_dir(cli) / "records.0.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_help_explains_settings(commands: Commands, capsys: pytest.CaptureFixture[str], subcommand: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        commands.run(subcommand, "--help")
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Optimiser steps; 0 leaves the adapter at its start" in printed
    assert "Hub id, local folder or bundled:smollm2-135m" in printed
