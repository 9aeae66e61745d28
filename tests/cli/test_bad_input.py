"""Bad input: exit code 2, one sentence that names it, and the target never loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dftt.module import DraftTTTModule
from tests.commands import Commands, row

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.bogus=1"], "--model.bogus"),
        (["--trainer.max_stps=3"], "--trainer.max_stps"),
        (["--data.bogus=1"], "'bogus' is not accepted"),
        (["--config=absent.yaml"], "absent.yaml"),
        (["--model.ttt.rank=0"], "ttt.rank must be >= 1, got 0"),
        (["--model.ttt.modules=[fc, head]"], "ttt.modules: unknown 'head'; choose from fc, q_proj"),
        (["--model.ttt.modules=[]"], "ttt.modules is empty"),
        (["--model.ttt.lr=.nan"], "ttt.lr must be a positive number, got nan"),
        (["--model.ttt.loss=mse"], "mse"),
        (["--model.trainable=half"], "model.trainable: unknown 'half'; choose from lora, full"),
        (["--model.target_dtype=int8"], "dtype: unknown 'int8'; choose from float32"),
        (["--model.draft=new"], "model.draft new needs model.trainable full"),
        (["--data.context_ids=[goats]"], "no context 'goats'"),
        (["--data.shard=[2, 2]"], "data.shard must be [number, of how many], counted from 0"),
        (["--ckpt_path=last"], "ckpt_path: no file at last"),
        (["--ckpt_path=absent.ckpt"], "ckpt_path: no file at absent.ckpt"),
        (["--seed_everything=-1"], "seed_everything must be between 0 and 4294967295, got -1"),
        (["--data.max_tasks=-3"], "data.max_tasks must be >= 0, got -3"),
        (["--data.max_contexts=-1"], "data.max_contexts must be >= 0, got -1"),
        (["--trainer.devices=x"], "trainer: TypeError: `devices`"),
        (["--trainer.strategy=nope"], "trainer: ValueError: You selected an invalid strategy"),
        (["--model.target=" + "x" * 4000], "could not be loaded: OSError: "),
        (["--data.path=" + "x" * 5000], "cannot be read (File name too long)"),
    ],
)
def test_refused_by_name(refused: Callable[..., str], flags: list[str], message: str) -> None:
    assert message in refused("test", *flags)


def test_a_gpu_that_is_not_there_is_refused_by_name(refused: Callable[..., str], monkeypatch: Any) -> None:
    """Lightning's own refusal came as a traceback."""
    monkeypatch.setattr("dftt.cli._has_gpu", lambda: False)
    line = refused("test", "--trainer.accelerator=gpu")
    assert "trainer.accelerator is gpu, but torch " in line
    assert "give --trainer configs/trainer/cpu.yaml" in line


def test_what_lightning_cannot_make_a_trainer_of_is_refused(refused: Callable[..., str]) -> None:
    line = refused("test", "--trainer.fast_dev_run=-1")
    assert line.startswith("error: trainer: ")
    assert "fast_dev_run" in line


def test_a_plan_for_a_gpu_needs_none(commands: Commands, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("dftt.cli._has_gpu", lambda: False)
    arguments = commands.arguments(
        "test", "--trainer.accelerator=gpu", "--evaluator.dry_run=true", data=commands.contexts()
    )
    with pytest.raises(SystemExit) as ended:
        commands.run(*arguments)
    assert ended.value.code == 0
    assert "rough figures of an 8B target on one H200" in capsys.readouterr().out


@pytest.mark.parametrize("alpha", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize(
    "flag", ["--evaluator.decoding.alpha={}", "--evaluator.arms=[{{mode: guided, alpha: {}}}]"], ids=["spec", "arm"]
)
def test_alpha_must_be_finite(refused: Callable[..., str], flag: str, alpha: str) -> None:
    assert "alpha must be a finite number, got" in refused("test", flag.format(alpha))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--evaluator.decoding.mode=fast", "'target', 'speculative', 'guided'"),
        ("--evaluator.arms=[{mode: fast}]", "'target', 'speculative', 'guided'"),
        ("--evaluator.arms=[{mode: speculative, ttt: others}]", "'none', 'own', 'wrong'"),
        ("--evaluator.arms=[{mode: target, ttt: own}]", "mode target never looks at the draft"),
        ("--evaluator.arms=[]", "evaluator.arms is empty"),
        ("--evaluator.arms=[{mode: target}, {mode: target}]", "names target more than once"),
        ("--evaluator.baseline=none", "evaluator.baseline 'none' is not an arm"),
        ("--evaluator.bogus=1", "--evaluator.bogus"),
        ("--evaluator.grid={alpha: [abc], mode: [guided]}", "arm.alpha must be a number, got 'abc'"),
        ("--evaluator.grid={temperature: [hot]}", "arm.temperature must be a number or null, got 'hot'"),
        ("--evaluator.grid={taps: [null]}", "arm.taps must be a name or a whole number, got None"),
        ("--evaluator.grid={ttt: [own], steps: [2.5]}", "ttt.steps must be a whole number, got 2.5"),
        ("--evaluator.grid={ttt: [own], modules: [3]}", "ttt.modules must be a list, each of it text, got 3"),
        ("--evaluator.grid={mode: [guided], guidance: [{rule: [a]}]}", "guidance.rule must be text, got ['a']"),
        ("--evaluator.arms=[{mode: power, parameters: {blocks: x}}]", "power.blocks must be a whole number, got 'x'"),
        ("--evaluator.arms=[{ttt: own, ttt_overrides: {lr: true}}]", "ttt.lr must be a number, got True"),
        ("--evaluator.decoding.drafter=luck", "'draft', 'lookup', 'hybrid'"),
        (
            "--evaluator.arms=[{drafting: {drafter: luck}}]",
            "decoding.drafter: unknown 'luck'; choose from draft, lookup",
        ),
        ("--evaluator.grid={ttt: [own], study_samples: [0]}", "ttt.study_samples must be >= 1, got 0"),
        ("--evaluator.rows=0", "evaluator.rows must be >= 1, got 0"),
        ("--trainer.inference_mode=true", "test back-propagates into the adapter: set trainer.inference_mode to false"),
        ("--evaluator.decoding.max_new_tokens=500", "do not fit the target's window of 512"),
    ],
)
def test_study_settings_are_refused(refused: Callable[..., str], flag: str, message: str) -> None:
    assert message in refused("test", flag)


def test_wrong_arm_needs_two_contexts(refused: Callable[..., str], commands: Commands) -> None:
    arms = "--evaluator.arms=[{mode: speculative}, {mode: speculative, ttt: wrong}]"
    assert "needs at least two contexts" in refused("test", arms, data=commands.contexts("rules"))
    answer = "--evaluator.answer_with={mode: speculative, ttt: wrong}"
    assert "needs at least two contexts" in refused("predict", answer, data=commands.contexts("rules"))


def test_predict_refuses_inference_mode(refused: Callable[..., str]) -> None:
    assert "predict back-propagates into the adapter" in refused("predict", "--trainer.inference_mode=true")


# -- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_missing_data_file(refused: Callable[..., str], tmp_path: Path, subcommand: str) -> None:
    assert f"no file at {tmp_path / 'absent.jsonl'}" in refused(subcommand, data=tmp_path / "absent.jsonl")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"metadata": {}}, "row without `messages`"),
        ({"messages": []}, "`messages` must be a non-empty list"),
        ({"messages": [{"role": "user", "content": "  "}]}, "empty context: no message has content"),
        ({"context": "", "question": " "}, "empty context: `question` must be text"),
        ("text", "row must be a JSON object"),
    ],
)
def test_bad_row_is_named_by_file_and_line(
    refused: Callable[..., str], commands: Commands, second: object, message: str
) -> None:
    data = commands.write([row("Good. Why?"), second], "rows.jsonl")
    line = refused("test", data=data)
    assert f"{data}, line 2: " in line
    assert message in line


def test_a_message_that_misses_the_prompt_is_named(refused: Callable[..., str], commands: Commands) -> None:
    target = Path(shutil.copytree(commands.target, commands.root / "target"))
    template = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}"
    (target / "chat_template.jinja").write_text(template)
    data = commands.write([{"messages": [{"role": "Human", "content": "Who counts the goats?"}]}], "human.jsonl")
    for flags in ((), ("--model.allow_long=true",)):
        line = refused("test", f"--model.target={target}", *flags, data=data)
        assert line.startswith("error: task human/1: message 1 (role Human) does not reach the prompt")


def test_one_context_id_of_two_suites_is_refused(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    """They were one context, of which the second's tasks were asked on the first's passage."""
    rows = {"context_id": "1", "question": "Where is she?", "answer": "garden"}
    babi = commands.write([{**rows, "id": "a", "context": "Mary is in the garden."}], "babi.jsonl")
    swap = commands.write([{**rows, "id": "b", "context": "Bob Dylan was born in a park."}], "swap.jsonl")
    flags = ("--data=ContextDataModule", f"--data.suites={{babi: {babi}, nqswap: {swap}}}")
    line = commands.refused(capfd, *commands.arguments("test", *flags))
    assert "suite nqswap, task b: context_id '1' is that of suite babi, task a, which has another context" in line


def test_empty_document(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "manual.md").write_text(" \n")
    line = refused("predict", "--data.question=Why?", data=tmp_path / "manual.md")
    assert "document 'manual' is empty" in line


def test_document_without_questions(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "manual.md").write_text("A rule.")
    assert "no questions" in refused("predict", data=tmp_path / "manual.md")


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_long_context_is_refused_with_the_ways_out(
    refused: Callable[..., str], commands: Commands, subcommand: str
) -> None:
    line = refused(subcommand, data=commands.write([row("long " * 200, task_id="saga")]))
    assert "context saga is too long: " in line
    assert "shorten the context or use a target with a longer window" in line
    assert "--model.allow_long true" in line


def test_fit_on_several_contexts_asks_for_one(refused: Callable[..., str]) -> None:
    assert "fit adapts to one context" in (line := refused("fit"))
    assert "--data.context_ids, such as [rules]" in line


def test_no_data(commands: Commands, capfd: pytest.CaptureFixture[str]) -> None:
    assert "test needs data" in commands.refused(capfd, *commands.arguments("test"))


def test_missing_and_foreign_corpus_files(commands: Commands, tmp_path: Path, capfd: Any) -> None:
    def line(path: Path, subcommand: str = "fit") -> str:
        return commands.refused(
            capfd,
            *commands.arguments(
                subcommand, "--data=CorpusDataModule", f"--data.paths=[{path}]", "--trainer.max_steps=1"
            ),
        )

    (tmp_path / "text.safetensors").write_text("not tensors")
    assert f"no file at {tmp_path / 'absent.safetensors'}" in line(tmp_path / "absent.safetensors")
    assert f"{tmp_path / 'text.safetensors'}" in line(tmp_path / "text.safetensors")
    assert "test works on contexts" in line(tmp_path / "text.safetensors", "test")


def test_new_draft_without_a_mask_token(commands: Commands, tmp_path: Path, capfd: Any) -> None:
    flags = ("--model.draft=new", "--model.trainable=full")
    arguments = commands.arguments("fit", *flags, data=commands.contexts("rules"))
    assert "model.new_mask_token_id must be a reserved token" in commands.refused_late(capfd, *arguments)


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(commands: Commands) -> Path:
    """A checkpoint of one step."""
    return commands.checkpoint("--model.ttt.steps=1")


def changed(checkpoint: Path, **parts: Any) -> Path:
    """A copy of a checkpoint with other parts."""
    content = torch.load(checkpoint, weights_only=True)
    path = checkpoint.with_name("changed.ckpt")
    torch.save({**content, **parts}, path)
    return path


def test_checkpoint_of_another_rank_names_both(commands: Commands, checkpoint: Path, capfd: Any) -> None:
    flags = (f"--ckpt_path={checkpoint}", "--model.ttt.rank=4")
    line = commands.refused_late(capfd, *commands.arguments("test", *flags, data=commands.contexts()))
    assert "model.ttt.rank is 4, stored 8" in line


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_empty_renamed_and_foreign_weights_are_refused(
    commands: Commands, checkpoint: Path, capfd: Any, subcommand: str
) -> None:
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    first = next(iter(weights))
    broken = {
        "empty": ({}, first),
        "renamed": ({f"x{name}": weight for name, weight in weights.items()}, f"x{first}"),
        "foreign": ({"draft.bogus": torch.zeros(1)}, "draft.bogus"),
        "shape": (weights | {first: torch.zeros(1)}, first),
    }
    for state_dict, named in broken.values():
        path = changed(checkpoint, state_dict=state_dict)
        arguments = commands.arguments(subcommand, f"--ckpt_path={path}", data=commands.contexts("rules"))
        line = commands.refused_late(capfd, *arguments)
        assert "checkpoint does not belong to this model" in line
        assert named in line


def test_files_that_are_no_checkpoints_are_refused(refused: Callable[..., str], checkpoint: Path) -> None:
    for name, content in {"empty.ckpt": b"", "text.ckpt": b"hello", "zip.ckpt": b"PK\x03\x04"}.items():
        path = checkpoint.with_name(name)
        path.write_bytes(content)
        assert f"{path} is not a checkpoint" in refused("test", f"--ckpt_path={path}")
    torch.save({"weights": torch.zeros(1)}, path := checkpoint.with_name("bare.ckpt"))
    assert f"{path} is not a Lightning checkpoint" in refused("test", f"--ckpt_path={path}")


def test_checkpoint_of_another_kind_of_model_is_refused(refused: Callable[..., str], checkpoint: Path) -> None:
    path = changed(checkpoint, hyper_parameters={"num_classes": 10})
    assert "is of another model: it has settings num_classes" in refused("test", f"--ckpt_path={path}")


def test_flag_that_contradicts_a_checkpoint_is_refused(commands: Commands, checkpoint: Path, capfd: Any) -> None:
    """LightningCLI would silently run with what the checkpoint says."""
    flags = (f"--ckpt_path={checkpoint}", "--model.draft=another/draft")
    line = commands.refused(capfd, *commands.arguments("test", *flags, data=commands.contexts()))
    assert "model.draft is another/draft" in line
    assert str(commands.draft) in line


def test_checkpoint_names_its_pair_by_itself(commands: Commands, checkpoint: Path) -> None:
    flags = (
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--evaluator.decoding.max_new_tokens=3",
    )
    data = ("--data=ContextDataModule", f"--data.path={commands.contexts('rules')}")
    root = f"--trainer.default_root_dir={commands.root}"
    cli = commands.run("test", *flags, root, *data, f"--ckpt_path={checkpoint}")
    assert (cli.model.target_name, cli.model.draft_name) == (str(commands.target), str(commands.draft))


# -- our own mistakes -------------------------------------------------------------------------------------------------


def test_errors_of_other_packages_keep_their_traceback(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DraftTTTModule, "configure_model", lambda _self: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        commands("validate", data=commands.contexts())


@pytest.mark.slow
def test_shell_sees_one_line_and_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "cli.py", "test", "--data=ContextDataModule", "--data.path=absent.jsonl"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: tasks: no file at absent.jsonl"]
    assert done.stdout == ""
