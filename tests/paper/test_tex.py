"""What TeX is given: escaped text, and numbers as they are shown."""

from __future__ import annotations

import pytest

from paper.tex import code, compact, escape, fixed, p_equation, p_value, whole


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50% of #1 & $2_x", r"50\% of \#1 \& \$2\_x"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("a^b~c", r"a\textasciicircum{}b\textasciitilde{}c"),
        ("τ ≈ 2 \u2212 \u03b1", r"$\tau$ $\approx$ 2 $-$ $\alpha$"),
        ("Mélanie Šimić", r"M\'{e}lanie \v{S}imi\'{c}"),
        ("中", r"$\langle$U+4E2D$\rangle$"),
        ("a\x00\u202eb", r"a$\langle$U+0000$\rangle$$\langle$U+202E$\rangle$b"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_is_escaped(text: str, written: str) -> None:
    assert escape(text) == written


def test_long_ids_may_break() -> None:
    assert code("guided@0.2+own") == r"\texttt{guided@\allowbreak{}0.\allowbreak{}2+\allowbreak{}own}"


def test_numbers_are_written_as_the_text_shows_them() -> None:
    assert [fixed(2)(1.005), fixed(2, sign=True)(-0.5), fixed(2, sign=True)(0.25)] == ["1.00", "$-0.50$", "$+0.25$"]
    assert [fixed(2)(None), whole(12345), whole(None), compact(5e-4), compact(1e-5), compact("kl")] == [
        "--",
        "12{,}345",
        "--",
        "0.0005",
        r"$1 \times 10^{-5}$",
        "kl",
    ]
    assert [p_value(0.0004), p_value(0.0213), p_equation(0.0004), p_equation(0.5), p_equation(None)] == [
        "$<0.001$",
        "0.021",
        "$p <0.001$",
        "$p = 0.500$",
        "no $p$",
    ]
