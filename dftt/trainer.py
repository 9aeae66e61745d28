"""What this command line asks of Lightning's trainer where the trainer's own defaults do not suit it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from dftt.command import StoppedBySignal, stop_on_signals

TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,  # Lightning takes all there are; more than one is asked for by name
    "inference_mode": False,  # test adapts, so needs gradients
    "enable_model_summary": False,
    "use_distributed_sampler": True,  # for batches of a corpus; contexts are shared out by their own sampler
}

_processes: Any = rank_zero_only  # Lightning keeps this process's number as an attribute of a function


class RunLogger(TensorBoardLogger):
    """TensorBoard's logger; a run takes its number by making the folder, so that no two runs write into one.

    Lightning counts what is there, which two runs that start together may do at once, and in a SLURM job takes the
    job's number for all of its runs.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__(save_dir, default_hp_metric=False)
        self._number: int | None = None

    @property
    def version(self) -> int | str:
        """The run's number; the first process takes it when it is first asked for."""
        if _processes.rank != 0:
            return super().version  # the first process tells the others its folder
        if self._number is None:
            self._number = take_number(Path(self.root_dir))
        return self._number


def take_number(root: Path) -> int:
    """The first number past all `version_<n>` of a folder whose own folder could be made; it is there afterwards."""
    root.mkdir(parents=True, exist_ok=True)
    names = [each.name.removeprefix("version_") for each in root.glob("version_*")]
    number = max((int(name) + 1 for name in names if name.isdecimal()), default=0)
    while True:
        try:
            (root / f"version_{number}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return number


def fill_in(settings: Any, *, subcommand: str, on_contexts: bool) -> None:
    """Set what is None in the trainer's settings, and depends on what is run."""
    chosen: dict[str, int] = {
        "enable_progress_bar": subcommand in ("fit", "validate")
    }  # test and predict show their own progress
    if subcommand == "fit" and on_contexts:
        # What validation needs is checked before; there are tens of steps in all.
        chosen |= {"num_sanity_val_steps": 0, "log_every_n_steps": 1}
    for name, value in chosen.items():
        if settings[name] is None:
            settings[name] = value


def instances(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The logger and the plugins to make a trainer with; a logger or an environment that is set stays."""
    chosen: dict[str, Any] = {}
    if settings["logger"] in (None, True):
        chosen["logger"] = RunLogger(settings["default_root_dir"] or Path.cwd())
    given = settings["plugins"] or []
    plugins = list(given) if isinstance(given, list | tuple) else [given]
    environment = _environment(settings)
    if environment is not None and not any(isinstance(each, ClusterEnvironment) for each in plugins):
        chosen["plugins"] = [*plugins, environment]
    return chosen


def _environment(settings: Mapping[str, Any]) -> ClusterEnvironment | None:
    """How processes of this run find each other; None leaves it to Lightning."""
    devices = settings["devices"]
    alone = str(devices) == "1" or (isinstance(devices, list) and len(devices) == 1)
    if alone and settings["num_nodes"] == 1:
        # A run of its own, though a cluster's variables count it among the tasks of its job.
        _processes.rank = 0
        return LightningEnvironment()
    # A study goes on from its records, a fit from its checkpoint; whether a job is queued again, its owner decides.
    return SLURMEnvironment(auto_requeue=False) if SLURMEnvironment.detect() else None


class StopsOnSignals(Callback):
    """Keeps SIGTERM a stop within seconds: Lightning's own handler waits for the end of a batch, here a whole context.

    Lightning puts its handler in place before each of these hooks.
    """

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Take the signals back."""
        stop_on_signals()

    on_train_start = on_validation_start = on_test_start = on_predict_start = on_sanity_check_start

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Pass the signal on to processes that this one started, and say how a fit goes on."""
        if not isinstance(exception, StoppedBySignal):
            return
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(exception.signal)
        last = getattr(trainer.checkpoint_callback, "last_model_path", "")
        if path := last or getattr(trainer.checkpoint_callback, "best_model_path", ""):
            exception.what_remains = f"Resume with: {command()} --ckpt_path {shlex.quote(path)}"


def command() -> str:
    """The command that this process was started with, as it may be typed again."""
    return shlex.join(sys.orig_argv)
