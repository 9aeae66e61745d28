"""The suites: what they load from files and from the hub's layout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dftt.data import ContextDataModule
from dftt.suites import registry
from dftt.suites.base import Suite
from dftt.suites.clbench import clbench_contexts
from dftt.suites.registry import SUITES, get_suite
from dftt.suites.subsets import category_of
from dftt.suites.tasks import group_by_context, load_tasks
from tests.suite_rows import FILES, HUB_ROWS, of_hub

# Of the local files, as `data.categories` names them.
CATEGORIES = {
    "clbench": {
        "Domain Knowledge Reasoning",
        "Rule System Application",
        "Procedural Task Execution",
        "Empirical Discovery & Simulation",
    },
    "babi": {f"qa{number}" for number in (1, 2, 3, 5, 11, 12, 13, 14, 15, 16)},
    "memotrap": {"proverb", "scihist"},
    "mtbench": {"writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"},
}


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A folder in the hub's layout with one row of a suite; `datasets` keeps its cache beside it."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def make(name: str) -> Path:
        suite, folder = get_suite(name), tmp_path / name
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "rows.jsonl").write_text(json.dumps(HUB_ROWS[name]) + "\n")
        files = f"  data_files:\n  - split: {suite.hub_split}\n    path: data/rows.jsonl\n"
        (folder / "README.md").write_text(
            f"---\nconfigs:\n- config_name: {suite.hub_config or 'default'}\n{files}---\n"
        )
        return folder

    return make


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_says_where_it_comes_from(name: str) -> None:
    suite = get_suite(name)
    assert suite.name == name
    assert suite.licence
    if name not in ("documents", "worlds"):  # the user's own, and this project's
        assert suite.hub_id.count("/") == 1
        assert suite.homepage.startswith("https://")
        assert suite.citation


def test_help_names_every_suite() -> None:
    assert all(name in str(ContextDataModule.__doc__) for name in SUITES)


def test_the_config_of_suites_and_the_guide_name_every_suite() -> None:
    root = Path(__file__).resolve().parents[2]
    for path in ("configs/experiment/suite_baseline.yaml", "docs/howto/suites.md"):
        text = (root / path).read_text(encoding="utf-8")
        assert [name for name in SUITES if not re.search(rf"\b{name}\b", text)] == []


def test_a_suite_is_one_file_and_one_line_in_the_registry() -> None:
    """No line of the registry names a suite but the one that registers it."""
    folder = Path(registry.__file__).parent
    lines = (folder / "registry.py").read_text(encoding="utf-8").splitlines()
    for suite in SUITES.values():
        module, name = type(suite).__module__.rpartition(".")[2], type(suite).__name__
        assert [line.strip() for line in lines if re.search(rf"\b({module}|{name})\b", line)] == [f'"{module}.{name}",']
        assert (folder / f"{module}.py").is_file()


def test_a_suite_renames_columns_and_fills_its_template() -> None:
    class Riddles(Suite):
        name = "riddles"
        columns: ClassVar = {"question": "prompt"}
        template = "{prompt}\n\nAnswer in one word."

    task = Riddles().task({"question": "What has keys?", "answer": 5}, "riddles/1")
    assert task.messages == ({"role": "user", "content": "What has keys?\n\nAnswer in one word."},)
    assert task.metadata == {"answer": 5, "suite": "riddles"}
    with pytest.raises(ValueError, match="`prompt` must be text, got None"):
        Riddles().task({"answer": 5}, "riddles/2")


def test_unknown_suite_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="suite 'glue' is unknown; choose from clbench, gsm8k"):
        get_suite("glue")


# -- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HUB_ROWS)
def test_rows_of_the_hub_load(name: str, hub_folder: Callable[[str], Path]) -> None:
    """Through `datasets`, as from the hub: the same code with another address."""
    (task,) = get_suite(name).tasks(hub_folder(name))
    wanted = of_hub(name)
    assert (task.task_id, task.messages, task.rubrics) == (wanted.task_id, wanted.messages, wanted.rubrics)
    assert task.metadata["suite"] == name


def test_a_hub_that_cannot_be_reached_is_named_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"gsm8k could not be loaded from openai/gsm8k .*; give a local file"):
        get_suite("gsm8k").tasks()  # tests are offline


@pytest.mark.parametrize(
    ("name", "num_tasks", "num_contexts"),
    [
        ("clbench", 28, 21),
        ("gsm8k", 1319, 1319),
        ("math500", 500, 500),
        ("humaneval", 164, 164),
        ("mbpp", 500, 500),
        ("mtbench", 80, 80),
        ("nqswap", 1589, 1589),
        ("babi", 1500, 1500),
        ("memotrap", 1596, 1596),
        ("documents", 30, 15),
    ],
)
def test_local_files_load(shared_data: Path, name: str, num_tasks: int, num_contexts: int) -> None:
    suite = get_suite(name)
    tasks = suite.tasks(shared_data / f"{FILES.get(name, name)}.jsonl")
    assert (len(tasks), len(group_by_context(tasks))) == (num_tasks, num_contexts)
    assert {category_of(task) for task in tasks} == CATEGORIES.get(name, {""})


def test_conflicting_passages_of_another_set_load_as_nqswap(shared_data: Path) -> None:
    assert len(get_suite("nqswap").tasks(shared_data / "conflictnq_test.jsonl")) == 226


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("gsm8k", {"answer": "many"}, "`answer` must be '18' or a solution"),
        ("gsm8k", {"question": " "}, "`prompt` must be text"),
        ("math500", {"answer": None}, "`answer` must be text"),
        ("math500", {"answer": ["5"]}, "`answer` must be text or a number"),
        ("humaneval", {"test": None}, "`tests` must be text, got None"),
        ("mbpp", {"test_list": []}, "`tests` must be a list of assert statements"),
        ("mtbench", {"prompt": []}, "`turns` must be a list"),
        ("mtbench", {"prompt": "Write."}, "`turns` must be a list"),
        ("memotrap", {"answer_index": 2}, "`answer_index` 0 or 1"),
        ("nqswap", {"sub_answer": "Bob"}, "`answers` must be a list"),
        ("clbench", {"messages": []}, "`messages` must be a non-empty list"),
    ],
)
def test_a_bad_row_is_named_by_place(tmp_path: Path, name: str, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(HUB_ROWS[name])}\n{json.dumps({**HUB_ROWS[name], **change})}\n")
    with pytest.raises(ValueError, match=rf"rows.jsonl, line 2: .*{message}"):
        get_suite(name).tasks(path)


def test_only_the_test_split_of_mbpp_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "mbpp.jsonl"
    rows = [{**HUB_ROWS["mbpp"], "task_id": number, "split": split} for number, split in enumerate(("train", "test"))]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [task.task_id for task in get_suite("mbpp").tasks(path)] == ["1"]


def test_only_documents_take_questions(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text.")
    tasks = get_suite("documents").tasks(tmp_path / "a.txt", ["Why?"])
    assert [task.messages[0]["content"] for task in tasks] == ["Text.\n\nWhy?"]
    assert len(get_suite("documents").tasks(tmp_path / "a.txt")) == 2
    with pytest.raises(ValueError, match="gsm8k has questions of its own"):
        get_suite("gsm8k").tasks(tmp_path / "a.jsonl", ["Why?"])
    with pytest.raises(ValueError, match="needs the documents"):
        get_suite("documents").tasks()


def test_the_data_module_takes_a_suite(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(HUB_ROWS["babi"]))
    (task,) = ContextDataModule(str(tmp_path / "rows.jsonl"), suite="babi").tasks
    assert (task.metadata["suite"], task.metadata["category"]) == ("babi", "qa1")


# -- CL-bench ---------------------------------------------------------------------------------------------------------


def test_clbench_keeps_earlier_turns_and_groups_by_context(shared_data: Path) -> None:
    tasks = get_suite("clbench").tasks(shared_data / "clbench_sample.jsonl")
    assert {tuple(message["role"] for message in task.messages[-2:]) for task in tasks} <= {
        ("system", "user"),
        ("assistant", "user"),
    }
    assert max(len(members) for members in group_by_context(tasks).values()) == 3
    assert len(clbench_contexts(tasks)) == 21


def test_clbench_rows_without_context_id_stay_protected() -> None:
    """Without its context_id a row was not recognised, and the licence not enforced."""
    metadata = {key: value for key, value in HUB_ROWS["clbench"]["metadata"].items() if key != "context_id"}
    row = {**HUB_ROWS["clbench"], "metadata": metadata}
    task = get_suite("clbench").task(row, "clbench/0")
    assert task.context_id == "t"
    assert clbench_contexts([task]) == ["t"]
    assert clbench_contexts([get_suite("clbench").task({**row, "metadata": {}}, "clbench/0")]) == ["clbench/0"]


def test_only_clbench_rows_are_recognised_without_the_suite(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    own = {**HUB_ROWS["clbench"], "metadata": {**HUB_ROWS["clbench"]["metadata"], "suite": "worlds", "task_id": "u"}}
    path.write_text(f"{json.dumps(HUB_ROWS['clbench'])}\n{json.dumps(own)}\n")
    assert [task.task_id for task in load_tasks(path) if clbench_contexts([task])] == ["t"]
