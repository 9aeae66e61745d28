"""How the suites score answers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dftt.scoring.error_classes import classify
from dftt.scoring.sandbox import missing_layer
from dftt.suites.babi import others_of_kind
from dftt.suites.conversation import later_turns
from dftt.suites.humaneval import HumanEval
from dftt.suites.registry import get_suite, score_answer
from dftt.types import Record, Task
from tests.suite_rows import FILES, of_hub

needs_sandbox = pytest.mark.skipif(bool(missing_layer()), reason=missing_layer())
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
def test_humaneval_solutions_pass_and_spoilt_ones_fail(shared_data: Path) -> None:
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
def test_mbpp_solutions_pass_and_none_for_its_neighbour(shared_data: Path) -> None:
    tasks = get_suite("mbpp").tasks(shared_data / "mbpp.jsonl")
    right = [score_answer(task, task.metadata["answer"], allow_code_execution=True).passed for task in tasks]
    assert right == [True] * 500
    for task, other in zip(tasks[::10], tasks[1::10], strict=True):
        assert score_answer(task, other.metadata["answer"], allow_code_execution=True).passed is False, task.task_id
