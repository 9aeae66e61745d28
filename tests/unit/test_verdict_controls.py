"""The verdict on controls and baselines: what guidance by the draft is read beside."""

from __future__ import annotations

import pytest

from dftt.analysis.verdict import verdicts
from dftt.types.arms import Arm
from tests.verdicts import (
    ADAPTED,
    GUIDANCE,
    NONE,
    OWN,
    PLAIN,
    TARGET,
    ids,
    passing,
    rows,
    verdict_on,
)

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


def test_a_control_better_here_and_worse_there_is_both() -> None:
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
