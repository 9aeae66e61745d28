"""`fit`: the adapter of one context, checkpoints, resuming, and a draft trained over a corpus."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dftt import module
from dftt.adaptation import lessons, steps
from dftt.adaptation.lessons import context_batch
from dftt.adaptation.losses import BlockBatch, BlockLoss, block_loss
from dftt.adaptation.token_corpus import TokenCorpus
from dftt.adaptation.ttt import ttt_adapt
from dftt.cli import DfttCLI
from dftt.models.lora import Adapter
from dftt.models.pair import Pair, load_pair
from dftt.models.target import Target, encode
from dftt.module import DraftTTTModule
from dftt.suites.tasks import context_of, load_tasks
from dftt.types import TTTSpec
from tests.commands import Commands, log_dir
from tests.fakes import MASK_ID

SPEC = TTTSpec(steps=10, anchors=4, warmup=2)
TTT = ("--model.ttt.steps=10", "--model.ttt.anchors=4", "--model.ttt.warmup=2")
SAVE_AT_5 = (
    "--trainer.callbacks=ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=5",
    "--trainer.callbacks.save_last=true",
)

SAVE_LAST = ("--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.save_last=true")


def same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    """Equal names and bits."""
    return set(left) == set(right) and all(torch.equal(left[name], right[name]) for name in left)


def adapter_of(cli: DfttCLI) -> Mapping[str, Tensor]:
    """Weights of the PEFT folder that a run left."""
    return Adapter.load(log_dir(cli) / "adapter").weights


def last_checkpoint(cli: DfttCLI) -> Path:
    """last.ckpt of a run."""
    return log_dir(cli) / "checkpoints" / "last.ckpt"


def stored(path: Path) -> dict[str, Any]:
    """A checkpoint's content."""
    return torch.load(path, weights_only=True)


def broken(at: int) -> Callable[..., BlockLoss]:
    """The block loss, which is not a number at its call `at`."""
    calls = iter(range(1000))

    def loss(*args: Any, **kwargs: Any) -> BlockLoss:
        result = block_loss(*args, **kwargs)
        return replace(result, loss=result.loss * math.nan) if next(calls) == at else result

    return loss


@pytest.mark.parametrize("steps", [1, 4])
def test_fit_on_one_context_gives_the_adapter_of_ttt_adapt(
    commands: Commands, tiny_pair: Callable[..., Pair], steps: int
) -> None:
    data = commands.contexts("rules")
    cli = commands("fit", f"--model.ttt.steps={steps}", "--model.ttt.anchors=4", data=data)

    pair = tiny_pair()
    prompt = context_of([encode(pair.target.tokenizer, task.messages) for task in load_tasks(data)])
    expected = ttt_adapt(pair, prompt, TTTSpec(steps=steps, anchors=4))

    assert cli.trainer.global_step == steps
    assert same(adapter_of(cli), expected.adapter.weights)
    assert any(weight.abs().sum() for name, weight in expected.adapter.weights.items() if "lora_B" in name)


@pytest.mark.parametrize("learns_from", ["self_study", "context+self_study"])
def test_fit_studies_a_context_as_ttt_adapt_does(
    commands: Commands, tiny_pair: Callable[..., Pair], learns_from: str
) -> None:
    data = commands.contexts("rules")
    study: dict[str, Any] = {"study_samples": 3, "study_tokens": 8}
    flags = [f"--model.ttt.{name}={value}" for name, value in {**study, "learns_from": learns_from}.items()]
    cli = commands("fit", "--model.ttt.steps=4", "--model.ttt.anchors=4", *flags, data=data)
    pair = tiny_pair()
    prompt = context_of([encode(pair.target.tokenizer, task.messages) for task in load_tasks(data)])
    expected = ttt_adapt(pair, prompt, TTTSpec(steps=4, anchors=4, learns_from=learns_from, **study))
    assert same(adapter_of(cli), expected.adapter.weights)


KEEP_ALL = (
    "--trainer.callbacks=ModelCheckpoint",
    "--trainer.callbacks.every_n_train_steps=1",
    "--trainer.callbacks.save_top_k=-1",
    "--trainer.callbacks.filename={step}",
)


def checkpoint_at(cli: DfttCLI, step: int) -> Path:
    """What a run that is killed after a step leaves, of a run with KEEP_ALL."""
    return log_dir(cli) / "checkpoints" / f"step={step}.ckpt"


@pytest.mark.parametrize("step", [1, 4, 9])
def test_a_killed_fit_on_a_context_ends_as_one_unkilled(commands: Commands, step: int) -> None:
    data = commands.contexts("rules")
    whole = commands("fit", *TTT, *KEEP_ALL, data=data)
    resumed = commands("fit", *TTT, f"--ckpt_path={checkpoint_at(whole, step)}", data=data)

    assert resumed.trainer.global_step == 10
    assert not same(stored(checkpoint_at(whole, step))["state_dict"], stored(checkpoint_at(whole, 10))["state_dict"])
    assert same(adapter_of(resumed), adapter_of(whole))


def test_checkpoint_holds_exactly_the_adapter(commands: Commands) -> None:
    cli = commands("fit", *TTT, "--trainer.max_steps=5", *SAVE_AT_5, data=commands.contexts("rules"))
    path = last_checkpoint(cli)
    content = stored(path)["state_dict"]
    trainable = {name: parameter for name, parameter in cli.model.named_parameters() if parameter.requires_grad}

    assert same(content, {name: parameter.detach() for name, parameter in trainable.items()})
    assert len(content) == len(adapter_of(cli))
    assert all(".lora_A." in name or ".lora_B." in name for name in content)
    assert path.stat().st_size < 1_000_000


def test_fit_leaves_target_and_base_draft_as_they_were(commands: Commands) -> None:
    cli = commands("fit", *TTT, data=commands.contexts("rules"))
    target = cli.model.target.model
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in target.parameters())
    assert same(target.state_dict(), Target.load(commands.target).model.state_dict())

    pair = load_pair(commands.target, commands.draft)
    with cli.model.bare_draft() as adapter:
        assert adapter is not None
        assert same(cli.model.draft.state_dict(), pair.draft.state_dict())


def test_exported_adapter_names_its_rank_scale_and_modules(commands: Commands) -> None:
    cli = commands("fit", *TTT, data=commands.contexts("rules"))
    adapter = Adapter.load(log_dir(cli) / "adapter")
    assert adapter.identity == (8, 16.0, tuple(sorted(SPEC.modules)))


def test_fit_writes_config_and_provenance(commands: Commands) -> None:
    cli = commands("fit", "--model.ttt.steps=1", data=commands.contexts("rules"))
    assert (log_dir(cli) / "provenance.json").is_file()
    assert "max_steps: 1" in (log_dir(cli) / "config.yaml").read_text()


# -- a draft over a corpus --------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve sequences, each with a prompt that is not asked for."""
    generator = torch.Generator().manual_seed(5)
    sequences = [torch.randint(0, 256, (40,), generator=generator).tolist() for _ in range(12)]
    TokenCorpus.of(sequences, [4] * 12).save(tmp_path / "corpus.safetensors")
    return tmp_path / "corpus.safetensors"


def train(commands: Commands, corpus: Path, *flags: str) -> DfttCLI:
    """A new draft, 3 batches an epoch."""
    arguments = commands.arguments(
        "fit",
        "--model.draft=new",
        "--model.trainable=full",
        "--model.new_layers=2",
        "--model.new_block_size=4",
        "--model.new_taps=3",
        f"--model.new_mask_token_id={MASK_ID}",
        "--model.training.warmup=1",
        "--data=CorpusDataModule",
        f"--data.paths=[{corpus}]",
        "--data.val_sequences=3",
        "--data.tokens_per_batch=120",
        "--data.anchors_per_batch=16",
        "--trainer.max_steps=10",
        "--trainer.log_every_n_steps=1",
        *flags,
    )
    return commands.run(*arguments)


def test_corpus_fit_writes_a_draft_that_loads(commands: Commands, corpus: Path) -> None:
    cli = train(commands, corpus, *SAVE_AT_5)
    pair = load_pair(commands.target, log_dir(cli) / "draft")
    content = stored(last_checkpoint(cli))["state_dict"]

    assert pair.draft.config.block_size == 4
    assert pair.draft.config.mask_token_id == MASK_ID
    assert set(content) == {f"draft.{name}" for name in pair.draft.state_dict()}
    assert same({name.removeprefix("draft."): weight for name, weight in content.items()}, pair.draft.state_dict())
    assert same(pair.draft.state_dict(), load_file(log_dir(cli) / "draft" / "model.safetensors"))


def test_corpus_fit_learns(commands: Commands, corpus: Path) -> None:
    short = train(commands, corpus, "--trainer.max_steps=1", "--trainer.num_sanity_val_steps=-1")
    long = train(commands, corpus, "--trainer.max_steps=60", "--model.training.lr=1e-2")
    assert float(long.trainer.callback_metrics["train/loss"]) < float(short.trainer.callback_metrics["train/loss"])
    assert all(parameter.grad is None for parameter in long.model.target.model.parameters())


@contextmanager
def batches_seen() -> Iterator[list[tuple[list[int], list[int]]]]:
    """First tokens of the sequences, and anchors, of each batch that is trained on."""
    seen: list[tuple[list[int], list[int]]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            DraftTTTModule,
            "on_train_batch_start",
            lambda self, batch, _: seen.append((batch.input_ids[:, 0].tolist(), batch.anchors.flatten().tolist())),
            raising=False,
        )
        yield seen


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Sixteen sequences of 20 to 65 tokens, each with a first token of its own."""
    generator = torch.Generator().manual_seed(5)
    sequences = [
        [number, *torch.randint(0, 256, (19 + 3 * number,), generator=generator).tolist()] for number in range(16)
    ]
    TokenCorpus.of(sequences, [4] * 16).save(tmp_path / "uneven.safetensors")
    return tmp_path / "uneven.safetensors"


@pytest.mark.parametrize("flags", [(), ("--trainer.accumulate_grad_batches=2",)], ids=["", "accumulated"])
def test_corpus_fit_killed_anywhere_equals_an_uninterrupted_one(commands, uneven: Path, flags: tuple[str, ...]) -> None:
    """In the middle of an epoch, at its end and beyond; validation runs in between."""
    flags = (*flags, "--trainer.max_steps=9")
    with batches_seen() as every:
        whole = train(commands, uneven, *KEEP_ALL, *flags)
    expected = load_file(log_dir(whole) / "draft" / "model.safetensors")
    per_epoch = int(whole.trainer.num_training_batches)
    assert 1 < per_epoch < len(every)
    for step in range(1, 9):
        with batches_seen() as rest:
            resumed = train(commands, uneven, *flags, f"--ckpt_path={checkpoint_at(whole, step)}")
        assert rest == every[len(every) - len(rest) :], step
        assert resumed.trainer.global_step == 9
        assert same(load_file(log_dir(resumed) / "draft" / "model.safetensors"), expected), step


def test_a_run_ended_by_max_steps_in_mid_epoch_goes_on(commands: Commands, uneven: Path) -> None:
    # Constant rate: the cosine ends where max_steps says, which a killed run would not have changed.
    flags = ("--model.training.decay=1", *SAVE_LAST)
    with batches_seen() as every:
        whole = train(commands, uneven, *flags, "--trainer.max_steps=9")
    first = train(commands, uneven, *flags, "--trainer.max_steps=2")
    second = train(commands, uneven, *flags, "--trainer.max_steps=7", f"--ckpt_path={last_checkpoint(first)}")
    with batches_seen() as rest:
        third = train(commands, uneven, *flags, "--trainer.max_steps=9", f"--ckpt_path={last_checkpoint(second)}")
    assert rest == every[7:]
    assert same(*(load_file(log_dir(cli) / "draft" / "model.safetensors") for cli in (third, whole)))


def test_a_pass_over_a_corpus_takes_every_sequence_once(commands: Commands, uneven: Path) -> None:
    with batches_seen() as seen:
        train(commands, uneven, "--trainer.max_steps=40", "--trainer.limit_val_batches=0")
    firsts = [first for batch, _ in seen for first in batch]
    passes = [tuple(firsts[start : start + 13]) for start in range(0, len(firsts) - 13, 13)]
    assert len({frozenset(each) for each in passes}) == 1
    assert len(set(firsts)) == 13
    assert len(set(passes)) == len(passes) > 5  # always in another order
    assert len({tuple(anchors) for _, anchors in seen}) == 40


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--data.seed=2", "data.seed is 2, there 1"),
        ("--data.tokens_per_batch=150", "data.tokens_per_batch is 150, there 120"),
        ("--data.anchors_per_batch=8", "data.anchors_per_batch is 8, there 16"),
        ("--data.val_sequences=2", "data.val_sequences is 2, there 3"),
    ],
)
def test_resuming_with_other_batches_is_refused(commands, corpus, capfd, flag: str, message: str) -> None:
    path = last_checkpoint(train(commands, corpus, "--trainer.max_steps=2", *SAVE_LAST))
    with pytest.raises(SystemExit):
        train(commands, corpus, f"--ckpt_path={path}", flag)
    assert message in capfd.readouterr().err


@pytest.mark.parametrize("at", [0, 3])
def test_a_non_finite_loss_stops_fit_as_it_stops_ttt_adapt(commands, tiny_pair, monkeypatch, caplog, at: int) -> None:
    data = commands.contexts("rules")
    pair = tiny_pair()
    prompt = context_of([encode(pair.target.tokenizer, task.messages) for task in load_tasks(data)])
    monkeypatch.setattr(steps, "block_loss", broken(at))
    expected = ttt_adapt(pair, prompt, SPEC)
    monkeypatch.setattr(module, "block_loss", broken(at))
    cli = commands("fit", *TTT, *KEEP_ALL, data=data)

    assert expected.stopped == f"non-finite loss or gradient at step {at}: kept the weights before it"
    assert caplog.text.count(expected.stopped) == 2
    assert cli.trainer.global_step == at + 1
    assert same(adapter_of(cli), expected.adapter.weights)
    kept = stored(checkpoint_at(cli, at + 1))["state_dict"].values()
    assert all(tensor.isfinite().all() for tensor in kept)


def test_a_stop_after_resuming_leaves_the_same_weights(commands, monkeypatch) -> None:
    """The weights that are kept are older than the checkpoint."""
    data = commands.contexts("rules")
    monkeypatch.setattr(module, "block_loss", broken(4))
    whole = commands("fit", *TTT, *KEEP_ALL, data=data)
    monkeypatch.setattr(module, "block_loss", broken(0))
    resumed = commands("fit", *TTT, f"--ckpt_path={checkpoint_at(whole, 4)}", data=data)
    assert not same(stored(checkpoint_at(whole, 4))["state_dict"], stored(checkpoint_at(whole, 5))["state_dict"])
    assert same(adapter_of(resumed), adapter_of(whole))


PATIENT = ("--model.ttt.steps=60", "--model.ttt.lr=1e-12", "--model.ttt.patience=4", "--model.ttt.anchors=4")


def test_patience_stops_fit_where_it_stops_ttt_adapt(commands: Commands, tiny_pair: Callable[..., Pair]) -> None:
    data = commands.contexts("rules")
    pair = tiny_pair()
    prompt = context_of([encode(pair.target.tokenizer, task.messages) for task in load_tasks(data)])
    expected = ttt_adapt(pair, prompt, TTTSpec(steps=60, lr=1e-12, patience=4, anchors=4))
    whole = commands("fit", *PATIENT, *KEEP_ALL, data=data)
    steps = whole.trainer.global_step
    resumed = commands("fit", *PATIENT, f"--ckpt_path={checkpoint_at(whole, 2)}", data=data)
    again = commands("fit", *PATIENT, f"--ckpt_path={checkpoint_at(whole, steps)}", data=data)

    assert expected.stopped == "no better loss for 4 steps"
    assert len(expected.losses) == steps < 60
    assert same(adapter_of(whole), expected.adapter.weights)
    for other in (resumed, again):
        assert other.trainer.global_step == steps
        assert same(adapter_of(other), adapter_of(whole))


# -- validate ---------------------------------------------------------------------------------------------------------


def test_validate_logs_loss_estimated_tau_and_accuracies(commands: Commands) -> None:
    cli = commands("validate", data=commands.contexts())
    metrics = cli.trainer.callback_metrics
    assert {"val/loss", "val/estimated_tau", "val/accuracy_slot_1", "val/accuracy_slot_3"} <= set(metrics)
    assert 1 <= float(metrics["val/estimated_tau"]) <= 4
    assert float(metrics["val/loss"]) > 0


def test_validate_asks_where_fit_was_not_trained(commands: Commands) -> None:
    """All positions are trained on but every sixteenth, and validation asks at these."""
    data, anchors = commands.contexts("rules"), {True: set(), False: set()}

    def spied(*args: Any, validation: bool, **kwargs: Any) -> BlockBatch:
        batch = context_batch(*args, validation=validation, **kwargs)
        anchors[validation].update(batch.anchors.flatten().tolist())
        return batch

    many = ("--model.ttt.steps=3", "--model.ttt.anchors=1000", "--model.ttt.seed=3")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lessons, "context_batch", spied)
        fitted = commands("fit", *many, *SAVE_LAST, data=data)
        commands("validate", f"--ckpt_path={last_checkpoint(fitted)}", data=data)
    length = max(anchors[False]) + 2
    assert not anchors[True] & anchors[False]
    assert anchors[True] | anchors[False] == set(range(1, length - 1))
    assert len(anchors[True]) == (length - 2) // 16 > 2


def test_validating_without_held_out_positions_is_refused(commands: Commands, capfd) -> None:
    data = commands.contexts("rules")
    fitted = commands("fit", *TTT, "--model.ttt.held_out=0", *SAVE_LAST, data=data)
    arguments = commands.arguments("validate", f"--ckpt_path={last_checkpoint(fitted)}", data=data)
    line = commands.refused_late(capfd, *arguments)
    assert "model.ttt.held_out is 16, but the checkpoint was fitted with 0" in line


def test_validate_is_better_under_the_contexts_adapter(commands: Commands) -> None:
    data = commands.contexts("rules")
    spec = ("--model.ttt.steps=40", "--model.ttt.lr=1e-2")
    fitted = commands("fit", *spec, *SAVE_LAST, data=data)
    before = commands("validate", data=data).trainer.callback_metrics["val/loss"]
    under = commands("validate", f"--ckpt_path={last_checkpoint(fitted)}", data=data)
    assert float(under.trainer.callback_metrics["val/loss"]) < float(before)
