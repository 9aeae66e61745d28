"""What a run shows: bars on a terminal, one line per context elsewhere; answers as they come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class StudyProgress:
    """Contexts done, parts (arm x task) of the current one, current tau, time left.

    Args:
        num_contexts: Contexts to come on this process.
        quiet: Show nothing (all processes but the first).
    """

    def __init__(self, *, num_contexts: int, quiet: bool) -> None:
        self._console = Console(quiet=quiet)
        self._num_contexts = num_contexts
        self._done = 0
        self._begun = time.perf_counter()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._contexts = self._bars.add_task("contexts", total=num_contexts)
        self._parts = self._bars.add_task("", total=None, visible=False)

    def start(self) -> None:
        """Show the bars."""
        self._bars.start()

    def stop(self) -> None:
        """Give the terminal back."""
        self._bars.stop()

    def start_context(self, context_id: str, *, num_parts: int) -> None:
        """A context with so many parts begins."""
        self._bars.reset(self._parts, total=num_parts, description=context_id, visible=True)

    def note(self, text: str) -> None:
        """Say what is being done now."""
        self._bars.update(self._parts, description=text)

    def finish_part(self, arm: str) -> None:
        """One part of the current context is done."""
        self._bars.update(self._parts, advance=1, description=arm)

    def finish_context(self, context_id: str, tau: Mapping[str, float]) -> None:
        """A context is done; `tau` is the state of the arms so far."""
        self._done += 1
        self._bars.update(self._contexts, advance=1)
        left = (time.perf_counter() - self._begun) / self._done * (self._num_contexts - self._done)
        state = "  ".join(f"{arm} {value:.2f}" for arm, value in tau.items())
        self._console.print(
            f"[{self._done}/{self._num_contexts}] {context_id}  tau: {state}  ({left:.0f} s left)", markup=False
        )


class AnswerPrinter:
    """Prints new tokens as text; holds back a piece that may be half a character."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.tokens: list[int] = []
        self.shown = ""

    def __call__(self, _row: int, tokens: list[int]) -> None:
        """Print what these tokens complete."""
        self.tokens += tokens
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            print(text[len(self.shown) :], end="", flush=True)
            self.shown = text
