"""Which records of a folder are a study's."""

from __future__ import annotations

from pathlib import Path

import pytest

from dftt.study.manifest import STUDY_FILE, Intended, read_intended, wanted_records
from dftt.study.records import RecordStore
from dftt.types import Record

SMALL = Intended(
    {"a": "goats", "b": "boats"}, ("target",), (0, 1), {(t, "target", s): "new" for t in "ab" for s in (0, 1)}
)


def record(task: str = "a", arm: str = "target", seed: int = 0, spec: str = "new", answer: str = "") -> Record:
    """A record of a few values."""
    return Record(task, "goats", arm, seed, spec, answer=answer)


def folder_of(folder: Path, *records: Record, intended: Intended | None = SMALL) -> Path:
    """A folder with these records, in order of writing."""
    store = RecordStore(folder)
    for each in records:
        store.append(each)
    if intended is not None:
        intended.write(folder)
    return folder


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    SMALL.write(tmp_path)
    assert read_intended(tmp_path) == SMALL


def test_records_of_other_settings_tasks_and_arms_are_left_out(tmp_path: Path) -> None:
    others = [record(spec="old"), record("c"), record(arm="speculative+own"), record(seed=2)]
    wanted = wanted_records(folder_of(tmp_path, record(), *others))
    assert wanted.records == [record()]
    assert sorted(each.key for each in wanted.others) == sorted(each.key for each in others)
    assert wanted.note == (
        "left out: 4 records in this folder that are not this study's: 1 of the same tasks and arms under other "
        "settings, 3 of other tasks, arms or seeds (1 tasks and 1 arms)"
    )


def test_a_record_made_before_others_of_its_key_still_counts(tmp_path: Path) -> None:
    """Settings are changed and changed back: what was made first is what is wanted, though written earlier."""
    wanted = wanted_records(folder_of(tmp_path, record(answer="mine"), record(spec="old", answer="other")))
    assert [each.answer for each in wanted.records] == ["mine"]


def test_a_new_score_of_a_wanted_record_counts(tmp_path: Path) -> None:
    folder_of(tmp_path, record(answer="unscored"))
    RecordStore(tmp_path, "rescored").append(record(answer="scored"))
    assert [each.answer for each in wanted_records(tmp_path).records] == ["scored"]


def test_what_is_intended_and_has_no_record_is_missing(tmp_path: Path) -> None:
    wanted = wanted_records(folder_of(tmp_path, record("a", seed=1), record("b", spec="old")))
    assert wanted.missing == [("a", "target", 0), ("b", "target", 0), ("b", "target", 1)]


def test_all_records_of_an_old_folder_count(tmp_path: Path) -> None:
    wanted = wanted_records(folder_of(tmp_path, record("a"), record("b", spec="else"), intended=None))
    assert ([each.task_id for each in wanted.records], wanted.missing, wanted.note) == (["a", "b"], [], "")


def test_two_studies_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, record(), record(spec="old"), intended=None)
    with pytest.raises(ValueError, match=f"more than one study .* and no {STUDY_FILE}.* run the one you mean there"):
        wanted_records(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seeds": [0], "tasks": [{"task_id": 1}]}'])
def test_a_broken_manifest_is_refused_by_name(tmp_path: Path, text: str) -> None:
    folder_of(tmp_path, record(), intended=None)
    (tmp_path / STUDY_FILE).write_text(text)
    with pytest.raises(ValueError, match=f"{STUDY_FILE} cannot be read"):
        wanted_records(tmp_path)
