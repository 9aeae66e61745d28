"""`python -m dftt.analysis.rescore RUN_DIR`: scores the answers of a study again, without its model.

Records are never changed: new scores are appended to records.rescored.jsonl in the same folder, one line as soon as it
exists, and the newest line of a task, arm and seed counts. A killed call is resumed by calling it again: what was
judged is not paid for twice. summary.json, breakdown.json and errors.json are written anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Literal, cast

from jsonargparse import auto_cli

from dftt.analysis.arms_file import ARMS_FILE
from dftt.analysis.breakdown import break_down, format_breakdown, with_missing
from dftt.analysis.leaderboard import beside_public_rows, format_leaderboard
from dftt.analysis.summary import format_table, summarise
from dftt.analysis.taxonomy import format_transitions, transitions
from dftt.analysis.verdict import write_verdict
from dftt.command import command_line
from dftt.judges.base import Judge, ProgrammaticJudge
from dftt.judges.chat import ChatJudge
from dftt.judges.error_class import classify_by_judge
from dftt.judges.local import LocalJudge
from dftt.judges.openai_compatible import OpenAIJudge
from dftt.scoring.error_classes import UNCLASSIFIED, classify_all
from dftt.study.judging import BackgroundJudging, is_judgeable, with_score
from dftt.study.manifest import wanted_records
from dftt.study.records import Key, RecordStore, replace_file
from dftt.suites.clbench import NOTICE, clbench_contexts
from dftt.suites.registry import get_suite, score_record
from dftt.suites.tasks import load_tasks
from dftt.types import Record, Task
from dftt.types.inputs import bad_input_behind, reading

SHARD = "rescored"
JUDGES = {"program": ProgrammaticJudge, "openai": OpenAIJudge, "local": LocalJudge}
_OF_JUDGE = {name for judge in JUDGES.values() for name in signature(judge).parameters}
_SWITCHES = ("all", "leaderboard", "allow_code_execution")


@dataclass(frozen=True)
class Rescoring:
    """What is scored again, and how.

    Args:
        run_dir: Folder with records.*.jsonl, as `test` leaves it.
        judge: Scores rubrics in words: program (the default: leaves them), openai (the CL-bench protocol through an
            OpenAI-compatible endpoint), local (the same with a Hugging Face model in this process), or any other class
            of a judge. Its settings can be given without its name, such as --model gpt-5.1.
        allow_code_execution: Run answers of HumanEval and MBPP against their tests, in a sandbox; without it they stay
            unscored.
        cache: Folder of verdicts; default RUN_DIR/verdicts.
        all: Score every answer again, also those that have a score.
        tasks: The study's JSONL file of tasks: gives rubrics to records without any, and counts tasks without a record
            as intended and unscored.
        suite: NAME=FILE, a suite's file: records of its tasks get today's rubrics and metadata, as where the suite's
            rules have changed since; may be given several times, and goes with --all.
        baseline: Arm that others are compared with; default as in summary.json.
        taxonomy: Who says why answers failed: program, or judge for those that a program cannot tell.
        leaderboard: Print CL-bench's public leaderboard with the arms.
    """

    run_dir: Path
    judge: Judge | None = None
    allow_code_execution: bool = False
    cache: Path | None = None
    all: bool = False
    tasks: Path | None = None
    suite: list[str] = field(default_factory=list)
    baseline: str = ""
    taxonomy: Literal["none", "program", "judge"] = "program"
    leaderboard: bool = False


def main(args: Sequence[str] | None = None) -> None:
    """Run the command, as `command_line` does."""
    with command_line():
        rescore(read_options(sys.argv[1:] if args is None else args))


def read_options(args: Sequence[str]) -> Rescoring:
    """What the arguments of the command say.

    Raises:
        ValueError: They cannot be used.
    """
    about = f"{__doc__}\nCL-bench: {NOTICE} Judging answers on it is evaluation, hence allowed; so is this command."
    with reading("rescore", fix="--help lists what is accepted"):
        try:
            prog = "python -m dftt.analysis.rescore"
            parsed = auto_cli(Rescoring, args=_in_full(args), prog=prog, description=about, exit_on_error=False)
            return cast(Rescoring, parsed)
        except Exception as error:
            raise bad_input_behind(error) or error from None


def rescore(options: Rescoring) -> None:
    """Score, summarise, classify and print.

    Raises:
        ValueError: The folder, the tasks or a setting cannot be used.
    """
    tasks = load_tasks(options.tasks) if options.tasks else []
    current = suite_tasks(options.suite)
    records = wanted_records(options.run_dir).records
    if not records:
        raise ValueError(f"{options.run_dir} holds no records.*.jsonl of its study; name the folder of a study")
    judge = options.judge or ProgrammaticJudge()
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
    report(options, with_missing(records, tasks))
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


def report(options: Rescoring, records: Sequence[Record]) -> None:
    """Print the tables and write what they hold beside the records."""
    folder, baseline = options.run_dir, options.baseline or _baseline(options.run_dir)
    judgement = write_verdict(folder, records) if (folder / ARMS_FILE).is_file() else None
    rows = summarise(records, baseline or None, judgement.comparisons if judgement else ())
    parts = break_down(records)
    _write(folder / "summary.json", rows)
    _write(folder / "breakdown.json", parts)
    print(format_table(rows), format_breakdown(parts), sep="\n\n")
    if judgement is not None:
        print("", judgement, sep="\n")
    if options.taxonomy != "none":
        classes, reasons = _classes(records, options)
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
    elif clbench_contexts([Task(each.task_id, each.context_id, (), metadata=each.metadata) for each in records]):
        print("", NOTICE, sep="\n")


def _classes(records: Sequence[Record], options: Rescoring) -> tuple[dict[Key, str], dict[Key, str]]:
    """Class and, where a judge gave one, reason of each failed record."""
    classes, reasons = classify_all(records), {}
    if options.taxonomy != "judge":
        return classes, reasons
    if not isinstance(options.judge, ChatJudge):
        raise ValueError("--taxonomy judge needs --judge openai or local")
    for record in records:
        if classes.get(record.key) == UNCLASSIFIED and record.rubrics:
            classes[record.key], reasons[record.key] = classify_by_judge(options.judge, record)
    return classes, reasons


def _in_full(args: Sequence[str]) -> list[str]:
    """Arguments as the parser has them: `--judge openai --model m --all` is short for `--judge=OpenAIJudge
    --judge.model=m --all=true`. The settings of a judge come last, for they are read by its class.
    """
    given = list(_named(args))
    if ("--judge", "LocalJudge") in given and "--judge.model" not in dict(given):
        raise ValueError("--judge local needs --model: a hub id, folder or bundled:smollm2-135m")
    in_order = sorted(given, key=lambda each: each[0].startswith("--judge."))
    return [flag if value is None else f"{flag}={value}" for flag, value in in_order]


def _named(args: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Flags with their values; None for all else, which the parser reads as it is."""
    rest = iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        name = flag.removeprefix("--").removeprefix("judge.").replace("-", "_")
        if not flag.startswith("--") or name not in {*_OF_JUDGE, *Rescoring.__dataclass_fields__}:
            yield arg, None
            continue
        found = value if equals else "true" if name in _SWITCHES else next(rest, None)
        if name == "judge" and found in JUDGES:
            found = JUDGES[found].__name__
        yield f"--judge.{name}" if name in _OF_JUDGE else "--suite+" if name == "suite" else f"--{name}", found


def _baseline(folder: Path) -> str:
    """The arm that a summary of the run puts first."""
    try:
        return str(json.loads((folder / "summary.json").read_text(encoding="utf-8"))[0]["arm"])
    except (OSError, ValueError, LookupError):
        return ""


def _write(path: Path, rows: object) -> None:
    replace_file(path, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
