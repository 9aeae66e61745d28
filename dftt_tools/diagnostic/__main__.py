"""`python -m dftt_tools.diagnostic`: does the draft know tokens of an answer that the target does not?

Every answer is read by the target, token by token (teacher forcing), and by every slot of the draft: as it is, adapted
to the context, adapted to the wrong one (the next), and reading random features. Each tapped layer is read through the
target's own head (logit lens) and by a linear probe. Per token it is told who ranks it higher; ranks decide, since
probabilities favour a flat distribution. Answers that the target drew greedily have target rank 1 throughout, so that
no one can be ahead of it there: gold answers tell more.

Writes tokens.jsonl (one line a token: ranks from 1, log-probabilities by slot) and summary.json, and prints tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from dftt.command import command_line
from dftt.models.fingerprint import fingerprint
from dftt.models.pair import BUNDLED, Pair, load_pair
from dftt.models.target import load_tokenizer, resolve_dtype
from dftt.suites.clbench import NOTICE, clbench_contexts
from dftt.suites.registry import SUITES, get_suite
from dftt.suites.tasks import load_tasks
from dftt.types import LOSSES, Task, TTTSpec
from dftt.types.checks import at_least
from dftt.types.outputs import check_output_folder
from dftt_tools.diagnostic.comparing import Tokens, compare_all
from dftt_tools.diagnostic.forcing import TARGET, ForcedAnswer, force_all, layer_name
from dftt_tools.diagnostic.probe import probe_layers
from dftt_tools.diagnostic.questions import Context, gold_answers, pose, run_answers
from dftt_tools.diagnostic.reading import Reading
from dftt_tools.diagnostic.wording import conclude, format_all

GOLD = "gold"
_PACKAGES = ("dftt", "torch", "transformers", "peft")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, as `command_line` does."""
    with command_line():
        diagnose(make_parser().parse_args(arguments))


def make_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m dftt_tools.diagnostic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="JSONL(.gz) file of tasks, or a folder in the suite's hub layout")
    parser.add_argument("--suite", help=f"read the rows as a suite does: {', '.join(SUITES)}")
    parser.add_argument(
        "--answers",
        default=GOLD,
        metavar="gold|RUN_DIR",
        help="gold: `answer` of each row; or the folder of a run, whose answers are read (default gold)",
    )
    parser.add_argument("--arm", help="arm of RUN_DIR, where it has several; of several seeds the first is taken")
    parser.add_argument("--target", default=BUNDLED, help="hub id, folder or bundled:smollm2-135m (default)")
    parser.add_argument("--draft", help="hub id or folder of a DFlash draft; the bundled one for the bundled target")
    parser.add_argument("--device", default="cpu", help="(default %(default)s)")
    parser.add_argument("--dtype", default="float32", help="precision of the weights (default %(default)s)")
    default = TTTSpec()
    parser.add_argument(
        "--steps", type=int, default=default.steps, help="of test-time training; 0 adapts nothing (default %(default)s)"
    )
    parser.add_argument("--lr", type=float, default=default.lr, help="its learning rate (default %(default)s)")
    parser.add_argument("--anchors", type=int, default=default.anchors, help="its blocks a step (default %(default)s)")
    parser.add_argument("--loss", default=default.loss, help=f"its loss: {', '.join(LOSSES)} (default %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of adaptation, random features and probes (default %(default)s)"
    )
    parser.add_argument("--max-contexts", type=int, default=0, help="the first so many contexts; 0: all (default)")
    parser.add_argument(
        "--allow-clbench-ttt", action="store_true", help="adapt to contexts of CL-bench, after reading its notice"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; created where missing")
    return parser


def diagnose(options: argparse.Namespace) -> None:
    """Read, compare, write and print.

    Args:
        options: As `make_parser` reads them.

    Raises:
        ValueError: A setting, the data, the answers or the pair cannot be used.
    """
    at_least("--max-contexts", options.max_contexts, 0)
    check_output_folder("--out", options.out)
    resolve_dtype(options.dtype)
    spec = TTTSpec(steps=options.steps, lr=options.lr, anchors=options.anchors, loss=options.loss, seed=options.seed)
    tasks = get_suite(options.suite).tasks(options.data) if options.suite else load_tasks(options.data)
    check_licence(tasks, spec, allowed=options.allow_clbench_ttt)
    contexts, left_out = read_questions(tasks, options)
    pair = load_pair(options.target, options.draft, device=options.device, dtype=options.dtype)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "tokens.jsonl").open("w", encoding="utf-8") as file:
        answers = force_and_write(pair, contexts, spec, file, seed=options.seed)
    comparisons = compare_all(Tokens.of(answers))
    layers = [layer_name(tap) for tap in pair.draft.config.tap_ids]
    rows = pair.target.model.get_output_embeddings().weight
    probes = probe_layers(answers, layers, rows, seed=options.seed)
    summary = {
        "recipe": recipe(options, spec, pair),
        "answers": len(answers),
        "left_out": left_out,
        "sentences": conclude(comparisons),
        "comparisons": [each.to_json() for each in comparisons],
        "probes": [each.to_json() for each in probes],
    }
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(format_all(comparisons, probes))
    print(f"\n{len(answers)} answers read; left out: {left_out or 'none'}; {options.out}")


def check_licence(tasks: Sequence[Task], spec: TTTSpec, *, allowed: bool) -> None:
    """Refuse to adapt to contexts of CL-bench without leave; with it, print the notice."""
    if not spec.steps or not clbench_contexts(tasks):
        return
    if not allowed:
        raise ValueError(f"{NOTICE} If you have read this: --allow-clbench-ttt; else --steps 0 adapts nothing")
    print(NOTICE, file=sys.stderr)


def read_questions(tasks: Sequence[Task], options: argparse.Namespace) -> tuple[list[Context], dict[str, int]]:
    """The questions and what was left out, from the tokenizer alone."""
    tokenizer, window = load_tokenizer(options.target)
    if options.answers == GOLD:
        answers = gold_answers(tasks, tokenizer)
    else:
        answers = run_answers(tasks, Path(options.answers), options.arm, tokenizer)
    return pose(tasks, answers, tokenizer, window=window, max_contexts=options.max_contexts)


def force_and_write(
    pair: Pair, contexts: Sequence[Context], spec: TTTSpec, file: TextIO, *, seed: int
) -> list[ForcedAnswer]:
    """All answers read; each token is a line of the file as soon as its answer has been read."""
    total = sum(len(context.questions) for context in contexts)
    answers = []
    for number, answer in enumerate(force_all(pair, contexts, spec, seed=seed), start=1):
        file.writelines(json.dumps(row) + "\n" for row in token_rows(answer))
        file.flush()
        answers.append(answer)
        print(f"[{number}/{total}] {answer.question.task_id}", file=sys.stderr, flush=True)
    return answers


def token_rows(answer: ForcedAnswer) -> list[dict[str, Any]]:
    """One row per token: by source its ranks (from 1) and log-probabilities, slot 1 first."""
    question, target = answer.question, answer.readings[TARGET]
    return [
        {
            "task": question.task_id,
            "context": question.context_id,
            "index": index,
            "token": token,
            "confidence": round(float(target.confidence[index, 0]), 4),
            "entropy": round(float(target.entropy[index, 0]), 4),
            "ranks": {name: _reached(reading, "ranks", index) for name, reading in answer.readings.items()},
            "log_probs": {name: _reached(reading, "log_probs", index) for name, reading in answer.readings.items()},
        }
        for index, token in enumerate(question.answer)
    ]


def _reached(reading: Reading, name: str, index: int) -> list[float]:
    values = getattr(reading, name)[index]
    kept = values[~values.isnan()].tolist()
    return [int(value) for value in kept] if name == "ranks" else [round(value, 4) for value in kept]


def recipe(options: argparse.Namespace, spec: TTTSpec, pair: Pair) -> dict[str, Any]:
    """All that decided the numbers: options, settings of adaptation, weights and versions."""
    return {
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()},
        "ttt": asdict(spec),
        "block_size": pair.draft.config.block_size,
        "tap_ids": list(pair.draft.config.tap_ids),
        "weights": {"target": fingerprint(pair.target.model), "draft": fingerprint(pair.draft)},
        "versions": {name: version(name) for name in _PACKAGES},
    }


if __name__ == "__main__":
    main()
