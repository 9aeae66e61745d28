"""Configs by name, what became of those that are gone, and the command that an installed package has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from dftt.__main__ import COMMANDS
from dftt.shipped import CONFIGS, with_shipped
from tests.commands import Commands

ROOT = Path(__file__).resolve().parents[2]
DEMO = f"--config={CONFIGS / 'experiment' / 'demo.yaml'}"
# In README, docs and measurements before each study was one file.
PUBLISHED = {
    "--config configs/experiment/table1.yaml": "--config configs/experiment/tau.yaml",
    "--config configs/experiment/delta_tau_long.yaml": "--config configs/experiment/ttt_documents.yaml",
    "--config configs/experiment/hardest.yaml": "--config configs/experiment/controls.yaml",
    "--config configs/experiment/qwen3_8b_documents.yaml": "--config configs/experiment/ttt_documents.yaml",
    "--config configs/experiment/qwen25_coder_draft.yaml": "--config configs/experiment/smollm2_draft.yaml",
    "--config configs/experiment/smollm2_shallow_draft.yaml": "--config configs/experiment/smollm2_draft.yaml",
    "--evaluator configs/evaluator/context_use.yaml": "--config configs/experiment/context_use.yaml",
    "--model configs/model/qwen25_coder_self_study.yaml": "--config configs/experiment/self_study.yaml",
    "--model configs/model/smollm2_long.yaml": "--model configs/model/smollm2.yaml",
    "--data configs/data/gsm8k.yaml": "--data ContextDataModule --data.suite gsm8k",
    "--data configs/data/clbench.yaml": "--data ContextDataModule --data.suite clbench",
}


@pytest.mark.parametrize("name", ["demo", "demo.yaml", "configs/experiment/demo.yaml"])
def test_a_study_is_found_by_name_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_shipped(["test", "--config", name]) == with_shipped(["test", f"--config={name}"]) == ["test", DEMO]


def test_a_file_that_is_there_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").write_text("seed_everything: 2")
    monkeypatch.chdir(tmp_path)
    assert with_shipped(["--config", "demo"]) == ["--config=demo"]


def test_parts_are_found_by_name() -> None:
    for flag in ("model", "trainer", "evaluator"):
        for path in (CONFIGS / flag).glob("*.yaml"):
            assert with_shipped([f"--{flag}={path.stem}"]) == [f"--{flag}={path}"]


@pytest.mark.parametrize("published", PUBLISHED)
def test_a_published_name_that_is_gone_says_what_to_use(published: str) -> None:
    with pytest.raises(ValueError, match="this config is gone; use " + re.escape(PUBLISHED[published])):
        with_shipped(published.split())


def test_what_is_used_instead_is_there() -> None:
    for used in PUBLISHED.values():
        assert all((ROOT / path).is_file() for path in re.findall(r"configs/\S+", used))


def test_a_study_that_never_was_is_refused(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    line = commands.refused(capfd, "test", "--config", "dmeo")
    assert line.startswith(
        "error: --config: no file and no study 'dmeo'; the studies that ship are adapter_difference, "
    )


def test_other_arguments_stay() -> None:
    for args in (
        ["--data=ContextDataModule"],
        ["--config"],
        ["--config", "--x=1"],
        ["--config={a: 1}"],
        ["--x", "demo"],
        ["--config=/there/demo.yaml"],
    ):
        assert with_shipped(args) == args


@pytest.mark.parametrize("name", COMMANDS)
def test_every_short_name_is_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main: Callable[[list[str]], None] = import_module(COMMANDS[name]).main
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.slow
def test_an_installed_package_has_the_command_and_the_configs(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools, which builds wheels, is not installed")
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    source = tmp_path / "source"  # setuptools leaves files where it builds
    files = subprocess.run(("git", "ls-files", "-co", "--exclude-standard"), cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("this is no git repository")
    for name in files.stdout.splitlines():
        if name.startswith(("dftt/", "dftt_tools/", "configs/", "pyproject.toml", "README.md", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                (source / name).symlink_to((ROOT / name).resolve())
    subprocess.run((*build, "--wheel-dir", str(tmp_path), str(source)), check=True, timeout=200)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (entry_points,) = (tmp_path / "installed").glob("*.dist-info/entry_points.txt")
    assert "dftt = dftt.__main__:main" in entry_points.read_text()
    for arguments, expected in (
        (("test", "--config", "demo", "--print_config"), "baseline: speculative+none"),
        (("report", "--help"), "usage: "),
    ):
        done = subprocess.run(
            (sys.executable, "-m", "dftt", *arguments),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
