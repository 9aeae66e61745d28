"""Prompt files and prompts from templates: overlaps dropped, evaluation sets refused, doctests right."""

from __future__ import annotations

import doctest
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dftt_tools.corpus.overlap import word_runs
from dftt_tools.corpus.prompts import load_prompts
from dftt_tools.corpus.templated_prompts import chat_prompts, code_prompts, math_prompts

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
EVALUATION_FILES = ("gsm8k_test", "humaneval", "mtbench", "math500", "mbpp")
GENERATORS: tuple[Callable[[int, int], list[str]], ...] = (code_prompts, chat_prompts, math_prompts)


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """The path, now a file of these rows."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_files_are_joined_without_drops_and_duplicates(tmp_path: Path) -> None:
    plain = write_rows(tmp_path / "a.jsonl", [{"id": "a/1", "prompt": "One?"}, {"id": "a/2", "prompt": "Two?"}])
    packed = write_rows(tmp_path / "b.jsonl.gz", [{"id": "b/1", "prompt": "Three?"}, {"id": "b/2", "prompt": "One?"}])
    drops = tmp_path / "overlap_ids.json"
    drops.write_text(json.dumps({"rule": "text", "a.jsonl": {"test.jsonl": ["a/2"], "other": []}, "c": ["x"]}))
    assert load_prompts([plain, packed]) == ["One?", "Two?", "Three?"]
    assert load_prompts([plain, packed], drops) == ["One?", "Three?"]


@pytest.mark.parametrize(
    "row_id",
    [
        "gsm8k/test/0",
        "HumanEval/3",
        "mtbench/81",
        "math500/test/x",
        "mbpp/1",
        "contexts/0",
        "pep-0802",
        "nqswap/0",
    ],
)
def test_evaluation_rows_are_refused(tmp_path: Path, row_id: str) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"id": "a/1", "prompt": "One?"}, {"id": row_id, "prompt": "Two?"}])
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: id .* belongs to an evaluation set"):
        load_prompts([path])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "line 1: not a JSON object"),
        ('{"id": "a"}', "line 1: needs a non-empty string 'prompt'"),
        ("3", "'id'"),
    ],
)
def test_malformed_rows_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        load_prompts([path])


def test_missing_and_malformed_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load_prompts([tmp_path / "absent.jsonl"])
    drops = tmp_path / "drops.json"
    drops.write_text("[]")
    with pytest.raises(ValueError, match=r"drops\.json: needs a mapping"):
        load_prompts([], drops)
    with pytest.raises(ValueError, match="not a readable JSON file"):
        load_prompts([], tmp_path / "absent.json")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared prompt sets are not at hand")
def test_shared_training_sets_load_and_drop_overlaps() -> None:
    paths = [
        DATA / "gsm8k_train.jsonl.gz",
        DATA / "prompts_permissive.jsonl.gz",
        DATA / "prompts_vicuna80.jsonl",
    ]
    every, kept = load_prompts(paths), load_prompts(paths, DATA / "overlap_ids.json")
    assert 0 < len(every) - len(kept) < 200


@pytest.mark.parametrize("generate", GENERATORS)
def test_generated_prompts_are_distinct_and_repeatable(generate: Callable[[int, int], list[str]]) -> None:
    prompts = generate(3, 2000)
    assert len(set(prompts)) == 2000
    assert prompts == generate(3, 2000)
    assert prompts != generate(4, 2000)
    assert not any(re.search(r"\{[a-z]+\d?\}", prompt) for prompt in prompts)


def test_templates_offer_more_than_twenty_thousand_prompts() -> None:
    assert len(chat_prompts(0, 25_000)) == 25_000


@pytest.mark.parametrize("generate", GENERATORS)
def test_negative_count_is_refused(generate: Callable[[int, int], list[str]]) -> None:
    with pytest.raises(ValueError, match="count must be >= 0, got -1"):
        generate(0, -1)


def test_examples_in_docstrings_are_doctests() -> None:
    parser = doctest.DocTestParser()
    examples = [example for prompt in code_prompts(1, 300) for example in parser.get_examples(prompt.replace("`", ""))]
    assert len(examples) > 100
    assert all(example.source and example.want for example in examples)


def test_examples_in_docstrings_are_right() -> None:
    pattern = re.compile(r"total of the numbers that are even, doubled\.\n\n    >>> \w+\((\[.*\])\)\n    (-?\d+)")
    found = [match for prompt in code_prompts(1, 6000) for match in pattern.findall(prompt)]
    assert found
    for values, result in found:
        assert int(result) == sum(2 * value for value in json.loads(values) if value % 2 == 0)


@pytest.mark.skipif(
    not all((DATA / f"{name}.jsonl").is_file() for name in EVALUATION_FILES),
    reason="the shared evaluation sets are not at hand",
)
@pytest.mark.parametrize("generate", GENERATORS)
def test_no_prompt_shares_ten_words_with_an_evaluation_prompt(
    generate: Callable[[int, int], list[str]],
) -> None:
    evaluated: set[str] = set()
    for name in EVALUATION_FILES:
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for text in row.get("turns", [row["prompt"]]):
                evaluated |= word_runs(text)
    shared = {run for prompt in generate(7, 2000) for run in word_runs(prompt) & evaluated}
    assert shared == set()
