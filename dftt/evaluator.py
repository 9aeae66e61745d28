"""The callback that measures: contexts x arms, acceptance length and scores, each recorded as soon as it exists."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from dftt.adaptation.ttt import Adaptation
from dftt.analysis.arms_file import read_arms, write_arms
from dftt.analysis.brief import answer_costs, write_answers
from dftt.analysis.brief import brief as in_brief
from dftt.analysis.curves import write_curves
from dftt.analysis.metrics import AcceptanceLength, PassRate
from dftt.analysis.summary import format_failures, format_groups, format_table, summarise, tau_by_group
from dftt.analysis.verdict import write_verdict
from dftt.command import StoppedBySignal
from dftt.data import ContextDataModule, ContextItem
from dftt.judges.base import Judge
from dftt.models.lora import Adapter
from dftt.module import DraftTTTModule
from dftt.report.page import write_report
from dftt.study import Arm, check_arms
from dftt.study.changes import what_changed
from dftt.study.checks import check_alone, check_materials, check_seeds
from dftt.study.grid import expand
from dftt.study.judging import BackgroundJudging, needs_judge
from dftt.study.manifest import Intended, Wanted, read_intended, wanted_records
from dftt.study.measuring import ContextMeasurer
from dftt.study.progress import AnswerPrinter, StudyProgress
from dftt.study.records import RecordStore
from dftt.trainer import command
from dftt.types import DecodingSpec, TTTSpec
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
        self._generic = None
        if generic_adapter is not None:
            with reading(f"evaluator.generic_adapter {generic_adapter}", fix="give a PEFT folder"):
                self._generic = Adapter.load(generic_adapter)
        self.allow_code_execution = allow_code_execution
        if trace_tasks < 0:
            raise ValueError(f"evaluator.trace_tasks must be >= 0, got {trace_tasks}")
        if rows < 1:
            raise ValueError(f"evaluator.rows must be >= 1, got {rows}")
        self.rows = rows
        self.judge, self.trace_tasks, self.answers, self.brief = judge, trace_tasks, answers, brief
        self._judging: BackgroundJudging | None = None
        self._progress = StudyProgress(num_contexts=0, quiet=True)
        self._when_stopped = ""  # what to say then, of a study that has begun

    # -- Lightning -----------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse settings under which nothing could be measured."""
        if stage not in ("test", "predict"):
            return
        loop = trainer.test_loop if stage == "test" else trainer.predict_loop
        if loop.inference_mode:
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
        """Open the records."""
        self._tau = {arm.id: AcceptanceLength() for arm in self.arms}
        self._store = RecordStore(self._folder(trainer), rank=_rank(trainer))
        run_dir = "" if self.run_dir else f" --evaluator.run_dir {shlex.quote(str(self._store.folder))}"
        self._when_stopped = f"Finished answers are kept. Resume with: {command()}{run_dir}"
        self._curves = Path(trainer.log_dir or self._store.folder).parent  # the processes agree on it: all must ask
        module, traced = _checked(pl_module), self._traced_tasks(trainer)
        self._measurer = self._new_measurer(module, self.arms, self.seeds, traced_tasks=traced)
        self._begin(trainer, module, "test", trainer.limit_test_batches)
        if trainer.is_global_zero:
            write_arms(self._store.folder, self.arms, module.ttt, self.decoding)
        if self.judge is not None:
            self.judge.keep_replies(self._store.folder / "verdicts")
            self._judging = BackgroundJudging(self.judge, self._store)
        self._progress = StudyProgress(
            num_contexts=int(sum(trainer.num_test_batches)), quiet=not trainer.is_global_zero
        )
        self._progress.start()

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: ContextItem,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """All arms on one context."""
        with _checked(pl_module).bare_draft() as self._measurer.initial:
            records = self._measurer.measure(batch)
        for record in records:
            self._tau[record.arm].update(record.acceptance_lengths)
            if self._judging is not None and needs_judge(record):
                self._judging.submit(record)
        self._collect_judged(wait=False)
        self._progress.finish_context(batch.context_id, self._current(trainer.is_global_zero))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ratios, made once, from the records of all processes; the judge's last scores are waited for."""
        self._measurer.adapter.end()
        self._collect_judged(wait=True)
        trainer.strategy.barrier("records")
        # Not from what this process saw: a context that two processes measured is one record of each arm and task.
        records = self._wanted().records
        for arm in self.arms:
            tau, passes = AcceptanceLength(sync_on_compute=False), PassRate(sync_on_compute=False)
            for record in records:
                if record.arm == arm.id:
                    tau.update(record.acceptance_lengths)
                    passes.update(record.passed)
            for name, metric in (("tau", tau), ("pass_rate", passes)):
                value = float(metric.compute())
                if math.isfinite(value) and (name != "tau" or arm.mode != "target"):
                    pl_module.log(f"test/{name}@{arm.id}", value, sync_dist=True)  # equal on all of them

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """The final table and the verdict, from the records on disk: also those of earlier runs and other processes."""
        self._progress.stop()
        folder = self._store.folder
        if not trainer.is_global_zero:
            return
        wanted = self._wanted()
        if read_intended(folder) != wanted.intended:
            raise ValueError(
                f"another study has begun in {folder} since this one did: give each an evaluator.run_dir of its own, "
                "and run this one again; its records are kept"
            )
        records, arms = wanted.records, read_arms(folder).arms
        judgement = write_verdict(folder, records)
        rows = summarise(records, self.baseline, judgement.comparisons)
        (folder / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
        groups = tau_by_group(records, arms)
        (folder / "groups.json").write_text(json.dumps(groups, indent=2) + "\n")
        tables = (
            (in_brief(records, arms),) if self.brief else (format_table(rows), format_groups(groups), str(judgement))
        )
        print("\n".join(filter(None, (*tables, format_failures(records), wanted.note))))
        if self.judge is not None and (usage := self.judge.usage()):
            print(usage)
        print(f"report: {write_report([folder])}")
        if isinstance(trainer.logger, TensorBoardLogger):
            write_curves(trainer.logger.log_dir, trainer.logger.experiment, records, arms)
        print(f"curves: tensorboard --logdir {self._curves}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Give the terminal back; where a signal stopped the study, say how it goes on."""
        self._progress.stop()
        if isinstance(exception, StoppedBySignal) and self._when_stopped:
            exception.what_remains = self._when_stopped
        if self._judging is not None:
            self._judging.stop()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the records."""
        self._store, module = RecordStore(self._folder(trainer), rank=_rank(trainer)), _checked(pl_module)
        self._when_stopped = f"Finished answers are records in {self._store.folder}."
        self._measurer = self._new_measurer(module, [self.answer_with], (self.decoding.seed,))
        self._begin(trainer, module, "predict", trainer.limit_predict_batches)

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: ContextItem,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Adapt to the context and answer its questions: printed token by token as they come, and as records."""
        module = _checked(pl_module)
        measurer = self._measurer
        tokenizer = module.pair.target.tokenizer
        printer = (lambda: AnswerPrinter(tokenizer)) if self.answers is None else (lambda: None)
        adaptation: Adaptation | None = None
        with module.bare_draft() as measurer.initial:
            for made in measurer.answer(batch, printer):
                if isinstance(made, Adaptation):
                    adaptation = made
                    print(f"adapted to {batch.context_id} in {made.seconds:.1f} s ({len(made.losses)} steps)")
                elif self.answers is None:
                    print(f"\n[{answer_costs(made, adaptation)}]")

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """All answers of the run as one file, where one is asked for."""
        trainer.strategy.barrier("answers")
        if self.answers is not None and trainer.is_global_zero:
            made = self._wanted().records
            write_answers(self.answers, made)
            print(f"{len(made)} answers: {self.answers}")

    def _traced_tasks(self, trainer: L.Trainer) -> frozenset[str]:
        """Ids of the first tasks, the same ones on every process."""
        tasks = getattr(getattr(trainer, "datamodule", None), "tasks", [])
        return frozenset(task.task_id for task in tasks[: self.trace_tasks])

    def _new_measurer(
        self,
        module: DraftTTTModule,
        arms: Sequence[Arm],
        seeds: Sequence[int],
        *,
        traced_tasks: frozenset[str] = frozenset(),
    ) -> ContextMeasurer:
        return ContextMeasurer(
            module,
            arms,
            self.decoding,
            self._store,
            self._progress,
            seeds=seeds,
            amateur=self.amateur,
            generic=self._generic,
            allow_code_execution=self.allow_code_execution,
            rows=self.rows,
            traced_tasks=traced_tasks,
            rank=_rank(module.trainer),
        )

    def _begin(self, trainer: L.Trainer, module: DraftTTTModule, command: str, limit: int | float | None) -> None:
        """Find out which records are wanted, write it beside them, and say which of those there no longer count."""
        items, measurer, folder = _data(trainer).measured(limit), self._measurer, self._store.folder
        with module.bare_draft() as measurer.initial:
            digests = measurer.wanted(items)
        contexts = {task.task_id: item.context_id for item in items for task in item.tasks}
        arms, hashes = tuple(arm.id for arm in measurer.arms), {key: each.whole for key, each in digests.items()}
        self._intended = Intended(contexts, arms, measurer.seeds, hashes, command)
        if not trainer.is_global_zero:
            return
        before = read_intended(folder)
        # An answer given in the folder of a study leaves the study as it is.
        if command == "test" or before is None or before.command == command:
            self._intended.write(folder)
        parts = {key: each.parts for key, each in digests.items()}
        if told := what_changed(self._wanted(), parts, module.pair.target.tokenizer.chat_template):
            print(told)

    def _wanted(self) -> Wanted:
        """The records on disk that this study wants: also those of earlier runs and other processes."""
        return wanted_records(self._store.folder, self._intended)

    def _collect_judged(self, *, wait: bool) -> None:
        if self._judging is None:
            return
        for _ in self._judging.collect(wait=wait):  # each is on disk by now
            pass
        if wait:
            self._judging.stop()

    def _folder(self, trainer: L.Trainer) -> Path:
        folder = self.run_dir or trainer.log_dir
        if folder is None:
            raise ValueError(
                "there is no folder for the records: set evaluator.run_dir or a trainer.logger with a log folder"
            )
        return Path(folder)

    def _current(self, show: bool) -> dict[str, float]:
        """Current tau of the drafting arms; counted on this process alone."""
        if not show:
            return {}
        return {
            arm.id: float(self._tau[arm.id].committed) / steps
            for arm in self.arms
            if arm.mode != "target" and (steps := float(self._tau[arm.id].steps))
        }


def _checked(module: L.LightningModule) -> DraftTTTModule:
    if not isinstance(module, DraftTTTModule):
        raise TypeError(f"GuidedDecodingEvaluator works with DraftTTTModule, got {type(module).__name__}")
    return module


def _rank(trainer: L.Trainer) -> int:
    """Number of this process among all that write into the folder of the records."""
    data = getattr(trainer, "datamodule", None)
    return data.share()[0] if isinstance(data, ContextDataModule) else trainer.global_rank


def _data(trainer: L.Trainer) -> ContextDataModule:
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, ContextDataModule):
        raise ValueError(
            f"test and predict measure the contexts of a ContextDataModule, got {type(data).__name__}; give the "
            "trainer one as datamodule"
        )
    return data
