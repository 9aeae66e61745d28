"""One context under every arm: one prefill, one adaptation for each that arms ask for, one record per task and arm."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dftt.adaptation.ttt import Adaptation, check_start
from dftt.data import ContextItem
from dftt.decoding.generate import OnTokens
from dftt.models.lora import Adapter
from dftt.module import DraftTTTModule
from dftt.study import Arm
from dftt.study.adapting import NO_OTHER, ContextAdapter, Contexts
from dftt.study.answering import Answerer, Scene
from dftt.study.digests import Digest, Digests
from dftt.study.guiding import Guides
from dftt.study.judging import with_score
from dftt.study.progress import StudyProgress
from dftt.study.recording import Part, Round, make_record, reason_of, scored, unmeasured
from dftt.study.records import Key, RecordStore, load_versions
from dftt.study.traces import append_trace, make_trace
from dftt.suites.conversation import later_turns, whole_conversation
from dftt.suites.questions import Messages, without_context
from dftt.suites.registry import score_record
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
        traced_tasks: Ids of the tasks whose answers are traced token by token (`dftt.study.traces`).
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
        self.digests = Digests(self.adapter, self.guides, arms, decoding, rows)
        self.answerer = Answerer(self.adapter, self.guides, decoding)
        self._earlier = {(record.key, record.spec_hash): record for record in load_versions(store.folder)}

    @property
    def initial(self) -> Adapter | None:
        """The adapter that every arm starts from: a checkpoint's, or none."""
        return self.adapter.initial

    @initial.setter
    def initial(self, adapter: Adapter | None) -> None:
        self.adapter.initial = adapter

    def wanted(self, items: Iterable[ContextItem]) -> dict[Key, Digest]:
        """The hash of every record that is wanted of contexts, by its key; what they are is not looked at again later,
        so that a template which reads the clock says the same until the study ends.

        Raises:
            ValueError: An arm asks for another adapter than the one that all of them start from.
        """
        for arm in self.arms:
            if arm.ttt != "none":
                check_start(self.initial, arm.ttt_spec(self.module.ttt))
        return {part.key: part.digest for item in items for part in self._parts(item, self.adapter.contexts(item))}

    def measure(self, item: ContextItem) -> list[Record]:
        """Every arm on every task of a context; finished records are read back instead.

        What fails is a record, unscored and with the reason, and is tried again when the study is run again.
        """
        contexts = self.adapter.contexts(item)
        records, missing = [], []
        for part in self._parts(item, contexts):
            earlier = self._earlier.get((part.key, part.digest.whole))
            if earlier is not None and earlier.finish_reason != "error":
                records.append(self._scored_again(earlier))
            elif problem := self._problem(part, contexts):
                records.append(self._failed(part, problem))
            else:
                missing.append(part)
        if not missing:
            return records
        self.progress.start_context(item.context_id, num_parts=len(missing))
        try:
            scene = Scene(contexts, self.adapter.begin(contexts))
        except Exception as error:  # such as memory that ran out: other contexts may fit
            return records + [self._failed(part, reason_of(error)) for part in missing]
        for group in self._groups(missing):
            made = self._measure(group, scene)
            for record in made:
                self.progress.finish_part(record.arm)
            records += made
        return records

    def answer(self, item: ContextItem, printer: Callable[[], OnTokens | None]) -> Iterator[Adaptation | Generation]:
        """The adaptation where the only arm has one, then the answer to each task, streamed to a printer of its own.

        Raises:
            ValueError: If the arm cannot answer a task.
        """
        (arm,), contexts = self.arms, self.adapter.contexts(item)
        if contexts.problem:
            raise ValueError(f"context {item.context_id} cannot be adapted to: {contexts.problem}")
        scene = Scene(contexts, self.adapter.begin(contexts))
        adaptation = self.adapter.decodes_under(arm, contexts)
        if adaptation is not None:
            yield adaptation
        for part in self._parts(item, contexts):
            if problem := self._problem(part, contexts):
                raise ValueError(f"task {part.task.task_id} cannot be answered by arm {arm.id}: {problem}")
            spec = self.answerer.spec_of(part)
            rounds = list(self.answerer.rounds(part, scene, spec, on_tokens=printer()))
            self.store.append(self._record(part, Answer(spec, rounds)))
            yield rounds[-1].generation

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _parts(self, item: ContextItem, contexts: Contexts) -> list[Part]:
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
            for arm in self.arms
            for seed in self.seeds
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
        """The prompt of a task, and its messages and prompt without the context where an arm reads them."""
        ids = self.adapter.encode_messages(task.messages)
        prompt = Prompt(ids, min(len(ids), len(contexts.own)))
        messages = without_context(task, tasks) if any("without_context" in arm.sources for arm in self.arms) else ()
        try:
            return prompt, messages, self.answerer.encode(replace(task, messages=messages)) if messages else None
        except ValueError:  # a template may refuse a question that stands alone
            return prompt, (), None

    def _keep(self, record: Record) -> Record:
        self.store.append(record)
        self._earlier[record.key, record.spec_hash] = record
        return record

    def _failed(self, part: Part, problem: str) -> Record:
        """The record of an answer that could not be made, on disk, once for each reason."""
        record = unmeasured(part, problem)
        return record if self._earlier.get((part.key, part.digest.whole)) == record else self._keep(record)

    def _scored_again(self, record: Record) -> Record:
        """An earlier record, scored by program where it has no score: leave to run code may have been given since."""
        if record.passed is not None or record.finish_reason == "error":
            return record
        score = scored(lambda: score_record(record, allow_code_execution=self.allow_code_execution))
        return record if score.passed is None else self._keep(with_score(record, score))

    def _problem(self, part: Part, contexts: Contexts) -> str:
        """Why an arm cannot be measured on a task; empty where it can."""
        if contexts.problem:
            return contexts.problem
        window, turns = self.module.pair.target.window, 1 + len(later_turns(part.task))
        length = len(self.adapter.encode_messages(whole_conversation(part.task)))
        if length + self.decoding.max_new_tokens * turns > window:
            return f"context too long: {length} tokens for a window of {window}"
        if part.arm.needs_other_context and contexts.other is None:
            return NO_OTHER
        if part.arm.needs_other_context and contexts.other is not None and len(contexts.other) > window:
            return f"wrong context {contexts.other_id} too long: {len(contexts.other)} tokens for a window of {window}"
        return self.guides.problem(part.arm, part.question, length=length + self.decoding.max_new_tokens * turns)

    # -- records -------------------------------------------------------------------------------------------------------

    def _measure(self, parts: Sequence[Part], scene: Scene) -> list[Record]:
        """The records of answers made now, on disk: of one, or of several that are decoded side by side."""
        try:
            answers = self._answers(parts, scene)
        except Exception as error:  # whatever it is, the other answers of the study must not be lost
            if len(parts) == 1:
                return [self._failed(parts[0], reason_of(error))]
            return [record for part in parts for record in self._measure([part], scene)]
        return [self._made(part, scene, answer) for part, answer in zip(parts, answers, strict=True)]

    def _answers(self, parts: Sequence[Part], scene: Scene) -> list[Answer]:
        if len(parts) > 1:
            made = self.answerer.side_by_side(parts, scene, rows=self.rows)
            return [Answer(self.answerer.spec_of(part), [each]) for part, each in zip(parts, made, strict=True)]
        (part,) = parts
        spec, found = self.answerer.spec_of(part), {}
        if part.arm.matched_to:
            spec = self._matched(part, scene)
            found = {"matched_temperature": spec.temperature}
        return [Answer(spec, list(self.answerer.rounds(part, scene, spec)), found)]

    def _matched(self, part: Part, scene: Scene) -> DecodingSpec:
        """How a part is decoded whose arm is matched to another's answer."""
        guided = next(arm for arm in self.arms if arm.id == part.arm.matched_to)
        digest = self.digests.of(
            guided, part.seed, part.task, part.prompt, contexts=scene.contexts, question=part.question
        )
        answered = self._earlier.get(((part.task.task_id, guided.id, part.seed), digest.whole))
        return self.answerer.matched_spec(part, scene, guided, answered.token_ids if answered else ())

    def _made(self, part: Part, scene: Scene, answer: Answer) -> Record:
        """The record of an answer, on disk, traced where that is asked for."""
        record = self._keep(self._record(part, answer))
        if part.task.task_id in self.traced_tasks and self.answerer.can_trace(part):
            try:
                tokens = self.answerer.trace(part, scene, answer.spec, answer.rounds[-1])
            except Exception as error:  # the answer is there, and only the report's token view lacks it
                warnings.warn(f"no trace of {part.task.task_id} by {part.arm.id}: {reason_of(error)}", stacklevel=2)
                return record
            text_of = lambda token: self.module.pair.target.tokenizer.decode([token])  # noqa: E731
            append_trace(self.store.folder, make_trace(record, tokens, part.prompt.input_ids, text_of), self.rank)
        return record

    def _record(self, part: Part, answer: Answer) -> Record:
        return make_record(
            part,
            answer.rounds,
            part.arm.ttt_spec(self.module.ttt),
            allow_code_execution=self.allow_code_execution,
            found=answer.found,
        )


@dataclass(frozen=True)
class Answer:
    """An answer, before it is recorded.

    Args:
        spec: How it was decoded.
        rounds: Answer and adaptations of each round.
        found: What the arm found out on the way.
    """

    spec: DecodingSpec
    rounds: Sequence[Round]
    found: dict[str, Any] = field(default_factory=dict)
