"""Speed beside busy processes, on the bundled pair."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import busy


def test_busy_processes_end_with_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def start(call: list[str]) -> subprocess.Popen:
        started.append(popen(call))
        return started[-1]

    monkeypatch.setattr(busy.subprocess, "Popen", start)
    with busy.busy_processes(2):
        assert [process.poll() for process in started] == [None, None]
    assert None not in [process.poll() for process in started]


def test_each_setting_is_measured_alone_and_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process here is one that prints what it was given."""
    seen: list[dict[str, str]] = []

    def measured(_options: object, variables: dict[str, str]) -> dict[str, float]:
        seen.append(variables)
        return {"target": 8.0 / len(seen), "speculative": 4.0}

    monkeypatch.setattr(busy, "in_a_process", measured)
    busy.main(["--rounds", "1", "--settings", "one thread", "--out", str(tmp_path / "busy")])
    assert seen == [{"OMP_NUM_THREADS": "1"}] * 2
    (target, speculative) = json.loads((tmp_path / "busy.json").read_text())["rows"]
    assert (target["alone, tokens/s"], target["busy, tokens/s"], target["busy over alone"]) == (8, 4, 0.5)
    assert (speculative["mode"], speculative["busy over alone"]) == ("speculative", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_a_process_measures_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    options = busy.parse(["--context", "16", "--new-tokens", "4"])
    assert min(busy.in_a_process(options, {"OMP_NUM_THREADS": "1"}).values()) > 0
