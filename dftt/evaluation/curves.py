"""What TensorBoard shows of a study beside its scalars: histograms, answers, losses, and arms to compare.

Every arm is a run of its own in `arms/`, with its settings as hyper-parameters and tau and pass rate as metrics, so
that the HPARAMS tab compares the arms of a sweep. Losses of adaptations are runs in `inner/`, a handful of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import SummaryWriter

from dftt.evaluation.arm_names import arm_parts
from dftt.evaluation.metrics import tau_per_prompt
from dftt.types import Record

_MOST_ANSWERS = 3  # per arm
_MOST_INNER = 8
_LONGEST = 4000  # characters of an answer


def write_curves(folder: str | Path, writer: SummaryWriter, records: Sequence[Record]) -> None:
    """Write all of it.

    Args:
        folder: Of the run; `arms` and `inner` are made in it.
        writer: Of the run itself.
        records: Of all arms.
    """
    arms: dict[str, list[Record]] = {}
    for record in records:
        arms.setdefault(record.arm, []).append(record)
    for arm, members in arms.items():
        _distributions(writer, arm, members)
        _answers(writer, arm, members)
        _comparison(Path(folder) / "arms" / _file_name(arm), arm, members)
    _losses(Path(folder) / "inner", records)
    writer.flush()


def _distributions(writer: SummaryWriter, arm: str, records: Sequence[Record]) -> None:
    lengths = [length for record in records for length in record.acceptance_lengths]
    if not lengths or arm_parts(arm).mode == "target":
        return
    taus = [tau_per_prompt([record]) for record in records if record.acceptance_lengths]
    writer.add_histogram(f"test/acceptance_length@{arm}", torch.tensor(lengths))
    writer.add_histogram(f"test/tau_per_prompt@{arm}", torch.tensor(taus))


def _answers(writer: SummaryWriter, arm: str, records: Sequence[Record]) -> None:
    for number, record in enumerate(records[:_MOST_ANSWERS]):
        # Indented text is shown as it is, whatever Markdown or HTML a model wrote.
        lines = record.answer[:_LONGEST].splitlines() or [""]
        text = "\n".join([f"{_plain(record.task_id)}, passed: {record.passed}", "", *(f"    {line}" for line in lines)])
        writer.add_text(f"test/answer@{arm}", text, number)


def _comparison(folder: Path, arm: str, records: Sequence[Record]) -> None:
    metrics = _metrics(records)
    if not metrics:
        return
    experiment, start, end = hparams(_settings(arm, records), dict.fromkeys(metrics, 0.0))
    with SummaryWriter(str(folder)) as writer:
        for summary in (experiment, start, end):
            writer._get_file_writer().add_summary(summary)  # add_hparams would make a folder for each call
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)


def _settings(arm: str, records: Sequence[Record]) -> dict[str, str | float]:
    mode, alpha, ttt, rule = arm_parts(arm)
    adaptation: Mapping[str, Any] = next((record.adaptation for record in records if record.adaptation), {})
    known = {
        "mode": mode,
        "ttt": ttt,
        **({} if alpha is None else {"alpha": alpha}),
        **({"rule": rule} if rule else {}),
    }
    return {**known, **{f"ttt.{name}": value for name, value in (adaptation.get("settings") or {}).items()}}


def _metrics(records: Sequence[Record]) -> dict[str, float]:
    steps = [length for record in records for length in record.acceptance_lengths]
    scored = [bool(record.passed) for record in records if record.passed is not None]
    found = {
        "test/tau": sum(steps) / len(steps) if steps else math.nan,
        "test/pass_rate": sum(scored) / len(scored) if scored else math.nan,
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _losses(folder: Path, records: Sequence[Record]) -> None:
    """`inner/loss` of the first adaptations, each a run named after its context and kind."""
    named: dict[str, Sequence[float]] = {}
    for record in records:
        if record.adaptation.get("losses") and len(named) < _MOST_INNER:
            # Arms of one kind of adaptation share it.
            named.setdefault(f"{record.context_id} {arm_parts(record.arm).ttt}", record.adaptation["losses"])
    for name, losses in named.items():
        with SummaryWriter(str(folder / _file_name(name))) as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("inner/loss", loss, step)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.@+=,-]", "_", name)[:100]


def _plain(name: str) -> str:
    return re.sub(r"[^\w ./:-]", "_", name)
