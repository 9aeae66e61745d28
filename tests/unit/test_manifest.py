"""benchmarks/manifest.json: what records each study has, and that those at hand are these."""

import hashlib
import json
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
MANIFEST = json.loads((BENCHMARKS / "manifest.json").read_text(encoding="utf-8"))
MOST_BYTES = 250_000  # of records that are new; larger ones stay on the branch `records`
BEFORE = {"2026-11-27-context-use", "2026-11-27-documents-guided", "2026-11-27-matrix", "2026-11-27-worlds-guided"}


def test_records_at_hand_are_those_of_the_manifest() -> None:
    at_hand = {(path.parent.name, path.name): path for path in BENCHMARKS.glob("2026-*/*.jsonl.gz")}
    listed = {(study, name): file for study, entry in MANIFEST.items() for name, file in entry["files"].items()}
    assert at_hand.keys() <= listed.keys()
    for key, path in at_hand.items():
        content = path.read_bytes()
        assert {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} == listed[key], key


def test_each_study_names_the_page_of_its_commands() -> None:
    for study, entry in MANIFEST.items():
        assert entry["date"] == study[: len(entry["date"])]
        assert entry["commands"]
        assert all((BENCHMARKS / page).is_file() for page in entry["commands"])


def test_new_records_that_are_large_stay_outside_the_history() -> None:
    large = {path.parent.name for path in BENCHMARKS.glob("2026-*/*") if path.stat().st_size > MOST_BYTES}
    assert large <= BEFORE
