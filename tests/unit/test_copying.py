"""Copies of the passage, by hand."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from dftt.analysis.arm_roles import TARGET, ArmPair, guide_of, pairs_of
from dftt.study.plan import make_plan
from dftt.suites.copying import copied, passage, sentences
from dftt.types import DecodingSpec, Task, TTTSpec
from dftt.types.arms import Arm
from dftt.types.methods import CopySpec

STORY = "Ann went to the hall. Is Bob there?  He left!\nAnn took the milk."


class Letters:
    """A tokenizer whose tokens are letters."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> SimpleNamespace:
        assert not add_special_tokens
        return SimpleNamespace(input_ids=[ord(letter) for letter in text])

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def task(text: str, question: str) -> Task:
    system = {"role": "system", "content": "Be kind."}
    return Task("t", "c", (system, {"role": "user", "content": text}), question=question)


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        (CopySpec("first_tokens", 8), "Ann went"),
        (CopySpec(), STORY[:32]),
        (CopySpec("first_sentence"), "Ann went to the hall."),
        (CopySpec("last_sentence"), "Ann took the milk."),
        (CopySpec("passage"), STORY),
    ],
)
def test_cuts_of_a_story(spec: CopySpec, answer: str) -> None:
    assert copied(STORY, spec, Letters()) == (answer, tuple(map(ord, answer)))


def test_sentences_end_at_their_marks() -> None:
    assert sentences(STORY) == ["Ann went to the hall.", "Is Bob there?", "He left!", "Ann took the milk."]
    assert sentences("no mark") == ["no mark"]
    assert sentences(". .") == [". ."]


@pytest.mark.parametrize(
    ("text", "question", "expected"),
    [
        (f"{STORY}\n\nWhere?", "Where?", STORY),
        (f"Where?\n{STORY}", "Where?", STORY),
        ("Where?", "Where?", ""),
        (f"{STORY}\n\nWhere?", "", ""),
    ],
)
def test_the_passage_is_what_the_user_says_besides_the_question(text: str, question: str, expected: str) -> None:
    assert passage(task(text, question)) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parameters": {"what": "title"}}, "copy.what: unknown 'title'; choose from first_tokens, first_sentence"),
        ({"parameters": {"tokens": 0}}, "copy.tokens must be >= 1, got 0"),
        ({"parameters": {"what": "passage", "tokens": 8}}, "copy.tokens 8 needs copy.what first_tokens, got passage"),
        ({"parameters": {"words": 8}}, "method copy: unknown parameters words; it takes what, tokens"),
        ({"ttt": "own"}, "mode copy never looks at the draft, so ttt 'own' has no meaning"),
        ({"taps": "deep"}, "mode copy never looks at the draft, so taps 'deep' have no meaning"),
        ({"alpha": 0.3}, "alpha 0.3 needs mode guided, got mode copy"),
        ({"drafting": {"drafter": "hybrid"}}, "needs mode speculative, got mode copy"),
        ({"temperature": 0.5}, "mode copy draws nothing, so temperature has no meaning"),
    ],
)
def test_what_a_copy_cannot_have_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Arm("copy", **settings)  # type: ignore[arg-type]


def test_a_copy_is_named_by_what_it_copies() -> None:
    assert Arm("copy").id == "copy"
    assert (
        Arm("copy", parameters={"what": "first_tokens", "tokens": 8}).id == "copy,copy.tokens=8,copy.what=first_tokens"
    )
    assert Arm("copy", parameters={"what": "last_sentence"}).id == "copy,copy.what=last_sentence"


def test_a_copy_is_held_against_the_target() -> None:
    target, copy = Arm("target"), Arm("copy")
    assert guide_of(copy) == "another"
    decoding = DecodingSpec(temperature=0.4)
    arms = [arm.within(TTTSpec(), decoding) for arm in (target, copy)]
    assert pairs_of(arms) == [ArmPair("baselines", "copy", "target", TARGET, "pass rate")]


def test_a_copy_is_a_record_and_no_pass() -> None:
    def plan(*arms: Arm):
        return make_plan([[1, 2]], arms, [0, 1], TTTSpec(), DecodingSpec(max_new_tokens=5))

    alone, beside = plan(Arm("target")), plan(Arm("target"), Arm("copy"))
    assert (alone.records, beside.records) == (4, 8)
    assert (beside.passes, beside.generations, beside.new_tokens) == (alone.passes, 6, alone.new_tokens)
