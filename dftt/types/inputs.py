"""Bad input, told from mistakes of ours: it is a ValueError that a `raise` of dftt or its tools raises."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OURS = (Path(__file__).parents[1], Path(__file__).parents[2] / "dftt_tools")
_LONGEST = 300  # characters of what a library says


def is_bad_input(error: BaseException) -> bool:
    """Whether the message is a sentence for whoever gave the input: a ValueError of a `raise` of ours.

    One that Python itself raises in a line of ours, as int("x") does, is a mistake of ours.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or not isinstance(error, ValueError):
        return False
    code = last.tb_frame.f_code
    is_raise = dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
    return is_raise and any(Path(code.co_filename).is_relative_to(folder) for folder in _OURS)


def bad_input_behind(error: BaseException) -> BaseException | None:
    """The bad input that led to an error, which may be the error itself: parsers wrap what constructors say."""
    cause: BaseException | None = error
    while cause is not None and not is_bad_input(cause):
        cause = cause.__cause__ or cause.__context__
    return cause


@contextmanager
def reading(what: str, *, fix: str) -> Iterator[None]:
    """Turns whatever a library raises over something that the user gave into a ValueError of one sentence.

    For calls of libraries alone: inside, a mistake of ours would be taken for the user's.

    Args:
        what: What was given, by name.
        fix: What is accepted, or what to do.
    """
    try:
        yield
    except Exception as error:
        if is_bad_input(error):
            raise
        raise ValueError(f"{what}: {_reason(error)}; {fix}") from error


def _reason(error: Exception) -> str:
    """What was raised, on one line."""
    said = " ".join(str(error).split())
    said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
