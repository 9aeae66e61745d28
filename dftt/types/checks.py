"""Checks that the specs share: each raises a ValueError that names the setting, what it takes and what was given."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from numbers import Integral, Real


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
