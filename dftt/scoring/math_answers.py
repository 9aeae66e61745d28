"""Are two mathematical answers the same? The rules for MATH: structure and notation here, formulas by math-verify.

Tuples, intervals and matrices are compared part by part in order, sets and lists in any order, each part as often as it
stands there. Each part is a word, a number in a base, or a formula, an equation or an inequality; the latter three go
to math-verify with exact numbers, so an equivalent form passes even where a problem asks for one form.

Limits: a rounded decimal does not equal the number it is rounded from; a number in base b needs its subscript; words
must agree but for case; a unit may be left out, but is not converted; what math-verify cannot read must agree letter by
letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dftt.scoring.math_notation import split_unit
from dftt.scoring.math_process import SHARED

MAX_LENGTH = 300  # characters; longer answers, and deeper ones, must agree letter by letter
_MAX_DEPTH = 20
_MATRIX = re.compile(r"\(?\s*\\begin\{(?:[pbv]?matrix|array)\}(?:\{[clr|]+\})?(.*)\\end\{\w+\}\s*\)?", re.DOTALL)
_ASSIGNED = re.compile(r"([a-zA-Z](?:\([a-z]\))?)\s*(?:=|\\in\b)\s*(?!.*=)(.+)", re.DOTALL)
_COMPARED = re.compile(r"<|>|\\(?:l|g)(?:t|eq?|eqslant)(?![a-zA-Z])")
_IN_BASE = re.compile(r"[0-9A-Z]+_\d+")
_OPENING, _CLOSING = "([{", ")]}"
# Letters that stand beside each other in products: "xy" is "yx", but "no" is not "on".
_NO_VARIABLE = frozenset("eilo")
_NEAR = 3


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

    Raises:
        TimeoutError: math-verify did not decide it in time.
    """
    if max(len(given), len(reference)) > MAX_LENGTH or max(_depth(given), _depth(reference)) > _MAX_DEPTH:
        return given == reference
    (given, unit), (reference, wanted_unit) = split_unit(given), split_unit(reference)
    if unit and wanted_unit and unit != wanted_unit:
        return False
    return given == reference or _same(given, reference)


def _same(given: str, reference: str) -> bool:
    if not ("=" in given and "=" in reference):
        given, reference = _bare(given), _bare(reference)
    for split, ordered in ((_union, False), (_listed, False), (_rows, True), (_entries, True), (_enclosed, True)):
        left, right = split(given), split(reference)
        if left is not None and right is not None:
            return _same_parts(left, right, ordered or len(_names(left) | _names(right)) > 1)
        # 1 < x < 2 and (1, 2) are the same; no other two structures are.
        if (left is not None or right is not None) and not (_COMPARED.search(given) or _COMPARED.search(reference)):
            return False
    return _same_leaf(given, reference)


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


def _same_leaf(given: str, reference: str) -> bool:
    left, right = _word(given), _word(reference)
    if left == right:
        return bool(left)
    if any(_is_words(text) or _IN_BASE.fullmatch(text) for text in (left, right)):
        return False
    return bool(SHARED.same(given, reference))


def _word(text: str) -> str:
    """A word, or a choice such as (C), whatever its case and brackets; other text as it is, without needless spaces."""
    bare = re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text) if not _is_words(text) else " ".join(text.casefold().split())
    choice = re.fullmatch(r"\(([A-Za-z])\)", bare)
    return choice.group(1) if choice else bare


def _is_words(text: str) -> bool:
    """Whether the text is made of words, not of a product of variables."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z' .-]*", text):
        return False
    return any(len(word) > 1 and not _is_product(word) for word in re.findall(r"[A-Za-z']+", text))


def _is_product(word: str) -> bool:
    letters = set(word.casefold())
    near = ord(max(letters)) - ord(min(letters)) <= _NEAR
    return len(word) <= 3 and near and not letters & _NO_VARIABLE


def _depth(text: str) -> int:
    """How deeply brackets stand in each other."""
    depth = deepest = 0
    for character in text:
        depth += (character in _OPENING) - (character in _CLOSING)
        deepest = max(deepest, depth)
    return deepest


def _bare(text: str) -> str:
    """An answer without the name it is given: "x = 5" is 5, "y = 2x" is 2x, "x \\in [0, 1]" is [0, 1]."""
    assigned = _ASSIGNED.fullmatch(text.strip())
    return assigned.group(2).strip() if assigned else text.strip()


def _names(parts: Sequence[str]) -> set[str]:
    """What the parts are called: of "x = 1, y = 2" the order tells what the names did."""
    return {assigned.group(1) for part in parts if (assigned := _ASSIGNED.fullmatch(part))}


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
