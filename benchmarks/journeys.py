"""How far it is from a prompt to a token, and from a record to a number of the report, in frames and files of dftt.

Run it from the root of a checkout; whatever follows is given to both commands, such as a small pair:

    python benchmarks/journeys.py --model.target FOLDER --model.draft FOLDER --data ContextDataModule --data.path FILE

Prompt to token: the calls that stand above the engine when `predict` makes its first step, and beside their files those
of rooms above decoding that were entered since `predict` was given the context. Record to number: the files that stand
above the records when the end of `test` reads what a record's tau is made of.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path.cwd()))

import dftt
from dftt.cli import main
from dftt.decoding.engine import Engine
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.types import Record

PACKAGE = Path(dftt.__file__).parent
BELOW = ("types", "models", "decoding", "adaptation")  # rooms of the engine and below, and of learning
SMALL = ("--trainer.accelerator=cpu", "--model.ttt.steps=1", "--evaluator.decoding.max_new_tokens=4")


class Journeys:
    """Notes calls on the way: (file, function), from the command down."""

    def __init__(self) -> None:
        self.to_token: list[tuple[str, str]] = []
        self.entered: set[str] = set()
        self.to_number: set[str] = set()

    def predict(self, folder: str, flags: list[str]) -> None:
        """Follow a prompt to the first step of the engine."""
        answer, step = GuidedDecodingEvaluator.on_predict_batch_end, Engine.step

        def on_batch(*arguments: Any, **options: Any) -> None:
            sys.setprofile(self._enter)
            try:
                answer(*arguments, **options)
            finally:
                sys.setprofile(None)

        def on_step(engine: Engine) -> None:
            sys.setprofile(None)
            self.to_token = self.to_token or list(calls(sys._getframe(1)))[::-1]
            step(engine)

        with (
            patch.object(GuidedDecodingEvaluator, "on_predict_batch_end", on_batch),
            patch.object(Engine, "step", on_step),
        ):
            main(["predict", *SMALL, f"--trainer.default_root_dir={folder}", *flags])

    def report(self, folder: str, flags: list[str]) -> None:
        """Follow what tau is made of from the records to the tables and the page."""
        end = GuidedDecodingEvaluator.on_test_end

        def read(record: Record) -> tuple[int, ...]:
            if at_end:
                self.to_number |= {file for file, _ in calls(sys._getframe(1))}
            return record.__dict__["acceptance_lengths"]

        def write(record: Record, value: tuple[int, ...]) -> None:
            record.__dict__["acceptance_lengths"] = value

        def on_end(*arguments: Any) -> None:
            at_end.append(True)
            end(*arguments)

        at_end: list[bool] = []
        with (
            patch.object(Record, "acceptance_lengths", property(read, write)),
            patch.object(GuidedDecodingEvaluator, "on_test_end", on_end),
        ):
            main(["test", *SMALL, f"--trainer.default_root_dir={folder}", *flags])
        self.to_number -= {"types/__init__.py", "cli.py", "study/records.py"}

    @property
    def files_to_token(self) -> set[str]:
        """Files on the way to a token: those of the calls above the engine, and of rooms above decoding on the way."""
        above = {file for file in self.entered if file.split("/")[0] not in BELOW}
        return above | {file for file, _ in self.to_token}

    def _enter(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (name := file_of(frame)) and name != "former_names.py":  # asked by any late import
            self.entered.add(name)


def calls(frame: FrameType | None) -> Iterator[tuple[str, str]]:
    """The calls of dftt on a stack, the innermost first."""
    while frame is not None:
        if name := file_of(frame):
            yield name, frame.f_code.co_name
        frame = frame.f_back


def file_of(frame: FrameType) -> str:
    """The file of dftt whose code a frame runs, as it is named in the package; empty for other code."""
    path = Path(frame.f_code.co_filename)
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""


def tell(journeys: Journeys) -> None:
    """Print both journeys."""
    stack, entered = {file for file, _ in journeys.to_token}, journeys.files_to_token
    print(f"\nprompt to token: {len(journeys.to_token)} frames in {len(stack)} files; {len(entered)} files entered")
    print("  " + " > ".join(f"{file.removesuffix('.py')}.{name}" for file, name in journeys.to_token))
    print("  " + " ".join(sorted(entered)))
    print(f"record to number: {len(journeys.to_number)} files")
    print("  " + " ".join(sorted(journeys.to_number)))


if __name__ == "__main__":
    seen, given = Journeys(), sys.argv[1:]
    sys.argv = sys.argv[:1]
    with tempfile.TemporaryDirectory() as made:
        seen.predict(made, given)
        seen.report(made, given)
    tell(seen)
