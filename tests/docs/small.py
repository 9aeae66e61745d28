"""Commands as the pages give them, run for real in this process, with flags at the end that make them small."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.commands import Commands
from tests.fakes import MASK_ID

# What is left of a run, by the words that a command holds. On a card or not, the tests run on the CPU.
_CPU = (
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.precision=32-true",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.num_sanity_val_steps=0",
)
_SHORT = (
    *("--evaluator.decoding.max_new_tokens=3", "--model.ttt.anchors=2", "--model.ttt.steps=2"),
    *("--model.ttt.study_samples=2", "--model.ttt.study_tokens=8"),
)
_TRAINING = (
    "--model.target_dtype=float32",
    "--trainer.max_steps=2",
    "--trainer.log_every_n_steps=1",
    f"--model.new_mask_token_id={MASK_ID}",
    "--model.new_tap_ids=[1, 2]",
    "--model.new_layers=1",
    "--data.init_args.val_sequences=1",
    "--data.init_args.tokens_per_batch=2048",
    "--data.init_args.anchors_per_batch=16",
)
_SYNTHESIS = (
    *("--device=cpu", "--dtype=float32", "--user-turns=2", "--templated=1", "--worlds=2", "--documents=2"),
    *("--document-length=400", "--max-new-tokens=8", "--rows=8", "--long-rows=2"),
)
_DIAGNOSTIC = ("--steps=2", "--anchors=2", "--max-contexts=2")
_WORLDS = ("--contexts=4", "--tasks=1", "--length=700", "--difficulty=1")


@dataclass(frozen=True)
class Small:
    """Runs commands small.

    Args:
        commands: The command line in this process.
        pair: Flags that put another pair in place of the one that a command names; none leave it.
        judge_url: Endpoint that judges are asked at.
    """

    commands: Commands
    pair: tuple[str, ...]
    judge_url: str

    def run(self, command: str) -> None:
        """Run a command to its end; a status other than 0 raises."""
        words = shlex.split(command, comments=True)
        try:
            if words[1] == "cli.py":
                self.commands.run(*words[2:], *self._cli_flags(words))
            else:
                _main_of(words[2])([*self._given(words), *self._flags(words)])
        except SystemExit as stopped:
            if stopped.code:
                raise AssertionError(f"status {stopped.code} of: {command}") from stopped

    def _given(self, words: Sequence[str]) -> Sequence[str]:
        """A command's own arguments; the draft of another pair is exported in place of the one that ships."""
        if words[2] == "dftt.export" and self.pair:
            return (str(self.commands.draft), *words[4:])
        return words[3:]

    def _cli_flags(self, words: Sequence[str]) -> Iterator[str]:
        yield from _CPU
        if any(word.endswith("_draft.yaml") for word in words):
            yield from (f"--model.target={self.commands.target}", *_TRAINING)
            return
        yield from (*self.pair, *_SHORT)
        if "test" in words:
            yield "--data.init_args.max_contexts=2"
        if any(word.endswith("judge_openai.yaml") for word in words):
            yield f"--evaluator.judge.init_args.base_url={self.judge_url}"

    def _flags(self, words: Sequence[str]) -> Sequence[str]:
        if words[2] == "dftt_tools.synthesise":
            return (*_SYNTHESIS, f"--target={self.commands.target}")
        if words[2] == "dftt_tools.diagnostic":
            return (f"--target={self.commands.target}", f"--draft={self.commands.draft}", *_DIAGNOSTIC)
        if words[2] == "dftt.suites.worlds":
            return _WORLDS
        return (f"--base-url={self.judge_url}",) if "openai" in words else ()


def is_runnable(command: str) -> bool:
    """Whether `Small.run` knows how to run a command."""
    words = shlex.split(command, comments=True)
    ours = words[:2] == ["python", "-m"] and words[2].startswith(("dftt.", "dftt_tools.", "benchmarks."))
    return ours or words[:2] == ["python", "cli.py"]


def _main_of(module: str) -> Callable[[Sequence[str]], object]:
    loaded = importlib.import_module(module)
    return (loaded if hasattr(loaded, "main") else importlib.import_module(f"{module}.__main__")).main


def link_configs(root: Path, folder: Path) -> None:
    """Put the repository's configs and kept records where a command run in `folder` looks for them."""
    for name in ("configs", "benchmarks"):
        (folder / name).symlink_to(root / name)
