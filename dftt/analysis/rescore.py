"""`python -m dftt.analysis.rescore RUN_DIR`: scores the answers of a study again, without its model.

Records are never changed: new scores are appended to records.rescored.jsonl in the same folder, one line as soon as it
exists, and the newest line of a task, arm and seed counts. A killed call is resumed by calling it again: what was
judged is not paid for twice. summary.json, breakdown.json and errors.json are written anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dftt.analysis.arms_file import ARMS_FILE
from dftt.analysis.breakdown import break_down, format_breakdown, with_missing
from dftt.analysis.leaderboard import beside_public_rows, format_leaderboard
from dftt.analysis.summary import format_table, summarise
from dftt.analysis.taxonomy import format_transitions, transitions
from dftt.analysis.verdict import write_verdict
from dftt.command import command_line
from dftt.judges.base import Judge
from dftt.judges.chat import ChatJudge
from dftt.judges.error_class import classify_by_judge
from dftt.judges.local import LocalJudge
from dftt.judges.openai_compatible import OpenAIJudge
from dftt.judges.programmatic import ProgrammaticJudge
from dftt.scoring.error_classes import UNCLASSIFIED, classify_all
from dftt.study.judging import BackgroundJudging, is_judgeable, with_score
from dftt.study.manifest import wanted_records
from dftt.study.records import Key, RecordStore, replace_file
from dftt.suites.licence import NOTICE, clbench_contexts
from dftt.suites.registry import get_suite, score_record
from dftt.suites.tasks import load_tasks
from dftt.types import Record, Task

SHARD = "rescored"


def main(args: Sequence[str] | None = None) -> None:
    """Run the command, as `command_line` does."""
    with command_line():
        rescore(make_parser().parse_args(args))


def make_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m dftt.analysis.rescore",
        description=__doc__,
        epilog=f"CL-bench: {NOTICE} Judging answers on it is evaluation, hence allowed; so is what this command does.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run_dir", type=Path, metavar="RUN_DIR", help="folder with records.*.jsonl, as `test` leaves it"
    )
    parser.add_argument(
        "--judge",
        choices=("program", "openai", "local"),
        default="program",
        help="program: checkable rubrics only; openai: the CL-bench protocol through an OpenAI-compatible endpoint; "
        "local: the same with a Hugging Face model in this process (default: program)",
    )
    parser.add_argument(
        "--allow-code-execution",
        action="store_true",
        help="run answers of HumanEval and MBPP against their tests, in a sandbox; without it they stay unscored",
    )
    parser.add_argument(
        "--model",
        default="",
        help="the judge: a model at the endpoint (default gpt-5.1), or for local a hub id, folder or "
        "bundled:smollm2-135m",
    )
    parser.add_argument(
        "--base-url", default="", help="the endpoint, such as http://localhost:8000/v1; default OpenAI's"
    )
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY", help="environment variable that holds the key")
    parser.add_argument(
        "--options",
        type=_json_object,
        default=None,
        help="""further request fields, such as {"temperature": 0}; default {"reasoning_effort": "low"}""",
    )
    parser.add_argument("--concurrency", type=int, default=8, help="answers judged at the same time (openai)")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that a call may take (openai)")
    parser.add_argument("--retry-wait", type=float, default=1.0, help="seconds before a call is repeated (openai)")
    parser.add_argument("--price-in", type=float, default=0.0, help="price of a million tokens read, to report cost")
    parser.add_argument("--price-out", type=float, default=0.0, help="price of a million tokens written")
    parser.add_argument("--device", default="cpu", help="device of a local judge")
    parser.add_argument("--dtype", default="float32", help="precision of a local judge")
    parser.add_argument("--max-new-tokens", type=int, default=2048, help="longest reply of a local judge")
    parser.add_argument("--cache", type=Path, default=None, help="folder of verdicts; default RUN_DIR/verdicts")
    parser.add_argument("--all", action="store_true", help="score every answer again, also those that have a score")
    parser.add_argument(
        "--tasks",
        type=Path,
        default=None,
        help="the study's JSONL file of tasks: gives rubrics to records without any, and counts tasks without a record "
        "as intended and unscored",
    )
    parser.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a suite's file: records of its tasks get today's rubrics and metadata, as where the suite's rules have "
        "changed since; may be given several times, and goes with --all",
    )
    parser.add_argument("--baseline", default="", help="arm that others are compared with; default as in summary.json")
    parser.add_argument(
        "--taxonomy",
        choices=("none", "program", "judge"),
        default="program",
        help="who says why answers failed: program, or judge for those that a program cannot tell (default program)",
    )
    parser.add_argument("--leaderboard", action="store_true", help="print CL-bench's public leaderboard with the arms")
    return parser


def rescore(options: argparse.Namespace) -> None:
    """Score, summarise, classify and print.

    Args:
        options: As `make_parser` reads them.

    Raises:
        ValueError: The folder, the tasks or a setting cannot be used.
    """
    tasks = load_tasks(options.tasks) if options.tasks else []
    current = suite_tasks(options.suite)
    records = wanted_records(options.run_dir).records
    if not records:
        raise ValueError(f"{options.run_dir} holds no records.*.jsonl of its study; name the folder of a study")
    judge = make_judge(options)
    judge.keep_replies(options.cache or options.run_dir / "verdicts")
    rescored = score_records(
        records,
        judge,
        RecordStore(options.run_dir, SHARD),
        tasks,
        current=current,
        every=options.all,
        allow_code_execution=options.allow_code_execution,
    )
    wanted = wanted_records(options.run_dir)
    records = wanted.records
    print(f"{rescored} answers scored anew, {sum(r.passed is None for r in records)} of {len(records)} unscored")
    if wanted.note:
        print(wanted.note)
    report(options, with_missing(records, tasks), judge)
    if usage := judge.usage():
        print(usage)


def suite_tasks(files: Sequence[str]) -> dict[str, Task]:
    """Tasks by their id, of files given as "NAME=FILE".

    Raises:
        ValueError: One is not of that form, or cannot be read.
    """
    tasks: dict[str, Task] = {}
    for given in files:
        name, _, path = given.partition("=")
        if not path:
            raise ValueError(f"--suite {given}: must be NAME=FILE, such as babi=babi.jsonl")
        tasks |= {task.task_id: task for task in get_suite(name).tasks(path)}
    return tasks


def _as_today(record: Record, tasks: Mapping[str, Task]) -> Record:
    """The record with the rubrics and the metadata that its task has today; what the arm found out is kept."""
    task = tasks.get(record.task_id)
    if task is None or task.metadata["suite"] != record.metadata.get("suite"):
        return record
    kept = {key: value for key, value in record.metadata.items() if key not in ("distractor", "distractors")}
    return replace(record, rubrics=task.rubrics, metadata={**kept, **task.metadata})


def make_judge(options: argparse.Namespace) -> Judge:
    """The judge that the options describe."""
    if options.judge == "program":
        return ProgrammaticJudge()
    if options.judge == "local":
        if not options.model:
            raise ValueError("--judge local needs --model: a hub id, folder or bundled:smollm2-135m")
        return LocalJudge(options.model, options.device, options.dtype, options.max_new_tokens)
    return OpenAIJudge(
        model=options.model or "gpt-5.1",
        base_url=options.base_url,
        api_key_env=options.api_key_env,
        options=options.options,
        concurrency=options.concurrency,
        timeout=options.timeout,
        retry_wait=options.retry_wait,
        price_in=options.price_in,
        price_out=options.price_out,
    )


def score_records(
    records: Sequence[Record],
    judge: Judge,
    store: RecordStore,
    tasks: Sequence[Task] = (),
    *,
    current: Mapping[str, Task] | None = None,
    every: bool = False,
    allow_code_execution: bool = False,
) -> int:
    """Score records and append those whose score is new; the number of answers that got one.

    Args:
        records: Of a study.
        judge: Reads rubrics in words.
        store: Takes the new scores.
        tasks: Give rubrics to records that carry none.
        current: Tasks by id, whose rubrics and metadata take the place of the records'.
        every: Also score records that have a score.
        allow_code_execution: Run answers that are programs, in the sandbox.
    """
    rubrics = {task.task_id: task.rubrics for task in tasks}
    judging, count = BackgroundJudging(judge, store), 0
    try:
        for old in records:
            if old.finish_reason == "error" or (old.passed is not None and not every):
                continue
            record = _as_today(replace(old, rubrics=old.rubrics or rubrics.get(old.task_id, ())), current or {})
            if is_judgeable(record):
                # A program would only replace the reason why a judge has not scored it.
                if not isinstance(judge, ProgrammaticJudge):
                    judging.submit(record)
            elif (record := with_score(record, score_record(record, allow_code_execution=allow_code_execution))) != old:
                store.append(record)
                count += 1
        for number, record in enumerate(judging.collect(wait=True), start=1):
            count += record.passed is not None
            print(f"\r{number} judged", end="", file=sys.stderr, flush=True)
    finally:
        judging.stop()
    return count


def report(options: argparse.Namespace, records: Sequence[Record], judge: Judge) -> None:
    """Print the tables and write what they hold beside the records."""
    folder: Path = options.run_dir
    baseline = options.baseline or _baseline(folder)
    judgement = write_verdict(folder, records) if (folder / ARMS_FILE).is_file() else None
    rows = summarise(records, baseline or None, judgement.comparisons if judgement else ())
    parts = break_down(records)
    _write(folder / "summary.json", rows)
    _write(folder / "breakdown.json", parts)
    print(format_table(rows), format_breakdown(parts), sep="\n\n")
    if judgement is not None:
        print("", judgement, sep="\n")
    if options.taxonomy != "none":
        classes, reasons = _classes(records, judge if options.taxonomy == "judge" else None)
        _write(
            folder / "errors.json",
            [
                {"task_id": task, "arm": arm, "seed": seed, "class": name, "reason": reasons.get((task, arm, seed), "")}
                for (task, arm, seed), name in classes.items()
            ],
        )
        if baseline:
            print("", format_transitions(transitions(records, classes, baseline)), sep="\n")
    if options.leaderboard:
        print("", format_leaderboard(beside_public_rows(parts)), NOTICE, sep="\n")
    elif clbench_contexts(_as_tasks(records)):
        print("", NOTICE, sep="\n")


def _classes(records: Sequence[Record], judge: Judge | None) -> tuple[dict[Key, str], dict[Key, str]]:
    """Class and, where a judge gave one, reason of each failed record."""
    classes, reasons = classify_all(records), {}
    if judge is None:
        return classes, reasons
    if not isinstance(judge, ChatJudge):
        raise ValueError("--taxonomy judge needs --judge openai or local")
    for record in records:
        if classes.get(record.key) == UNCLASSIFIED and record.rubrics:
            classes[record.key], reasons[record.key] = classify_by_judge(judge, record)
    return classes, reasons


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"must be a JSON object, got {text}")
    return value


def _baseline(folder: Path) -> str:
    """The arm that a summary of the run puts first."""
    try:
        return str(json.loads((folder / "summary.json").read_text(encoding="utf-8"))[0]["arm"])
    except (OSError, ValueError, LookupError):
        return ""


def _as_tasks(records: Sequence[Record]) -> list[Task]:
    return [Task(record.task_id, record.context_id, (), metadata=record.metadata) for record in records]


def _write(path: Path, rows: object) -> None:
    replace_file(path, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
