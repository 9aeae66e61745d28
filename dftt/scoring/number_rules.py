"""The two rules by which lm-evaluation-harness scores GSM8K, under its names: strict-match and flexible-extract.

Both compare texts: 18 and 18.00 are two answers, as they are there. strict-match takes the first number after "#### ",
flexible-extract the last number of the answer, whatever stands around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_FLEXIBLE = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
# What the harness takes out of both sides before they are compared, in its order.
_IGNORED = tuple(map(re.compile, (",", r"\$", r"(?s).*#### ", r"\.$")))


def strict_match(answer: str, reference: str) -> bool:
    """Whether the number after the first "#### " is the reference; false where none stands right behind one."""
    found = _STRICT.search(answer)
    return found is not None and _bare(found[1]) == _bare(reference)


def flexible_extract(answer: str, reference: str) -> bool:
    """Whether the last number of the answer is the reference; false where there is none."""
    found = _FLEXIBLE.findall(answer)
    return bool(found) and _bare(found[-1]) == _bare(reference)


def _bare(number: str) -> str:
    for pattern in _IGNORED:
        number = pattern.sub("", number)
    return number.strip().lower()


NUMBER_RULES: dict[str, Callable[[str, str], bool]] = {
    "strict-match": strict_match,
    "flexible-extract": flexible_extract,
}
