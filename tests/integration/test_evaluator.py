"""`test` and `predict`: arms on contexts, their records, curves and table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dftt.cli import DfttCLI
from dftt.models.pair import load_pair
from dftt.study.records import load_records
from dftt.study.traces import load_traces
from dftt.types import Record
from tests.commands import Commands, log_dir, row

SHORT = ("--evaluator.decoding.max_new_tokens=12", "--evaluator.decoding.ignore_eos=true", "--model.ttt.anchors=4")
STEPS = "--model.ttt.steps=3"
ALL_ARMS = (
    "--evaluator.arms=[{mode: target}, {mode: speculative}, {mode: speculative, ttt: own},"
    " {mode: speculative, ttt: wrong}, {mode: guided, alpha: 0.3, ttt: own}]"
)
ARM_IDS = ("target", "speculative+none", "speculative+own", "speculative+wrong", "guided@0.3+own")


def records_of(cli: DfttCLI) -> dict[tuple[str, str], Record]:
    """Records of a run by task and arm."""
    return {(record.task_id, record.arm): record for record in load_records(log_dir(cli))}


def outcome(record: Record) -> dict[str, Any]:
    """What a record says, times and memory left out."""
    fields = {name: value for name, value in record.to_json().items() if name != "seconds"}
    costs = ("seconds", "peak_bytes", "earlier_decoding_seconds")
    return fields | {"adaptation": {k: v for k, v in record.adaptation.items() if k not in costs}}


def first_loss(records: dict[tuple[str, str], Record]) -> float:
    """Loss on the context `rules` before any step."""
    return records["rules/0", "speculative+own"].adaptation["first_loss"]


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, tiny_target: Callable[[str], Path], tiny_draft: Callable[..., Path]
) -> DfttCLI:
    """One run of all arms on two contexts with two tasks each."""
    commands = Commands(tmp_path_factory.mktemp("study"), tiny_target("qwen3"), tiny_draft())
    return commands("test", *SHORT, STEPS, ALL_ARMS, data=commands.contexts())


def test_one_record_per_task_and_arm(study: DfttCLI) -> None:
    lines = (log_dir(study) / "records.0.jsonl").read_text().splitlines()
    keys = [(entry["task_id"], entry["arm"]) for entry in map(json.loads, lines)]
    tasks = [f"{context}/{number}" for context in ("rules", "boats") for number in (0, 1)]
    assert sorted(keys) == sorted((task, arm) for task in tasks for arm in ARM_IDS)


def test_run_leaves_summary_config_and_provenance(study: DfttCLI) -> None:
    folder = log_dir(study)
    summary = json.loads((folder / "summary.json").read_text())
    assert {entry["arm"] for entry in summary} == set(ARM_IDS)
    assert json.loads((folder / "provenance.json").read_text())["packages"]["torch"]
    assert (folder / "config.yaml").is_file()


def test_run_leaves_a_report_with_traces_of_the_first_task(study: DfttCLI) -> None:
    folder = log_dir(study)
    traces = load_traces(folder)
    assert {(task, arm) for task, arm, _ in traces} == {("rules/0", arm) for arm in ARM_IDS}
    for (task, arm, _), trace in traces.items():
        assert tuple(token.token_id for token in trace.tokens) == records_of(study)[task, arm].token_ids
    assert "guided@0.3+own" in (folder / "report.html").read_text(encoding="utf-8")
    assert (folder / "figures" / "losses.csv").is_file()


def test_curves_hold_histograms_and_arms_to_compare(study: DfttCLI) -> None:
    events = EventAccumulator(str(log_dir(study)))
    events.Reload()
    assert "test/acceptance_length@speculative+own" in events.Tags()["histograms"]
    assert {path.name for path in (log_dir(study) / "arms").iterdir()} == set(ARM_IDS)


def test_curves_hold_tau_and_pass_rate(study: DfttCLI) -> None:
    events = EventAccumulator(str(log_dir(study)))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    records = [record for record in records_of(study).values() if record.arm == "speculative+none"]
    steps = [length for record in records for length in record.acceptance_lengths]

    assert {f"test/tau@{arm}" for arm in ARM_IDS if arm != "target"} <= tags
    assert "test/tau@target" not in tags
    assert "test/pass_rate@target" in tags
    assert events.Scalars("test/tau@speculative+none")[0].value == pytest.approx(sum(steps) / len(steps))


@pytest.mark.parametrize("arm", ["speculative+none", "speculative+own", "speculative+wrong"])
def test_speculative_answers_equal_the_targets(study: DfttCLI, arm: str) -> None:
    records = records_of(study)
    answers = {task: record.token_ids for (task, name), record in records.items() if name == "target"}
    assert {task: record.token_ids for (task, name), record in records.items() if name == arm} == answers
    assert all(len(tokens) == 12 for tokens in answers.values())


def test_records_say_how_the_draft_was_adapted(study: DfttCLI) -> None:
    for (_, arm), record in records_of(study).items():
        if arm.endswith(("+own", "+wrong")):
            assert record.adaptation["steps"] == 3
        else:
            assert record.adaptation == {}


def test_own_and_wrong_adaptations_swap_between_two_contexts(study: DfttCLI) -> None:
    records = records_of(study)
    losses = {key: record.adaptation["first_loss"] for key, record in records.items() if record.adaptation}
    assert losses["rules/0", "speculative+wrong"] == losses["boats/0", "speculative+own"]
    assert losses["boats/0", "speculative+wrong"] == losses["rules/0", "speculative+own"]
    assert losses["rules/0", "speculative+own"] != losses["boats/0", "speculative+own"]


def test_draft_is_bitwise_unchanged_after_test(study: DfttCLI) -> None:
    draft = load_pair(study.model.target_name, study.model.draft_name).draft.state_dict()
    with study.model.bare_draft() as adapter:
        assert adapter is None  # the module's own adapter is still as at the start
        left = study.model.draft.state_dict()
    assert set(left) == set(draft)
    assert all(torch.equal(left[name], draft[name]) for name in draft)


def test_order_of_contexts_does_not_matter(commands: Commands) -> None:
    arms = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: own}]"
    one = commands("test", *SHORT, STEPS, arms, data=commands.contexts("rules", "boats"))
    other = commands("test", *SHORT, STEPS, arms, data=commands.contexts("boats", "rules"))
    first, second = records_of(one), records_of(other)
    assert first.keys() == second.keys()
    assert all(outcome(first[key]) == outcome(second[key]) for key in first)


# -- running again ----------------------------------------------------------------------------------------------------


def test_rerun_in_the_same_folder_recomputes_nothing(commands: Commands, tmp_path: Path) -> None:
    data, folder = commands.contexts(), f"--evaluator.run_dir={tmp_path / 'study'}"
    first = commands("test", *SHORT, STEPS, folder, data=data)
    written = (tmp_path / "study" / "records.0.jsonl").read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dftt.study.answers.generate", fail)
        patched.setattr("dftt.study.adapters.ttt_adapt", fail)
        second = commands("test", *SHORT, STEPS, folder, data=data)
    assert (tmp_path / "study" / "records.0.jsonl").read_bytes() == written
    assert second.trainer.callback_metrics == first.trainer.callback_metrics


def test_rerun_after_a_kill_computes_only_what_is_missing(commands: Commands, tmp_path: Path) -> None:
    data, folder = commands.contexts(), tmp_path / "study"
    flag = f"--evaluator.run_dir={folder}"
    commands("test", *SHORT, STEPS, flag, data=data)
    path = folder / "records.0.jsonl"
    before = load_records(folder)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-3]) + lines[-3][:40])  # killed in the middle of a line
    commands("test", *SHORT, STEPS, flag, data=data)
    assert [outcome(record) for record in load_records(folder)] == [outcome(record) for record in before]
    assert len(path.read_text().splitlines()) == len(lines)
    assert path.read_text().splitlines()[: len(lines) - 3] == [line.rstrip("\n") for line in lines[:-3]]


@pytest.mark.parametrize(
    ("flag", "untouched"),
    [
        ("--evaluator.decoding.max_new_tokens=5", set()),
        ("--model.ttt.lr=0.01", {"target", "speculative+none"}),
    ],
)
def test_changed_settings_recompute_the_arms_they_concern(
    commands: Commands, tmp_path: Path, flag: str, untouched: set[str]
) -> None:
    data, folder = commands.contexts(), tmp_path / "study"
    run = ("test", *SHORT, STEPS, f"--evaluator.run_dir={folder}")
    commands(*run, data=data)
    before = {record.key: record.spec_hash for record in load_records(folder)}
    commands(*run, flag, data=data)
    after = load_records(folder)
    assert {record.arm for record in after if before[record.key] == record.spec_hash} == untouched
    lines = (folder / "records.0.jsonl").read_text().splitlines()
    assert len(lines) == 12 + 4 * (3 - len(untouched))


@pytest.mark.slow
def test_saved_config_can_be_run_again(commands: Commands) -> None:
    first = commands("test", *SHORT, STEPS, data=commands.contexts())
    again = commands.run("test", "--config", log_dir(first) / "config.yaml")
    assert log_dir(again) != log_dir(first)
    one, other = records_of(first), records_of(again)
    assert {arm for _, arm in one} == {"target", "speculative+none", "speculative+own"}
    assert {key: outcome(record) for key, record in one.items()} == {
        key: outcome(record) for key, record in other.items()
    }


# -- contexts that do not fit -----------------------------------------------------------------------------------------


def test_long_contexts_are_unscored_records_where_allowed(commands: Commands) -> None:
    """The rest is measured, also where the wrong context of a short one is the long one."""
    rows = [row("A short one. Why?", task_id="a", context_id="a"), row("long " * 200, task_id="b", context_id="b")]
    cli = commands("test", *SHORT, STEPS, ALL_ARMS, "--model.allow_long=true", data=commands.write(rows))
    records = records_of(cli)
    for arm in ARM_IDS:
        long = records["b", arm]
        assert (long.finish_reason, long.passed, long.token_ids) == ("error", None, ())
        assert "too long" in long.explanation
        if not arm.endswith("+wrong"):
            assert len(records["a", arm].token_ids) == 12
    assert len(records) == 2 * len(ARM_IDS)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_flags_survive_ckpt_path(commands: Commands) -> None:
    """LightningCLI lets a checkpoint's hyper-parameters override flags: ttt must not be among them."""
    checkpoint = commands.checkpoint("--model.ttt.steps=4")
    data = commands.contexts(tasks=1)
    cli = commands("test", *SHORT, f"--ckpt_path={checkpoint}", "--model.ttt.steps=7", data=data)
    own = [record for (_, arm), record in records_of(cli).items() if arm == "speculative+own"]
    assert [record.adaptation["steps"] for record in own] == [7, 7]


def test_a_checkpoint_changes_the_start_but_not_answers(commands: Commands) -> None:
    checkpoint, data = commands.checkpoint("--model.ttt.steps=30", "--model.ttt.lr=0.01"), commands.contexts()
    plain = records_of(commands("test", *SHORT, STEPS, data=data))
    cli = commands("test", *SHORT, STEPS, f"--ckpt_path={checkpoint}", data=data)
    under = records_of(cli)
    for context in ("rules", "boats"):  # the second one too: the first must leave the adapter in place
        key = (f"{context}/0", "speculative+own")
        assert under[key].adaptation["first_loss"] != plain[key].adaptation["first_loss"]
    assert first_loss(under) < first_loss(plain)
    assert {key: record.token_ids for key, record in under.items()} == {
        key: record.token_ids for key, record in plain.items()
    }
    assert all(under[key].spec_hash != plain[key].spec_hash for key in under if key[1] != "target")

    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(weight, stored[name]) for name, weight in cli.model.state_dict().items())


# -- predict ----------------------------------------------------------------------------------------------------------


def test_predict_streams_the_answer_and_writes_a_record(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    cli = commands("predict", *SHORT, STEPS, data=commands.contexts("rules", tasks=1))
    printed = capsys.readouterr().out
    (record,) = records_of(cli).values()
    assert record.arm == "speculative+own"
    assert record.adaptation["steps"] == 3
    assert record.answer.rstrip("\ufffd") in printed
    assert f"[12 tokens, tau {sum(record.acceptance_lengths) / len(record.acceptance_lengths):.2f}" in printed
    assert "adapted to rules" in printed
    assert (log_dir(cli) / "provenance.json").is_file()


def test_predict_takes_a_document_and_a_question(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    book = commands.root / "book.md"
    book.write_text("No goat may vote twice.")
    asked = (f"--data.context={book}", "--data.question=Who may not vote?")
    cli = commands("predict", *SHORT, STEPS, *asked, data=commands.contexts())
    (record,) = records_of(cli).values()
    assert record.context_id == "book"
    assert "such tokens]" in capsys.readouterr().out


def test_predict_takes_an_adapter_from_its_store(
    commands: Commands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = ("--model.ttt.steps=3", "--model.ttt.learns_from=self_study", "--model.ttt.study_samples=2")
    flags += ("--model.ttt.study_tokens=6", f"--model.ttt.store={tmp_path / 'store'}")
    commands("predict", *flags, data=commands.contexts("rules"))
    monkeypatch.setattr("dftt.adaptation.ttt._adapt", None)  # nothing is learnt a second time
    commands("predict", *flags, data=commands.contexts("rules"))
    printed = capsys.readouterr().out
    assert "took the adapter to rules from the store (3 steps)" in printed
    assert "adapting took no time" in printed
    assert len(list((tmp_path / "store").iterdir())) == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ("--model.ttt.learns_from=self_study", "--model.ttt.study_prompts={0}"),
            "ttt.study_prompts: {0} holds no prompts",
        ),
        (("--model.ttt.store={0}",), "ttt.store: {0} cannot be written"),
    ],
)
def test_files_of_an_adaptation_are_tried_before_loading(
    commands: Commands, capfd: pytest.CaptureFixture[str], tmp_path: Path, flags: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "empty").write_text("")
    given = [flag.format(tmp_path / "empty") for flag in flags]
    line = commands.refused(capfd, *commands.arguments("predict", *given, data=commands.contexts("rules")))
    assert sentence.format(tmp_path / "empty") in line


def test_predict_writes_answers_as_jsonl(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"context": f"Goat {name} is red.", "question": "Which?", "id": name} for name in "ab"]
    path = commands.root / "out" / "answers.jsonl"
    cli = commands("predict", *SHORT, STEPS, f"--evaluator.answers={path}", data=commands.write(rows))
    answers = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [answer["task_id"] for answer in answers] == ["a", "b"]
    for answer in answers:
        record = records_of(cli)[answer["task_id"], "speculative+own"]
        assert (answer["answer"], answer["tokens"]) == (record.answer, 12)
        assert answer["adaptation_seconds"] > 0
    assert "tokens, tau" not in capsys.readouterr().out


def fail(*_args: object, **_options: object) -> None:
    """Nothing may be computed."""
    raise AssertionError("computed again")
