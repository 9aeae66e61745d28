"""Every study in benchmarks/: each difference on its page is a comparison of its verdict.json, digit by digit."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dftt.analysis.rules import RULES_VERSION
from dftt.analysis.verdict import judge, read_verdict
from dftt.report.page import write_report

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STUDIES = sorted(path.parent for path in BENCHMARKS.glob("*/verdict.json"))
_LARGE = 1_000_000  # bytes of packed records
_INTERVAL = re.compile(r"[+-]\d+\.\d{3} \[[+-]\d+\.\d{3}, [+-]\d+\.\d{3}\]")
# Columns of a difference, each with what it is against; the name of the reference stands in a column of its own.
_AGAINST = {
    "against no TTT [95 %]": ("no TTT", "tau"),
    "against TTT on other text [95 %]": ("TTT on other text", "tau"),
    "Δτ [95 %]": ("no TTT", "tau"),
    "Δ pass rate [95 %]": ("no TTT", "pass rate"),
    "against the target [95 %]": ("the target", "pass rate"),
}
_REFERENCES = ("without TTT it is", "the target is")


class Tables(HTMLParser):
    """The rows of all tables of a page, by the names of their columns."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []
        self.outside = ""
        self._header: list[str] = []
        self._cells: list[str] | None = None
        self._in_cell = self._in_head = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_head = tag == "thead" or (self._in_head and tag != "tbody")
        if tag == "tr":
            self._cells = []
        if tag in ("th", "td") and self._cells is not None:
            self._in_cell = True
            self._cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._in_cell = False
        if tag == "tr" and self._cells is not None:
            if self._in_head:
                self._header = self._cells
            else:
                self.rows.append(dict(zip(self._header, self._cells, strict=True)))
            self._cells = None

    def handle_data(self, data: str) -> None:
        if self._in_cell and self._cells is not None:
            self._cells[-1] += data
        else:
            self.outside += data


def params() -> list[Any]:
    """All studies; those of many records are slow."""
    sizes = {study: sum(path.stat().st_size for path in study.glob("records.*.jsonl.gz")) for study in STUDIES}
    slow = [pytest.mark.slow]
    return [pytest.param(each, id=each.name, marks=slow if sizes[each] > _LARGE / 2 else []) for each in STUDIES]


def shown(row: dict[str, Any]) -> str:
    """A comparison as a page shows it."""
    return f"{row['estimate']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


@pytest.mark.parametrize("study", params())
def test_every_difference_is_a_comparison_of_the_verdict(study: Path, tmp_path: Path) -> None:
    for path in study.iterdir():
        if path.suffix == ".gz":
            (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        elif path.suffix in (".json", ".yaml"):
            shutil.copy(path, tmp_path)
    said = json.loads((study / "verdict.json").read_text())
    assert said["rules"]["version"] == RULES_VERSION
    made = [each for verdict in said["verdicts"] for each in verdict["comparisons"] if each["n"]]
    by_kind = {(each["arm"], each["against"], each["measure"]): each for each in made if each["against"] != "noise"}
    page = Tables(write_report([tmp_path]).read_text(encoding="utf-8"))
    ids = {row["arm"]: row["id"] for row in page.rows if "id" in row}
    assert len(ids) == len({row["id"] for row in page.rows if "id" in row})

    seen = 0
    for row in page.rows:
        for column, cell in row.items():
            if column in _AGAINST and _INTERVAL.search(cell):
                comparison = by_kind[ids[row["arm"]], *_AGAINST[column]]
                assert cell == shown(comparison), (row["arm"], column)
                if column != "against TTT on other text [95 %]":
                    assert comparison["reference"] in {ids.get(row.get(name, "")) for name in _REFERENCES}
                seen += 1
            elif column == "difference [95 %]" and row["pairs"] != "0":
                key = ids[row["arm"]], ids[row["against"]], row["measure"]
                assert cell in {
                    shown(each) for each in made if key == (each["arm"], each["reference"], each["measure"])
                }
                seen += 1
            else:  # a signed interval stands nowhere else
                assert column == "with the unscored" or not _INTERVAL.search(cell), (row, column)
    assert not _INTERVAL.search(page.outside.partition("{")[0])
    assert seen >= len(made)
    check_figures(tmp_path / "figures", by_kind, made)


def check_figures(
    folder: Path, by_kind: dict[tuple[str, str, str], dict[str, Any]], made: list[dict[str, Any]]
) -> None:
    """The numbers below the figures of differences."""
    pairs = {tuple(each[name] for name in ("arm", "reference", "estimate", "low", "high")) for each in made}
    gains = {(each["estimate"], each["low"], each["high"]) for key, each in by_kind.items() if key[1] == "no TTT"}
    for path in folder.glob("*.csv"):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if path.stem.startswith("verdict_"):
                ends = tuple(float(row[name]) if row[name] else None for name in ("estimate", "low", "high"))
                assert (row["arm"], row["reference"], *ends) in pairs
            elif path.stem == "pass_rate_differences":
                comparison = by_kind[row["arm"], "the target", "pass rate"]
                assert float(row["estimate"]) == comparison["estimate"]
                assert row["reference"] == comparison["reference"]
            elif path.stem.startswith("gain_by_"):
                assert tuple(float(row[name]) for name in ("gain", "low", "high")) in gains


@pytest.mark.parametrize("study", params())
def test_verdict_json_is_what_the_records_give(study: Path) -> None:
    """The text of the rules may have changed since, not what they say of these records."""
    committed, made = read_verdict(study), judge(study)
    assert committed is not None
    assert [each.sentence for each in committed.verdicts] == [each.sentence for each in made.verdicts]
    for before, now in zip(committed.comparisons, made.comparisons, strict=True):
        assert before.to_json() == pytest.approx(now.to_json(), abs=1e-9, nan_ok=True)


def known(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    said = json.loads((BENCHMARKS / name / "verdict.json").read_text())
    return {(each["arm"], each["reference"]): each for verdict in said["verdicts"] for each in verdict["comparisons"]}


def test_masked_taps_gain_what_was_once_reported_as_a_loss() -> None:
    """The report of the layers had -0.808 for taps=3, against the arm that sees all layers."""
    assert known("2026-11-27-layers")["speculative+own,taps=3", "speculative+none,taps=3"]["estimate"] == pytest.approx(
        0.49, abs=0.005
    )


def test_the_target_is_not_compared_with_itself() -> None:
    """Alpha 0 at temperature 1 was drawn at -0.103 against the target at 0.3."""
    assert not [pair for pair in known("2026-11-27-matrix") if pair[0].startswith("guided@0+")]


def quotes() -> list[Any]:
    """Each quoted verdict with the study that its page names before it."""
    found = []
    for page in sorted(
        [*BENCHMARKS.glob("*.md"), BENCHMARKS.parent / "README.md", *BENCHMARKS.parent.glob("docs/**/*.md")]
    ):
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"<!-- verdict of ([\w-]+) -->\n((?:>.*\n)+)", text):
            lines = [line.removeprefix(">").strip() for line in match[2].splitlines()]
            for quote in " ".join(line or "\n" for line in lines).split("\n"):
                found.append(pytest.param(match[1], quote.strip(), id=f"{page.stem}-{match[1]}-{len(found)}"))
    return found


@pytest.mark.parametrize(("study", "quote"), quotes())
def test_quoted_verdicts_are_verbatim(study: str, quote: str) -> None:
    said = json.loads((BENCHMARKS / study / "verdict.json").read_text())
    assert quote in [verdict["sentence"] for verdict in said["verdicts"]]


def test_no_verdict_is_quoted_without_its_study() -> None:
    """A quotation that nothing compares drifts: every block that reads like a verdict names the study it is of."""
    for page in BENCHMARKS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for block in re.finditer(r"(?:^>.*\n)+", text, flags=re.MULTILINE):
            if " against " in block[0] and "n = " in block[0]:
                assert re.search(r"<!-- verdict of [\w-]+ -->\n\Z", text[: block.start()]), (
                    f"{page.name}: {block[0][:60]}"
                )
