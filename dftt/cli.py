"""The command line: LightningCLI with one evaluator always attached."""

from __future__ import annotations

import argparse
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback

from dftt.data import ContextDataModule, CorpusDataModule
from dftt.evaluation.conversation import conversation_length, later_turns
from dftt.evaluation.licence import NOTICE, clbench_contexts
from dftt.evaluation.records import load_records
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.free_text import as_configs
from dftt.models.target import check_window, encode, load_tokenizer
from dftt.module import DraftTTTModule
from dftt.provenance import write_provenance
from dftt.study import Arm
from dftt.study.plan import ROUGH, format_plan, make_plan, measured_rates
from dftt.types import check_file

# Lightning's advice on what is meant to be so here.
_NOT_FOR_US = (
    r"Found \d+ module\(s\) in eval mode",  # the target is frozen
    ".*does not have many workers",  # a loader hands out finished batches
    "You have overridden `transfer_batch_to_device`",
    "The dirpath has changed",  # each run has its own folder
    "predict returned None",  # the evaluator prints and stores the answers
    "Be aware that when using `ckpt_path`, callbacks",  # test keeps no checkpoints
)
_UNION_NOISE = (
    "Does not validate against any of the Union subtypes",
    "Subtypes:",
    "Errors:",
    "Expected a path but",
    "Expected a <class 'NoneType'>",
    "Given value",
)


class DfttCLI(LightningCLI):
    """Train, adapt and evaluate a DFlash draft. One evaluator is always attached, as `evaluator`."""

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse arguments, free text among them as it was typed."""
        given = sys.argv[1:] if args is None else cast(list[str], args)
        self.config = parser.parse_args(as_configs(given))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The evaluator as a forced callback: always there, and out of reach of a checkpoint's hyper-parameters."""
        parser.add_lightning_class_args(GuidedDecodingEvaluator, "evaluator")

    def before_instantiate_classes(self) -> None:
        """What the trainer is made with: an end for a fit on one context, and an accelerator that is there."""
        config = self.config[str(self.subcommand)]
        # A fit on one context has no end of its own.
        contexts = config.data is not None and config.data.class_path.endswith(".ContextDataModule")
        if self.subcommand == "fit" and contexts and config.trainer.max_steps == -1:
            config.trainer.max_steps = config.model.ttt.steps
        self._check_accelerator(config)

    def before_fit(self) -> None:
        """Check the input before the target is loaded."""
        data = self._checked_data()
        if isinstance(data, ContextDataModule):
            if self.model.ttt.learns_from != "context":
                raise ValueError(
                    f"fit learns from a context: set model.ttt.learns_from to context, got {self.model.ttt.learns_from}"
                )
            data.only_context()
            if clbench_contexts(data.tasks):
                raise ValueError(f"fit would save an adapter of a CL-bench context, which is not allowed: {NOTICE}")
            self._check_lengths(data, new_tokens=0)

    def before_validate(self) -> None:
        """As before_fit."""
        data = self._checked_data()
        if isinstance(data, ContextDataModule):
            self._check_lengths(data, new_tokens=0)

    def before_test(self) -> None:
        """As before_fit; answers must fit the window too. A dry run ends here."""
        data = self._check_study("test", self.evaluator.arms)
        if self.evaluator.dry_run:
            print(self._plan(data))
            sys.exit(0)

    def before_predict(self) -> None:
        """As before_test."""
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
        if any(arm.ttt != "none" for arm in arms) and clbench_contexts(data.tasks):
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
    """Writes config.yaml and provenance.json into the run's folder."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write both once."""
        written = self.already_saved
        super().setup(trainer, pl_module, stage)
        log_dir = trainer.log_dir  # the processes agree on it, so all of them must ask
        if trainer.is_global_zero and not written and log_dir is not None:
            write_provenance(log_dir)


def main(args: Sequence[str] | None = None) -> None:
    """Run a subcommand; bad input prints one line and exits with 2."""
    cli_class = _only(*(args if args is not None else sys.argv[1:])[:1])
    try:
        with warnings.catch_warnings():
            for advice in _NOT_FOR_US:
                warnings.filterwarnings("ignore", advice)
            cli_class(
                DraftTTTModule,
                args=list(args) if args is not None else None,
                auto_configure_optimizers=False,
                seed_everything_default=1,
                save_config_callback=SaveConfigAndProvenance,
                trainer_defaults={"inference_mode": False},
                parser_kwargs={
                    "exit_on_error": False,
                    **{name: {"exit_on_error": False} for name in cli_class.subcommands()},
                },
            )
    except MisconfigurationException as error:
        print("error: trainer:", _one_line(str(error)), file=sys.stderr)
        sys.exit(2)
    except (ValueError, argparse.ArgumentError) as error:
        ours = next((cause for cause in _causes(error) if _is_ours(cause)), None)
        if ours is None and isinstance(error, ValueError):
            raise
        print("error:", str(ours) if ours is not None else _one_line(str(error)), file=sys.stderr)
        sys.exit(2)


def _has_gpu() -> bool:
    """Whether Lightning's accelerator gpu would find one."""
    return CUDAAccelerator.is_available() or MPSAccelerator.is_available()


def _only(subcommand: str = "") -> type[DfttCLI]:
    """The command line with one subcommand, where it is named first: each takes a tenth of a second to set up."""
    known = DfttCLI.subcommands()
    if subcommand not in known:
        return DfttCLI

    class OneSubcommand(DfttCLI):
        @staticmethod
        def subcommands() -> dict[str, set[str]]:
            return {subcommand: known[subcommand]}

    return OneSubcommand


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from: the parser wraps what a constructor says into messages of its own."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _one_line(message: str) -> str:
    """What the parser says, without what each other member of a union made of the value."""
    lines = [line.strip(" -") for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(_UNION_NOISE)) or " ".join(lines)


def _is_ours(error: BaseException) -> bool:
    """Whether this package raised it: then the message is for the user, and a traceback is not."""
    frames = traceback.extract_tb(error.__traceback__)
    return (
        isinstance(error, ValueError)
        and bool(frames)
        and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)
    )
