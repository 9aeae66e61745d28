"""A study over a grid: what is shared between arms, what is made anew, and what a dry run says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import dftt.study.adapters
import dftt.study.answers
from dftt.models.pair import Pair, load_pair
from dftt.models.target import Target
from dftt.study.grid import expand
from dftt.study.plan import make_plan
from dftt.study.records import load_records
from dftt.types import DecodingSpec, TTTSpec
from tests.commands import Commands, row
from tests.fakes import tiny_draft_dir
from tests.integration.test_evaluator import outcome, records_of

SHORT = ("--evaluator.decoding.max_new_tokens=5", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
GRID = {
    "mode": ["target", "speculative", "guided"],
    "alpha": [0.3, 0.6],
    "ttt": ["none", "own", "wrong", "shuffled"],
    "steps": [2, 4],
    "lr": [1e-3],
}
FLAGS = (*SHORT, "--model.ttt.steps=3", "--evaluator.arms=[]", "--evaluator.seeds=[0, 1]")


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts prefills, adaptations, steps and answers."""
    counts = {"prefills": 0, "adaptations": 0, "steps": 0, "generations": 0}

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            counts[name] += 1
            made = function(*args, **options)
            counts["steps"] += len(getattr(made, "losses", ()))
            return made

        return call

    with (
        patch.object(Pair, "prefill", counting("prefills", Pair.prefill)),
        patch.object(dftt.study.adapters, "ttt_adapt", counting("adaptations", dftt.study.adapters.ttt_adapt)),
        patch.object(dftt.study.answers, "generate", counting("generations", dftt.study.answers.generate)),
    ):
        yield counts


@pytest.mark.parametrize(
    ("grid", "seeds"),
    [
        (GRID, "[0]"),
        ({"mode": ["speculative"], "ttt": ["none", "own"], "rounds": [1, 2], "taps": ["all", "deep"]}, "[0, 3]"),
        ({"mode": ["guided"], "alpha": [0.1, 0.5], "ttt": ["wrong"]}, "[0]"),
    ],
)
def test_the_plan_says_what_is_computed(commands: Commands, grid: dict[str, list[Any]], seeds: str) -> None:
    arms = expand(grid)
    flags = (*SHORT, "--model.ttt.steps=3", f"--evaluator.grid={grid}", f"--evaluator.seeds={seeds}")
    with counted() as counts:
        cli = commands("test", *flags, f"--evaluator.baseline={arms[0].id}", data=three_contexts(commands))
    spec = DecodingSpec(max_new_tokens=5)
    plan = make_plan([[1], [1], [1]], arms, cli.evaluator.seeds, TTTSpec(steps=3), spec)
    assert counts == {name: getattr(plan, name) for name in counts}
    assert len(records_of(cli)) * len(cli.evaluator.seeds) == plan.records


def test_one_prefill_and_adaptation_serve_all_arms(commands: Commands) -> None:
    grid = {"mode": ["speculative", "guided"], "alpha": [0.1, 0.2, 0.3, 0.4], "ttt": ["own"], "temperature": [0, 1]}
    data = commands.contexts("rules")
    with counted() as counts:
        commands(
            "test",
            *SHORT,
            "--model.ttt.steps=3",
            f"--evaluator.grid={grid}",
            "--evaluator.baseline=speculative+own,T=0",
            data=data,
        )
    assert counts == {"prefills": 1, "adaptations": 1, "steps": 3, "generations": 20}


def test_a_value_added_to_an_axis_computes_only_its_arms(commands: Commands, tmp_path: Path) -> None:
    data, folder = commands.contexts(tasks=1), tmp_path / "study"

    def run(steps: list[int], *, new: int) -> None:
        grid = {"ttt": ["none", "own"], "steps": steps}
        flags = (*SHORT, f"--evaluator.grid={grid}", f"--evaluator.run_dir={folder}")
        with counted() as counts:
            commands("test", *flags, data=data)
        assert counts["generations"] == new

    run([2], new=4)
    before = {record.key: outcome(record) for record in load_records(folder)}
    run([2, 3], new=2)
    after = {record.key: outcome(record) for record in load_records(folder)}
    assert {key: after[key] for key in before} == before
    assert len(after) == 6


def test_seeds_draw_different_tokens_of_the_same_task(commands: Commands) -> None:
    flags = (*SHORT, "--evaluator.arms=[{mode: target, temperature: 2.0}]", "--evaluator.baseline=target,T=2")
    cli = commands("test", *flags, "--evaluator.seeds=[0, 1]", data=commands.contexts("rules", tasks=1))
    one, other = load_records(Path(str(cli.trainer.log_dir)))
    assert (one.seed, other.seed) == (0, 1)
    assert one.token_ids != other.token_ids


def test_another_draft_under_the_same_name_is_measured_anew(commands: Commands, tmp_path: Path) -> None:
    """The bundled draft may be replaced: its name stays, and records of the old one must not pass for its own."""
    commands.draft = tiny_draft_dir(tmp_path / "draft")
    data, folder = commands.contexts("rules", tasks=1), f"--evaluator.run_dir={tmp_path / 'study'}"
    arms = "--evaluator.arms=[{mode: target}, {mode: speculative}]"
    commands("test", *SHORT, arms, folder, data=data)
    first = {record.arm: record.spec_hash for record in load_records(tmp_path / "study")}
    tiny_draft_dir(tmp_path / "draft", num_layers=1)
    commands("test", *SHORT, arms, folder, data=data)
    second = {record.arm: record.spec_hash for record in load_records(tmp_path / "study")}
    assert first["target"] == second["target"]
    assert first["speculative+none"] != second["speculative+none"]


def test_changed_context_of_equal_prompt_is_measured_anew(commands: Commands, tmp_path: Path) -> None:
    """What is adapted to is what the tasks of a context share, so it changes with the choice of tasks."""
    data, folder = commands.contexts("rules", tasks=2), tmp_path / "study"
    run = (
        "test",
        *SHORT,
        "--model.ttt.steps=1",
        f"--evaluator.run_dir={folder}",
        "--evaluator.grid={ttt: [none, own]}",
    )
    commands(*run, "--data.max_tasks=1", data=data)
    before = {record.key: record.spec_hash for record in load_records(folder)}
    commands(*run, data=data)
    after = {record.key: record.spec_hash for record in load_records(folder)}
    assert after["rules/0", "speculative+none", 0] == before["rules/0", "speculative+none", 0]
    assert after["rules/0", "speculative+own", 0] != before["rules/0", "speculative+own", 0]


@contextmanager
def kept(name: str) -> Iterator[list[tuple[Any, Any]]]:
    """What ttt_adapt or generate was called with in a study, and what it gave."""
    calls: list[tuple[Any, Any]] = []
    owner = dftt.study.adapters if name == "ttt_adapt" else dftt.study.answers
    function = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        made = function(*args, **options)
        calls.append((args, made))
        return made

    with patch.object(owner, name, call):
        yield calls


ROUNDS = (
    "--evaluator.arms=[{mode: speculative, ttt: own, rounds: 2}]",
    "--evaluator.baseline=speculative+own,rounds=2",
)


def test_rounds_record_what_they_cost(commands: Commands) -> None:
    """Seconds, steps and losses of all rounds, and what the answers before the last one took and did."""
    flags = (*SHORT, "--model.ttt.steps=5", *ROUNDS)
    with kept("ttt_adapt") as adapted, kept("generate") as generated:
        (record,) = records_of(commands("test", *flags, data=commands.contexts("rules", tasks=1))).values()
    adaptations, answers = [made for _, made in adapted], [made for _, made in generated]
    assert [len(each.losses) for each in adaptations] == [3, 2]  # of 5 steps
    costs = record.adaptation
    assert (costs["rounds"], costs["steps"]) == (2, 5)
    assert costs["seconds"] == sum(each.seconds for each in adaptations) > 0
    assert costs["peak_bytes"] == max(each.peak_bytes for each in adaptations)
    assert costs["losses"] == [round(loss, 4) for each in adaptations for loss in each.losses]
    first, last = answers
    assert (costs["earlier_decoding_seconds"], costs["earlier_taus"]) == (first.seconds, [first.tau])
    assert (record.seconds, record.acceptance_lengths) == (last.seconds, last.acceptance_lengths)
    assert first.token_ids == last.token_ids == record.token_ids  # lossless, however the draft was adapted


def test_a_later_round_learns_from_the_whole_conversation(commands: Commands) -> None:
    """The second question stands between the answers: without it, the second answers nothing."""
    data = commands.write([row("Who counts?", task_id="a", context_id="a", later_turns=["And why?"])])
    with kept("ttt_adapt") as adapted, kept("generate") as generated:
        commands("test", *SHORT, "--model.ttt.steps=4", *ROUNDS, data=data)
    (_, (arguments, _)), pair = adapted, load_pair(commands.target, commands.draft)
    one, two = (made for _, made in generated[:2])
    said = [
        {"role": "user", "content": "Who counts?"},
        {"role": "assistant", "content": one.text},
        {"role": "user", "content": "And why?"},
    ]
    assert arguments[1].input_ids == pair.encode(said).input_ids + two.token_ids


def test_no_temperature_is_matched_to_an_arm_of_rounds(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    """Its last answer was decoded under an adapter that is not kept; that of its first would match another."""
    guided = "{mode: guided, alpha: 0.3, ttt: own, rounds: 2, temperature: 1.0}"
    arms = f"--evaluator.arms=[{guided}, {{mode: target, matched_to: 'guided@0.3+own,T=1,rounds=2'}}]"
    baseline = "--evaluator.baseline=guided@0.3+own,T=1,rounds=2"
    line = commands.refused(capfd, *commands.arguments("test", *SHORT, arms, baseline, data=commands.contexts()))
    assert "answers in rounds, and the adapter of its last one is not kept" in line
    assert "name a guided arm of one round" in line


# -- dry run ----------------------------------------------------------------------------------------------------------


def test_dry_run_prints_the_plan_and_loads_nothing(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    flags = (*FLAGS, f"--evaluator.grid={GRID}", "--evaluator.baseline=target", "--evaluator.dry_run=true")
    arguments = commands.arguments("test", *flags, data=three_contexts(commands))
    with patch.object(Target, "load", side_effect=AssertionError), pytest.raises(SystemExit) as stopped:
        commands.run(*arguments)
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "guided@0.6+wrong,steps=4,lr=0.001" in printed
    assert "22 arms, 3 contexts, 3 tasks: 132 records, 0 there already" in printed
    assert "about 0 h " in printed


def test_dry_run_counts_and_times_by_what_is_there(
    commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*SHORT, "--model.ttt.steps=2", f"--evaluator.run_dir={tmp_path / 'study'}")
    data = commands.contexts(tasks=1)
    commands("test", *flags, "--data.max_contexts=1", data=data)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        commands("test", *flags, "--evaluator.dry_run=true", data=data)
    printed = capsys.readouterr().out
    assert "6 records, 3 there already" in printed
    assert "(3 records in this folder, prefills from rough figures" in printed


def three_contexts(commands: Commands) -> Path:
    """Three contexts of one task."""
    return commands.write(
        [row(f"A text on {name}. What?", task_id=name, context_id=name) for name in "xyz"], "abc.jsonl"
    )


@pytest.mark.slow
def test_answers_side_by_side_are_those_of_each_alone(commands: Commands, tmp_path: Path) -> None:
    """Tasks of a context and weights of a rule share an engine; what has rounds or waits for another does not."""
    arms = (
        "[{mode: target}, {mode: speculative, ttt: own, rounds: 2}, {mode: target, matched_to: guided@0.5+own},"
        " {mode: guided, alpha: 0.5, ttt: own}, {mode: guided, alpha: 2.0, ttt: own}, {mode: guided, ttt: own},"
        " {mode: guided, alpha: -1.0, ttt: own, guidance: {rule: own_minus_other}},"
        " {mode: guided, alpha: 1.0, ttt: own, guidance: {rule: own_minus_other}},"
        " {mode: guided, alpha: 0.5, guidance: {rule: cad}}, {mode: guided, alpha: 1.5, guidance: {rule: cad}}]"
    )
    data = commands.contexts("rules", "boats", tasks=2)

    def run(folder: Path, rows: int) -> dict[Any, Any]:
        flags = (f"--evaluator.arms={arms}", f"--evaluator.rows={rows}", f"--evaluator.run_dir={folder}")
        more = ("--evaluator.decoding.temperature=0.7", "--model.ttt.steps=2", "--evaluator.baseline=target")
        with counted() as counts:
            commands("test", *SHORT, *flags, *more, data=data)
        made.append(counts["generations"])
        return {record.key: record for record in load_records(folder)}

    made: list[int] = []
    alone, together = run(tmp_path / "alone", 1), run(tmp_path / "together", 3)
    assert {key: outcome(record) for key, record in together.items()} == {
        key: outcome(record) for key, record in alone.items()
    }
    assert made[0] == 2 * 2 * 11  # contexts x tasks x arms, one of them with two rounds
    assert made[1] == 2 * (2 * 3 + 5)  # two rounds and a matched arm for each task, five groups
    without_seconds = {arm for _, arm, _ in together if all(together[k].seconds == 0 for k in together if k[1] == arm)}
    assert len(without_seconds) == 8
