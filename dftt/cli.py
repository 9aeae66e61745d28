"""The command line: LightningCLI with one evaluator always attached."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback

from dftt.adaptation.self_study import study_instructions
from dftt.adaptation.store import AdapterStore
from dftt.command import command_line
from dftt.data import ContextDataModule, CorpusDataModule
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.free_text import as_configs
from dftt.models.target import check_window, encode, load_tokenizer
from dftt.module import DraftTTTModule
from dftt.shipped import with_shipped
from dftt.study import Arm
from dftt.study.plan import ROUGH, format_plan, make_plan, measured_rates
from dftt.study.provenance import write_provenance
from dftt.study.records import load_records
from dftt.suites.clbench import NOTICE, clbench_contexts
from dftt.suites.conversation import conversation_length, later_turns
from dftt.trainer import TRAINER_DEFAULTS, StopsOnSignals, fill_in, instances
from dftt.types import TTTSpec, check_file
from dftt.types.inputs import bad_input_behind, reading

# Lightning's advice on what is meant to be so here.
_NOT_FOR_US = (
    r"Found \d+ module\(s\) in eval mode",  # the target is frozen
    ".*does not have many workers",  # a loader hands out finished batches
    "You have overridden `transfer_batch_to_device`",
    "You're resuming from a checkpoint that ended before the epoch ended",  # the data module says where it stood
    "The dirpath has changed",  # each run has its own folder
    "predict returned None",  # the evaluator prints and stores the answers
    "Be aware that when using `ckpt_path`, callbacks",  # test keeps no checkpoints
)


class DfttCLI(LightningCLI):
    """Train, adapt and evaluate a DFlash draft. One evaluator is always attached, as `evaluator`."""

    def subcommands(self) -> dict[str, set[str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Those of Lightning's that the parser is given settings for: each takes a tenth of a second to set up."""
        return {name: left_out for name, left_out in LightningCLI.subcommands().items() if name in self.parser_kwargs}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The evaluator as a forced callback: always there, and out of reach of a checkpoint's hyper-parameters."""
        parser.add_lightning_class_args(GuidedDecodingEvaluator, "evaluator")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Read flags and configs, free text as it was typed; whatever the parser says of them is one sentence."""
        with reading("the settings", fix="--help lists what is accepted"):
            try:
                self.config = parser.parse_args(as_configs(with_shipped(cast(list[str], args))))
            except argparse.ArgumentError as error:
                raise ValueError(str(bad_input_behind(error) or _innermost(error))) from error
        seed = self.config[self.config.subcommand].seed_everything
        if not 0 <= seed < 2**32:  # what all random number generators take
            raise ValueError(f"seed_everything must be between 0 and {2**32 - 1}, got {seed}")

    def before_instantiate_classes(self) -> None:
        """What the trainer is made with: an end for a fit on one context, and an accelerator that is there."""
        config = self.config[str(self.subcommand)]
        # A fit on one context has no end of its own.
        contexts = config.data is not None and config.data.class_path.endswith(".ContextDataModule")
        if self.subcommand == "fit" and contexts and config.trainer.max_steps == -1:
            config.trainer.max_steps = config.model.ttt.steps
        fill_in(config.trainer, subcommand=str(self.subcommand), on_contexts=contexts)
        self._check_accelerator(config)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer with a logger and an environment of our choice where none is set."""
        with reading("trainer", fix="--help lists what each setting takes"):
            return super().instantiate_trainer(**instances(self._get(self.config_init, "trainer")), **kwargs)

    def before_fit(self) -> None:
        """Check the input before the target is loaded."""
        data = self._checked_data()
        trainer = self.config[str(self.subcommand)].trainer
        if trainer.max_steps == -1 and trainer.max_epochs is None and trainer.max_time is None:
            raise ValueError(
                "fit on a corpus has no end of its own: give --trainer.max_steps, trainer.max_epochs or "
                "trainer.max_time; the learning rate falls until then"
            )
        if isinstance(data, ContextDataModule):
            if self.model.ttt.learns("generation"):
                raise ValueError(
                    "fit learns before an answer: set model.ttt.learns_from to context or self_study, got "
                    f"{self.model.ttt.learns_from}"
                )
            _check_files(self.model.ttt)
            data.only_context()
            if clbench_contexts(data.tasks):
                raise ValueError(f"fit would save an adapter of a CL-bench context, which is not allowed: {NOTICE}")
            self._check_lengths(data, new_tokens=0)

    def before_validate(self) -> None:
        """Check the input before the target is loaded."""
        data = self._checked_data()
        if isinstance(data, ContextDataModule):
            self._check_lengths(data, new_tokens=0)

    def before_test(self) -> None:
        """Check arms and input before the target is loaded; answers must fit its window, too. A dry run ends here."""
        data = self._check_study("test", self.evaluator.arms)
        if self.evaluator.dry_run:
            print(self._plan(data))
            sys.exit(0)

    def before_predict(self) -> None:
        """Check the arm and the input before the target is loaded."""
        self._check_study("predict", [self.evaluator.answer_with])

    @property
    def evaluator(self) -> GuidedDecodingEvaluator:
        """The callback that is always attached."""
        return self._get(self.config_init, "evaluator")

    def _checked_data(self) -> ContextDataModule | CorpusDataModule:
        if not isinstance(self.datamodule, (ContextDataModule, CorpusDataModule)):
            raise ValueError(f"{self.subcommand} needs data: give --data ContextDataModule or --data CorpusDataModule")
        if isinstance(self.datamodule, ContextDataModule) and self.datamodule.length_buckets:
            tokenizer, _ = load_tokenizer(self.model.target_name)
            self.datamodule.keep_lengths(lambda task: len(encode(tokenizer, task.messages)))
        return self.datamodule

    def _check_accelerator(self, config: Namespace) -> None:
        name = config.trainer.accelerator
        self._for_gpu = name in ("gpu", "cuda") or (name == "auto" and _has_gpu())
        if not self._for_gpu or _has_gpu():
            return
        if not (self.subcommand == "test" and config.evaluator.dry_run):
            raise ValueError(
                f"trainer.accelerator is {name}, but torch {torch.__version__} finds no GPU here: give "
                "--trainer configs/trainer/cpu.yaml, or --trainer.accelerator auto to take what there is"
            )
        config.trainer.accelerator = "cpu"  # a plan computes nothing

    def _plan(self, data: ContextDataModule) -> str:
        """What `test` would compute; records of earlier runs in its folder count, and say how long parts took."""
        evaluator, folder = self.evaluator, self.evaluator.run_dir
        records = load_records(folder) if folder is not None and Path(folder).is_dir() else []
        wanted = {task.task_id for task in data.tasks}, {arm.id for arm in evaluator.arms}, set(evaluator.seeds)
        there = [
            record for record in records if all(part in known for part, known in zip(record.key, wanted, strict=True))
        ]
        turns = [[1 + len(later_turns(task)) for task in tasks] for tasks in data.contexts.values()]
        plan = make_plan(turns, evaluator.arms, evaluator.seeds, self.model.ttt, evaluator.decoding, evaluator.rows)
        rates = measured_rates(records, ROUGH["gpu" if self._for_gpu else "cpu"])
        return format_plan(plan, evaluator.arms, self.model.ttt, evaluator.decoding, rates, len(there))

    def _check_study(self, stage: str, arms: Sequence[Arm]) -> ContextDataModule:
        data = self._checked_data()
        if not isinstance(data, ContextDataModule):
            raise ValueError(f"{self.subcommand} works on contexts: give --data ContextDataModule")
        self.evaluator.check_arms(stage, self.model.ttt, has_checkpoint=self.config[stage].ckpt_path is not None)
        if len(data.contexts) == 1 and (needing := [arm.id for arm in arms if arm.needs_other_context]):
            raise ValueError(f"arm {needing[0]} needs at least two contexts: there is no other one to adapt to")
        adapting = [arm.ttt_spec(self.model.ttt) for arm in arms if arm.ttt != "none"]
        for spec in adapting:
            _check_files(spec)
        if adapting and clbench_contexts(data.tasks):
            if any(spec.store for spec in adapting):
                raise ValueError(f"ttt.store would keep adapters of CL-bench contexts, which is not allowed: {NOTICE}")
            if not self.evaluator.allow_clbench_ttt:
                raise ValueError(
                    f"{NOTICE} If you have read this: --evaluator.allow_clbench_ttt true; else use arms with ttt none"
                )
            print(NOTICE, file=sys.stderr)
        self._check_lengths(data, new_tokens=self.evaluator.decoding.max_new_tokens)
        return data

    def _check_lengths(self, data: ContextDataModule, *, new_tokens: int) -> None:
        tokenizer, window = load_tokenizer(self.model.target_name)
        for task in data.tasks:
            length = conversation_length(task, tokenizer)
            turns = 1 + len(later_turns(task))
            if not self.model.allow_long:
                check_window(window, length, new_tokens * turns, name=f"context {task.context_id}")

    def _parse_ckpt_path(self) -> None:
        """Take what identifies the weights from the checkpoint, but refuse where a flag says something else."""
        config = self.config[self.config.subcommand]
        if config.ckpt_path is None:
            return
        # Lightning's own "last" and "best" fall back to untrained weights with a mere warning.
        path = check_file("ckpt_path", config.ckpt_path)
        try:
            checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        except Exception:  # whatever the bytes lead the unpickler to
            raise ValueError(f"ckpt_path: {path} is not a checkpoint that torch can read") from None
        if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
            raise ValueError(f"ckpt_path: {path} is not a Lightning checkpoint: it has no state_dict")
        model, defaults = config.model, self._parser(self.config.subcommand).get_defaults().model
        stored = checkpoint.get("hyper_parameters", {})
        if foreign := sorted(name for name in stored if name != "_instantiator" and name not in model):
            raise ValueError(f"ckpt_path: {path} is of another model: it has settings {', '.join(foreign)}")
        for name, value in stored.items():
            # Lightning would let the stored value win without a word.
            if name in model and model[name] not in (value, defaults[name]):
                raise ValueError(f"model.{name} is {model[name]}, but {path} was made with {value}")
        super()._parse_ckpt_path()


class SaveConfigAndProvenance(SaveConfigCallback):
    """Writes config.yaml and provenance.json into the run's folder, once; a logger without a folder has neither."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write both."""
        written, log_dir = self.already_saved, trainer.log_dir  # the processes agree on it, so all of them must ask
        if log_dir is not None:
            super().setup(trainer, pl_module, stage)
            if trainer.is_global_zero and not written:
                write_provenance(log_dir)


def main(args: Sequence[str] | None = None) -> None:
    """Run a subcommand as `command_line` runs commands."""
    with command_line(unasked=_NOT_FOR_US):
        given, known = list(sys.argv[1:] if args is None else args), LightningCLI.subcommands()
        wanted = [name for name in given[:1] if name in known] or known
        try:
            DfttCLI(
                DraftTTTModule,
                args=given,
                auto_configure_optimizers=False,
                seed_everything_default=1,
                save_config_callback=SaveConfigAndProvenance,
                save_config_kwargs={"overwrite": True},  # of a folder that was named by hand, as provenance.json
                trainer_defaults={**TRAINER_DEFAULTS, "callbacks": [StopsOnSignals()]},
                parser_kwargs={"exit_on_error": False, **{name: {"exit_on_error": False} for name in wanted}},
            )
        except MisconfigurationException as error:
            raise ValueError(f"trainer: {' '.join(str(error).split())}") from error


def _check_files(spec: TTTSpec) -> None:
    """Read or try what the settings of an adaptation name on disk."""
    if spec.learns("self_study"):
        study_instructions(spec.study_prompts)
    if spec.store:
        AdapterStore(spec.store)


def _has_gpu() -> bool:
    """Whether Lightning's accelerator gpu would find one."""
    return CUDAAccelerator.is_available() or MPSAccelerator.is_available()


def _innermost(error: argparse.ArgumentError) -> str:
    """The places that lead to a wrong value, and what is wrong with it, in one line; the parser says it of each member
    of a union, and chains the errors.
    """
    said, cause = "", error
    while cause is not None:
        first, _, rest = str(cause).partition("\n")
        is_last = (cause.__cause__ or cause.__context__) is None
        if (is_last or isinstance(cause, argparse.ArgumentError)) and first not in said:
            said += f" {first}"
        said += f" {rest}" if is_last else ""
        cause = cause.__cause__ or cause.__context__
    return " ".join(said.split())
