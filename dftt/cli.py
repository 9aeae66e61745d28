"""The command line: LightningCLI with one evaluator always attached."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from dftt.data import ContextDataModule
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.models.target import check_window, encode, load_tokenizer
from dftt.module import DraftTTTModule
from dftt.provenance import write_provenance
from dftt.types import check_file


class DfttCLI(LightningCLI):
    """Train, adapt and evaluate a DFlash draft. One evaluator is always attached, as `evaluator`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The evaluator as a forced callback: always there, and out of reach of a checkpoint's hyper-parameters."""
        parser.add_lightning_class_args(GuidedDecodingEvaluator, "evaluator")

    def before_fit(self) -> None:
        """Check the input before the target is loaded."""
        self._check_input(new_tokens=0)

    def before_validate(self) -> None:
        """As before_fit."""
        self._check_input(new_tokens=0)

    def before_test(self) -> None:
        """As before_fit; answers must fit the window too."""
        self._check_input(new_tokens=self._decoding_tokens())

    def before_predict(self) -> None:
        """As before_test."""
        self._check_input(new_tokens=self._decoding_tokens())

    def _decoding_tokens(self) -> int:
        return self.config[self.subcommand].evaluator.decoding.max_new_tokens

    def _check_input(self, *, new_tokens: int) -> None:
        ckpt_path = self.config[self.subcommand].ckpt_path
        if ckpt_path is not None:
            # Lightning's own "last" and "best" fall back to untrained weights with a mere warning.
            check_file("ckpt_path", ckpt_path)
        module, data = self.model, self.datamodule
        if isinstance(data, ContextDataModule) and isinstance(module, DraftTTTModule) and not module.allow_long:
            tokenizer, window = load_tokenizer(module.target_name)
            for tasks in data.contexts.values():
                for task in tasks:
                    length = len(encode(tokenizer, task.messages))
                    check_window(window, length, new_tokens, name=f"context {task.context_id}")


class SaveConfigAndProvenance(SaveConfigCallback):
    """Writes config.yaml and provenance.json into the run's folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Called by Lightning on the first process only."""
        if trainer.log_dir is not None:
            write_provenance(trainer.log_dir)


def main(args: Sequence[str] | None = None) -> None:
    """Run a subcommand; bad input prints one line and exits with 2."""
    try:
        DfttCLI(
            DraftTTTModule,
            args=list(args) if args is not None else None,
            auto_configure_optimizers=False,
            seed_everything_default=1,
            save_config_callback=SaveConfigAndProvenance,
            trainer_defaults={"inference_mode": False},
        )
    except ValueError as error:
        if not _is_ours(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _is_ours(error: ValueError) -> bool:
    """Whether this package raised it: then the message is for the user, and a traceback is not."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)
