"""CL-bench contexts are measured, and adapted to only after an explicit word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dftt.cli import main
from dftt.models.target import Target

META = {"context_category": "Rule System Application", "sub_category": "Game Mechanics"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "clbench.jsonl"
    lines = [
        {
            "messages": [{"role": "user", "content": f"Context {name}: a rule of the game."}],
            "rubrics": ["names the rule"],
            "metadata": {"task_id": f"{name}/1", "context_id": name, **META},
        }
        for name in ("a", "b")
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def run(command: str, path: Path, tmp_path: Path, *flags: str) -> list[str]:
    data = ["--data", "dftt.data.ContextDataModule", "--data.path", str(path)]
    return [command, *data, "--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(tmp_path), *flags]


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cli.py"])  # Lightning warns where both are given
    monkeypatch.setattr(Target, "load", lambda *_, **__: pytest.fail("the target was loaded"))


def test_ttt_on_clbench_needs_the_flag(
    rows: Path, tmp_path: Path, tiny_target, tiny_draft, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--model.target", str(tiny_target("llama")), "--model.draft", str(tiny_draft())]
    error = error_of(run("test", rows, tmp_path, *models), capsys)
    assert "evaluation, testing and benchmarking only" in error
    assert "--evaluator.allow_clbench_ttt true" in error


def test_fit_on_clbench_is_refused_whatever_the_flag(
    rows: Path, tmp_path: Path, tiny_target, tiny_draft, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--model.target", str(tiny_target("llama")), "--model.draft", str(tiny_draft())]
    flags = ["--data.context_ids", "[a]", "--evaluator.allow_clbench_ttt", "true"]
    assert "not allowed" in error_of(run("fit", rows, tmp_path, *models, *flags), capsys)
