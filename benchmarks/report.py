"""Results as JSON and as a Markdown table, with all that is needed to read them later."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers


@dataclass(frozen=True)
class Report:
    """One measurement.

    Args:
        title: What was measured.
        setting: How: shape, precision, cycles ...
        rows: Results, one mapping per line of the table, all with the same keys.
        notes: Sentences that a reader needs: what was scripted, what was left out.
    """

    title: str
    setting: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()

    def markdown(self, machine: Mapping[str, Any]) -> str:
        """The table under its heading; the machine's line says where and with what."""
        columns = list(self.rows[0]) if self.rows else []
        lines = [
            f"# {self.title}",
            "",
            ", ".join(f"{key} {value}" for key, value in machine.items() if value) + ".",
            "",
        ]
        lines += [", ".join(f"{key} {_cell(value)}" for key, value in self.setting.items()) + ".", ""]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in self.rows]
        lines += ["", *[f"- {note}" for note in self.notes]]
        return "\n".join(lines).rstrip() + "\n"

    def write(self, path: Path, machine: Mapping[str, Any]) -> None:
        """Write PATH.json and PATH.md."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"title": self.title, "machine": machine, "setting": self.setting, "rows": self.rows}
        path.with_suffix(".json").write_text(json.dumps({**content, "notes": self.notes}, indent=2) + "\n")
        path.with_suffix(".md").write_text(self.markdown(machine))


def machine_of(device: torch.device, commit: str) -> dict[str, Any]:
    """Date, card or processor, versions, and the commit that the caller names."""
    cuda = device.type == "cuda"
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "threads": None if cuda else torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "commit": commit,
    }


def common_arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves torch's choice")
    parser.add_argument("--cycles", type=int, default=12, help="timed cycles of each side, at least")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md; printed in any case")
    parser.add_argument("--commit", default="", help="commit to note in the report")
    return parser


def shape_arguments(description: str) -> argparse.ArgumentParser:
    """The same, for benchmarks on random weights of a named shape."""
    parser = common_arguments(description)
    parser.add_argument("--shape", default="qwen3-8b", help="qwen3-8b, qwen3-4b, smollm2-135m or tiny")
    parser.add_argument("--dtype", default="", help="precision; bfloat16 on a card and float32 on a CPU by default")
    parser.add_argument("--contexts", type=int, nargs="+", default=[1024, 8192, 32768], help="context lengths")
    parser.add_argument("--block-size", type=int, default=0, help="slots per block; 0 takes the shape's own")
    return parser


def use_threads(arguments: argparse.Namespace) -> None:
    """Take the number of CPU threads that was asked for."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)


def finish(report: Report, arguments: argparse.Namespace) -> Report:
    """Print the report, and write it where --out says."""
    machine = machine_of(torch.device(arguments.device), arguments.commit)
    print(report.markdown(machine))
    if arguments.out is not None:
        report.write(arguments.out, machine)
    return report


def milliseconds(seconds: float) -> float:
    """Milliseconds, rounded for a table."""
    return round(seconds * 1e3, 2)


def gigabytes(count: float) -> float:
    """10^9 bytes, rounded for a table."""
    return round(count / 1e9, 3)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)
