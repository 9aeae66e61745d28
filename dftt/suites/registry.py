"""All suites by name, and the score of an answer by the suite that its task is of."""

from __future__ import annotations

from importlib import import_module

from dftt.scoring import rubrics
from dftt.scoring.final_answer import without_thinking
from dftt.suites.base import Suite
from dftt.types import Record, Score, Task

# Module and class of each; a new suite is a line here.
_SUITES = (
    "clbench.CLBench",
    "gsm8k.GSM8K",
    "math500.Math500",
    "humaneval.HumanEval",
    "mbpp.MBPP",
    "mtbench.MTBench",
    "nqswap.NQSwap",
    "babi.Babi",
    "memotrap.MemoTrap",
    "generated.Worlds",
    "documents.Documents",
)


def _made(path: str) -> Suite:
    module, _, name = path.partition(".")
    return getattr(import_module(f"{__package__}.{module}"), name)()


SUITES: dict[str, Suite] = {suite.name: suite for suite in map(_made, _SUITES)}


def get_suite(name: str) -> Suite:
    """The suite of that name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in SUITES:
        raise ValueError(f"suite {name!r} is unknown; choose from {', '.join(SUITES)}")
    return SUITES[name]


def score_answer(task: Task, answer: str, *, allow_code_execution: bool = False) -> Score:
    """Score of an answer by the suite that the task's metadata names, or by its rubrics where it names none.

    Args:
        task: What was asked.
        answer: The decoded text; thinking in it is not looked at.
        allow_code_execution: Run answers that are programs, in the sandbox; without leave they are unscored.
    """
    answer = without_thinking(answer)
    suite = SUITES.get(str(task.metadata.get("suite", "")))
    if suite is None:
        return rubrics.score(task, answer)
    if suite.runs_code and not allow_code_execution:
        return Score(passed=None, explanation="not run: --evaluator.allow_code_execution true lets the sandbox run it")
    return suite.score(task, answer)


def score_record(record: Record, *, allow_code_execution: bool = False) -> Score:
    """Score of a record's answer, as `score_answer`."""
    task = Task(record.task_id, record.context_id, (), record.rubrics, record.metadata)
    return score_answer(task, record.answer, allow_code_execution=allow_code_execution)
