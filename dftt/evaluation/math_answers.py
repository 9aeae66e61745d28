"""Are two mathematical answers the same? Rules for the notation of MATH, without a computer algebra system.

Fractions, roots, mixed numbers, thousands separators, units, degrees, dollars and percent signs are read in their
usual ways. Formulas are compared by value at random points, so an equivalent form passes even where a problem asks for
one form (factored, simplified). Tuples, intervals and matrices are compared part by part in order, sets and lists in
any order.

Limits: a rounded decimal does not equal the fraction it is rounded from; a number in base b needs its subscript; words
must agree but for case; units are dropped, not converted; what the notation of latex_expressions.py does not cover must
agree letter by letter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from dftt.evaluation.latex_expressions import MAX_LENGTH, ExpressionError, value

_TRIALS = 3
_TOLERANCE = 1e-9
_SPACING = re.compile(r"\\[!,;: ]|\\q?quad\b|~|\$|\\(?:left|right|displaystyle|bigl?|bigr?)(?![a-zA-Z])")
_TEXT = re.compile(r"\\(?:text|mbox|textbf|textit|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(?<=[\d}\)])\s*\\(?:text|mbox|mathrm)\s*\{[^{}]*\}\s*(?:\^\{?\d\}?)?$")
_WORDS_AFTER_NUMBER = re.compile(r"(?<=[\d}])\s+[a-z]{2,}(?:[ .]+[a-z]{2,})*\.?(?:\^\{?\d\}?)?$", re.IGNORECASE)
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MATRIX = re.compile(r"\\begin\{[pbv]?matrix\}(.*)\\end\{[pbv]?matrix\}", re.DOTALL)
_ASSIGNED = re.compile(r"[a-zA-Z](?:\([a-z]\))?\s*(?:=|\\in\b)\s*(?!.*=)(.+)", re.DOTALL)
_OPENING, _CLOSING = "([{", ")]}"
_SYMBOLS = {"π": "\\pi ", "∞": "\\infty ", "∪": "\\cup ", "×": "\\times ", "·": "\\cdot ", "−": "-", "°": ""}  # noqa: RUF001


def boxed(answer: str) -> str | None:
    """Content of the last \\boxed{} of an answer, braces inside it balanced; None where there is none."""
    start = max(answer.rfind("\\boxed{"), answer.rfind("\\fbox{"))
    if start < 0:
        return None
    inside = start = answer.index("{", start) + 1
    depth = 1
    for place in range(inside, len(answer)):
        depth += {"{": 1, "}": -1}.get(answer[place], 0)
        if depth == 0:
            return answer[start:place].strip()
    return None


def same_answer(given: str, reference: str) -> bool:
    """Whether an answer is the reference, as this module's docstring says.

    Args:
        given: What the model put into its box.
        reference: The answer that is right.
    """
    if max(len(given), len(reference)) > MAX_LENGTH:
        return given == reference
    given, reference = normalise(given), normalise(reference)
    return given == reference or _same(given, reference)


def normalise(text: str) -> str:
    """The answer with one notation for what has several, and without what carries no meaning."""
    for symbol, plain in _SYMBOLS.items():
        text = text.replace(symbol, plain)
    text = text.replace("\\$", "").replace("\\%", "").replace("%", "").replace("{,}", ",")
    text = text.replace("\\\\", ";")  # the end of a matrix row, before a spacing command is seen in it
    text = re.sub(r",\s*\\!\s*", ",\\!", text)  # the thousands separator of MATH
    text = re.sub(r"(?<=\d),\\!(?=\d{3})", "", text)
    text = _SPACING.sub(" ", text)
    text = re.sub(r"\\[dt]frac", r"\\frac", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree", "", text)
    text = re.sub(r"_\{(\w+)\}", r"_\1", text)
    text = _UNIT.sub("", text.strip().rstrip("."))
    text = _TEXT.sub(r" \1 ", text)
    text = _WORDS_AFTER_NUMBER.sub("", re.sub(r"\s+", " ", text).strip())
    return text.replace(",", "") if _THOUSANDS.fullmatch(text) else text


def _same(given: str, reference: str) -> bool:
    if not ("=" in given and "=" in reference):
        given, reference = _bare(given), _bare(reference)
    for split, ordered in ((_union, False), (_listed, False), (_rows, True), (_entries, True), (_enclosed, True)):
        left, right = split(given), split(reference)
        if left is not None or right is not None:
            return left is not None and right is not None and _same_parts(left, right, ordered)
    return _same_equation(given, reference) if "=" in reference and "=" in given else _same_scalar(given, reference)


def _same_parts(given: Sequence[str], reference: Sequence[str], ordered: bool) -> bool:
    if len(given) != len(reference):
        return False
    if ordered:
        return all(map(_same, given, reference))
    left = list(given)
    for part in reference:
        match = next((candidate for candidate in left if _same(candidate, part)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_scalar(given: str, reference: str) -> bool:
    if _word(given) == _word(reference):
        return True
    if {given, reference} & {"\\infty", "-\\infty"}:
        return False
    try:
        return all(_close(value(given, trial), value(reference, trial)) for trial in range(_TRIALS))
    except ExpressionError:
        return False


def _same_equation(given: str, reference: str) -> bool:
    """Both sides' difference of one is a constant multiple of that of the other: x - y = 1 is 2x = 2y + 2."""
    try:
        ratios = [_difference(given, trial) / _difference(reference, trial) for trial in range(_TRIALS)]
    except (ExpressionError, ZeroDivisionError):
        return False
    return abs(ratios[0]) > _TOLERANCE and all(_close(ratio, ratios[0]) for ratio in ratios)


def _difference(equation: str, trial: int) -> complex:
    left, _, right = equation.partition("=")
    return value(left, trial) - value(right, trial)


def _close(a: complex, b: complex) -> bool:
    return math.isfinite(abs(a)) and abs(a - b) <= _TOLERANCE * max(1.0, abs(a), abs(b))


def _word(text: str) -> str:
    """A word, or a choice such as (C), whatever its case and brackets; other text as it is, without spaces."""
    bare = re.sub(r"\s+", "", text)
    choice = re.fullmatch(r"\(([A-Za-z])\)", bare)
    return choice.group(1).casefold() if choice else bare.casefold() if len(bare) > 1 and bare.isalpha() else bare


def _bare(text: str) -> str:
    """An answer without the name it is given: "x = 5" is 5, "y = 2x" is 2x, "x \\in [0, 1]" is [0, 1]."""
    assigned = _ASSIGNED.fullmatch(text.strip())
    return assigned.group(1).strip() if assigned else text.strip()


def _union(text: str) -> list[str] | None:
    parts = text.split("\\cup")
    return [part.strip() for part in parts] if len(parts) > 1 else None


def _listed(text: str) -> list[str] | None:
    """Members of a set or of a bare list, plus-minus written out; None for anything else."""
    inside = re.fullmatch(r"\\\{(.*)\\\}", text, re.DOTALL)
    parts = _top_level(re.sub(r"\s(?:and|or)\s", ",", inside.group(1) if inside else text))
    members = [member for part in parts for member in _both_signs(part)]
    return members if inside or len(members) > 1 else None


def _both_signs(text: str) -> list[str]:
    return [text.replace("\\pm", "+"), text.replace("\\pm", "-")] if "\\pm" in text else [text]


def _rows(text: str) -> list[str] | None:
    """Rows of a matrix, each with & between its entries."""
    matrix = _MATRIX.fullmatch(text)
    return [row.strip() + "&" for row in matrix.group(1).split(";") if row.strip()] if matrix else None


def _entries(text: str) -> list[str] | None:
    return [entry.strip() for entry in text.removesuffix("&").split("&")] if text.endswith("&") else None


def _enclosed(text: str) -> list[str] | None:
    """Brackets and parts of a tuple or an interval: "(3,4]" is "(]", 3 and 4; None for anything else."""
    if len(text) < 2 or text[0] not in "([" or text[-1] not in ")]":
        return None
    parts = _top_level(text[1:-1])
    return [text[0] + text[-1], *parts] if len(parts) > 1 else None


def _top_level(text: str) -> list[str]:
    """Parts between the commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
