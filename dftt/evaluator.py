"""The callback that measures: contexts x arms, acceptance length and scores, each recorded as soon as it exists."""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L

from dftt.adaptation.ttt import Adaptation
from dftt.data import ContextItem
from dftt.evaluation.metrics import AcceptanceLength, PassRate
from dftt.evaluation.records import RecordStore, load_records, spec_hash
from dftt.evaluation.scoring import score
from dftt.evaluation.summary import format_table, summarise
from dftt.models.lora import Adapter
from dftt.models.target import encode
from dftt.module import DraftTTTModule, context_of
from dftt.progress import StudyProgress
from dftt.study import Arm, check_arms
from dftt.types import DecodingSpec, Generation, Prefill, Prompt, Record, Task

_KEPT_ADAPTATIONS = 4  # own, wrong (= the next context's own) and some slack: enough for every adapter to be made once


@dataclass(frozen=True)
class _Context:
    """A context ready to decode from: one prefill of what its tasks share."""

    context_id: str
    prompts: tuple[Prompt, ...]
    prefill: Prefill


class GuidedDecodingEvaluator(L.Callback):
    """Runs every arm on every context in `test`, and answers in `predict`.

    Args:
        arms: What is compared. Each has mode (target, speculative, guided), ttt (none, own, wrong) and, where guided,
            alpha. By default target, speculative+none and speculative+own.
        decoding: Decoding settings that all arms share.
        baseline: Id of the arm that the others are compared with.
        run_dir: Folder of the records; a run that finds finished ones there skips them. By default the run's own log
            folder.
        answer_with: The arm that `predict` answers with.
        allow_clbench_ttt: Adapt to contexts of CL-bench, whose data card forbids parameter updates on them: only for
            disclosed research that stays off its leaderboard. Adapters of such contexts are never saved.
    """

    def __init__(
        self,
        arms: list[Arm] | None = None,
        decoding: DecodingSpec = DecodingSpec(),
        baseline: str = "speculative+none",
        run_dir: str | None = None,
        answer_with: Arm = Arm("speculative", "own"),
        allow_clbench_ttt: bool = False,
    ) -> None:
        # Not a default of the signature: a list of instances cannot be written into config.yaml.
        default = [Arm("target"), Arm("speculative"), Arm("speculative", "own")]
        self.arms, self.decoding, self.baseline = default if arms is None else list(arms), decoding, baseline
        self.run_dir, self.answer_with, self.allow_clbench_ttt = run_dir, answer_with, allow_clbench_ttt
        self._adaptations: OrderedDict[str, Adaptation] = OrderedDict()
        self._initial: Adapter | None = None
        self._progress = StudyProgress(num_contexts=0, quiet=True)

    # -- Lightning -----------------------------------------------------------------------------------------------------

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:  # noqa: ARG002
        """Refuse settings under which nothing could be measured."""
        if stage not in ("test", "predict"):
            return
        loop = trainer.test_loop if stage == "test" else trainer.predict_loop
        if loop.inference_mode:
            name = "test" if stage == "test" else "predict"  # the stage prints as TrainerFn.TESTING
            raise ValueError(f"{name} back-propagates into the adapter: set trainer.inference_mode to false")
        if stage == "test":
            check_arms(self.arms, self.baseline)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Open the records and the counters."""
        self._tau = {arm.id: AcceptanceLength().to(pl_module.device) for arm in self.arms}
        self._passes = {arm.id: PassRate().to(pl_module.device) for arm in self.arms}
        self._store = RecordStore(self._folder(trainer), rank=trainer.global_rank)
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
        module = _checked(pl_module)
        with module.bare_draft() as self._initial:
            records = self._measure(module, batch)
        for record in records:
            self._tau[record.arm].update(record.acceptance_lengths)
            self._passes[record.arm].update(record.passed)
        self._progress.finish_context(batch.context_id, self._current(trainer.is_global_zero))

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Ratios, made once, from sums over all processes."""
        for arm in self.arms:
            tau, passes = float(self._tau[arm.id].compute()), float(self._passes[arm.id].compute())
            if arm.mode != "target" and math.isfinite(tau):
                pl_module.log(f"test/tau@{arm.id}", tau)
            if math.isfinite(passes):
                pl_module.log(f"test/pass_rate@{arm.id}", passes)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """The final table, from the records on disk: also those of earlier runs and other processes."""
        self._progress.stop()
        trainer.strategy.barrier("records")
        if not trainer.is_global_zero:
            return
        folder = self._folder(trainer)
        ids = {arm.id for arm in self.arms}
        rows = summarise([record for record in load_records(folder) if record.arm in ids], baseline=self.baseline)
        (folder / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
        print(format_table(rows))
        print(f"records and summary: {folder}")
        print(f"curves: tensorboard --logdir {Path(trainer.log_dir or folder).parent}")

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Give the terminal back."""
        self._progress.stop()

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: ContextItem,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Adapt to the context and answer its questions, token by token on the terminal, and as records."""
        module = _checked(pl_module)
        arm = self.answer_with
        store = RecordStore(self._folder(trainer), rank=trainer.global_rank)
        with module.bare_draft() as self._initial:
            context = self._prepare(module, batch.context_id, batch.tasks)
            adaptation = self._adaptation_for(module, arm, batch, context)
            if adaptation is not None:
                print(f"adapted to {batch.context_id} in {adaptation.seconds:.1f} s ({len(adaptation.losses)} steps)")
            for task, prompt in zip(batch.tasks, context.prompts, strict=True):
                pieces = _Printer(module.pair.target.tokenizer)
                generation = self._decode(module, arm, context, prompt, adaptation, task, on_tokens=pieces)
                print(f"\n[{len(generation.token_ids)} tokens, tau {generation.tau:.2f}, {generation.seconds:.1f} s]")
                store.append(self._record(task, arm, generation, prompt, adaptation, self._hash(module, arm, prompt)))

    # -- one context ---------------------------------------------------------------------------------------------------

    def _measure(self, module: DraftTTTModule, item: ContextItem) -> list[Record]:
        """Every arm on every task of a context; finished records are read back instead."""
        prompts = [Prompt(tuple(ids)) for ids in _encode_all(module, item.tasks)]
        wanted = {
            (task.task_id, arm.id, self.decoding.seed): self._hash(module, arm, prompt, item.other_id)
            for task, prompt in zip(item.tasks, prompts, strict=True)
            for arm in self.arms
        }
        finished = self._store.finished(wanted)
        records = [record for record in load_records(self._store.folder) if record.key in finished] if finished else []
        if len(finished) == len(wanted):
            return records
        problems = {}
        for task, prompt in zip(item.tasks, prompts, strict=True):
            for arm in self.arms:
                key = (task.task_id, arm.id, self.decoding.seed)
                problem = self._problem(module, item, arm, prompt)
                if problem and key not in finished:
                    problems[key] = self._unmeasured(task, arm, prompt, problem, wanted[key])
                    self._store.append(problems[key])
        records += problems.values()
        if len(finished) + len(problems) == len(wanted):
            return records
        context = self._prepare(module, item.context_id, item.tasks)
        self._progress.start_context(item.context_id, num_parts=len(wanted) - len(finished) - len(problems))
        for arm in self.arms:
            for task, prompt in zip(item.tasks, context.prompts, strict=True):
                key = (task.task_id, arm.id, self.decoding.seed)
                if key in finished or key in problems:
                    continue
                adaptation = self._adaptation_for(module, arm, item, context)
                generation = self._decode(module, arm, context, prompt, adaptation, task)
                record = self._record(task, arm, generation, prompt, adaptation, wanted[key])
                self._store.append(record)
                records.append(record)
                self._progress.finish_part(arm.id)
        return records

    def _problem(self, module: DraftTTTModule, item: ContextItem, arm: Arm, prompt: Prompt) -> str:
        """Why an arm cannot be measured on a prompt; empty where it can."""
        window = module.pair.target.window
        if len(prompt) + self.decoding.max_new_tokens > window:
            return f"context too long: {len(prompt)} tokens for a window of {window}"
        if arm.ttt == "wrong" and item.other_tasks:
            length = len(context_of(_encode_all(module, item.other_tasks)))
            if length > window:
                return f"wrong context {item.other_id} too long: {length} tokens for a window of {window}"
        return ""

    def _prepare(self, module: DraftTTTModule, context_id: str, tasks: tuple[Task, ...]) -> _Context:
        """Prompts of a context's tasks, and one prefill of the tokens that they share."""
        encoded = _encode_all(module, tasks)
        shared = context_of(encoded)
        with module.trainer.precision_plugin.forward_context():
            prefill = module.pair.prefill(shared)
        prompts = tuple(Prompt(tuple(ids), len(shared)) for ids in encoded)
        return _Context(context_id, prompts, prefill)

    def _adaptation_for(
        self, module: DraftTTTModule, arm: Arm, item: ContextItem, context: _Context
    ) -> Adaptation | None:
        """The adaptation an arm decodes under: made once per context and kept while the next one may need it."""
        if arm.ttt == "none":
            return None
        if arm.ttt == "wrong" and not item.other_id:
            raise ValueError("arm ttt 'wrong' needs at least two contexts: there is no other one to adapt to")
        wanted = item.context_id if arm.ttt == "own" else item.other_id
        if wanted not in self._adaptations:
            self._progress.note(f"adapting to {wanted}")
            source = context if arm.ttt == "own" else self._prepare(module, wanted, item.other_tasks)
            self._adaptations[wanted] = module.adapt(source.prefill, len(source.prefill), initial=self._initial)
            while len(self._adaptations) > _KEPT_ADAPTATIONS:
                self._adaptations.popitem(last=False)
        return self._adaptations[wanted]

    def _decode(
        self,
        module: DraftTTTModule,
        arm: Arm,
        context: _Context,
        prompt: Prompt,
        adaptation: Adaptation | None,
        task: Task,
        **options: Any,
    ) -> Generation:
        # Without an adaptation of its own an arm still decodes under the adapter that a checkpoint brought.
        under = adaptation or (_Carrier(self._initial) if self._initial is not None else None)
        return module.generate(
            prompt,
            arm.decoding(self.decoding),
            adaptation=under,
            prefill=context.prefill,
            sample_names=[task.task_id],
            **options,
        )

    # -- records -------------------------------------------------------------------------------------------------------

    def _record(
        self, task: Task, arm: Arm, generation: Generation, prompt: Prompt, adaptation: Adaptation | None, digest: str
    ) -> Record:
        judged = score(task, generation.text)
        return Record(
            task_id=task.task_id,
            context_id=task.context_id,
            arm=arm.id,
            seed=self.decoding.seed,
            spec_hash=digest,
            answer=generation.text,
            token_ids=generation.token_ids,
            acceptance_lengths=generation.acceptance_lengths,
            finish_reason=generation.finish_reason,
            seconds=generation.seconds,
            target_calls=generation.target_calls,
            prompt_tokens=len(prompt),
            passed=judged.passed,
            statuses=judged.statuses,
            explanation=judged.explanation,
            adaptation=_describe(adaptation),
            metadata=dict(task.metadata),
        )

    def _unmeasured(self, task: Task, arm: Arm, prompt: Prompt, problem: str, digest: str) -> Record:
        return Record(
            task_id=task.task_id,
            context_id=task.context_id,
            arm=arm.id,
            seed=self.decoding.seed,
            spec_hash=digest,
            finish_reason="error",
            prompt_tokens=len(prompt),
            explanation=problem,
            metadata=dict(task.metadata),
        )

    def _hash(self, module: DraftTTTModule, arm: Arm, prompt: Prompt, other_id: str = "") -> str:
        """Hash of everything that decides a record: models, prompt, arm and specs."""
        return spec_hash(
            {
                "target": module.target_name,
                "draft": module.draft_name or "bundled",
                "dtype": module.target_dtype,
                "prompt": hashlib.sha256(repr(prompt.input_ids).encode()).hexdigest(),
                "arm": arm,
                "decoding": arm.decoding(self.decoding),
                "ttt": asdict(module.ttt) if arm.ttt != "none" else None,
                "other": other_id if arm.ttt == "wrong" else "",
                "initial": _digest(self._initial),
            }
        )

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


@dataclass(frozen=True)
class _Carrier:
    """An adapter where decoding expects an adaptation."""

    adapter: Adapter


class _Printer:
    """Prints new tokens as text; holds back a piece that may be half a character."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.tokens: list[int] = []
        self.shown = ""

    def __call__(self, _row: int, tokens: list[int]) -> None:
        self.tokens += tokens
        text = self.tokenizer.decode(self.tokens, skip_special_tokens=True)
        if not text.endswith("\ufffd"):
            print(text[len(self.shown) :], end="", flush=True)
            self.shown = text


def _encode_all(module: DraftTTTModule, tasks: Sequence[Task]) -> list[list[int]]:
    return [encode(module.pair.target.tokenizer, task.messages) for task in tasks]


def _describe(adaptation: Adaptation | None) -> dict[str, Any]:
    if adaptation is None:
        return {}
    losses = adaptation.losses
    return {
        "steps": len(losses),
        "seconds": adaptation.seconds,
        "peak_bytes": adaptation.peak_bytes,
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "stopped": adaptation.stopped,
    }


def _digest(adapter: Adapter | None) -> str:
    """Hash of an adapter's weights, empty for none."""
    if adapter is None:
        return ""
    hashed = hashlib.sha256()
    for name in sorted(adapter.weights):
        hashed.update(name.encode())
        hashed.update(adapter.weights[name].contiguous().view(-1).numpy().tobytes())
    return hashed.hexdigest()


def _checked(module: L.LightningModule) -> DraftTTTModule:
    if not isinstance(module, DraftTTTModule):
        raise TypeError(f"GuidedDecodingEvaluator works with DraftTTTModule, got {type(module).__name__}")
    return module
