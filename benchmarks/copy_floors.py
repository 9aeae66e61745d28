"""`python -m benchmarks.copy_floors SUITE=FILE …`: what copying a part of the passage scores, without any model.

A pass rate above these floors is what reading the question adds; arms of mode copy put them beside a study's results.
The copies: the first 32 tokens of the passage, its first and its last sentence, all of it, and for bAbI every word of
the answer's kind.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from dftt.analysis.rescore import suite_tasks
from dftt.models.target import load_tokenizer
from dftt.suites.copying import copied, passage
from dftt.suites.registry import score_answer
from dftt.tables import align
from dftt.types import Task
from dftt.types.methods import CopySpec

TOKENIZER = "bundled:smollm2-135m"


COPIES = {
    "the first 32 tokens": CopySpec(),
    "the first sentence": CopySpec("first_sentence"),
    "the last sentence": CopySpec("last_sentence"),
    "all of it": CopySpec("passage"),
}


def copies() -> dict[str, Callable[[Task], str]]:
    """What each copy answers."""
    tokenizer, _ = load_tokenizer(TOKENIZER)

    def of(spec: CopySpec) -> Callable[[Task], str]:
        return lambda task: copied(passage(task), spec, tokenizer)[0]

    return {
        **{name: of(spec) for name, spec in COPIES.items()},
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
