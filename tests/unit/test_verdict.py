"""The verdict: what may be claimed from records, and when nothing may."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from dftt.evaluation.comparison import adjust, compare
from dftt.evaluation.records import RecordStore
from dftt.evaluation.verdict import (
    baselines_verdict,
    contexts_verdict,
    controls_verdict,
    guidance_verdict,
    main,
    tau_verdict,
    verdicts,
    write_verdict,
)
from dftt.study import Arm
from dftt.study.description import describe, write_arms
from dftt.types import DecodingSpec, Record, TTTSpec

TARGET, PLAIN, ADAPTED = Arm("target"), Arm("guided", "none", 0.3), Arm("guided", "own", 0.3)
NONE, OWN, WRONG = Arm(), Arm(ttt="own"), Arm(ttt="wrong")
GUIDANCE = (TARGET, PLAIN, ADAPTED)


def rows(*arms: Arm) -> list[dict[str, Any]]:
    """Lines of arms.json."""
    return [describe(arm, TTTSpec(), DecodingSpec()) for arm in arms]


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
    verdict = guidance_verdict(passing(ids(*rates)), rows(*GUIDANCE))
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
    verdict = guidance_verdict(passing(ids(0.1, 0.5, 0.9), **options), rows(*GUIDANCE))
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
    verdict = guidance_verdict(crowded, rows(*GUIDANCE))
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
    verdict = guidance_verdict(
        by_chance({TARGET.id: 0.5, PLAIN.id: 0.1, weak.id: 0.5}, n=100), rows(*GUIDANCE[:2], weak)
    )
    assert verdict is not None
    assert verdict.answer == "harm or unclear"
    assert "is shown to help nowhere and to harm in 1 of 2 settings; in 1 it cannot be told" in verdict.sentence
    assert f"{weak.id} against target" in verdict.sentence


def test_an_effect_below_zero_that_holm_leaves_open_is_no_gain() -> None:
    """Not significant among many, but the interval excludes a gain worth having: the hypothesis fails all the same."""
    verdict = guidance_verdict(by_chance({TARGET.id: 0.5, PLAIN.id: 0.47, ADAPTED.id: 0.2}, n=400), rows(*GUIDANCE))
    assert verdict is not None
    plain = verdict.comparisons[0]
    assert (plain.finding, plain.excludes_gain) == ("unclear", True)
    assert verdict.answer == "harm"


def test_a_wide_interval_says_how_many_would_tell() -> None:
    records = by_chance(ids(0.5, 0.5, 0.5), n=40)
    verdict = guidance_verdict(records, rows(*GUIDANCE))
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
    made = compare(records, ADAPTED.id, TARGET.id, "pass rate")
    assert made.enough < made.interval.n
    verdict = guidance_verdict(records, rows(TARGET, ADAPTED))
    assert verdict is not None
    assert "would tell" not in verdict.sentence


def test_missing_records_count_as_unusable() -> None:
    records = passing(ids(0.2, 0.4, 0.6), n=100)
    kept = [record for record in records if record.arm != PLAIN.id or int(record.task_id[1:]) < 80]
    comparison = compare(kept, PLAIN.id, TARGET.id, "pass rate")
    assert (comparison.interval.n, comparison.unusable, comparison.finding) == (80, 20, "too few")


def test_each_temperature_has_its_own_baseline() -> None:
    cold, warm = (Arm("target", temperature=heat) for heat in (0.3, 1.0))
    guided = Arm("guided", "none", 0.5, temperature=1.0)
    verdict = guidance_verdict(passing({arm.id: 0.4 for arm in (cold, warm, guided)}), rows(cold, warm, guided))
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
    verdict = tau_verdict(drafting({NONE.id: 3.0, OWN.id: own}), rows(NONE, OWN))
    assert verdict is not None
    assert verdict.answer == answer, verdict.sentence


def test_tau_is_read_beside_its_control() -> None:
    specific = tau_verdict(drafting({NONE.id: 3.0, OWN.id: 4.0, WRONG.id: 3.4}), rows(NONE, OWN, WRONG))
    generic = tau_verdict(drafting({NONE.id: 3.0, OWN.id: 4.0, WRONG.id: 4.0}), rows(NONE, OWN, WRONG))
    assert specific is not None
    assert generic is not None
    assert "the change is owed to this context" in specific.sentence
    assert "the change is not owed to this context" in generic.sentence


def test_the_best_of_a_sweep_is_called_so() -> None:
    short, long = (Arm(ttt="own", ttt_overrides={"steps": steps}) for steps in (3, 30))
    verdict = tau_verdict(drafting({NONE.id: 3.0, short.id: 3.2, long.id: 4.2}), rows(NONE, short, long))
    assert verdict is not None
    assert "speculative+own,steps=30 against speculative+none (the largest of 2 settings)" in verdict.sentence


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
    alone = adjust([compare(records, PLAIN.id, TARGET.id, "pass rate")])[0]
    among = adjust([compare(records, arm.id, TARGET.id, "pass rate") for arm in (PLAIN, ADAPTED)])[0]
    assert among.adjusted == pytest.approx(2 * alone.adjusted)


# -- controls and baselines -------------------------------------------------------------------------------------------

GUIDED_WRONG, GUIDED_SHUFFLED = (Arm("guided", source, 0.3) for source in ("wrong", "shuffled"))
NOISE = Arm("guided", "own", 0.3, guidance={"rule": "noise_norm"})
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
    verdict = controls_verdict(passing(rates), rows(*arms))
    assert verdict is not None
    assert (verdict.answer, says in verdict.sentence) == (answer, True), verdict.sentence
    assert (
        f"guidance by the draft does better than noise as large, in 1 of 1 settings: {ADAPTED.id} against {NOISE.id}, +"
        in (verdict.sentence)
    )
    made = {(each.arm, each.reference) for each in verdict.comparisons}
    controls = (GUIDED_WRONG, GUIDED_SHUFFLED, NOISE)
    assert made == {(ADAPTED.id, each.id) for each in controls} | {(each.id, TARGET.id) for each in controls}


def test_a_control_that_is_better_here_and_worse_there_is_called_both() -> None:
    weak, strong = (
        (Arm("guided", "own", alpha), Arm("guided", "own", alpha, guidance={"rule": "noise_norm"}))
        for alpha in (0.1, 1.0)
    )
    rates = {TARGET.id: 0.5, weak[0].id: 0.5, weak[1].id: 0.2, strong[0].id: 0.1, strong[1].id: 0.3}
    verdict = controls_verdict(passing(rates), rows(TARGET, *weak, *strong))
    assert verdict is not None
    assert verdict.answer == "mixed"
    assert (
        "guidance by the draft does better than noise as large in 1 of 2 settings and worse in 1: " in verdict.sentence
    )


def test_too_few_pairs_tell_nothing_of_a_control() -> None:
    records = passing({TARGET.id: 0.4, ADAPTED.id: 0.9, GUIDED_WRONG.id: 0.1}, n=12)
    verdict = controls_verdict(records, rows(TARGET, ADAPTED, GUIDED_WRONG))
    assert verdict is not None
    assert verdict.answer == "cannot tell"
    assert "cannot be told, 12 pairs are too few" in verdict.sentence


def test_guided_answers_are_compared_with_a_target_as_unsure() -> None:
    matched = Arm("target", matched_to=PLAIN.id)
    verdict = controls_verdict(passing({TARGET.id: 0.4, PLAIN.id: 0.6, matched.id: 0.4}), rows(TARGET, PLAIN, matched))
    assert verdict is not None
    assert [(each.arm, each.reference) for each in verdict.comparisons] == [(PLAIN.id, matched.id)]


def test_noise_takes_the_place_of_interpolation_alone() -> None:
    """It is as large as draft minus target, not as what another rule adds."""
    other = Arm("guided", "own", 0.3, guidance={"rule": "own_minus_other"})
    assert controls_verdict(passing({TARGET.id: 0.4, other.id: 0.4, NOISE.id: 0.4}), rows(TARGET, other, NOISE)) is None


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
    verdict = baselines_verdict(records, rows(*GUIDANCE, CAD, POWER))
    assert verdict is not None
    assert (verdict.answer, verdict.sentence.startswith(says)) == (answer, True), verdict.sentence
    assert len(verdict.comparisons) == 2


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
    assert guidance_verdict(records, rows(TARGET, control)) is None
    verdict = guidance_verdict(records, rows(*GUIDANCE, control))
    assert verdict is not None
    assert verdict.answer == "none"


def test_a_matched_arm_is_not_the_targets_own_answer() -> None:
    matched = Arm("target", matched_to=PLAIN.id)
    records = passing({matched.id: 0.2, PLAIN.id: 0.9})
    assert guidance_verdict(records, rows(matched, PLAIN)) is None
