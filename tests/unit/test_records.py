import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftt.study.records import RecordStore, load_records, spec_hash
from dftt.types import DecodingSpec, Record, TTTSpec


def record(task_id: str = "t", arm: str = "a", seed: int = 0, spec: str = "h", answer: str = "") -> Record:
    return Record(task_id=task_id, context_id="c", arm=arm, seed=seed, spec_hash=spec, answer=answer)


FULL = Record(
    task_id="t\u00e9",
    context_id="c",
    arm="speculative+own",
    seed=3,
    spec_hash="h",
    answer="line\nbreak \u2028 \u03c4",
    token_ids=(1, 2),
    acceptance_lengths=(2, 4),
    finish_reason="eos",
    seconds=0.125,
    target_calls=2,
    prompt_tokens=9,
    passed=False,
    statuses=(True, False),
    explanation="not fulfilled: rubric 2",
    adaptation={"steps": 30, "context": "c"},
    metadata={"context_category": "Rules"},
)


@given(
    st.builds(
        Record,
        task_id=st.text(),
        context_id=st.text(),
        arm=st.text(),
        seed=st.integers(),
        spec_hash=st.text(),
        answer=st.text(),
        acceptance_lengths=st.lists(st.integers(1, 16)).map(tuple),
        passed=st.none() | st.booleans(),
        metadata=st.dictionaries(st.text(), st.text() | st.integers() | st.none()),
    )
)
def test_load_of_dump_is_equal(item):
    assert Record.from_json(json.loads(json.dumps(item.to_json()))) == item


def test_stored_record_loads_equal(tmp_path):
    RecordStore(tmp_path).append(FULL)
    assert load_records(tmp_path) == [FULL]


def test_record_is_on_disk_when_append_returns(tmp_path):
    store = RecordStore(tmp_path, rank=2)
    store.append(record("one"))
    assert (tmp_path / "records.2.jsonl").read_text(encoding="utf-8").count("\n") == 1


@pytest.mark.parametrize("seed", range(5))
def test_merging_shards_is_order_free(tmp_path, seed):
    items = [record(f"t{n}", arm) for n in range(6) for arm in "ab"]
    random.Random(seed).shuffle(items)
    for number, item in enumerate(items):
        RecordStore(tmp_path, rank=number % 3).append(item)
    assert load_records(tmp_path) == sorted(items, key=lambda item: item.key)


def test_last_duplicate_in_a_shard_wins(tmp_path):
    store = RecordStore(tmp_path)
    store.append(record(answer="old"))
    store.append(record(answer="new"))
    assert [item.answer for item in load_records(tmp_path)] == ["new"]


def test_duplicate_written_last_wins_over_a_later_shard(tmp_path):
    RecordStore(tmp_path, rank=1).append(record(answer="old"))
    RecordStore(tmp_path, rank=0).append(record(answer="new"))
    assert [item.answer for item in load_records(tmp_path)] == ["new"]


def cut_last_line(path: Path, keep: int) -> None:
    head, _, last = path.read_bytes().rstrip(b"\n").rpartition(b"\n")
    path.write_bytes(head + b"\n" + last[:keep])


def test_truncated_last_line_is_ignored(tmp_path):
    store = RecordStore(tmp_path)
    store.append(record("kept"))
    store.append(record("killed"))
    cut_last_line(store.path, 20)
    assert [item.task_id for item in load_records(tmp_path)] == ["kept"]


def test_half_a_gzip_file_is_refused_by_name(tmp_path):
    store = RecordStore(tmp_path)
    store.append(record("kept"))
    packed = store.path.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(store.path.read_bytes())[:-9])
    store.path.unlink()
    with pytest.raises(ValueError, match=r"records\.0\.jsonl\.gz is not a complete gzip file"):
        load_records(tmp_path)


def test_append_after_a_killed_run_is_not_glued_to_the_rest(tmp_path):
    store = RecordStore(tmp_path)
    store.append(record("kept"))
    store.append(record("killed"))
    cut_last_line(store.path, 20)
    RecordStore(tmp_path).append(record("later"))
    assert [item.task_id for item in load_records(tmp_path)] == ["kept", "later"]


def test_whole_last_line_without_newline_is_kept(tmp_path):
    store = RecordStore(tmp_path)
    store.append(record("first"))
    store.path.write_bytes(store.path.read_bytes().rstrip(b"\n"))
    assert len(load_records(tmp_path)) == 1
    RecordStore(tmp_path).append(record("second"))
    assert len(load_records(tmp_path)) == 2


@pytest.mark.parametrize("broken", ['{"task_id"', "", "[]", '{"task_id": "x"}', '{"unknown": 1}'])
def test_any_other_broken_line_is_refused_by_file_and_line(tmp_path, broken):
    store = RecordStore(tmp_path)
    store.append(record("one"))
    line = store.path.read_text(encoding="utf-8")
    store.path.write_text(line + broken + "\n" + line, encoding="utf-8")
    with pytest.raises(ValueError, match=r"records\.0\.jsonl, line 2: not a record"):
        load_records(tmp_path)


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        load_records(tmp_path / "none")


def test_rerun_on_another_rank_replaces_the_record(tmp_path):
    RecordStore(tmp_path, rank=1).append(record(spec="old"))
    RecordStore(tmp_path, rank=0).append(record(spec="new"))
    assert [each.spec_hash for each in load_records(tmp_path)] == ["new"]


def test_spec_hash_ignores_the_order_of_keys():
    assert spec_hash({"a": 1, "b": {"c": 2, "d": 3}}) == spec_hash({"b": {"d": 3, "c": 2}, "a": 1})


def test_spec_hash_is_the_same_in_every_process():
    assert spec_hash({"a": (1, 2), "b": None}) == "f25109c4111335e4"


def test_spec_hash_reads_dataclasses_by_value():
    spec = {"ttt": TTTSpec(steps=3), "decoding": DecodingSpec()}
    assert spec_hash(spec) == spec_hash({"ttt": TTTSpec(steps=3), "decoding": DecodingSpec()})
    assert spec_hash(spec) != spec_hash({**spec, "ttt": replace(TTTSpec(), steps=4)})


def test_spec_hash_refuses_what_has_no_stable_form():
    with pytest.raises(ValueError, match="cannot be hashed"):
        spec_hash({"a": {1, 2}})
