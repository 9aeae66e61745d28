"""One context under every arm: one prefill, one adaptation for each that arms ask for, one record per task and arm."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from dftt.adaptation.ttt import Adaptation
from dftt.adapting import ContextAdapter, Contexts
from dftt.answering import Answerer, Scene, UnmeasurableError
from dftt.data import ContextItem
from dftt.decoding.generate import OnTokens
from dftt.digests import Digests
from dftt.evaluation.conversation import later_turns, whole_conversation
from dftt.evaluation.judging import with_score
from dftt.evaluation.questions import Messages, without_context
from dftt.evaluation.records import RecordStore, load_records
from dftt.evaluation.suites.registry import score_record
from dftt.evaluation.traces import append_trace, make_trace
from dftt.guiding import Guides
from dftt.models.lora import Adapter
from dftt.models.target import encode
from dftt.module import DraftTTTModule, context_of
from dftt.progress import StudyProgress
from dftt.recording import Part, Round, make_record, unmeasured
from dftt.study import Arm
from dftt.types import DecodingSpec, Generation, Prompt, Record, Task


class ContextMeasurer:
    """Decodes the tasks of one context after another under every arm, and records each answer as soon as it exists.

    Args:
        module: Target and draft, loaded; the draft bare while anything is measured (`DraftTTTModule.bare_draft`).
        arms: What is compared.
        decoding: Decoding settings that all arms share.
        store: Takes the records, and knows those of earlier runs.
        progress: Is told of every part.
        seeds: Each task is decoded under each of them; by default under the one of `decoding`.
        amateur: Name of the model that contrastive rules need.
        generic: The generic adapter that rules may name; by default a checkpoint's.
        allow_code_execution: Whether answers that are programs may be run.
        rows: Answers of a context decoded side by side, where their arms differ in alpha alone; 1 decodes each alone.
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
        amateur: str | None = None,
        generic: Adapter | None = None,
        allow_code_execution: bool = False,
        rows: int = 1,
        traced_tasks: Collection[str] = (),
        rank: int = 0,
    ) -> None:
        self.module, self.decoding, self.store, self.progress = module, decoding, store, progress
        # Those that are matched to another's answers come behind it.
        self.arms = sorted(arms, key=lambda arm: bool(arm.matched_to))
        self.seeds = tuple(seeds) or (decoding.seed,)
        self.allow_code_execution, self.rows = allow_code_execution, rows
        self.traced_tasks, self.rank = traced_tasks, rank
        self.adapter = ContextAdapter(module, progress)
        self.guides = Guides(self.adapter, amateur=amateur, generic=generic)
        self.digests = Digests(self.adapter, self.guides, arms, decoding)
        self.answerer = Answerer(self.adapter, self.guides, decoding)
        self._earlier = {record.key: record for record in load_records(store.folder)}

    @property
    def initial(self) -> Adapter | None:
        """The adapter that every arm starts from: a checkpoint's, or none."""
        return self.adapter.initial

    @initial.setter
    def initial(self, adapter: Adapter | None) -> None:
        self.adapter.initial = adapter

    def measure(self, item: ContextItem) -> list[Record]:
        """Every arm on every task of a context; finished records are read back instead."""
        contexts = self._contexts(item)
        parts = self._parts(item, contexts, self.arms, self.seeds)
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
            if problem := self._problem(part, contexts):
                records.append(self._keep(unmeasured(part, problem)))
            else:
                missing.append(part)
        if not missing:
            return records
        scene = Scene(contexts, self.adapter.begin(contexts.own))
        self.progress.start_context(item.context_id, num_parts=len(missing))
        for group in self._groups(missing):
            made = [self._measure(group[0], scene)] if len(group) == 1 else self._measure_together(group, scene)
            for record in made:
                self.progress.finish_part(record.arm)
            records += made
        return records

    def answer(
        self, item: ContextItem, arm: Arm, printer: Callable[[], OnTokens | None]
    ) -> Iterator[Adaptation | Generation]:
        """The adaptation where the arm has one, then the answer to each task, streamed to a printer of its own.

        Raises:
            ValueError: If the arm cannot answer a task.
        """
        contexts = self._contexts(item)
        scene = Scene(contexts, self.adapter.begin(contexts.own))
        adaptation = self.adapter.decodes_under(arm, contexts)
        if adaptation is not None:
            yield adaptation
        for part in self._parts(item, contexts, [arm], [self.decoding.seed]):
            if problem := self._problem(part, contexts):
                raise ValueError(f"task {part.task.task_id} cannot be answered by arm {arm.id}: {problem}")
            spec = self.answerer.spec_of(part)
            rounds = list(self.answerer.rounds(part, scene, spec, on_tokens=printer()))
            self.store.append(self._record(part, rounds))
            yield rounds[-1].generation

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _contexts(self, item: ContextItem) -> Contexts:
        """The context at hand, and the one that serves as the wrong one."""
        other = context_of(self.adapter.encode(item.other_tasks)) if item.other_tasks else None
        return Contexts(context_of(self.adapter.encode(item.tasks)), other, item.other_id)

    def _parts(self, item: ContextItem, contexts: Contexts, arms: Sequence[Arm], seeds: Sequence[int]) -> list[Part]:
        """Every record that is wanted of a context."""
        asked = [(task, *self._asked(task, item.tasks, contexts)) for task in item.tasks]
        return [
            Part(
                task=task,
                prompt=prompt,
                asked=messages,
                question=question,
                arm=arm,
                seed=seed,
                digest=self.digests.of(arm, seed, task, prompt, contexts=contexts, question=question),
            )
            for arm in arms
            for seed in seeds
            for task, prompt, messages, question in asked
        ]

    def _groups(self, parts: Sequence[Part]) -> list[list[Part]]:
        """What is decoded side by side, in the order of the first of each."""
        groups: dict[object, list[Part]] = {}
        for part in parts:
            groups.setdefault(self._beside(part), []).append(part)
        return list(groups.values())

    def _beside(self, part: Part) -> object:
        """What parts that are decoded side by side have in common; the part's own key where it is decoded alone."""
        if self.rows == 1 or self.answerer.is_alone(part):
            return part.key
        return part.arm.family, part.seed

    def _asked(self, task: Task, tasks: Sequence[Task], contexts: Contexts) -> tuple[Prompt, Messages, Prompt | None]:
        """The prompt of a task, and its messages and prompt without the context where there are any."""
        prompt = Prompt(self.answerer.encode(task).input_ids, len(contexts.own))
        messages = without_context(task, tasks)
        return prompt, messages, self.answerer.encode(replace(task, messages=messages)) if messages else None

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

    def _problem(self, part: Part, contexts: Contexts) -> str:
        """Why an arm cannot be measured on a task; empty where it can."""
        window, turns = self.module.pair.target.window, 1 + len(later_turns(part.task))
        length = len(encode(self.module.pair.target.tokenizer, whole_conversation(part.task)))
        if length + self.decoding.max_new_tokens * turns > window:
            return f"context too long: {length} tokens for a window of {window}"
        if part.arm.needs_other_context and contexts.other is not None and len(contexts.other) > window:
            return f"wrong context {contexts.other_id} too long: {len(contexts.other)} tokens for a window of {window}"
        return self.guides.problem(part.arm, part.question, length=length + self.decoding.max_new_tokens * turns)

    # -- records -------------------------------------------------------------------------------------------------------

    def _measure(self, part: Part, scene: Scene) -> Record:
        """The record of an answer made now, on disk."""
        spec, found = self.answerer.spec_of(part), {}
        if part.arm.matched_to:
            guided = next(arm for arm in self.arms if arm.id == part.arm.matched_to)
            tokens = self._earlier[part.task.task_id, guided.id, part.seed].token_ids
            try:
                spec = self.answerer.matched_spec(part, scene, guided, tokens)
            except UnmeasurableError as problem:
                return self._keep(unmeasured(part, str(problem)))
            found = {"matched_temperature": spec.temperature}
        return self._made(part, scene, spec, list(self.answerer.rounds(part, scene, spec)), **found)

    def _measure_together(self, parts: Sequence[Part], scene: Scene) -> list[Record]:
        """The records of answers made now, side by side, on disk."""
        answers = self.answerer.side_by_side(parts, scene, rows=self.rows)
        return [
            self._made(part, scene, self.answerer.spec_of(part), [answer])
            for part, answer in zip(parts, answers, strict=True)
        ]

    def _made(self, part: Part, scene: Scene, spec: DecodingSpec, rounds: Sequence[Round], **found: float) -> Record:
        """The record of an answer, on disk, traced where that is asked for."""
        record = self._keep(self._record(part, rounds, **found))
        if part.task.task_id in self.traced_tasks and self.answerer.can_trace(part):
            tokens = self.answerer.trace(part, scene, spec, rounds[-1])
            text_of = lambda token: self.module.pair.target.tokenizer.decode([token])  # noqa: E731
            append_trace(self.store.folder, make_trace(record, tokens, part.prompt.input_ids, text_of), self.rank)
        return record

    def _record(self, part: Part, rounds: Sequence[Round], **found: float) -> Record:
        return make_record(
            part,
            rounds,
            part.arm.ttt_spec(self.module.ttt),
            allow_code_execution=self.allow_code_execution,
            found=found,
        )
