"""What TensorBoard shows of a study beside its scalars: histograms, answers, losses, and arms to compare.

Every arm is a run of its own in `arms/`, with its settings as hyper-parameters and tau and pass rate as metrics, so
that the HPARAMS tab compares the arms of a sweep. Losses of adaptations are runs in `inner/`, a handful of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from dftt.analysis.frame import Frame, frame_of, pass_rate, tau_of
from dftt.types import Record
from dftt.types.arms import Arm

_MOST_ANSWERS = 3  # per arm
_MOST_INNER = 8
_LONGEST = 4000  # characters of an answer


def write_curves(folder: str | Path, writer: SummaryWriter, records: Sequence[Record], arms: Sequence[Arm]) -> None:
    """Write all of it.

    Args:
        folder: Of the run; `arms` and `inner` are made in it.
        writer: Of the run itself.
        records: Of all arms.
        arms: The arms, what they leave to the study filled in.
    """
    frame = frame_of(records)
    for arm in arms:
        answers = frame[frame["arm"] == arm.id]
        if arm.mode != "target":
            _distributions(writer, arm.id, answers[answers["steps"] > 0])
        _answers(writer, arm.id, answers["record"][:_MOST_ANSWERS])
        _comparison(Path(folder) / "arms" / _file_name(arm.id), arm, answers)
    _losses(Path(folder) / "inner", records, {arm.id: arm.ttt for arm in arms})
    writer.flush()


def _distributions(writer: SummaryWriter, arm: str, drafted: Frame) -> None:
    if len(drafted):
        lengths = [length for record in drafted["record"] for length in record.acceptance_lengths]
        writer.add_histogram(f"test/acceptance_length@{arm}", np.array(lengths))
        writer.add_histogram(f"test/tau_per_prompt@{arm}", (drafted["tokens"] / drafted["steps"]).to_numpy())


def _answers(writer: SummaryWriter, arm: str, records: Iterable[Record]) -> None:
    for number, record in enumerate(records):
        # Indented text is shown as it is, whatever Markdown or HTML a model wrote.
        lines = record.answer[:_LONGEST].splitlines() or [""]
        text = "\n".join([f"{_plain(record.task_id)}, passed: {record.passed}", "", *(f"    {line}" for line in lines)])
        writer.add_text(f"test/answer@{arm}", text, number)


def _comparison(folder: Path, arm: Arm, answers: Frame) -> None:
    found = {"test/tau": tau_of(answers).estimate, "test/pass_rate": pass_rate(answers).estimate}
    metrics = {name: value for name, value in found.items() if math.isfinite(value)}
    if not metrics:
        return
    experiment, start, end = hparams(_settings(arm), dict.fromkeys(metrics, 0.0))
    with SummaryWriter(str(folder)) as writer:
        for summary in (experiment, start, end):
            writer._get_file_writer().add_summary(summary)  # add_hparams would make a folder for each call
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)


def _settings(arm: Arm) -> dict[str, str | float]:
    """What a sweep may vary, flat: TensorBoard takes text and numbers only."""
    known: dict[str, Any] = {"mode": arm.mode, "ttt": arm.ttt, "taps": arm.taps, "rounds": arm.rounds}
    known |= {} if arm.temperature is None else {"temperature": arm.temperature}
    known |= {"alpha": arm.alpha} if arm.mode in ("target", "guided") else {}
    known |= {f"{arm.mode}.{name}": value for name, value in {**arm.guidance, **arm.parameters}.items()}
    known |= {f"ttt.{name}": value for name, value in arm.ttt_overrides.items()}
    return {name: value if isinstance(value, int | float) else str(value) for name, value in known.items()}


def _losses(folder: Path, records: Sequence[Record], sources: Mapping[str, str]) -> None:
    """`inner/loss` of the first adaptations, each a run named after its context and kind."""
    named: dict[str, Sequence[float]] = {}
    for record in records:
        if record.adaptation.get("losses") and len(named) < _MOST_INNER:
            # Arms of one kind of adaptation share it.
            named.setdefault(f"{record.context_id} {sources.get(record.arm, record.arm)}", record.adaptation["losses"])
    for name, losses in named.items():
        with SummaryWriter(str(folder / _file_name(name))) as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("inner/loss", loss, step)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.@+=,-]", "_", name)[:100]


def _plain(name: str) -> str:
    return re.sub(r"[^\w ./:-]", "_", name)
