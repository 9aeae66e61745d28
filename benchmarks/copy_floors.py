"""`python -m benchmarks.copy_floors SUITE=FILE …`: what copying a part of the passage scores, without any model.

A pass rate above these floors is what reading the question adds. The copies: the first 32 tokens of the passage, its
first and its last sentence, all of it, and for bAbI every word of the answer's kind.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence

from dftt.evaluation.rescore import suite_tasks
from dftt.evaluation.suites.registry import score_answer
from dftt.evaluation.tables import align
from dftt.models.target import load_tokenizer
from dftt.types import Task

TOKENIZER = "bundled:smollm2-135m"
FIRST_TOKENS = 32


def passage(task: Task) -> str:
    """The task's context: its message without the question."""
    return task.messages[-1]["content"].removesuffix(task.question).strip()


def sentences(text: str) -> list[str]:
    """Sentences, cut behind a full stop."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if part.strip(" .")]


def copies() -> dict[str, Callable[[Task], str]]:
    """What each arm `copy` answers."""
    tokenizer, _ = load_tokenizer(TOKENIZER)

    def first_tokens(task: Task) -> str:
        return tokenizer.decode(tokenizer(passage(task), add_special_tokens=False).input_ids[:FIRST_TOKENS])

    return {
        f"the first {FIRST_TOKENS} tokens": first_tokens,
        "the first sentence": lambda task: sentences(passage(task))[0],
        "the last sentence": lambda task: sentences(passage(task))[-1],
        "all of it": passage,
        "all words of the kind": lambda task: " ".join(
            (str(task.metadata["answer"]), *task.metadata.get("entities", ()))
        ),
    }


def main(args: Sequence[str] | None = None) -> None:
    """Print the share of tasks that each copy passes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.copy_floors", description=__doc__)
    parser.add_argument(
        "files", nargs="+", metavar="SUITE=FILE", help="suites with passages, such as nqswap=rows.jsonl"
    )
    rows = []
    for given in parser.parse_args(args).files:
        tasks = [task for task in suite_tasks([given]).values() if passage(task)]
        for name, answer in copies().items():
            if name == "all words of the kind" and not any("entities" in task.metadata for task in tasks):
                continue
            passed = sum(bool(score_answer(task, answer(task)).passed) for task in tasks)
            share = f"{passed / len(tasks):.1%}"
            rows.append(
                {
                    "suite": given.partition("=")[0],
                    "copied": name,
                    "passed": f"{passed} of {len(tasks)}",
                    "share": share,
                }
            )
    print(align(rows))


if __name__ == "__main__":
    main()
