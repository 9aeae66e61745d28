"""The verdict: what may be claimed from records, and when nothing may."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from dftt.analysis.arms_file import write_arms
from dftt.analysis.comparison import adjust
from dftt.analysis.rules import rules
from dftt.analysis.verdict import contexts_verdict, judge, main, read_verdict, verdicts, write_verdict
from dftt.study.manifest import Intended
from dftt.study.records import RecordStore
from dftt.types import DecodingSpec, Record, TTTSpec
from dftt.types.arms import Arm
from tests.verdicts import (
    ADAPTED,
    GUIDANCE,
    NONE,
    OWN,
    PLAIN,
    TARGET,
    WRONG,
    by_chance,
    drafting,
    ids,
    passes,
    passing,
    rows,
    verdict_on,
)


@pytest.mark.parametrize(
    ("rates", "answer", "says"),
    [
        ((0.2, 0.35, 0.5), "full", "(TTT + guided) > guided > baseline, the full hypothesis"),
        ((0.3, 0.3, 0.5), "ttt", "guided ≈ baseline < (TTT + guided), so TTT is essential"),
        ((0.3, 0.302, 0.3), "none", "guided ≈ (TTT + guided) ≈ baseline, the hypothesis fails"),
        ((0.3, 0.5, 0.5), "adapted", "(TTT + guided) > baseline"),
        ((0.3, 0.5, 0.3), "guided", "guided > baseline; that TTT adds to it is not shown"),
        ((0.5, 0.3, 0.3), "harm", "Guidance helps nowhere and harms in 2 of 2 settings, the hypothesis fails"),
    ],
)
def test_decision_table(rates: tuple[float, ...], answer: str, says: str) -> None:
    verdict = verdict_on("guidance", passing(ids(*rates)), rows(*GUIDANCE))
    assert verdict is not None
    assert (verdict.answer, verdict.sentence.startswith(says)) == (answer, True), verdict.sentence
    assert "pass rate [" in verdict.sentence
    assert verdict.sentence.endswith("n = 400.")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n": 12}, "12 pairs are too few (at least 30)"),
        ({"n": 100, "unscored": 0.3}, "of 100 pairs are unscored or missing (at most 10% may be)"),
    ],
)
def test_nothing_is_claimed_from_too_little(options: dict[str, Any], says: str) -> None:
    verdict = verdict_on("guidance", passing(ids(0.1, 0.5, 0.9), **options), rows(*GUIDANCE))
    assert verdict is not None
    assert verdict.answer == "cannot tell"
    assert says in verdict.sentence


def test_few_contexts_are_too_few_however_many_tasks() -> None:
    records = [record for record in passing(ids(0.1, 0.5, 0.9)) if record.context_id in ("c0", "c1", "c2")]
    crowded = [
        Record(f"{record.task_id}/{copy}", record.context_id, record.arm, 0, "", passed=record.passed)
        for record in records
        for copy in range(10)
    ]
    verdict = verdict_on("guidance", crowded, rows(*GUIDANCE))
    assert verdict is not None
    assert "3 contexts are too few" in verdict.sentence


def test_harm_is_told_though_another_setting_cannot_be() -> None:
    """One setting of thirty that nothing was known of hid that half of them harmed."""
    weak = Arm("guided", "none", 0.1)
    verdict = verdict_on(
        "guidance", by_chance({TARGET.id: 0.5, PLAIN.id: 0.1, weak.id: 0.5}, n=100), rows(*GUIDANCE[:2], weak)
    )
    assert verdict is not None
    assert verdict.answer == "harm or unclear"
    assert "is shown to help nowhere and to harm in 1 of 2 settings; in 1 it cannot be told" in verdict.sentence
    assert f"{weak.id} against target" in verdict.sentence


def test_an_effect_below_zero_that_holm_leaves_open_is_no_gain() -> None:
    """Not significant among many, but the interval excludes a gain worth having: the hypothesis fails all the same."""
    verdict = verdict_on(
        "guidance", by_chance({TARGET.id: 0.5, PLAIN.id: 0.47, ADAPTED.id: 0.2}, n=400), rows(*GUIDANCE)
    )
    assert verdict is not None
    plain = verdict.comparisons[0]
    assert (plain.finding, plain.excludes_gain) == ("unclear", True)
    assert verdict.answer == "harm"


def test_a_wide_interval_says_how_many_would_tell() -> None:
    records = by_chance(ids(0.5, 0.5, 0.5), n=40)
    verdict = verdict_on("guidance", records, rows(*GUIDANCE))
    assert verdict is not None
    assert verdict.answer == "cannot tell"
    assert "the interval is too wide (about " in verdict.sentence
    needed = max(comparison.enough for comparison in verdict.comparisons)
    assert 400 < needed < 4000


def test_no_more_pairs_are_asked_for_than_there_are() -> None:
    """An interval that is narrow enough, but neither around zero nor clear of it, was once called too wide."""
    gained = {4 * number for number in range(16)}
    records = [
        Record(f"t{number}", f"c{number}", arm.id, 0, "", passed=arm is not TARGET and number in gained)
        for number in range(400)
        for arm in (TARGET, ADAPTED)
    ]
    made = passes(records, ADAPTED, TARGET)
    assert made.enough < made.interval.n
    verdict = verdict_on("guidance", records, rows(TARGET, ADAPTED))
    assert verdict is not None
    assert "would tell" not in verdict.sentence


def test_missing_records_count_as_unusable() -> None:
    records = passing(ids(0.2, 0.4, 0.6), n=100)
    kept = [record for record in records if record.arm != PLAIN.id or int(record.task_id[1:]) < 80]
    comparison = passes(kept, PLAIN, TARGET)
    assert (comparison.interval.n, comparison.unusable, comparison.finding) == (80, 20, "too few")


def test_each_temperature_has_its_own_baseline() -> None:
    cold, warm = (Arm("target", temperature=heat) for heat in (0.3, 1.0))
    guided = Arm("guided", "none", 0.5, temperature=1.0)
    verdict = verdict_on("guidance", passing({arm.id: 0.4 for arm in (cold, warm, guided)}), rows(cold, warm, guided))
    assert verdict is not None
    assert [each.reference for each in verdict.comparisons] == [warm.id]


# -- tau --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "answer"), [(4.0, "worthwhile"), (3.3, "small"), (3.0, "unchanged"), (2.0, "lowered"), (3.5, "raised")]
)
def test_tau_checkpoint(own: float, answer: str) -> None:
    verdict = verdict_on("tau", drafting({NONE.id: 3.0, OWN.id: own}), rows(NONE, OWN))
    assert verdict is not None
    assert verdict.answer == answer, verdict.sentence


def test_tau_is_read_beside_its_control() -> None:
    specific = verdict_on("tau", drafting({NONE.id: 3.0, OWN.id: 4.0, WRONG.id: 3.4}), rows(NONE, OWN, WRONG))
    generic = verdict_on("tau", drafting({NONE.id: 3.0, OWN.id: 4.0, WRONG.id: 4.0}), rows(NONE, OWN, WRONG))
    assert specific is not None
    assert generic is not None
    assert "the change is owed to this context" in specific.sentence
    assert "the change is not owed to this context" in generic.sentence


def test_a_study_of_drafters_alone_has_a_verdict() -> None:
    """It ended, after all its work, in an error of max()."""
    arms = rows(Arm(), Arm(drafting={"drafter": "lookup"}), Arm(drafting={"drafter": "hybrid"}))
    records = drafting({arm.id: tau for arm, tau in zip(arms, (2.0, 1.5, 3.0), strict=True)})
    found = verdict_on("tau", records, arms)
    assert found is not None
    assert found.answer == "cannot tell"
    assert "no arm adapts to its own context: speculative+none,drafter=hybrid against" in found.sentence


def test_a_sweep_says_in_how_many_of_its_settings() -> None:
    short, long = (Arm(ttt="own", ttt_overrides={"steps": steps}) for steps in (3, 30))
    verdict = verdict_on("tau", drafting({NONE.id: 3.0, short.id: 3.2, long.id: 4.2}), rows(NONE, short, long))
    assert verdict is not None
    assert verdict.sentence.startswith(
        "TTT raises tau by more than 0.5, in 1 of 2 settings: speculative+own,steps=30 against speculative+none"
    )


@pytest.mark.parametrize(("here", "answer"), [(2.0, "lower"), (4.0, "higher"), (3.0, "cannot tell")])
def test_tau_of_two_studies(here: float, answer: str) -> None:
    assert contexts_verdict(drafting({"a": here}), drafting({"a": 3.0}), "a").answer == answer
    assert contexts_verdict(drafting({"a": here}, n=5), drafting({"a": 3.0}), "a").answer == "cannot tell"


# -- files ------------------------------------------------------------------------------------------------------------


def test_verdict_is_written_from_a_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = RecordStore(tmp_path)
    for record in drafting({NONE.id: 3.0, OWN.id: 4.0}, n=30):
        store.append(record)
    write_arms(tmp_path, [NONE, OWN], TTTSpec(), DecodingSpec())
    main([str(tmp_path), "--standard", str(tmp_path)])
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "verdict.json").read_text())
    assert [each["sentence"] for each in written["verdicts"]] == printed.strip().splitlines()
    assert written["verdicts"][0]["comparisons"][0]["n"] == 30
    assert [each["question"] for each in written["verdicts"]] == ["tau", "contexts"]


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no arms\.json; name the folder of a study"):
        write_verdict(tmp_path)


def test_arms_that_ask_nothing_have_no_verdict() -> None:
    assert verdicts(passing({TARGET.id: 0.5}), rows(TARGET)) == []


def test_comparisons_of_one_question_are_adjusted_together() -> None:
    records = passing(ids(0.5, 0.55, 0.55), n=400)
    alone = adjust([passes(records, PLAIN, TARGET)])[0]
    among = adjust([passes(records, arm, TARGET) for arm in (PLAIN, ADAPTED)])[0]
    assert among.adjusted == pytest.approx(2 * alone.adjusted)


# -- what the data do not say -----------------------------------------------------------------------------------------


def test_a_sure_gain_is_not_hidden_by_an_unsure_larger_one() -> None:
    sure, unsure = (Arm(ttt="own", ttt_overrides={"steps": steps}) for steps in (10, 30))
    draw = random.Random(5)
    records = drafting({NONE.id: 3.0, sure.id: 3.2})
    records += [
        Record(f"t{n}", f"c{n}", unsure.id, 0, "", acceptance_lengths=(max(1, round(draw.gauss(3.0, 2.5))),) * 20)
        for n in range(60)
    ]
    verdict = verdict_on("tau", records, rows(NONE, sure, unsure))
    assert verdict is not None
    small, large = (each.interval for each in verdict.comparisons)
    assert large.low < 0 < small.low < small.estimate < large.estimate
    assert verdict.answer == "raised"
    assert verdict.sentence.startswith(f"TTT raises tau, in 1 of 2 settings; whether by 0.5 cannot be told: {sure.id} ")


def failing(tasks: int, contexts: int, *, passed: bool = False) -> list[Record]:
    return [
        Record(f"t{n}", f"c{n % contexts}", arm.id, 0, "", passed=passed)
        for n in range(tasks)
        for arm in (TARGET, PLAIN)
    ]


@pytest.mark.parametrize(("passed", "words"), [(False, "fail all 30, a floor"), (True, "pass all 30, a ceiling")])
def test_nothing_differs_at_a_floor_and_nothing_is_claimed(passed: bool, words: str) -> None:
    """It was: guided ≈ baseline, the hypothesis fails, +0.00 [+0.00, +0.00]."""
    verdict = verdict_on("guidance", failing(30, 5, passed=passed), rows(TARGET, PLAIN))
    assert verdict is not None
    assert verdict.answer == "cannot tell"
    assert f"both arms {words} (about 73 pairs would tell)" in verdict.sentence
    assert "+0.00 pass rate [-0.11, +0.11], n = 30" in verdict.sentence


@pytest.mark.parametrize(("tasks", "answer"), [(72, "cannot tell"), (73, "none")])
def test_from_73_pairs_on_a_floor_is_equal_and_called_a_floor(tasks: int, answer: str) -> None:
    verdict = verdict_on("guidance", failing(tasks, tasks), rows(TARGET, PLAIN))
    assert verdict is not None
    assert (verdict.answer, "floor" in verdict.sentence) == (answer, True)


@pytest.mark.parametrize("broken", [PLAIN, TARGET])
def test_unscored_answers_are_bounded_both_ways_and_named(broken: Arm) -> None:
    """Ten failures of one arm that had no score turned a difference into "equal"."""
    records = [
        Record(f"t{n}", f"c{n}", arm.id, 0, "", passed=None if arm is broken and n < 10 else n >= 10 and n % 2 == 0)
        for n in range(200)
        for arm in (TARGET, PLAIN)
    ]
    made = passes(records, PLAIN, TARGET)
    assert (made.interval.n, made.unusable, made.interval.estimate) == (190, 10, 0.0)
    assert made.finding == "unclear" if broken is PLAIN else made.at_least < -0.05
    assert made.at_least < -0.01 < 0.01 < made.at_most
    assert "(10 of 200 pairs are unscored: [" in made.words()


def test_what_the_unscored_could_undo_is_not_claimed() -> None:
    records = [
        Record(f"t{n}", f"c{n}", arm.id, 0, "", passed=passed)
        for n in range(200)
        for arm, passed in ((TARGET, n % 2 == 0), (PLAIN, None if n % 20 == 0 else n % 2 == 0 or n < 40))
    ]
    scored = [record for record in records if int(record.task_id[1:]) % 20]
    assert adjust([passes(scored, PLAIN, TARGET)])[0].finding == "above"
    assert adjust([passes(records, PLAIN, TARGET)])[0].finding != "above"


def test_seeds_of_a_task_count_once() -> None:
    records = [
        Record(f"t{n}", f"c{n}", arm.id, seed, "", passed=arm is PLAIN)
        for n in range(12)
        for seed in range(10)
        for arm in (TARGET, PLAIN)
    ]
    verdict = verdict_on("guidance", records, rows(TARGET, PLAIN))
    assert verdict is not None
    assert "12 tasks in 120 pairs are too few (at least 30)" in verdict.sentence


def test_a_study_that_lacks_answers_is_unfinished(tmp_path: Path) -> None:
    records = [record for record in drafting({NONE.id: 3.0, OWN.id: 4.0}, n=40)]
    write_arms(tmp_path, [NONE, OWN], TTTSpec(), DecodingSpec())
    store = RecordStore(tmp_path)
    store.path.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records))
    tasks = {f"t{n}": f"c{n}" for n in range(200)}
    hashes = {(task, arm.id, 0): "" for task in tasks for arm in (NONE, OWN)}
    Intended(contexts=tasks, arms=(NONE.id, OWN.id), seeds=(0,), hashes=hashes).write(tmp_path)
    (verdict,) = judge(tmp_path).verdicts
    assert verdict.answer == "unfinished"
    assert verdict.sentence.startswith(
        "Unfinished, 80 of 400 answers are there. So far: TTT raises tau by more than 0.5"
    )


# -- rules ------------------------------------------------------------------------------------------------------------


def begun(folder: Path) -> Path:
    write_arms(folder, [NONE, OWN], TTTSpec(), DecodingSpec())
    lines = [json.dumps(record.to_json()) + "\n" for record in drafting({NONE.id: 3.0, OWN.id: 4.0}, n=30)]
    RecordStore(folder).path.write_text("".join(lines))
    return folder


def test_a_study_writes_down_the_rules_under_which_it_begins(tmp_path: Path) -> None:
    said = json.loads((begun(tmp_path) / "arms.json").read_text())
    assert said["rules"] == rules()
    assert judge(tmp_path).notes == ()


@pytest.mark.parametrize(
    ("began", "note"),
    [
        ({"version": 1, "sha256": "a"}, "the study began under rules 1."),
        ({**rules(), "sha256": "a"}, "whose text has changed since the study began."),
        (None, "the study did not write down under which rules it began."),
    ],
)
def test_a_verdict_by_other_rules_says_so(tmp_path: Path, began: dict[str, Any] | None, note: str) -> None:
    path = begun(tmp_path) / "arms.json"
    said = json.loads(path.read_text()) | {"rules": began}
    path.write_text(json.dumps(said["arms"] if began is None else said))
    write_arms(tmp_path, [NONE, OWN], TTTSpec(), DecodingSpec())  # as a study that goes on does
    assert str(write_verdict(tmp_path)).endswith(
        f"Judged by rules {rules()['version']}{',' if 'text' in note else ';'} {note}"
    )


def test_verdict_json_reads_back_as_it_was_made(tmp_path: Path) -> None:
    made = write_verdict(begun(tmp_path))
    assert read_verdict(tmp_path) == made
    (tmp_path / "verdict.json").write_text('{"verdicts": [], "rules": {"min_pairs": 30}}')
    assert read_verdict(tmp_path) is None  # of before rules 2
