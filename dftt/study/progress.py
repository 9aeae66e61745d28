"""What a run shows: bars on a terminal, lines elsewhere; answers as they come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUIET_SECONDS = 10.0  # between two lines about parts of a context, away from a terminal


class StudyProgress:
    """Contexts done, parts (arm x task) of the current one, current tau, time left.

    Away from a terminal each context is a line when it is done, and within it what is being done now, at most every
    ten seconds.

    Args:
        num_contexts: Contexts to come on this process.
        quiet: Show nothing (all processes but the first).
    """

    def __init__(self, *, num_contexts: int, quiet: bool) -> None:
        self._console = Console(quiet=quiet)
        self._num_contexts, self._done = num_contexts, 0
        self._begun, self._last_line = time.perf_counter(), -QUIET_SECONDS
        self._context, self._num_parts, self._parts_done = "", 0, 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        left = (TextColumn("left"), TimeRemainingColumn())
        self._bars = Progress(*columns, *left, console=self._console, disable=not self._console.is_terminal)
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
        self._context, self._num_parts, self._parts_done = context_id, num_parts, 0
        self._bars.reset(self._parts, total=num_parts, description=context_id, visible=True)
        self._say("")

    def note(self, text: str) -> None:
        """Say what is being done now."""
        self._bars.update(self._parts, description=text)
        self._say(text)

    def finish_part(self, arm: str) -> None:
        """One part of the current context is done."""
        self._parts_done += 1
        self._bars.update(self._parts, advance=1, description=arm)
        self._say(arm)

    def finish_context(self, context_id: str, tau: Mapping[str, float]) -> None:
        """A context is done; `tau` is the state of the arms so far."""
        self._done += 1
        self._bars.update(self._contexts, advance=1)
        left = (time.perf_counter() - self._begun) / self._done * (self._num_contexts - self._done)
        state = "  ".join(f"{arm} {value:.2f}" for arm, value in tau.items())
        self._line(f"[{self._done}/{self._num_contexts}] {context_id}  tau: {state}  ({left:.0f} s left)")

    def _say(self, what: str) -> None:
        """Where there are no bars and it has been quiet for a while: the context, its parts, and what is done now."""
        if self._console.is_terminal or time.perf_counter() - self._last_line < QUIET_SECONDS:
            return
        parts = f"{self._parts_done} of {self._num_parts} answers{f', {what}' if what else ''}"
        self._line(f"[{self._done + 1}/{self._num_contexts}] {self._context}  {parts}")

    def _line(self, text: str) -> None:
        self._last_line = time.perf_counter()
        self._console.print(text, markup=False, soft_wrap=True)


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
            # An answer that cannot be shown is made to its end and stored; whoever prints next meets the error.
            with suppress(OSError):
                print(text[len(self.shown) :], end="", flush=True)
            self.shown = text
