"""The generated reference holds every config and every setting that there is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.test_cli import printed_config
from tests.commands import Commands
from tests.docs.pages import ROOT

pytest.importorskip("mkdocs", reason="MkDocs is not installed: pip install -e '.[docs]'")


def hook(name: str) -> ModuleType:
    """One of the modules that make pages, loaded as MkDocs loads it."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "file", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_every_config_is_in_the_reference(file: Path) -> None:
    page = hook("configs").page()
    assert f"{{ #{file.parent.name}-{file.stem} }}" in page
    assert file.read_text().splitlines()[-1] in page


def test_every_setting_of_the_command_line_is_in_the_reference(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    page = hook("settings").page()
    config = printed_config(commands, capsys, "test", "--data=ContextDataModule")
    names = {*_names(config["model"]), *_names(config["evaluator"]), *_names(config["data"]["init_args"])}
    assert len(names) > 60
    assert sorted(name for name in names if f"| `{name}` |" not in page) == []


def _names(settings: dict[str, Any]) -> set[str]:
    """Names of settings, also of nested ones."""
    nested = [value for value in settings.values() if isinstance(value, dict)]
    return {*settings, *(name for each in nested for name in _names(each))}


def test_formulas_become_mathml() -> None:
    page = hook("formulas").on_page_content('<p>Of <span class="arithmatex">\\(\\tau &lt; 2\\)</span> steps.</p>')
    assert page.startswith('<p>Of <span class="formula"><math')
    assert "<mo>&#x0003C;</mo>" in page
    assert "\\tau" not in page
