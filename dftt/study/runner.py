"""Runs a study: one context after another under every arm, one record per task, arm and seed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from dftt.adaptation.ttt import check_start
from dftt.decoding.generate import OnTokens
from dftt.models.lora import Adaptation
from dftt.study.adapters import Adapters
from dftt.study.answers import Answers, problem_of
from dftt.study.fingerprint import Fingerprints
from dftt.study.judging import BackgroundJudging, needs_judge, with_score
from dftt.study.manifest import Intended, Wanted, read_intended, wanted_records, what_changed
from dftt.study.progress import StudyProgress
from dftt.study.prompts import Prompts
from dftt.study.records import RecordStore, load_versions
from dftt.study.results import Answer, make_failure, make_record, reason_of, scored
from dftt.study.spec import Contexts, Part, Study
from dftt.study.traces import append_trace, make_trace
from dftt.suites.registry import score_record
from dftt.suites.tasks import ContextItem
from dftt.types import Generation, Record


class Runner:
    """Decodes the tasks of contexts under every arm of a study, and records each answer as soon as it exists.

    Whoever calls it has set the precision that the study names, and takes no gradients.

    Args:
        study: What is compared.
        store: Takes the records, and knows those of earlier runs.
        progress: Is told of every part.
        judging: Scores what no program can, beside decoding; None leaves that unscored.
    """

    def __init__(
        self, study: Study, store: RecordStore, progress: StudyProgress, judging: BackgroundJudging | None = None
    ) -> None:
        self.study, self.store, self.progress, self.judging = study, store, progress, judging
        separates = any("without_context" in arm.sources for arm in study.arms)
        self.prompts = Prompts(study.pair.target.tokenizer, separates_questions=separates)
        self.adapters = Adapters(study, progress)
        self.answers = Answers(study, self.prompts, self.adapters)
        self.fingerprints = Fingerprints(study)
        self._committed, self._steps = Counter[str](), Counter[str]()  # tokens and steps by arm, for the current tau
        self._earlier = {(record.key, record.spec_hash): record for record in load_versions(store.folder)}

    def begin(self, items: Sequence[ContextItem], command: str, *, writes: bool) -> str:
        """Write down which records are wanted of all contexts, and return what to say of earlier ones that no longer
        count; nothing is written or said where other processes do that.

        Raises:
            ValueError: An arm asks for another adapter than the one that all of them start from.
        """
        for arm in self.study.arms:
            if arm.ttt != "none":
                check_start(self.study.initial, arm.ttt_spec(self.study.ttt))
        for item in items:
            self._parts(item, self.prompts.contexts(item))
        contexts = {task.task_id: item.context_id for item in items for task in item.tasks}
        hashes = {key: each.whole for key, each in self.fingerprints.known.items()}
        arms = tuple(arm.id for arm in self.study.arms)
        self._intended = Intended(contexts, arms, self.study.seeds, hashes, command)
        if not writes:
            return ""
        before = read_intended(self.store.folder)
        # An answer given in the folder of a study leaves the study as it is.
        if command == "test" or before is None or before.command == command:
            self._intended.write(self.store.folder)
        template = self.study.pair.target.tokenizer.chat_template
        return what_changed(self.wanted(), {key: each.parts for key, each in self.fingerprints.known.items()}, template)

    def wanted(self) -> Wanted:
        """The records on disk that this study wants, also those of earlier runs and other processes."""
        return wanted_records(self.store.folder, self._intended)

    def check_folder(self) -> None:
        """Raise ValueError where another study has begun in the folder of the records since this one did."""
        if read_intended(self.store.folder) != self._intended:
            raise ValueError(
                f"another study has begun in {self.store.folder} since this one did: give each an evaluator.run_dir of "
                "its own, and run this one again; its records are kept"
            )

    def measure(self, item: ContextItem) -> list[Record]:
        """Every arm on every task of a context, decoded, scored and written down; finished records are read back.

        What fails is a record, unscored and with the reason, and is tried again when the study is run again.
        """
        records = self._measure(item)
        for record in records:
            self._committed[record.arm] += sum(record.acceptance_lengths)
            self._steps[record.arm] += len(record.acceptance_lengths)
            if self.judging is not None and needs_judge(record):
                self.judging.submit(record)
        self._collect_judged(wait=False)
        drafting = [arm.id for arm in self.study.arms if arm.mode != "target" and self._steps[arm.id]]
        self.progress.finish_context(
            item.context_id, {arm: self._committed[arm] / self._steps[arm] for arm in drafting}
        )
        return records

    def finish(self) -> None:
        """Wait for the judge's last scores, and drop what is kept of contexts."""
        self.adapters.end()
        self._collect_judged(wait=True)
        self.stop()

    def stop(self) -> None:
        """Ask the judge nothing more."""
        if self.judging is not None:
            self.judging.stop()

    def _collect_judged(self, *, wait: bool) -> None:
        if self.judging is not None:
            for _ in self.judging.collect(wait=wait):  # each is on disk by now
                pass

    def _measure(self, item: ContextItem) -> list[Record]:
        contexts = self.prompts.contexts(item)
        records, missing = [], []
        for part in self._parts(item, contexts):
            earlier = self._earlier_of(part)
            if earlier is not None and earlier.finish_reason != "error":
                records.append(self._scored_again(earlier))
            elif problem := problem_of(self.study, part, contexts):
                records.append(self._write_failure(part, problem))
            else:
                missing.append(part)
        if not missing:
            return records
        self.progress.start_context(item.context_id, num_parts=len(missing))
        try:
            self.adapters.begin(contexts)
        except Exception as error:  # such as memory that ran out: other contexts may fit
            return records + [self._write_failure(part, reason_of(error)) for part in missing]
        for group in self._groups(missing):
            made = self._decode_and_write(group, contexts)
            for record in made:
                self.progress.finish_part(record.arm)
            records += made
        return records

    def answer(self, item: ContextItem, printer: Callable[[], OnTokens | None]) -> Iterator[Adaptation | Generation]:
        """The adaptation where the only arm has one, then the answer to each task, written down and streamed to a
        printer of its own.

        Raises:
            ValueError: If the arm cannot answer a task.
        """
        (arm,), contexts = self.study.arms, self.prompts.contexts(item)
        if contexts.problem:
            raise ValueError(f"context {item.context_id} cannot be adapted to: {contexts.problem}")
        self.adapters.begin(contexts)
        adaptation = self.adapters.before_answer(arm, contexts)
        if adaptation is not None:
            yield adaptation
        for part in self._parts(item, contexts):
            if problem := problem_of(self.study, part, contexts):
                raise ValueError(f"task {part.asked.task.task_id} cannot be answered by arm {arm.id}: {problem}")
            answer = self.answers.answer(part, contexts, on_tokens=printer())
            self._write(self._record(part, answer))
            yield answer.rounds[-1].generation

    def _parts(self, item: ContextItem, contexts: Contexts) -> list[Part]:
        """Every record that is wanted of a context."""
        tasks, study = self.prompts.asked(item, contexts), self.study
        return [
            Part(asked, arm, seed, self.fingerprints.of(arm, seed, asked, contexts))
            for arm in study.arms
            for seed in study.seeds
            for asked in tasks
        ]

    def _groups(self, parts: Sequence[Part]) -> Iterable[list[Part]]:
        """What is decoded side by side, in the order of the first of each; a part that is decoded alone is a group."""
        groups: dict[object, list[Part]] = {}
        for part in parts:
            alone = self.study.rows == 1 or self.answers.is_alone(part)
            groups.setdefault(part.key if alone else (part.arm.family, part.seed), []).append(part)
        return groups.values()

    def _decode_and_write(self, parts: Sequence[Part], contexts: Contexts) -> list[Record]:
        """The records of answers made now, on disk: of one, or of several that are decoded side by side."""
        try:
            if len(parts) > 1:
                answers = self.answers.side_by_side(parts, contexts)
            else:
                answers = [self.answers.answer(parts[0], contexts, matched=self._matched(parts[0]))]
        except Exception as error:  # whatever it is, the other answers of the study must not be lost
            if len(parts) == 1:
                return [self._write_failure(parts[0], reason_of(error))]
            return [record for part in parts for record in self._decode_and_write([part], contexts)]
        records = []
        for part, answer in zip(parts, answers, strict=True):
            records.append(self._write(self._record(part, answer)))
            if part.asked.task.task_id in self.study.traced_tasks and self.answers.can_trace(part):
                self._write_trace(part, contexts, answer, records[-1])
        return records

    def _matched(self, part: Part) -> tuple[int, ...]:
        """The answer of the arm that a part's arm is matched to; empty where there is none."""
        key = part.asked.task.task_id, part.arm.matched_to, part.seed
        known = self.fingerprints.known.get(key)
        answered = self._earlier.get((key, known.whole)) if known else None
        return answered.token_ids if answered else ()

    def _write_trace(self, part: Part, contexts: Contexts, answer: Answer, record: Record) -> None:
        try:
            tokens = self.answers.trace(part, contexts, answer)
        except Exception as error:  # the answer is there, and only the report's token view lacks it
            warnings.warn(f"no trace of {part.asked.task.task_id} by {part.arm.id}: {reason_of(error)}", stacklevel=2)
            return
        tokenizer = self.study.pair.target.tokenizer
        trace = make_trace(record, tokens, part.asked.prompt.input_ids, lambda token: tokenizer.decode([token]))
        append_trace(self.store.folder, trace, self.store.rank)

    def _record(self, part: Part, answer: Answer) -> Record:
        allowed = self.study.allow_code_execution
        return make_record(part, answer, part.arm.ttt_spec(self.study.ttt), allow_code_execution=allowed)

    def _scored_again(self, record: Record) -> Record:
        """An earlier record, scored by program where it has no score: permission to run code may be new."""
        if record.passed is not None:
            return record
        score = scored(lambda: score_record(record, allow_code_execution=self.study.allow_code_execution))
        return record if score.passed is None else self._write(with_score(record, score))

    def _write_failure(self, part: Part, problem: str) -> Record:
        """The record of an answer that could not be made, on disk, once for each reason."""
        record = make_failure(part, problem)
        return record if self._earlier_of(part) == record else self._write(record)

    def _write(self, record: Record) -> Record:
        self.store.append(record)
        self._earlier[record.key, record.spec_hash] = record
        return record

    def _earlier_of(self, part: Part) -> Record | None:
        return self._earlier.get((part.key, part.fingerprint.whole))
