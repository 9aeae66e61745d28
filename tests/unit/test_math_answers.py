"""Answers of competition mathematics: what counts as the same."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dftt.evaluation.latex_expressions import ExpressionError, value
from dftt.evaluation.math_answers import boxed, same_answer


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (r"So $\boxed{5}$.", "5"),
        (r"First \boxed{1}, then \boxed{ \frac{1}{2} }", r"\frac{1}{2}"),
        (r"\fbox{x^{2^{3}}}", "x^{2^{3}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"cut: \boxed{\frac{1", None),
        ("5", None),
        ("", None),
    ],
)
def test_content_of_the_last_box(answer: str, content: str | None) -> None:
    assert boxed(answer) == content


SAME = [
    # numbers
    ("0.5", r"\frac12"),
    ("1/2", r"\dfrac{1}{2}"),
    ("-1/2", r"-\frac{1}{2}"),
    (r"\frac{-1}{2}", r"-\frac{1}{2}"),
    ("9/5", r"1\frac{4}{5}"),
    ("137.5", r"137 \frac{1}{2}"),
    (".35625", "0.35625"),
    (r"6.72 \times 10^{-5}", ".0000672"),
    ("10080", r"10,\!080"),
    ("11111111100", r"11,\! 111,\! 111,\! 100"),
    ("58500", "58,500"),
    ("58{,}500", "58,500"),
    (r"11\sqrt{2}", r"11\sqrt2"),
    (r"\frac{1}{\sqrt3}", r"\frac{\sqrt{3}}{3}"),
    ("288π", r"288 \pi"),
    (r"\sqrt[3]{8}", "2"),
    ("3!", "6"),
    ("i^2", "-1"),
    ("5i + 6", "6+5i"),
    # units, currencies, degrees
    ("864", r"864 \mbox{ inches}^2"),
    ("864 square inches", r"864 \mbox{ inches}^2"),
    ("15 cm^2", r"15\mbox{ cm}^2"),
    ("5.4", r"5.4 \text{ cents}"),
    ("30 degrees", r"30^\circ"),
    (r"30^{\circ}", r"30^\circ"),
    ("270/7", r"\frac{270}7\text{ degrees}"),
    (r"\$32,348.00", r"\$32,\!348"),
    ("18.90", r"\$18.90"),
    (r"50\%", "50"),
    # formulas
    ("2(k+1)", "2k+2"),
    ("(b+2)(a+5)", "(a+5)(b+2)"),
    (r"\frac{\cos x}{\sin x}", r"\cot x"),
    (r"\sin^2 x + \cos^2 x", "1"),
    (r"\frac{9a}{20}+\frac{11}{20}", r"\frac{11+9a}{20}"),
    # names and equations
    ("x=5", "5"),
    ("5", "x = 5"),
    ("2k", "f(x) = 2k"),
    ("y = 3 + 2x", "y = 2x + 3"),
    ("2x + 3", "y = 2x + 3"),
    ("2x - y + 3 = 0", "y = 2x + 3"),
    ("10x - 14y + 22z = -8", "5x - 7y + 11z + 4 = 0"),
    # lists, sets, tuples, intervals, matrices
    ("-2, 1", "1,-2"),
    ("1 and -2", "1,-2"),
    (r"x = 1 \text{ or } x = -2", "1,-2"),
    (r"1 - \sqrt{19}, 1 + \sqrt{19}", r"1 \pm \sqrt{19}"),
    (r"\{-2, 1 - \sqrt5, 1 + \sqrt5\}", r"\{1\pm\sqrt{5},-2\}"),
    (r"\left(3, \frac{\pi}{2}\right)", r"(3,\pi/2)"),
    ("[-2, 7]", r"x \in [-2,7]"),
    (r"(3,\infty)\cup(-\infty,2)", r"(-\infty, 2) \cup (3, \infty)"),
    (r"\begin{bmatrix}-2\\-14\\-7\end{bmatrix}", r"\begin{pmatrix} -2 \\ -14 \\ -7 \end{pmatrix}"),
    # words
    ("evelyn", r"\text{Evelyn}"),
    ("C", r"\text{(C)}"),
    (r"\text{C}", r"\text{(C)}"),
    ("52_{8}", "52_8"),
    (r"5.", "5"),
]


@pytest.mark.parametrize(("given_answer", "reference"), SAME)
def test_same(given_answer: str, reference: str) -> None:
    assert same_answer(given_answer, reference)


@pytest.mark.parametrize(
    ("given_answer", "reference"),
    [
        ("", "5"),
        ("7", "8"),
        ("0.333", r"\frac{1}{3}"),
        ("52", "52_8"),
        ("(4,3)", "(3,4)"),
        ("(3,4)", "(3,4]"),
        ("3,5", "3,5,7"),
        ("3,3,7", "3,7,7"),
        ("q - p", "p - q"),
        ("3R^2", "3r^2"),
        ("y = 2x", "y = -2x"),
        ("5x - 7y + 11z = 4", "5x - 7y + 11z + 4 = 0"),
        ("x = x", "y = 2x"),
        (r"\begin{pmatrix} 1 & 0 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 0 \end{pmatrix}"),
        (r"\infty", r"-\infty"),
        (r"\frac{1}{0}", r"\frac{2}{0}"),
        ("9^{9^{9^9}}", "1"),
        ("1" + "0" * 400, "1"),
        ("{" * 5000, "1"),
        ("(" * 250 + "1" + ")" * 250, "2"),
        ("all of them", "5"),
        ("east", "west"),
    ],
)
def test_different(given_answer: str, reference: str) -> None:
    assert not same_answer(given_answer, reference)


@given(st.text(alphabet=r"\{}()[],+-*/^_=!&$%.0123456789xyi frac sqrt pm cup text boxed", max_size=60))
def test_any_text_is_compared_without_an_error(text: str) -> None:
    same_answer(text, "5")
    same_answer("5", text)
    boxed("\\boxed{" + text)


@given(st.text(alphabet="0123456789x+-*/^() ", max_size=20))
def test_an_answer_equals_itself(text: str) -> None:
    assert same_answer(text, text)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**4), st.integers(2, 50))
def test_expanded_fractions_are_the_same(a: int, b: int, factor: int) -> None:
    assert same_answer(f"\\frac{{{a * factor}}}{{{b * factor}}}", f"{a}/{b}")
    assert not same_answer(f"{a + 1}/{b}", f"{a}/{b}")


def test_variables_take_the_same_values_everywhere_and_others_in_each_trial() -> None:
    assert value("x", 0) == value("x", 0)
    assert value("x", 0) != value("x", 1)
    assert value("x", 0) != value("y", 0)


@pytest.mark.parametrize("text", ["", "+", "1 +", r"\foo", "(1", "1)", "1 = 1", "101!", r"\frac{1}", "a,b"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        value(text)


def references(shared_data: Path) -> list[str]:
    """The distinct reference answers of MATH-500."""
    lines = (shared_data / "math500.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted({json.loads(line)["answer"] for line in lines})


def test_every_reference_equals_itself(shared_data: Path) -> None:
    assert [text for text in references(shared_data) if not same_answer(f" {text}. ", text)] == []


@pytest.mark.slow
def test_references_equal_each_other_only_where_they_are_the_same(shared_data: Path) -> None:
    texts = references(shared_data)
    equal = [pair for pair in combinations(texts, 2) if same_answer(*pair) or same_answer(*reversed(pair))]
    assert len(equal) == 12  # read by hand: such as 30 and 30^\circ, -2,1 and 1,-2, \frac14 and \frac{1}{4}
