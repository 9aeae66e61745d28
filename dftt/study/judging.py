"""Scores of answers by program where that is possible, else by a judge; on records, also beside decoding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from typing import Any

from dftt.judges.base import Judge
from dftt.scoring.final_answer import final_answer
from dftt.scoring.rubrics import check, read_rubric, score_rubrics
from dftt.study.records import RecordStore
from dftt.types import Record, Score


def judge_answer(rubrics: Sequence[Any], answer: str, judge: Judge | None = None) -> Score:
    """Score by program; rubrics in words go to the judge, and to it only those.

    Args:
        rubrics: Strings or checkable mappings.
        answer: The decoded text.
        judge: Who reads rubrics in words; without one, such answers stay unscored.
    """
    by_program = score_rubrics(rubrics, answer)
    if judge is None or by_program.passed is not None or not rubrics:
        return by_program
    read = [read_rubric(rubric) for rubric in rubrics]
    verdict = judge.judge([rubric for rubric in read if isinstance(rubric, str)], answer)
    if verdict.passed is None:
        return verdict
    judged, answer = iter(verdict.statuses), final_answer(answer)
    statuses = tuple(next(judged) if isinstance(rubric, str) else check(rubric, answer) for rubric in read)
    return replace(verdict, passed=all(statuses), statuses=statuses)


def needs_judge(record: Record) -> bool:
    """Whether a record has an answer, but no score yet, and a rubric in words."""
    return record.passed is None and is_judgeable(record)


def is_judgeable(record: Record) -> bool:
    """Whether a record has an answer and a rubric in words, scored or not."""
    return record.finish_reason != "error" and any(isinstance(read_rubric(rubric), str) for rubric in record.rubrics)


def with_score(record: Record, score: Score) -> Record:
    """The record under another score."""
    return replace(record, **asdict(score))


class BackgroundJudging:
    """Judges records while others are decoded; each new score is stored as soon as it is collected.

    A judge that shares the decoder's device is asked only when `collect` waits, so that it slows nothing down.

    Args:
        judge: Who judges.
        store: Where scored records are appended.
    """

    def __init__(self, judge: Judge, store: RecordStore) -> None:
        self._judge, self._store = judge, store
        self._pool = ThreadPoolExecutor(judge.concurrency, "judge")
        # Arms that decode losslessly give the same answer: it is judged once for all of them.
        self._held: dict[str, list[Record]] = {}
        self._running: dict[Future[Score], str] = {}

    def submit(self, record: Record) -> None:
        """Have a record judged."""
        question = json.dumps([record.rubrics, final_answer(record.answer)])
        is_new = question not in self._held
        self._held.setdefault(question, []).append(record)
        if is_new and not self._judge.shares_device:
            self._start(question)

    def collect(self, *, wait: bool = False) -> Iterator[Record]:
        """Records whose judgement has ended since the last call, scored or not; with `wait`, all of them."""
        if wait:
            begun = set(self._running.values())
            for question in [question for question in self._held if question not in begun]:
                self._start(question)
        ended = as_completed(list(self._running)) if wait else [future for future in self._running if future.done()]
        for future in ended:
            try:
                score = future.result()
            except Exception as error:  # whatever a judge of somebody else raises: the answer must not be lost
                score = Score(passed=None, explanation=f"judge: {type(error).__name__}: {error}")
            for old in self._held.pop(self._running.pop(future)):
                # A judge that failed this time takes no earlier score away.
                lost = score.passed is None and old.passed is not None
                record = old if lost else with_score(old, score)
                if record != old:
                    self._store.append(record)
                yield record

    def stop(self) -> None:
        """Drop what has not begun; records without a score can be judged later."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, question: str) -> None:
        record = self._held[question][0]
        self._running[self._pool.submit(judge_answer, record.rubrics, record.answer, self._judge)] = question
