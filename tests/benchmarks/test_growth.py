"""Slopes and figures from results at several contexts."""

import json
from pathlib import Path

import pytest

from benchmarks import growth

CYCLES = [
    {"context": context, "rows": rows, "side": side, "cycle, ms": value}
    for context, rows, side, value in (
        (1000, 1, "ours", 10.0),
        (4000, 1, "ours", 16.0),
        (2000, 1, "ours", 11.0),
        (1000, 8, "ours", 99.0),
        (1000, 1, "plain", 40.0),
    )
]
PEAKS = [
    {"context": 1000, "work": "prefill", "peak, GB": 2.0},
    {"context": 2000, "work": "prefill", "peak, GB": 4.0},
    {"context": 4000, "work": "prefill", "peak, GB": "out of memory"},
]


def written(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text(json.dumps({"title": "t", "rows": rows}))
    return str(path)


def test_figures_and_slopes_are_of_measured_values(tmp_path: Path) -> None:
    files = [written(tmp_path / "a.json", CYCLES), written(tmp_path / "b.json", PEAKS)]
    growth.main([*files, "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "growth.md").read_text()
    assert "| ours | 1,000 to 4,000 | 10 to 16 | +2.000 | 0.54 |" in text
    assert "| prefill | 1,000 to 2,000 | 2 to 4 | +2.000 | 1.00 |" in text
    assert "plain" not in text  # at one context only
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"growth-{name}.{end}" for name in ("cycle", "memory") for end in ("svg", "png", "csv")} < names
    assert (tmp_path / "out" / "growth-cycle.csv").read_text().splitlines()[1:] == [
        *("1000,ours,10.0", "2000,ours,11.0", "4000,ours,16.0")
    ]


def test_the_later_file_counts(tmp_path: Path) -> None:
    later = [{"context": 4000, "side": "ours", "cycle, ms": 40.0}]
    files = [written(tmp_path / "a.json", CYCLES), written(tmp_path / "b.json", later)]
    growth.main([*files, "--out", str(tmp_path)])
    assert "10 to 40" in (tmp_path / "growth.md").read_text()


def test_quadratic_growth_has_the_exponent_2() -> None:
    assert growth.steepest([(1, 1), (2, 2), (4, 8)]) == pytest.approx(2)


def test_one_context_draws_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    growth.main([written(tmp_path / "a.json", PEAKS[:1]), "--out", str(tmp_path / "out")])
    assert "Nothing grows here" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
