"""Text for TeX: escaping, and numbers as the manuscript shows them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping

from dftt.report.words import visible

Value = float | int | str | bool | None
Format = Callable[[Value], str]

NO_NUMBER = "--"
_PLAIN = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\n": " ",
    "\t": " ",
    "τ": r"$\tau$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "Δ": r"$\Delta$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "°": r"$^\circ$",
    "⟨": r"$\langle$",
    "⟩": r"$\rangle$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
    "\u00a0": "~",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "ø": r"\o{}",
    **{sign: f"\\{sign}" for sign in "{}$&#_%"},
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u030a": "r",
    "\u030c": "v",
    "\u0327": "c",
}
_BREAKS = frozenset("/.,=+@:_")


def escape(text: str) -> str:
    """The text for TeX: nothing in it is a command, and what the fonts lack is written as its code point."""
    return "".join(map(_sign, visible(text)))


def code(text: str) -> str:
    """The text in typewriter, escaped, with places where a line may break."""
    return f"\\texttt{{{_breakable(text)}}}"


def fixed(digits: int, sign: bool = False) -> Format:
    """A format with so many decimals; with a sign, where asked for."""

    def write(value: Value) -> str:
        if not isinstance(value, float | int):
            return NO_NUMBER
        text = f"{value:{'+' if sign else ''}.{digits}f}"
        return f"${text}$" if text[0] in "+-" else text

    return write


def whole(value: Value) -> str:
    """A count, or a number rounded to one."""
    return f"{round(value):,d}".replace(",", "{,}") if isinstance(value, int | float) else NO_NUMBER


def compact(value: Value) -> str:
    """A setting: as short as it can be written."""
    if isinstance(value, bool) or not isinstance(value, float | int):
        return said(value)
    base, _, exponent = f"{value:g}".partition("e")
    return f"${base} \\times 10^{{{int(exponent)}}}$" if exponent else base.replace("-", "$-$")


def p_value(value: Value) -> str:
    """A p-value: three decimals, or that it is less."""
    if not isinstance(value, float | int):
        return NO_NUMBER
    return "$<0.001$" if value < 0.001 else f"{value:.3f}"


def p_equation(value: Value) -> str:
    """A p-value for the text: "p = 0.012", or that it is less."""
    text = p_value(value)
    return f"$p {text[1:]}" if text.startswith("$") else f"$p = {text}$" if text != NO_NUMBER else "no $p$"


def said(value: Value) -> str:
    """Text, escaped."""
    return NO_NUMBER if value is None or value == "" else escape(str(value))


def wrapped(value: Value) -> str:
    """Text, escaped, in which a line may break at signs too."""
    return NO_NUMBER if value is None or value == "" else _breakable(str(value))


def typed(value: Value) -> str:
    """Text in typewriter."""
    return NO_NUMBER if value is None or value == "" else code(str(value))


def finding(value: Value) -> str:
    """A finding in words."""
    return {"unclear": "cannot tell"}.get(str(value), said(value))


def interval(parts: Mapping[str, str]) -> str:
    """Low and high end in brackets; nothing where there is no interval."""
    low, high = parts["low"], parts["high"]
    return "" if NO_NUMBER in (low, high) else f"[{low}, {high}]"


def _breakable(text: str) -> str:
    return "".join(_sign(x) + (r"\allowbreak{}" if x in _BREAKS else "") for x in visible(text))


def _sign(sign: str) -> str:
    if sign in _PLAIN:
        return _PLAIN[sign]
    if " " <= sign <= "~":
        return sign
    letter, *marks = unicodedata.normalize("NFD", sign)
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{letter}}}"
    return rf"$\langle$U+{ord(sign):04X}$\rangle$"
