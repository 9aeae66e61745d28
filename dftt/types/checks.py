"""Checks that the specs share: each raises a ValueError that names the setting, what it takes and what was given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def of_declared_types(owner: str, spec: object) -> None:
    """Refuse fields of a dataclass that are not what they are declared as.

    Studies give settings in mappings, whose values no parser has checked.
    """
    for name, declared in _declared(type(spec)).items():
        value = getattr(spec, name)
        if not _fits(value, declared):
            raise ValueError(f"{owner}.{name} must be {_words(declared)}, got {value!r}")


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
        return isinstance(value, str)  # which ones are known, another check says
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
    """Refuse a value below `least`."""
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")


def positive(name: str, value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value}")


def finite(name: str, value: float) -> None:
    """Refuse infinities and NaN."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")


def one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a name that is not in the list."""
    if value not in allowed:
        raise ValueError(f"{name}: unknown {value!r}; choose from {', '.join(allowed)}")
