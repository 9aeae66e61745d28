"""A row of each suite as the hub has it, and the local files of suites."""

from __future__ import annotations

from typing import Any

from dftt.suites.registry import get_suite
from dftt.types import Task

FILES = {"clbench": "clbench_sample", "gsm8k": "gsm8k_test", "documents": "contexts"}

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


def of_hub(name: str) -> Task:
    """The task of a suite's hub row."""
    return get_suite(name).task(HUB_ROWS[name], f"{name}/0")
