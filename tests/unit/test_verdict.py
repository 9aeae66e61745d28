"""The verdict: what may be claimed from records, and when nothing may."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dftt.analysis.arm_roles import TARGET as THE_TARGET
from dftt.analysis.arm_roles import ArmPair
from dftt.analysis.arms_file import write_arms
from dftt.analysis.comparison import Comparison, adjust, compare
from dftt.analysis.rules import rules
from dftt.analysis.verdict import Verdict, contexts_verdict, judge, main, read_verdict, verdicts, write_verdict
from dftt.study.manifest import Intended
from dftt.study.records import RecordStore
from dftt.types import DecodingSpec, Record, TTTSpec
from dftt.types.arms import Arm

TARGET, PLAIN, ADAPTED = Arm("target"), Arm("guided", "none", 0.3), Arm("guided", "own", 0.3)
NONE, OWN, WRONG = Arm(), Arm(ttt="own"), Arm(ttt="wrong")
GUIDANCE = (TARGET, PLAIN, ADAPTED)


def rows(*arms: Arm) -> list[Arm]:
    """Arms as arms.json gives them back."""
    return [Arm.from_json(arm.within(TTTSpec(), DecodingSpec()).to_json()) for arm in arms]


def verdict_on(question: str, records: Sequence[Record], arms: Sequence[Arm]) -> Verdict | None:
    return next((each for each in verdicts(records, arms) if each.question == question), None)


def passes(records: Sequence[Record], arm: Arm, reference: Arm) -> Comparison:
    return compare(records, ArmPair("guidance", arm.id, reference.id, THE_TARGET, "pass rate"))


def passing(rates: Mapping[str, float], *, n: int = 400, unscored: float = 0.0) -> list[Record]:
    """Records of arms that pass at these rates; a task that passes under one passes under every better one."""
    draw, records = random.Random(1), []
    for number in range(n):
        luck, lost = draw.random(), draw.random() < unscored
        for arm, rate in rates.items():
            passed = None if lost else luck < rate
            records.append(Record(f"t{number}", f"c{number // 4}", arm, 0, "", passed=passed))
    return records


def ids(*rates: float) -> dict[str, float]:
    """Rates of target, guided, and guided with TTT."""
    return {arm.id: rate for arm, rate in zip(GUIDANCE, rates, strict=True)}


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


def by_chance(rates: Mapping[str, float], *, n: int, seed: int = 0) -> list[Record]:
    """As passing, but each answer has luck of its own: wide intervals."""
    draw = random.Random(seed)
    return [
        Record(f"t{number}", f"c{number}", arm, 0, "", passed=draw.random() < rate)
        for number in range(n)
        for arm, rate in rates.items()
    ]


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


def drafting(taus: Mapping[str, float], *, n: int = 60) -> list[Record]:
    """Records of arms with about these acceptance lengths."""
    draw = random.Random(3)
    return [
        Record(f"t{number}", f"c{number}", arm, 0, "", acceptance_lengths=lengths)
        for number in range(n)
        for arm, tau in taus.items()
        if (lengths := tuple(max(1, round(draw.gauss(tau, 0.4))) for _ in range(20)))
    ]


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


# -- controls and baselines -------------------------------------------------------------------------------------------

GUIDED_WRONG, GUIDED_SHUFFLED = (Arm("guided", source, 0.3) for source in ("wrong", "shuffled"))
NOISE = Arm("guided", "own", 0.3, guidance={"rule": "noise_spread"})
CAD, POWER = Arm("guided", alpha=1.0, guidance={"rule": "cad"}), Arm("power", parameters={"alpha": 4.0})


@pytest.mark.parametrize(
    ("own", "wrong", "answer", "says"),
    [
        (
            0.6,
            0.3,
            "above",
            "guidance by the own context's adapter does better than by another text's, in 2 of 2 settings: ",
        ),
        (
            0.3,
            0.6,
            "below",
            "guidance by the own context's adapter does worse than by another text's, in 2 of 2 settings: ",
        ),
        (0.4, 0.4, "equal", "guidance by the own context's adapter does as well as by another text's: "),
    ],
)
def test_guidance_is_read_beside_its_controls(own: float, wrong: float, answer: str, says: str) -> None:
    arms = (TARGET, ADAPTED, GUIDED_WRONG, GUIDED_SHUFFLED, NOISE)
    rates = {ADAPTED.id: own, GUIDED_WRONG.id: wrong, GUIDED_SHUFFLED.id: wrong, NOISE.id: 0.05, TARGET.id: 0.4}
    verdict = verdict_on("controls", passing(rates), rows(*arms))
    assert verdict is not None
    assert (verdict.answer, says in verdict.sentence) == (answer, True), verdict.sentence
    assert (
        "guidance by the draft does better than noise of its spread, in 1 of 1 settings: "
        f"{ADAPTED.id} against {NOISE.id}, +" in (verdict.sentence)
    )
    made = {(each.arm, each.reference) for each in verdict.comparisons}
    controls = (GUIDED_WRONG, GUIDED_SHUFFLED, NOISE)
    assert made == {(ADAPTED.id, each.id) for each in controls} | {(each.id, TARGET.id) for each in controls}


def test_a_control_that_is_better_here_and_worse_there_is_called_both() -> None:
    weak, strong = (
        (Arm("guided", "own", alpha), Arm("guided", "own", alpha, guidance={"rule": "noise_spread"}))
        for alpha in (0.1, 1.0)
    )
    rates = {TARGET.id: 0.5, weak[0].id: 0.5, weak[1].id: 0.2, strong[0].id: 0.1, strong[1].id: 0.3}
    verdict = verdict_on("controls", passing(rates), rows(TARGET, *weak, *strong))
    assert verdict is not None
    assert verdict.answer == "mixed"
    assert (
        "guidance by the draft does better than noise of its spread in 1 of 2 settings and worse in 1: "
        in verdict.sentence
    )


def test_too_few_pairs_tell_nothing_of_a_control() -> None:
    records = passing({TARGET.id: 0.4, ADAPTED.id: 0.9, GUIDED_WRONG.id: 0.1}, n=12)
    verdict = verdict_on("controls", records, rows(TARGET, ADAPTED, GUIDED_WRONG))
    assert verdict is not None
    assert verdict.answer == "cannot tell"
    assert "cannot be told, 12 pairs are too few" in verdict.sentence


def test_guided_answers_are_compared_with_a_target_as_unsure() -> None:
    matched = Arm("target", matched_to=PLAIN.id)
    verdict = verdict_on(
        "controls", passing({TARGET.id: 0.4, PLAIN.id: 0.6, matched.id: 0.4}), rows(TARGET, PLAIN, matched)
    )
    assert verdict is not None
    assert [(each.arm, each.reference) for each in verdict.comparisons] == [(PLAIN.id, matched.id)]


def test_noise_takes_the_place_of_interpolation_alone() -> None:
    """It is as large as draft minus target, not as what another rule adds."""
    other = Arm("guided", "own", 0.3, guidance={"rule": "own_minus_other"})
    assert (
        verdict_on("controls", passing({TARGET.id: 0.4, other.id: 0.4, NOISE.id: 0.4}), rows(TARGET, other, NOISE))
        is None
    )


@pytest.mark.parametrize(
    ("cad", "answer", "says"),
    [
        (0.6, "help", f"A baseline helps, in 1 of 2 settings: {CAD.id} against target, +"),
        (0.4, "none", "The baselines change no pass rate: "),
        (0.2, "harm", "A baseline helps nowhere and harms in 1 of 2 settings: "),
    ],
)
def test_baselines_are_a_question_of_their_own(cad: float, answer: str, says: str) -> None:
    records = passing({**ids(0.4, 0.4, 0.4), CAD.id: cad, POWER.id: 0.4})
    verdict = verdict_on("baselines", records, rows(*GUIDANCE, CAD, POWER))
    assert verdict is not None
    assert (verdict.answer, verdict.sentence.startswith(says)) == (answer, True), verdict.sentence
    assert len(verdict.comparisons) == 2


@pytest.mark.parametrize(
    ("copied", "says"),
    [
        (0.7, "copying a part of the passage does better than the target, in 1 of 1 settings: "),
        (0.1, "copying a part of the passage does worse than the target, in 1 of 1 settings: "),
        (0.4, "copying a part of the passage does as well as the target: "),
    ],
)
def test_the_floor_is_said_beside_the_baselines(copied: float, says: str) -> None:
    copy = Arm("copy", parameters={"what": "last_sentence"})
    records = passing({**ids(0.4, 0.4, 0.4), CAD.id: 0.4, copy.id: copied})
    alone = verdict_on("baselines", records, rows(*GUIDANCE, copy))
    beside = verdict_on("baselines", records, rows(*GUIDANCE, CAD, copy))
    assert alone is not None
    assert beside is not None
    assert alone.sentence.startswith(f"Floor: {says}{copy.id} against target, "), alone.sentence
    assert beside.sentence.startswith("The baselines change no pass rate: "), beside.sentence
    assert f"; floor: {says}" in beside.sentence


def test_unscored_answers_are_said_once() -> None:
    arms = (*GUIDANCE, GUIDED_WRONG, NOISE, CAD)
    (verdict,) = verdicts(passing({arm.id: 0.4 for arm in arms}, n=50, unscored=1.1), rows(*arms))
    assert verdict.question == "guidance"
    assert "50 of 50 pairs are unscored" in verdict.sentence
    assert verdict.sentence.endswith("against target, no pairs.")


def test_questions_are_those_that_arms_ask() -> None:
    arms = (*GUIDANCE, NONE, OWN, GUIDED_WRONG, CAD)
    made = verdicts(passing({arm.id: 0.4 for arm in arms}), rows(*arms))
    assert [each.question for each in made] == ["tau", "guidance", "controls", "baselines"]


@pytest.mark.parametrize("rule", ["cad", "noise_norm", "contrastive", "dola"])
def test_what_is_not_guided_by_the_draft_says_nothing_about_it(rule: str) -> None:
    """Context-aware decoding helped, and the verdict held that the draft did."""
    control = Arm("guided", alpha=0.3, guidance={"rule": rule})
    records = passing({**ids(0.2, 0.2, 0.2), control.id: 0.9})
    assert verdict_on("guidance", records, rows(TARGET, control)) is None
    verdict = verdict_on("guidance", records, rows(*GUIDANCE, control))
    assert verdict is not None
    assert verdict.answer == "none"


def test_a_matched_arm_is_not_the_targets_own_answer() -> None:
    matched = Arm("target", matched_to=PLAIN.id)
    records = passing({matched.id: 0.2, PLAIN.id: 0.9})
    assert verdict_on("guidance", records, rows(matched, PLAIN)) is None


def test_noise_of_the_same_norm_is_said_to_be_louder() -> None:
    """Records from before were compared with noise most of whose norm moves all logits alike."""
    loud = Arm("guided", "own", 0.3, guidance={"rule": "noise_norm"})
    verdict = verdict_on(
        "controls",
        passing({TARGET.id: 0.4, ADAPTED.id: 0.4, loud.id: 0.1, NOISE.id: 0.4}),
        rows(TARGET, ADAPTED, loud, NOISE),
    )
    assert verdict is not None
    assert "guidance by the draft does as well as noise of its spread: " in verdict.sentence
    assert (
        "better than noise of the same norm, which is louder than the guidance's spread, in 1 of 1" in verdict.sentence
    )


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
