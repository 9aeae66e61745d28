from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dftt.judges.base import Judge, ProgrammaticJudge
from dftt.study.judging import BackgroundJudging, judge_answer, needs_judge
from dftt.study.records import RecordStore, load_records
from dftt.types import Record, Score
from tests.fakes import CannedJudge

PHRASE = {"type": "contains", "any_of": ["Aller"]}


def record(task: str, rubrics: Sequence[Any] = ("names the river",), **changes: Any) -> Record:
    return Record(task, "c", "target", 0, "h", answer=f"answer {task}", rubrics=tuple(rubrics), **changes)


def test_a_program_scores_what_it_can_and_the_judge_is_not_asked() -> None:
    judge = CannedJudge(lambda rubrics, answer: pytest.fail("asked"))
    assert judge_answer([PHRASE], "the Aller", judge).passed is True
    assert judge_answer(["in words"], "<think>x", judge).passed is False


def test_the_judge_gets_rubrics_in_words_in_their_order() -> None:
    judge = CannedJudge(lambda rubrics, answer: Score(True, (True,) * len(rubrics), "fine", "canned", True))
    score = judge_answer(["a", {"type": "excludes", "any_of": ["Aller"]}, "b", PHRASE], "the Aller", judge)
    assert judge.asked == [(("a", "b"), "the Aller")]
    assert (score.passed, score.statuses) == (False, (True, False, True, True))
    assert (score.judge, score.judge_overall) == ("canned", True)


def test_without_a_judge_a_rubric_in_words_stays_unscored() -> None:
    assert judge_answer(["a"], "the Aller").explanation == "rubric 1 needs a judge"
    assert ProgrammaticJudge().judge(["a"], "the Aller").passed is None


@pytest.mark.parametrize(
    ("changes", "needed"),
    [({}, True), ({"passed": False}, False), ({"finish_reason": "error"}, False), ({"rubrics": (PHRASE,)}, False)],
)
def test_which_records_need_a_judge(changes: dict[str, Any], needed: bool) -> None:
    assert needs_judge(record("t", **changes)) is needed


def test_scores_are_stored_as_they_are_collected(tmp_path: Path) -> None:
    judging = BackgroundJudging(CannedJudge(lambda *_: Score(True, (True,), "", "canned")), RecordStore(tmp_path))
    judging.submit(record("t"))
    assert [scored.passed for scored in judging.collect(wait=True)] == [True]
    assert load_records(tmp_path)[0].judge == "canned"
    judging.stop()


def test_equal_answers_of_several_arms_are_judged_once(tmp_path: Path) -> None:
    judge = CannedJudge(lambda *_: Score(True, (True,)))
    judging = BackgroundJudging(judge, RecordStore(tmp_path))
    for arm in ("target", "speculative+none"):
        judging.submit(replace(record("t"), arm=arm))
    judging.submit(record("u"))
    assert len(list(judging.collect(wait=True))) == 3
    assert len(judge.asked) == 2
    assert [entry.passed for entry in load_records(tmp_path)] == [True] * 3
    judging.stop()


def raises(*_: Any) -> Score:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("failing", [raises, lambda *_: Score(None, explanation="judge: HTTP 500")])
def test_a_failed_judge_leaves_run_and_earlier_score(tmp_path: Path, failing: Callable[..., Score]) -> None:
    store = RecordStore(tmp_path)
    judging = BackgroundJudging(CannedJudge(failing), store)
    scored, unscored = record("a", passed=True, statuses=(True,)), record("b")
    for entry in (scored, unscored):
        store.append(entry)
        judging.submit(entry)
    list(judging.collect(wait=True))
    judging.stop()
    first, second = load_records(tmp_path)
    assert first == scored
    assert second.passed is None
    assert second.explanation.startswith("judge: ")


def test_a_judge_on_the_same_device_waits_until_decoding_is_done(tmp_path: Path) -> None:
    judge = CannedJudge(lambda *_: Score(True, (True,)), shares_device=True)
    judging = BackgroundJudging(judge, RecordStore(tmp_path))
    judging.submit(record("t"))
    assert list(judging.collect()) == []
    assert judge.asked == []
    assert len(list(judging.collect(wait=True))) == 1
    judging.stop()


def test_a_judge_is_a_class_with_a_name() -> None:
    assert ProgrammaticJudge().name == "program"
    assert issubclass(ProgrammaticJudge, Judge)
