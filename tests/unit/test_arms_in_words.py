"""Arms as the report says them, and a verdict's sentences with these words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dftt.report.words import arm_in_words, sentence_in_words, words_of
from dftt.types import DecodingSpec, TTTSpec
from dftt.types.arms import Arm


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (Arm("target"), "the target alone"),
        (Arm(), "sped up by the plain draft"),
        (Arm(ttt="own"), "sped up by the adapted draft"),
        (Arm(ttt="wrong"), "sped up by the draft adapted to another context"),
        (Arm(ttt="shuffled"), "sped up by the draft adapted to shuffled text"),
        (Arm("guided", "own", 0.3), "guided towards the adapted draft, α 0.3"),
        (Arm("guided", "none", -0.3), "guided away from the plain draft, α -0.3"),
        (Arm("guided", "none", 0.0), "guided towards the plain draft, α 0"),
        (
            Arm("guided", "none", 1.0, guidance={"rule": "cad"}),
            "guided away from the target without the context (cad), α 1",
        ),
        (
            Arm("guided", "own", 1.0, guidance={"rule": "own_minus_other", "top_k": 5}),
            "guided by the adapted draft minus the draft adapted to another context (own minus other), α 1, top k 5",
        ),
        (
            Arm("guided", "none", 0.2, guidance={"rule": "noise_norm"}),
            "guided towards noise as loud as the draft's (noise norm), α 0.2",
        ),
        (
            Arm("guided", "none", 1.0, guidance={"rule": "dola"}),
            "guided away from early layers of the target (dola) (dola), α 1",
        ),
        (Arm("power", parameters={"alpha": 4.0, "steps": 2}), "Power Sampling, alpha 4, steps 2"),
        (Arm("rerank", "own", parameters={"samples": 4}), "the best of 4 answers by the adapted draft"),
        (Arm("copy", parameters={"tokens": 8}), "a copy of the passage's first 8 tokens"),
        (Arm("copy", parameters={"what": "last_sentence"}), "a copy of the passage's last sentence"),
        (Arm(drafting={"drafter": "lookup"}), "sped up by looked-up text"),
        (
            Arm(drafting={"drafter": "hybrid", "draft_window": 512}),
            "sped up by the plain draft and looked-up text, draft window 512",
        ),
        (Arm(ttt="own", taps=3, rounds=2), "sped up by the adapted draft, tapped layer 3 only, 2 rounds"),
        (Arm(ttt="own", ttt_overrides={"steps": 3}), "sped up by the adapted draft, steps 3"),
        (Arm("target", temperature=0.6), "the target alone, temperature 0.6"),
    ],
)
def test_an_arm_in_words(arm: Arm, words: str) -> None:
    assert arm_in_words(arm) == words


def test_among_others_an_arm_says_what_differs() -> None:
    """Arms of arms.json have all settings of the study filled in."""
    arms = (Arm(), Arm(ttt="own"), Arm(ttt="own", ttt_overrides={"steps": 3}), Arm(temperature=0.6))
    filled = [arm.within(TTTSpec(steps=12), DecodingSpec()) for arm in arms]
    assert list(words_of(filled).values()) == [
        "sped up by the plain draft, temperature 0",
        "sped up by the adapted draft, temperature 0, steps 12",
        "sped up by the adapted draft, temperature 0, steps 3",
        "sped up by the plain draft, temperature 0.6",
    ]
    assert list(words_of(filled[:2]).values()) == ["sped up by the plain draft", "sped up by the adapted draft"]


def test_the_matched_target_names_the_arm_it_is_matched_to() -> None:
    guided = Arm("guided", "own", 0.5)
    words = words_of([guided, Arm("target", matched_to=guided.id)])
    assert words["target,T=guided@0.5+own"] == (
        "the target alone, made as unsure as “guided towards the adapted draft, α 0.5”"
    )


def test_arms_that_say_the_same_keep_their_ids() -> None:
    words = words_of([Arm(name="first"), Arm(name="second"), Arm("target")])
    assert len(set(words.values())) == 3
    assert words["first"] == "sped up by the plain draft (first)"


def test_a_sentence_names_its_arms_in_words() -> None:
    arms = [Arm("target"), replace(Arm("target", temperature=0.6)), Arm("guided", "own", 0.5)]
    sentence = (
        "Whether the target helps is told: guided@0.5+own against target,T=0.6, +0.1, n = 3; 0.2, n = 3 against target."
    )
    assert sentence_in_words(sentence, words_of(arms)) == (
        "Whether the target helps is told: “guided towards the adapted draft, α 0.5” against “the target alone, "
        "temperature 0.6”, +0.1, n = 3; 0.2, n = 3 against “the target alone”."
    )
