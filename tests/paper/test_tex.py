"""What TeX is given: escaped text, numbers as they are shown, and figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dftt.report.charts import Estimate, Point, bars, intervals, lines
from dftt.report.drawing import Drawing
from paper.tex import code, compact, escape, fixed, p_equation, p_value, whole
from paper.vector import pdf, write_figure


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


DRAWINGS = [
    intervals([Estimate("a_b", 1.0, 0.5, 2.0), Estimate("none", None)], axis="τ", zero=0.0),
    lines({f"line {n}": [Point(0, n), Point(1, n + 1, n, n + 2)] for n in range(9)}, x_axis="\u03b1", y_axis="rate"),
    bars({"arm": {"decoding": 1.0, "adapting": 2.0}}, axis="seconds"),
]


@pytest.mark.parametrize("drawing", DRAWINGS, ids=["intervals", "lines", "bars"])
def test_a_figure_is_a_well_formed_pdf_under_words_of_tex(drawing: Drawing, tmp_path: Path) -> None:
    data = pdf(drawing).decode("ascii")
    places = [int(place) for place in re.findall(r"^(\d{10}) 00000 n", data, re.MULTILINE)]
    assert [data[place:].partition(" ")[0] for place in places] == ["1", "2", "3", "4"]
    assert data[int(data.split("startxref\n")[1].split()[0]) :].startswith("xref")
    stream = re.search(r"/Length (\d+) >>\nstream\n(.*)\nendstream", data, re.DOTALL)
    assert stream is not None
    assert len(stream[2]) == int(stream[1])
    (tmp_path / "figures").mkdir()
    write_figure(drawing, tmp_path / "figures", "name")
    words = (tmp_path / "figures" / "name.tex").read_text()
    assert words.isascii()
    assert r"\includegraphics[width=760\unitlength]{figures/name.pdf}" in words
