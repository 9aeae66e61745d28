"""Checks that the specs share: each raises a ValueError that names the setting, what it takes and what was given."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
    NoneType: (NoneType, "null"),
}


def check_fields(owner: str, spec: object, **least: float) -> None:
    """Refuse fields of a dataclass that are not what they are declared as, or less than the least given by name.

    Studies give settings in mappings, whose values no parser has checked.
    """
    for name, declared in _declared(type(spec)).items():
        value = getattr(spec, name)
        if not _fits(value, declared):
            raise ValueError(f"{owner}.{name} must be {_words(declared)}, got {value!r}")
        if get_origin(declared) is Literal:
            one_of(f"{owner}.{name}", value, get_args(declared))
        if name in least:
            at_least(f"{owner}.{name}", value, least[name])


@cache
def _declared(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _fits(value: object, declared: Any) -> bool:
    origin, parts = get_origin(declared), get_args(declared)
    if declared in _PLAIN:
        # Python counts True as 1; whoever wrote it meant something else.
        return isinstance(value, _PLAIN[declared][0]) and (declared is bool or not isinstance(value, bool))
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in parts)
    if origin is Literal:
        return isinstance(value, str)  # which names are known is said apart
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(each, parts[0]) for each in value)
    return isinstance(value, origin or declared)


def _words(declared: Any) -> str:
    origin, parts = get_origin(declared), get_args(declared)
    if declared in _PLAIN:
        return _PLAIN[declared][1]
    if origin in (Union, UnionType):
        return " or ".join(_words(each) for each in parts)
    if origin is tuple:
        return f"a list, each of it {_words(parts[0])}"
    return "a name" if origin is Literal else "a mapping" if origin is dict else declared.__name__


def at_least(name: str, value: float, least: float) -> None:
    """Refuse what is not a finite number from `least` on."""
    finite(name, value)
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def whole(name: str, value: int, least: float = -math.inf, most: float = math.inf) -> None:
    """Refuse what is not a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be <= {most}, got {value}")


def positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not (is_finite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}")


def finite(name: str, value: float) -> None:
    """Refuse infinities, NaN and what is no number at all."""
    if not is_finite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")


def share(name: str, value: float) -> None:
    """Refuse what is not a number from 0 to 1."""
    if not (is_finite(value) and 0 <= value <= 1):
        raise ValueError(f"{name} must be between 0 and 1, got {value!r}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not in the list."""
    if value not in allowed:
        raise ValueError(f"{name}: unknown {value!r}; choose from {', '.join(allowed)}")


def token_ids(name: str, values: Iterable[int]) -> tuple[int, ...]:
    """Token ids as plain integers; refuse what is none, such as 1.5, a text or a negative number."""
    try:
        ids = tuple(operator.index(value) for value in values)
    except TypeError:
        raise ValueError(f"{name} must be token ids, whole numbers in a sequence, got {values!r}") from None
    if ids and min(ids) < 0:
        raise ValueError(f"{name} must be token ids >= 0, got {min(ids)}")
    return ids


def is_finite(value: object) -> bool:
    """Whether a value is a number, and neither infinite nor NaN."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def whole_characters(name: str, text: str) -> str:
    """The text; ValueError where it holds half of a character that takes two, which no file and no tokenizer bears."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(f"{name} holds half a character, {half}; write both halves of it or leave it out") from None
    return text
