"""The suites: what they load from files and from the hub's layout, and how they score."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dftt.data import ContextDataModule
from dftt.scoring.error_classes import classify
from dftt.scoring.sandbox import missing_layer
from dftt.suites import registry
from dftt.suites.babi import others_of_kind
from dftt.suites.base import Suite
from dftt.suites.clbench import clbench_contexts
from dftt.suites.conversation import later_turns
from dftt.suites.humaneval import HumanEval
from dftt.suites.registry import SUITES, get_suite, score_answer
from dftt.suites.subsets import category_of
from dftt.suites.tasks import group_by_context, load_tasks
from dftt.types import Record, Task

needs_sandbox = pytest.mark.skipif(bool(missing_layer()), reason=missing_layer())

FILES = {"clbench": "clbench_sample", "gsm8k": "gsm8k_test", "documents": "contexts"}
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

# One row of each data set as the hub has it.
HUB_ROWS: dict[str, dict[str, Any]] = {
    "clbench": {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rules. Question?"}],
        "rubrics": ["says yes"],
        "metadata": {
            "task_id": "t",
            "context_id": "c",
            "context_category": "Rule System Application",
            "sub_category": "Game Mechanics",
        },
    },
    "gsm8k": {"question": "How many?", "answer": "It is <<2*9=18>>18.\n#### 1,018"},
    "math500": {
        "problem": "What is $x$?",
        "solution": "So \\boxed{\\frac{1}{2}}.",
        "answer": "\\frac{1}{2}",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/1.json",
    },
    "humaneval": {
        "task_id": "HumanEval/0",
        "prompt": 'import math\n\ndef f(x):\n    """Twice x."""\n',
        "canonical_solution": "    return 2 * x\n",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n",
        "entry_point": "f",
    },
    "mbpp": {
        "task_id": 11,
        "text": "Write a function that doubles.",
        "code": "def f(x):\r\n    return 2 * x",
        "test_list": ["assert f(2) == 4", "assert f(3) == 6"],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    "mtbench": {"prompt_id": 7, "category": "writing", "prompt": ["Write.", "Write it again."], "reference": []},
    "nqswap": {
        "question": "who",
        "org_context": "Ann did .",
        "org_answer": ["Ann"],
        "sub_context": "Bob did .",
        "sub_answer": ["Bob"],
    },
    "babi": {"passage": "Mary went to the office. John went to the garden.\n", "question": "Where is Mary?"}
    | {"answer": "office", "task": 1},
    "memotrap": {
        "prompt": "Say it: absence makes the heart grow",
        "classes": [" fonder.", " heavy."],
        "answer_index": 1,
    },
}
GOOD = {
    "gsm8k": "2 * 9 = 18\n#### 1,018",
    "math500": "It is $\\boxed{0.5}$.",
    "humaneval": "```python\ndef f(x):\n    return x * 2\n```",
    "mbpp": "```python\ndef f(x):\n    return x * 2\n```",
    "nqswap": "Bob did.",
    "babi": "In the office.",
    "memotrap": "heavy.",
}
BAD = {
    "gsm8k": "It is 18.",
    "math500": "It is 0.5.",
    "humaneval": "```python\ndef f(x):\n    return x\n```",
    "mbpp": "I do not know.",
    "nqswap": "Ann, not Bob.",
    "babi": "In the garden.",
    "memotrap": "fonder",
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


def of_hub(name: str) -> Task:
    """The task of a suite's hub row."""
    return get_suite(name).task(HUB_ROWS[name], f"{name}/0")


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


def test_clbench_rows_without_context_id_stand_alone_and_stay_protected() -> None:
    """Without its context_id a row was not recognised, and the licence not enforced."""
    metadata = {key: value for key, value in HUB_ROWS["clbench"]["metadata"].items() if key != "context_id"}
    row = {**HUB_ROWS["clbench"], "metadata": metadata}
    task = get_suite("clbench").task(row, "clbench/0")
    assert task.context_id == "t"
    assert clbench_contexts([task]) == ["t"]
    assert clbench_contexts([get_suite("clbench").task({**row, "metadata": {}}, "clbench/0")]) == ["clbench/0"]


def test_clbench_rows_are_recognised_without_the_suite_and_others_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    own = {**HUB_ROWS["clbench"], "metadata": {**HUB_ROWS["clbench"]["metadata"], "suite": "worlds", "task_id": "u"}}
    path.write_text(f"{json.dumps(HUB_ROWS['clbench'])}\n{json.dumps(own)}\n")
    assert [task.task_id for task in load_tasks(path) if clbench_contexts([task])] == ["t"]


# -- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in GOOD if not get_suite(name).runs_code])
def test_good_answers_pass_and_bad_ones_fail(name: str) -> None:
    assert score_answer(of_hub(name), GOOD[name]).passed is True
    assert score_answer(of_hub(name), BAD[name]).passed is False
    assert score_answer(of_hub(name), "").passed is False


@needs_sandbox
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_code_is_run_with_leave_only(name: str) -> None:
    task = of_hub(name)
    assert score_answer(task, GOOD[name], allow_code_execution=True).passed is True
    assert score_answer(task, BAD[name], allow_code_execution=True).passed is False
    assert score_answer(task, "", allow_code_execution=True).passed is False
    refused = score_answer(task, GOOD[name])
    assert refused.passed is None
    assert "--evaluator.allow_code_execution true" in refused.explanation


@pytest.mark.parametrize(("name", "reason"), [("clbench", "rubric 1 needs a judge"), ("mtbench", "graded by a judge")])
def test_what_only_a_judge_can_tell_is_unscored(name: str, reason: str) -> None:
    score = score_answer(of_hub(name), "yes")
    assert score.passed is None
    assert reason in score.explanation


def test_tasks_of_no_suite_are_scored_by_their_rubrics() -> None:
    task = Task("t", "c", ({"role": "user", "content": "x"},), ({"type": "contains", "any_of": ["yes"]},))
    assert score_answer(task, "yes").passed is True


def test_other_words_of_a_story_are_of_the_answers_kind() -> None:
    assert others_of_kind("Mary took the milk to the office. John is in the garden.", "office") == ["garden"]
    assert others_of_kind("Mary gave Fred the milk.", "Fred") == ["mary"]
    assert others_of_kind("It is so.", "maybe") == ["no", "yes"]
    assert others_of_kind("It is so.", "nine") == []


def test_a_word_of_the_question_is_not_held_against_the_answer() -> None:
    row = {"context": "The milk was in the hallway, then in the garden.", "question": "Where was it before the garden?"}
    asked = get_suite("babi").task({**row, "answer": "hallway", "distractor": "garden"}, "0")
    assert score_answer(asked, "In the hallway, before the garden.").passed
    assert not score_answer(asked, "In the garden.").passed


CONTEXT_SUITES = ["nqswap", "babi", "memotrap"]


def right_and_wrong(task: Task) -> tuple[str, list[str]]:
    """A right answer of a task, and wrong ones of the same kind."""
    known = task.metadata
    wrong = known.get("entities") or known.get("distractors") or [known.get("distractor", "")]
    return str(known.get("answer") or known["answers"][0]).strip(" ."), [str(word).strip(" .") for word in wrong]


# What is made of a right answer and a wrong one, and whether it passes.
FORMS: list[tuple[str, bool]] = [
    ("{right}", True),
    ("{wrong}", False),
    ("It is not {right}.", False),
    ("Not {right}", False),
    ("{right}, not {wrong}.", True),
    ("It isn't {wrong} but {right}.", True),
    ("{wrong}? No, {right}.", True),
    ("Either {right} or {wrong}.", False),
    ("{right} is wrong.", False),
    ("{right}, {all}", False),
    ("{all} and {right}", False),
    ("{question} {wrong}", False),
]


@pytest.mark.parametrize("name", CONTEXT_SUITES)
@pytest.mark.parametrize(("form", "passes"), FORMS)
def test_of_hub_rows_what_is_denied_or_listed_fails(name: str, form: str, passes: bool) -> None:
    task = of_hub(name)
    right, wrong = right_and_wrong(task)
    answer = form.format(right=right, wrong=wrong[0], all=", ".join(wrong), question=task.question)
    assert score_answer(task, answer).passed is passes


# Rows that no rule on words can tell: distractor and answer are one word in two cases, or a word of the sentence.
UNDECIDED = {"nqswap": 2, "babi": 0, "memotrap": 10}


@pytest.mark.parametrize("name", CONTEXT_SUITES)
def test_of_local_rows_what_is_denied_or_listed_fails(shared_data: Path, name: str) -> None:
    missed: set[str] = set()
    for task in get_suite(name).tasks(shared_data / f"{name}.jsonl"):
        right, wrong = right_and_wrong(task)
        if wrong == [""] or not wrong:
            continue
        for form, passes in FORMS:
            answer = form.format(right=right, wrong=wrong[0], all=", ".join(wrong), question=task.question)
            if score_answer(task, answer).passed is not passes:
                missed.add(task.task_id)
    assert len(missed) == UNDECIDED[name], missed


def test_naming_every_other_place_of_a_story_fails(shared_data: Path) -> None:
    """The file holds one distractor: an answer that named all other places passed in 97 of 100 rows."""
    passed = 0
    for task in get_suite("babi").tasks(shared_data / "babi.jsonl"):
        right, wrong = right_and_wrong(task)
        passed += wrong != [""] and bool(score_answer(task, f"{right} {' '.join(wrong)}").passed)
    assert passed == 0


def test_a_wrong_place_of_the_story_is_misused() -> None:
    task = of_hub("babi")
    record = Record("t", "c", "target", 0, "h", answer="In the garden.", passed=False, metadata=task.metadata)
    assert classify(record) == "context-misused"


def test_copying_the_prompt_of_memotrap_fails(shared_data: Path) -> None:
    tasks = get_suite("memotrap").tasks(shared_data / "memotrap.jsonl")
    assert not any(score_answer(task, task.messages[0]["content"]).passed for task in tasks)


def test_mtbench_waits_with_the_later_turns() -> None:
    task = of_hub("mtbench")
    assert [message["content"] for message in task.messages] == ["Write."]
    assert later_turns(task) == ("Write it again.",)


# -- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "key"), [("gsm8k", "solution"), ("nqswap", "answer"), ("babi", "answer")])
def test_every_reference_passes(shared_data: Path, name: str, key: str) -> None:
    tasks = get_suite(name).tasks(shared_data / f"{FILES.get(name, name)}.jsonl")
    assert [task.task_id for task in tasks if not score_answer(task, task.metadata[key]).passed] == []


def test_every_boxed_math_reference_passes(shared_data: Path) -> None:
    tasks = get_suite("math500").tasks(shared_data / "math500.jsonl")
    boxed = {task.task_id: f"So $\\boxed{{{task.metadata['answer']}}}$." for task in tasks}
    assert [task.task_id for task in tasks if not score_answer(task, boxed[task.task_id]).passed] == []


# What a wrong result of the right type is.
SPOIL = """
def _spoilt(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, (list, tuple)):
        return [*value, "x"]
    return "x"
"""


def spoilt(code: str, function: str) -> str:
    """A solution whose function returns something wrong."""
    tree = ast.parse(code)
    definition = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    definition.name = "_right"
    return f"{ast.unparse(tree)}\n{SPOIL}\ndef {function}(*args):\n    return _spoilt(_right(*args))\n"


@pytest.mark.slow
@needs_sandbox
def test_every_humaneval_solution_passes_and_every_spoilt_one_fails(shared_data: Path) -> None:
    tasks = HumanEval().tasks(shared_data / "humaneval.jsonl")
    assert len(tasks) == 164
    passed, survived = [], []
    for task in tasks:
        solution, function = task.metadata["answer"], task.metadata["entry_point"]
        whole = task.metadata["stub"] + solution
        for answer in (solution, f"Here:\n\n```python\n{whole}\n```"):
            passed.append(score_answer(task, answer, allow_code_execution=True).passed)
        for wrong in (spoilt(whole, function), "    return None\n"):
            if score_answer(task, wrong, allow_code_execution=True).passed is not False:
                survived.append(task.task_id)
    assert passed == [True] * 328
    assert survived == []


@pytest.mark.slow
@needs_sandbox
def test_every_mbpp_solution_passes_and_none_does_for_its_neighbour(shared_data: Path) -> None:
    tasks = get_suite("mbpp").tasks(shared_data / "mbpp.jsonl")
    right = [score_answer(task, task.metadata["answer"], allow_code_execution=True).passed for task in tasks]
    assert right == [True] * 500
    for task, other in zip(tasks[::10], tasks[1::10], strict=True):
        assert score_answer(task, other.metadata["answer"], allow_code_execution=True).passed is False, task.task_id
