"""The callback that measures: contexts x arms, acceptance length and scores, each recorded as soon as it exists."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from dftt.analysis.arms_file import read_arms, write_arms
from dftt.analysis.brief import answer_costs, write_answers
from dftt.analysis.curves import write_curves
from dftt.command import StoppedBySignal
from dftt.data import ContextDataModule
from dftt.judges.base import Judge
from dftt.models.lora import Adaptation, Adapter
from dftt.module import DraftTTTModule
from dftt.report.products import rates, write_products
from dftt.study import Arm, check_arms
from dftt.study.checks import check_alone, check_materials, check_seeds
from dftt.study.grid import expand
from dftt.study.judging import BackgroundJudging
from dftt.study.progress import AnswerPrinter, StudyProgress
from dftt.study.records import RecordStore
from dftt.study.runner import Runner
from dftt.study.spec import Study
from dftt.suites.tasks import ContextItem
from dftt.trainer import command
from dftt.types import DecodingSpec, TTTSpec
from dftt.types.checks import at_least
from dftt.types.inputs import reading
from dftt.types.outputs import check_output_file, check_output_folder


class GuidedDecodingEvaluator(L.Callback):
    """Runs every arm on every context in `test`, and answers in `predict`.

    Args:
        arms: What is compared. Each has mode (target, speculative, guided, power, rerank, copy), ttt (none, own,
            wrong, shuffled) and, where guided, alpha. By default, where there is no grid either, target,
            speculative+none and speculative+own.
        grid: More arms: every combination of the values of axes, {axis: [value, ...]}. Axes are mode, alpha,
            temperature, top_p, guidance, parameters, matched_to, source (an arm's ttt), taps, rounds, and the settings
            of model.ttt. Or several such grids, as a list.
        seeds: Every task is decoded under each of these; by default under decoding.seed.
        decoding: Decoding settings that all arms share.
        baseline: Id of the arm that tables show first. What is compared with what follows from the arms themselves.
        dry_run: Print the arms, what is to be computed and about how long it takes, and stop before weights are loaded.
        run_dir: Folder of the records; a run that finds finished ones there skips them. By default the run's own log
            folder.
        answer_with: The arm that `predict` answers with.
        amateur: Hub id or folder of a smaller model with the target's vocabulary, for the rules contrastive and
            contrastive_ratio.
        generic_adapter: PEFT folder of an adapter made over many contexts, for the rule own_minus_generic; by default
            that of --ckpt_path.
        allow_clbench_ttt: Adapt to contexts of CL-bench, whose data card forbids parameter updates on them: only for
            disclosed research that stays off its leaderboard. Adapters of such contexts are never saved.
        allow_code_execution: Run answers of HumanEval and MBPP against their tests, in a sandbox (Linux on x86-64 only;
            dftt/scoring/sandbox.py says what it holds back). Without it they are unscored.
        judge: Scores answers whose rubrics are in words, beside decoding; without one they stay unscored, and
            `python -m dftt.analysis.rescore` can score them later.
        rows: Decode up to so many answers on one context side by side, where their arms differ in alpha alone: a study
            of many arms takes a fraction of the time. Answers are the same, but have no seconds, and so no speed.
        brief: End `test` with a dozen lines in plain words instead of tables and verdict, which the report has.
        trace_tasks: Trace the answers to the first so many tasks, for the report's token view; each costs about as much
            again as decoding it.
        answers: JSONL file that `predict` writes its answers to, one row per task, instead of printing them.
    """

    def __init__(
        self,
        arms: list[Arm] | None = None,
        grid: dict[str, list[Any]] | list[dict[str, list[Any]]] | None = None,
        seeds: list[int] | None = None,
        decoding: DecodingSpec = DecodingSpec(),
        baseline: str = "speculative+none",
        dry_run: bool = False,
        run_dir: str | None = None,
        answer_with: Arm = Arm("speculative", "own"),
        amateur: str | None = None,
        generic_adapter: str | None = None,
        allow_clbench_ttt: bool = False,
        allow_code_execution: bool = False,
        judge: Judge | None = None,
        rows: int = 1,
        brief: bool = False,
        trace_tasks: int = 1,
        answers: str | None = None,
    ) -> None:
        # Not a default of the signature: a list of instances cannot be written into config.yaml.
        default = [Arm("target"), Arm("speculative"), Arm("speculative", "own")]
        self.arms = default if arms is None and grid is None else [*(arms or []), *expand(grid or {})]
        self.seeds = check_seeds([decoding.seed] if seeds is None else seeds)
        self.decoding, self.baseline, self.dry_run = decoding, baseline, dry_run
        self.run_dir, self.answer_with, self.allow_clbench_ttt = run_dir, answer_with, allow_clbench_ttt
        self.amateur, self.generic_adapter = amateur, generic_adapter
        with reading(f"evaluator.generic_adapter {generic_adapter}", fix="give a PEFT folder"):
            self._generic = Adapter.load(generic_adapter) if generic_adapter is not None else None
        at_least("evaluator.trace_tasks", trace_tasks, 0)
        at_least("evaluator.rows", rows, 1)
        self.allow_code_execution, self.rows = allow_code_execution, rows
        self.judge, self.trace_tasks, self.answers, self.brief = judge, trace_tasks, answers, brief
        self._progress = StudyProgress(num_contexts=0, quiet=True)
        self._when_stopped = ""  # what to say then, of a study that has begun

    # -- Lightning -----------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse settings under which nothing could be measured."""
        if stage not in ("test", "predict"):
            return
        if (trainer.test_loop if stage == "test" else trainer.predict_loop).inference_mode:
            name = "test" if stage == "test" else "predict"  # the stage prints as TrainerFn.TESTING
            raise ValueError(f"{name} back-propagates into the adapter: set trainer.inference_mode to false")
        # Of a checkpoint the trainer knows nothing yet; the command line has asked before.
        self.check_arms(stage, _checked(pl_module).ttt, has_checkpoint=True)
        check_output_folder("evaluator.run_dir" if self.run_dir else "trainer.default_root_dir", self._folder(trainer))
        if stage == "predict" and self.answers is not None:
            check_output_file("evaluator.answers", self.answers)

    def check_arms(self, stage: str, ttt: TTTSpec, *, has_checkpoint: bool) -> None:
        """Raise ValueError for arms of `test` or `predict` that could not be measured."""
        arms = self.arms if stage == "test" else [self.answer_with]
        if stage == "test":
            check_arms(arms, self.baseline, self.decoding, ttt)
        else:
            check_alone(self.answer_with, self.decoding, ttt)
        check_materials(arms, amateur=self.amateur, has_generic=self._generic is not None or has_checkpoint)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the records, and find out which are wanted."""
        module, contexts = _checked(pl_module), int(sum(trainer.num_test_batches))
        self._progress = StudyProgress(num_contexts=contexts, quiet=not trainer.is_global_zero)
        folder = self._begin(trainer, module, "test", self.arms, trainer.limit_test_batches)
        run_dir = "" if self.run_dir else f" --evaluator.run_dir {shlex.quote(str(folder))}"
        self._when_stopped = f"Finished answers are kept. Resume with: {command()}{run_dir}"
        self._curves = Path(trainer.log_dir or folder).parent  # the processes agree on it: all must ask
        if trainer.is_global_zero:
            write_arms(folder, self.arms, module.ttt, self.decoding)
        self._progress.start()

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: ContextItem,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """All arms on one context."""
        with _arithmetic(trainer):
            self._runner.measure(batch)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ratios, made once, from the records of all processes; the judge's last scores are waited for."""
        self._runner.finish()
        trainer.strategy.barrier("records")
        # Not from what this process saw: a context that two processes measured is one record of each arm and task.
        records = self._runner.wanted().records
        for name, value in rates(records, self.arms).items():
            pl_module.log(f"test/{name}", value, sync_dist=True)  # equal on all of them

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """The final table and the verdict, from the records on disk: also those of earlier runs and other processes."""
        self._progress.stop()
        if not trainer.is_global_zero:
            return
        self._runner.check_folder()
        wanted, folder = self._runner.wanted(), self._runner.store.folder
        told, report = write_products(folder, wanted, baseline=self.baseline, brief=self.brief)
        print(told)
        if self.judge is not None and (usage := self.judge.usage()):
            print(usage)
        print(f"report: {report}")
        if isinstance(trainer.logger, TensorBoardLogger):
            arms = read_arms(folder).arms
            write_curves(trainer.logger.log_dir, trainer.logger.experiment, wanted.records, arms)
        print(f"curves: tensorboard --logdir {self._curves}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Give the terminal back; where a signal stopped the study, say how it goes on."""
        self._progress.stop()
        if isinstance(exception, StoppedBySignal) and self._when_stopped:
            exception.what_remains = self._when_stopped
        if hasattr(self, "_runner"):
            self._runner.stop()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the records."""
        limit, self._progress = trainer.limit_predict_batches, StudyProgress(num_contexts=0, quiet=True)
        folder = self._begin(trainer, _checked(pl_module), "predict", [self.answer_with], limit)
        self._when_stopped = f"Finished answers are records in {folder}."

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: ContextItem,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Adapt to the context and answer its questions: printed token by token as they come, and as records."""
        tokenizer = self._runner.study.pair.target.tokenizer
        printer = (lambda: AnswerPrinter(tokenizer)) if self.answers is None else (lambda: None)
        adaptation: Adaptation | None = None
        with _arithmetic(trainer):
            for made in self._runner.answer(batch, printer):
                if isinstance(made, Adaptation):
                    adaptation = made
                    print(_how_adapted(batch.context_id, made))
                elif self.answers is None:
                    print(f"\n[{answer_costs(made, adaptation)}]")

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """All answers of the run as one file, where one is asked for."""
        trainer.strategy.barrier("answers")
        if self.answers is not None and trainer.is_global_zero:
            made = self._runner.wanted().records
            write_answers(self.answers, made)
            print(f"{len(made)} answers: {self.answers}")

    def _begin(
        self, trainer: L.Trainer, module: DraftTTTModule, stage: str, arms: list[Arm], limit: int | float | None
    ) -> Path:
        """Make the runner of all contexts, and say which records of earlier runs no longer count; its folder."""
        data, precision, is_test = _data(trainer), trainer.precision_plugin, stage == "test"
        study = Study(
            module.pair,
            tuple(arms),
            self.decoding,
            module.ttt,
            self.seeds if is_test else (self.decoding.seed,),
            initial=module.adapter,
            generic=self._generic,
            amateur=self.amateur,
            rows=self.rows,
            dtype=module.target_dtype,
            precision=(type(precision).__name__, str(precision.precision)),
            allow_code_execution=self.allow_code_execution,
            # The first tasks, the same ones on every process.
            traced_tasks=frozenset(task.task_id for task in data.tasks[: self.trace_tasks if is_test else 0]),
        )
        store = RecordStore(self._folder(trainer), rank=data.share()[0])
        judging = None
        if is_test and self.judge is not None:
            self.judge.keep_replies(store.folder / "verdicts")
            judging = BackgroundJudging(self.judge, store)
        self._runner = Runner(study, store, self._progress, judging)
        if told := self._runner.begin(data.measured(limit), stage, writes=trainer.is_global_zero):
            print(told)
        return store.folder

    def _folder(self, trainer: L.Trainer) -> Path:
        folder = self.run_dir or trainer.log_dir
        if folder is None:
            raise ValueError(
                "there is no folder for the records: set evaluator.run_dir or a trainer.logger with a log folder"
            )
        return Path(folder)


@contextmanager
def _arithmetic(trainer: L.Trainer) -> Iterator[None]:
    """The trainer's precision, and no gradients but those of test-time training."""
    with trainer.precision_plugin.forward_context(), torch.no_grad():
        yield


def _checked(module: L.LightningModule) -> DraftTTTModule:
    if not isinstance(module, DraftTTTModule):
        raise TypeError(f"GuidedDecodingEvaluator works with DraftTTTModule, got {type(module).__name__}")
    return module


def _data(trainer: L.Trainer) -> ContextDataModule:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ContextDataModule):
        raise ValueError(
            f"test and predict measure the contexts of a ContextDataModule, got {type(data).__name__}; give the "
            "trainer one as datamodule"
        )
    return data


def _how_adapted(context: str, made: Adaptation) -> str:
    steps = f"{len(made.losses)} steps"
    if made.losses and made.all_seconds == 0:
        return f"took the adapter to {context} from the store ({steps})"
    return f"adapted to {context} in {made.all_seconds:.1f} s ({steps})"
