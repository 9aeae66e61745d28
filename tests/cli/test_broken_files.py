"""Broken files of models, templates and adapters: exit code 2, one sentence, no traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Commands

# -- files of models --------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000


def broken(source: Path, folder: Path, name: str, text: str) -> Path:
    """A copy of a model's folder with one other file."""
    shutil.copytree(source, folder)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no such role') }}", "TemplateError: no such role"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages[0]['content'] + 1 }}", "TypeError"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "RecursionError"),
        ("{{ messages[9].content.x }}", "UndefinedError"),
    ],
)
def test_a_template_that_fails_is_one_sentence(
    refused: Callable[..., str], commands: Commands, tmp_path: Path, template: str, reason: str
) -> None:
    target = broken(commands.target, tmp_path / "target", "chat_template.jinja", template)
    line = refused("test", f"--model.target={target}")
    assert f"the target's chat template refuses the messages: {reason}" in line


@pytest.mark.parametrize(("name", "text"), [("config.json", "{"), ("config.json", DEEP), ("tokenizer.json", "{}")])
def test_a_broken_target_is_one_sentence(
    refused: Callable[..., str], commands: Commands, tmp_path: Path, name: str, text: str
) -> None:
    target = broken(commands.target, tmp_path / "target", name, text)
    assert f"target '{target}' could not be loaded: " in refused("test", f"--model.target={target}")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("config.json", DEEP, " could not be loaded: "),
        ("config.json", "[]", ": config.json must hold an object of keys and values, got list"),
        ("model.safetensors", "not tensors", " could not be loaded: "),
    ],
)
def test_a_broken_draft_is_one_sentence(
    refused: Callable[..., str], commands: Commands, tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    draft = broken(commands.draft, tmp_path / "draft", name, text)
    assert f"draft {draft}{sentence}" in refused("test", f"--model.draft={draft}")


def test_weights_that_are_none_are_one_sentence(commands: Commands, tmp_path: Path, capfd: Any) -> None:
    target = broken(commands.target, tmp_path / "target", "model.safetensors", "not tensors")
    arguments = commands.arguments("test", f"--model.target={target}", data=commands.contexts())
    assert "could not be loaded: SafetensorError" in commands.refused_late(capfd, *arguments)


@pytest.mark.parametrize("text", ["model: " + "[" * 5000, "a: [1", "\0"])
def test_a_broken_config_file_is_one_sentence(refused: Callable[..., str], tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    assert refused("test", f"--config={tmp_path / 'broken.yaml'}")


def test_a_broken_adapter_is_one_sentence(refused: Callable[..., str], tmp_path: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_text(DEEP)
    assert f"evaluator.generic_adapter {tmp_path}: " in refused("test", f"--evaluator.generic_adapter={tmp_path}")
