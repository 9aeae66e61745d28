"""Free text on the command line: handed to the parser as configs, for it would read a flag's value as YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from dftt.types.checks import whole_characters

_FLAG = re.compile(r"--data(?:\.init_args)?\.(?:(question|context|path)|(questions\+?))(?:=(.*))?", re.DOTALL)


def as_configs(args: Sequence[str]) -> list[str]:
    """Arguments with what names documents and asks questions as configs of the same place, its text as it was typed.

    `question`, `context` and `path` of the data are text. `questions` is a JSON list of texts; with `questions+`, texts
    that come after those given before, a single one as it is. Raises ValueError where `questions` is no such list.
    """
    return list(_rewritten(iter(args)))


def _rewritten(args: Iterator[str]) -> Iterator[str]:
    for arg in args:
        found = _FLAG.fullmatch(arg)
        if not found:
            yield arg
            continue
        text, several, value = found.groups()
        if value is None:
            value = next(args, None)
            if value is None or value.startswith("--"):  # the parser says what is missing
                yield from [arg] if value is None else [arg, value]
                continue
        whole_characters(f"data.{text or several}", value)
        settings = {text: value} if text else {several: _texts(several, value)}
        yield "--config"
        yield yaml.safe_dump({"data": {"init_args": settings}}, default_flow_style=True, width=float("inf"))


def _texts(name: str, value: str) -> Any:
    """The texts of a JSON list, None for null; for questions+, a text that is no list stands for itself."""
    try:
        texts = json.loads(value)
    except (ValueError, RecursionError):
        texts = value
    if name == "questions+" and not (isinstance(texts, list) or value.lstrip().startswith("[")):
        return [value]
    if texts is not None and not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise ValueError(
            f'data.{name}: give a JSON list of texts, such as \'["Who counts?", "Why, or what for?"]\', got {value}; '
            "a single one can be given as data.question"
        )
    return texts
