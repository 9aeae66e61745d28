"""One context under every arm: one prefill, one adaptation for each that arms ask for, one record per task and arm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dftt.adaptation.ttt import Adaptation
from dftt.adapting import ContextAdapter
from dftt.data import ContextItem
from dftt.decoding.generate import HasAdapter, OnTokens
from dftt.evaluation.conversation import joined, later_turns, messages_after, whole_conversation
from dftt.evaluation.judging import with_score
from dftt.evaluation.records import Key, RecordStore, load_records, spec_hash
from dftt.evaluation.suites.registry import score_answer, score_record
from dftt.evaluation.traces import append_trace, make_trace
from dftt.models.fingerprint import fingerprint
from dftt.models.lora import Adapter
from dftt.models.taps import tapped
from dftt.models.target import encode
from dftt.module import DraftTTTModule, context_of
from dftt.progress import StudyProgress
from dftt.study import Arm
from dftt.types import DecodingSpec, Generation, Prefill, Prompt, Record, Task, TTTSpec

_SETTINGS = ("steps", "lr", "rank", "loss", "anchors", "window")  # of an adaptation, as far as reports compare them
# What decoding settings decide nothing about a record of a mode.
_UNUSED = {
    "target": ("alpha", "block_size", "verify_size", "guidance"),
    "speculative": ("alpha", "verify_size", "guidance"),
}


@dataclass(frozen=True)
class _Part:
    """One record that is wanted."""

    task: Task
    prompt: Prompt  # its context_length is that of the context
    arm: Arm
    seed: int
    digest: str

    @property
    def key(self) -> Key:
        return self.task.task_id, self.arm.id, self.seed


class ContextMeasurer:
    """Decodes the tasks of one context after another under every arm, and records each answer as soon as it exists.

    Args:
        module: Target and draft, loaded; the draft bare while anything is measured (`DraftTTTModule.bare_draft`).
        arms: What is compared.
        decoding: Decoding settings that all arms share.
        store: Takes the records, and knows those of earlier runs.
        progress: Is told of every part.
        seeds: Each task is decoded under each of them; by default under the one of `decoding`.
        allow_code_execution: Whether answers that are programs may be run.
        traced_tasks: Ids of the tasks whose answers are traced token by token (`dftt.evaluation.traces`).
        rank: Number of this process, for the file of its traces.
    """

    def __init__(
        self,
        module: DraftTTTModule,
        arms: Sequence[Arm],
        decoding: DecodingSpec,
        store: RecordStore,
        progress: StudyProgress,
        *,
        seeds: Sequence[int] = (),
        allow_code_execution: bool = False,
        traced_tasks: Collection[str] = (),
        rank: int = 0,
    ) -> None:
        self.module, self.arms, self.decoding, self.store, self.progress = module, arms, decoding, store, progress
        self.seeds = tuple(seeds) or (decoding.seed,)
        self.allow_code_execution, self.traced_tasks, self.rank = allow_code_execution, traced_tasks, rank
        self.adapter = ContextAdapter(module, progress)
        self._earlier = {record.key: record for record in load_records(store.folder)}
        self._weights: dict[str, str] = {}

    @property
    def initial(self) -> Adapter | None:
        """The adapter that every arm starts from: a checkpoint's, or none."""
        return self.adapter.initial

    @initial.setter
    def initial(self, adapter: Adapter | None) -> None:
        self.adapter.initial = adapter

    def measure(self, item: ContextItem) -> list[Record]:
        """Every arm on every task of a context; finished records are read back instead."""
        context, other = self._contexts(item)
        parts = self._wanted(item, context, other)
        records = [
            self._scored_again(self._earlier[part.key])
            for part in parts
            if part.key in self._earlier and self._earlier[part.key].spec_hash == part.digest
        ]
        finished = {record.key for record in records}
        missing = []
        for part in parts:
            if part.key in finished:
                continue
            if problem := self._problem(part, other, item.other_id):
                records.append(self._keep(_unmeasured(part, problem)))
            else:
                missing.append(part)
        if not missing:
            return records
        prefill = self.adapter.begin(context)
        self.progress.start_context(item.context_id, num_parts=len(missing))
        for part in missing:
            adaptation = self.adapter.adaptation(part.arm, context, other)
            rounds = list(self._rounds(part, prefill, adaptation))
            records.append(self._keep(self._record(part, rounds)))
            if part.task.task_id in self.traced_tasks:
                self._trace(records[-1], part, prefill, *rounds[-1])
            self.progress.finish_part(part.arm.id)
        return records

    def answer(
        self, item: ContextItem, arm: Arm, printer: Callable[[], OnTokens | None]
    ) -> Iterator[Adaptation | Generation]:
        """The adaptation where the arm has one, then the answer to each task, streamed to a printer of its own."""
        context, other = self._contexts(item)
        prefill = self.adapter.begin(context)
        adaptation = self.adapter.adaptation(arm, context, other)
        if adaptation is not None:
            yield adaptation
        for task in item.tasks:
            part = self._part(task, arm, self.decoding.seed, context, other)
            rounds = list(self._rounds(part, prefill, adaptation, on_tokens=printer()))
            self.store.append(self._record(part, rounds))
            yield rounds[-1][0]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _contexts(self, item: ContextItem) -> tuple[Prompt, Prompt | None]:
        """The context at hand, and the one that serves as the wrong one."""
        other = context_of(self.adapter.encode(item.other_tasks)) if item.other_tasks else None
        return context_of(self.adapter.encode(item.tasks)), other

    def _wanted(self, item: ContextItem, context: Prompt, other: Prompt | None) -> list[_Part]:
        """Every record that is wanted of a context."""
        return [
            self._part(task, arm, seed, context, other)
            for arm in self.arms
            for seed in self.seeds
            for task in item.tasks
        ]

    def _part(self, task: Task, arm: Arm, seed: int, context: Prompt, other: Prompt | None) -> _Part:
        (ids,) = self.adapter.encode([task])
        prompt = Prompt(tuple(ids), len(context))
        return _Part(task, prompt, arm, seed, self._digest(arm, seed, task, prompt, other))

    def _keep(self, record: Record) -> Record:
        self.store.append(record)
        self._earlier[record.key] = record
        return record

    def _scored_again(self, record: Record) -> Record:
        """An earlier record, scored by program where it has no score: leave to run code may have been given since."""
        if record.passed is not None or record.finish_reason == "error":
            return record
        scored = with_score(record, score_record(record, allow_code_execution=self.allow_code_execution))
        return record if scored.passed is None else self._keep(scored)

    def _problem(self, part: _Part, other: Prompt | None, other_id: str) -> str:
        """Why an arm cannot be measured on a task; empty where it can."""
        window, turns = self.module.pair.target.window, 1 + len(later_turns(part.task))
        length = len(encode(self.module.pair.target.tokenizer, whole_conversation(part.task)))
        if length + self.decoding.max_new_tokens * turns > window:
            return f"context too long: {length} tokens for a window of {window}"
        if part.arm.ttt == "wrong" and other is not None and len(other) > window:
            return f"wrong context {other_id} too long: {len(other)} tokens for a window of {window}"
        return ""

    # -- decoding ------------------------------------------------------------------------------------------------------

    def _rounds(
        self, part: _Part, prefill: Prefill, adaptation: Adaptation | None, **options: Any
    ) -> Iterator[tuple[Generation, Adaptation | None]]:
        """Answer and adaptation of each round; only the last round's answer is streamed."""
        for number in range(part.arm.rounds):
            last = number + 1 == part.arm.rounds
            generation = self._decode(part, prefill, adaptation, **(options if last else {}))
            yield generation, adaptation
            if adaptation is not None and not last:
                said = Prompt(part.prompt.input_ids + generation.token_ids)
                adaptation = self.adapter.next_round(part.arm, number + 1, adaptation, said, prefill)

    def _decode(self, part: _Part, prefill: Prefill, adaptation: Adaptation | None, **options: Any) -> Generation:
        """The answer to a task, or all answers of a conversation, each turn after the model's own earlier answers."""
        under = self._decodes_under(adaptation)
        task, prompt = part.task, part.prompt
        answers: list[Generation] = []
        while True:
            # A template may write the history of a later turn in other tokens than were read first.
            known = prompt.input_ids[: len(prefill)] == prefill.input_ids
            with tapped(self.module.pair.draft, part.arm.taps):
                answer = self.module.generate(
                    prompt,
                    part.arm.decoding(self.decoding, seed=part.seed),
                    adaptation=under,
                    prefill=prefill if known else None,
                    sample_names=[task.task_id],
                    **options,
                )
            answers.append(answer)
            if len(answers) > len(later_turns(task)):
                return joined(answers)
            messages = messages_after(task, [each.text for each in answers])
            prompt = Prompt(tuple(encode(self.module.pair.target.tokenizer, messages)))

    def _decodes_under(self, adaptation: Adaptation | None) -> HasAdapter | None:
        """The adaptation; without one of its own, an arm still decodes under the adapter that a checkpoint brought."""
        return adaptation or (_Carrier(self.initial) if self.initial is not None else None)

    def _trace(
        self, record: Record, part: _Part, prefill: Prefill, generation: Generation, adaptation: Adaptation | None
    ) -> None:
        """Keep what stands behind each token; of a conversation nothing, since its turns have prompts of their own."""
        if later_turns(part.task):
            return
        spec = part.arm.decoding(self.decoding, seed=part.seed)
        under = self._decodes_under(adaptation)
        tokens = self.module.replay(part.prompt, spec, generation, adaptation=under, prefill=prefill)
        text_of = lambda token: self.module.pair.target.tokenizer.decode([token])  # noqa: E731
        append_trace(self.store.folder, make_trace(record, tokens, part.prompt.input_ids, text_of), self.rank)

    # -- records -------------------------------------------------------------------------------------------------------

    def _record(self, part: _Part, rounds: Sequence[tuple[Generation, Adaptation | None]]) -> Record:
        generation, _ = rounds[-1]
        judged = score_answer(part.task, generation.text, allow_code_execution=self.allow_code_execution)
        return Record(
            task_id=part.task.task_id,
            context_id=part.task.context_id,
            arm=part.arm.id,
            seed=part.seed,
            spec_hash=part.digest,
            answer=generation.text,
            token_ids=generation.token_ids,
            acceptance_lengths=generation.acceptance_lengths,
            finish_reason=generation.finish_reason,
            seconds=generation.seconds,
            target_calls=generation.target_calls,
            prompt_tokens=len(part.prompt),
            passed=judged.passed,
            statuses=judged.statuses,
            explanation=judged.explanation,
            rubrics=part.task.rubrics,
            adaptation=_describe(rounds, part.arm.ttt_spec(self.module.ttt)),
            metadata=dict(part.task.metadata),
        )

    def _digest(self, arm: Arm, seed: int, task: Task, prompt: Prompt, other: Prompt | None) -> str:
        """Hash of everything that decides a record, and of nothing else."""
        decoding = asdict(arm.decoding(self.decoding, seed=seed))
        decided_by = {
            "target": self._weights_of("target"),
            "dtype": self.module.target_dtype,
            "prompt": _digest_of(prompt.input_ids),
            "later_turns": later_turns(task),
            "decoding": {name: value for name, value in decoding.items() if name not in _UNUSED.get(arm.mode, ())},
        }
        if arm.mode != "target":
            decided_by |= {
                "draft": self._weights_of("draft"),
                "taps": arm.taps,
                "initial": self.initial.digest if self.initial else "",
            }
        if arm.ttt != "none":
            context = prompt.input_ids[: prompt.context_length]
            if arm.ttt == "wrong":
                context = other.input_ids if other is not None else ()
            ttt = [arm.ttt_spec(self.module.ttt, number=number) for number in range(arm.rounds)]
            decided_by |= {"ttt": ttt, "shuffled": arm.ttt == "shuffled", "context": _digest_of(context)}
        return spec_hash(decided_by)

    def _weights_of(self, part: str) -> str:
        if part not in self._weights:
            pair = self.module.pair
            self._weights[part] = fingerprint(pair.target.model if part == "target" else pair.draft)
        return self._weights[part]


@dataclass(frozen=True)
class _Carrier:
    """An adapter where decoding expects an adaptation."""

    adapter: Adapter


def _unmeasured(part: _Part, problem: str) -> Record:
    return Record(
        task_id=part.task.task_id,
        context_id=part.task.context_id,
        arm=part.arm.id,
        seed=part.seed,
        spec_hash=part.digest,
        finish_reason="error",
        prompt_tokens=len(part.prompt),
        explanation=problem,
        rubrics=part.task.rubrics,
        metadata=dict(part.task.metadata),
    )


def _digest_of(tokens: Sequence[int]) -> str:
    return hashlib.sha256(repr(tuple(tokens)).encode()).hexdigest()


def _describe(rounds: Sequence[tuple[Generation, Adaptation | None]], spec: TTTSpec) -> dict[str, Any]:
    """What the adaptations of all rounds were and cost, and what the answers before the last one did."""
    made = [adaptation for _, adaptation in rounds if adaptation is not None]
    if not made:
        return {}
    losses = [loss for adaptation in made for loss in adaptation.losses]
    described = {
        "steps": len(losses),
        "seconds": sum(adaptation.seconds for adaptation in made),
        "peak_bytes": max(adaptation.peak_bytes for adaptation in made),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "losses": [round(loss, 4) for loss in losses],
        "settings": {name: getattr(spec, name) for name in _SETTINGS},
        "stopped": next((adaptation.stopped for adaptation in made if adaptation.stopped), ""),
        "fallbacks": [name for adaptation in made for name in adaptation.fallbacks],
    }
    if len(rounds) == 1:
        return described
    before = [generation for generation, _ in rounds[:-1]]
    return described | {
        "rounds": len(rounds),
        "earlier_decoding_seconds": sum(generation.seconds for generation in before),
        "earlier_taus": [generation.tau if generation.acceptance_lengths else None for generation in before],
    }
