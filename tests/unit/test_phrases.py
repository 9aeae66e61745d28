"""Phrases in answers: stated, denied, asked, or one of two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftt.scoring.phrases import names, states

# What an answer says about X, Y or Z; each was decided by hand. None: it says nothing about it.
STANDINGS = [
    ("X", "X", "stated"),
    ("not X", "X", "denied"),
    ("It is X, not Y", "X", "stated"),
    ("It is X, not Y", "Y", "denied"),
    ("Not Y but X.", "X", "stated"),
    ("Not Y but X.", "Y", "denied"),
    ("It isn't Y, it's X.", "X", "stated"),
    ("It isn't Y, it's X.", "Y", "denied"),
    ("Not Y, X.", "X", "stated"),
    ("Not Y, X.", "Y", "denied"),
    ("X? No, Y.", "X", None),
    ("X? No, Y.", "Y", "stated"),
    ("Either X or Y.", "X", "open"),
    ("Either X or Y.", "Y", "open"),
    ("X or Y", "X", "open"),
    ("X or Y", "Y", "open"),
    ("It's in X, Y or Z", "X", "stated"),
    ("neither X nor Y", "X", "denied"),
    ("neither X nor Y", "Y", "denied"),
    ("Neither X, Y, nor Z", "Y", "denied"),
    ("not in X, Y, or Z", "Y", "denied"),
    ("not in X, Y, or Z", "Z", "denied"),
    ("She is not in the X or the Y", "Y", "denied"),
    ("none other than X", "X", "stated"),
    ("No one but X", "X", "stated"),
    ("no one other than X", "X", "stated"),
    ("nothing but X", "X", "stated"),
    ("nobody except X", "X", "stated"),
    ("not only X but also Y", "X", "stated"),
    ("not only X but also Y", "Y", "stated"),
    ("There is no doubt that it is X", "X", "stated"),
    ("X rather than Y", "Y", "denied"),
    ("X instead of Y", "Y", "denied"),
    ("Instead of Y, X", "X", "stated"),
    ("Rather than Y, X", "X", "stated"),
    ("unlike Y, X", "X", "stated"),
    ("anyone other than X", "X", "denied"),
    ("anything but X", "X", "denied"),
    ("X is wrong", "X", "denied"),
    ("X is not the answer", "X", "denied"),
    ("X isn't right", "X", "denied"),
    ("X (wrong)", "X", "denied"),
    ("X, which is wrong", "X", "denied"),
    ("X - no, Y", "X", "denied"),
    ("X - no, Y", "Y", "stated"),
    ("X, or rather Y", "X", "denied"),
    ("X, or rather Y", "Y", "stated"),
    ("I don't think it is X", "X", "denied"),
    ("It is not true that it was X", "X", "denied"),
    ("The document does not say who it is", "X", None),
    ("The one who did not sign was X", "X", "stated"),
    ("It is not Mr. X", "X", "denied"),
    ("He is not J. R. X", "X", "denied"),
    ("No. It's X", "X", "stated"),
    ("No, X", "X", "stated"),
    ("No X", "X", "denied"),
    ("never X", "X", "denied"),
    ("It is X. It is not X.", "X", "denied"),
    ("It's not X. It is X.", "X", "stated"),
    ("The answer is not: X", "X", "denied"),
    ("not (X)", "X", "denied"),
    ("X (not Y)", "Y", "denied"),
    ("X (not Y)", "X", "stated"),
    ("not **X**", "X", "denied"),
    ('not "X"', "X", "denied"),
    ("It\u2019s not X", "X", "denied"),
    ("It isn\u2019t X", "X", "denied"),
    ("X? Yes.", "X", "stated"),
    ("Is it X?", "X", None),
    ("X not Y", "X", "stated"),
    ("X not Y", "Y", "denied"),
    ("She did not go to the Y and went to the X", "X", "stated"),
    ("not Y and X", "X", "denied"),
    ("X, Y and Z", "Y", "stated"),
    ("Nobody knows, but X", "X", "stated"),
    ("I'm not sure, but I think it's X", "X", "stated"),
    ("I'm not sure. X", "X", "stated"),
    ("The answer can't be X", "X", "denied"),
    ("cannot be X", "X", "denied"),
    ("X cannot be it", "X", "denied"),
    ("The wrong answer is X", "X", "denied"),
    ("It would be wrong to say X", "X", "denied"),
    ("Y is wrong, it is X", "X", "stated"),
    ("Y is wrong; X", "X", "stated"),
    ("not X - Y", "Y", "stated"),
    ("It's Y... wait, no, it's X", "X", "stated"),
    ("It was X, no doubt", "X", "stated"),
    ("She was in the Y before, now X", "X", "stated"),
    ("40 or so", "40", "stated"),
    ("17 or 18", "18", "open"),
    ("He is no longer in the X", "X", "denied"),
    ("The X, without a doubt", "X", "stated"),
    ("without a doubt X", "X", "stated"),
    ("not unlike X", "X", "stated"),
    ("X isn't Y", "X", "denied"),
    ("X as opposed to Y", "Y", "denied"),
    ("except X", "X", "denied"),
    ("everyone except X", "X", "denied"),
    ("Not Y\nX", "X", "stated"),
    ("- Y: no\n- X: yes", "X", "stated"),
    ("Y: no", "Y", "denied"),
    ("It is false that X", "X", "denied"),
    ("It is X and not Y.", "Y", "denied"),
    ("It's neither. X", "X", "stated"),
    ("the opposite of X", "X", "stated"),
    ("hardly X", "X", "stated"),
]


@pytest.mark.parametrize(("text", "phrase", "standing"), STANDINGS)
def test_what_an_answer_says_of_a_phrase(text: str, phrase: str, standing: str | None) -> None:
    assert states(text, phrase) is (standing == "stated")
    assert names(text, phrase) is (standing in ("stated", "open"))


@pytest.mark.parametrize(
    ("text", "phrase", "question", "stated"),
    [
        ("Don't bite the hand that feeds it", "it", "Don't bite the hand that feeds", True),
        ("Don't bite the hand that feeds not it", "it", "Don't bite the hand that feeds", False),
        ("The one who did not sign the treaty is Bob", "Bob", "Who did not sign the treaty", True),
        ("who was the temple of Vesta built for: Bob", "Vesta", "who was the temple of vesta built for", False),
        ("It was Vesta", "Vesta", "who was the temple of vesta built for", True),
        ("Better late than never, not early", "early", "Better late than", False),
    ],
)
def test_words_that_repeat_the_question_say_nothing(text: str, phrase: str, question: str, stated: bool) -> None:
    assert states(text, phrase, question) is stated


@given(st.text(), st.text(), st.text())
def test_no_text_raises(text: str, phrase: str, question: str) -> None:
    assert names(text, phrase, question) or not states(text, phrase, question)


@given(st.lists(st.sampled_from(["X", "Y", "not", "or", ",", ".", "?", "is", "no", "either"]), max_size=12))
def test_any_order_of_words_is_read(words: list[str]) -> None:
    text = " ".join(words)
    assert names(text, "X") or not states(text, "X")
