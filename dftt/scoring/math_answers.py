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
from itertools import accumulate

from dftt.scoring.math_notation import split_unit
from dftt.scoring.math_process import SHARED

MAX_LENGTH = 300  # characters; longer answers, and deeper ones, must agree letter by letter
_MAX_DEPTH = 20
_MATRIX = re.compile(r"\(?\s*\\begin\{(?:[pbv]?matrix|array)\}(?:\{[clr|]+\})?(.*)\\end\{\w+\}\s*\)?", re.DOTALL)
_ASSIGNED = re.compile(r"([a-zA-Z](?:\([a-z]\))?)\s*(?:=|\\in\b)\s*(?!.*=)(.+)", re.DOTALL)
_COMPARED = re.compile(r"<|>|\\(?:l|g)(?:t|eq?|eqslant)(?![a-zA-Z])")
_IN_BASE = re.compile(r"[0-9A-Z]+_\d+")
# Letters that stand beside each other in products: "xy" is "yx", but "no" is not "on".
_NO_VARIABLE = frozenset("eilo")
_NEAR = 3


def boxed(answer: str) -> str | None:
    """Content of the last \\boxed{} of an answer, braces inside it balanced; None where there is none."""
    start = max(answer.rfind("\\boxed{"), answer.rfind("\\fbox{"))
    if start < 0:
        return None
    text = answer[answer.index("{", start) :]
    end = next((place for place, depth in enumerate(_depths(text, "{", "}")) if depth == 0), None)
    return None if end is None else text[1:end].strip()


def same_answer(given: str, reference: str) -> bool:
    """Whether what the model put into its box is the reference, as this module's docstring says.

    Raises:
        TimeoutError: math-verify did not decide it in time.
    """
    if any(len(text) > MAX_LENGTH or max(_depths(text), default=0) > _MAX_DEPTH for text in (given, reference)):
        return given == reference
    (given, unit), (reference, wanted_unit) = split_unit(given), split_unit(reference)
    if unit and wanted_unit and unit != wanted_unit:
        return False
    return given == reference or _same(given, reference)


def _same(given: str, reference: str) -> bool:
    if not ("=" in given and "=" in reference):
        given, reference = _bare(given), _bare(reference)
    (structure, left), (wanted, right) = _parts(given), _parts(reference)
    if structure != wanted:
        # 1 < x < 2 and (1, 2) are the same; no other two structures are.
        return bool(_COMPARED.search(given) or _COMPARED.search(reference)) and _same_leaf(given, reference)
    if not structure:
        return _same_leaf(given, reference)
    if len(left) != len(right):
        return False
    # Of "x = 1, y = 2" the order tells what the names did.
    names = {assigned[1] for part in (*left, *right) if (assigned := _ASSIGNED.fullmatch(part))}
    if structure not in ("union", "list") or len(names) > 1:
        return all(map(_same, left, right))
    for part in right:
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
    return choice[1] if choice else bare


def _is_words(text: str) -> bool:
    """Whether the text is made of words, not of a product of variables."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z' .-]*", text):
        return False
    return any(len(word) > 1 and not _is_product(word) for word in re.findall(r"[A-Za-z']+", text))


def _is_product(word: str) -> bool:
    letters = set(word.casefold())
    near = ord(max(letters)) - ord(min(letters)) <= _NEAR
    return len(word) <= 3 and near and not letters & _NO_VARIABLE


def _bare(text: str) -> str:
    """An answer without the name it is given: "x = 5" is 5, "y = 2x" is 2x, "x \\in [0, 1]" is [0, 1]."""
    assigned = _ASSIGNED.fullmatch(text.strip())
    return (assigned[2] if assigned else text).strip()


def _parts(text: str) -> tuple[str, list[str]]:
    """The structure of an answer (union, list, a matrix's shape, a tuple's brackets) and its parts; else "" and none.

    A set is a list, and plus-minus is written out as a list of two.
    """
    union = text.split("\\cup")
    if len(union) > 1:
        return "union", [part.strip() for part in union]
    inside = re.fullmatch(r"\\\{(.*)\\\}", text, re.DOTALL)
    listed = _between_commas(re.sub(r"\s(?:and|or)\s", ",", inside[1] if inside else text))
    members = [part.replace("\\pm", sign) for part in listed for sign in ("+-" if "\\pm" in part else "+")]
    if inside or len(members) > 1:
        return "list", members
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in matrix[1].split(";") if row.strip()]
        return f"matrix {[len(row) for row in rows]}", [entry.strip() for row in rows for entry in row]
    if len(text) > 1 and text[0] in "([" and text[-1] in ")]" and len(parts := _between_commas(text[1:-1])) > 1:
        return text[0] + text[-1], parts
    return "", []


def _between_commas(text: str) -> list[str]:
    """Parts between the commas that stand in no bracket."""
    depths = zip(text, _depths(text), strict=True)
    parts = "".join("\0" if character == "," and depth <= 0 else character for character, depth in depths).split("\0")
    return [part.strip() for part in parts]


def _depths(text: str, opening: str = "([{", closing: str = ")]}") -> list[int]:
    """How many brackets are open behind each character."""
    return list(accumulate((character in opening) - (character in closing) for character in text))
