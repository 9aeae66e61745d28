"""Prompts of our own, from templates: small Python functions, everyday requests, word problems.

Templates name slots of word banks. A slot keeps its value within one prompt; a digit at its end (`{name2}`) asks for
another value of the same bank.
"""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dftt_tools.corpus.wordbank import wordbank

_MAX_REPEATS = 2000
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeio][a-z])")
_BANKS: dict[str, Sequence[object]] = {
    **wordbank("prompt_words.yaml"),
    "few": range(2, 10),
    "some": range(11, 49),
    "many": range(60, 490, 10),
    "price": range(2, 26),
    "pct": (5, 10, 15, 20, 25, 30, 40, 60, 75),
}


def code_prompts(seed: int, count: int) -> list[str]:
    """Different prompts about small invented Python functions; the doctest results in them are right."""
    rng = random.Random(f"code {seed}")
    return _distinct(count, lambda: _code_prompt(rng))


def chat_prompts(seed: int, count: int) -> list[str]:
    """Different everyday prompts: writing, role-play, reasoning, maths, coding, extraction, sciences."""
    rng = random.Random(f"chat {seed}")
    templates: dict[str, list[str]] = wordbank("chat_templates.yaml")
    return _distinct(count, lambda: _filled(rng, rng.choice(templates[rng.choice(list(templates))])))


def math_prompts(seed: int, count: int) -> list[str]:
    """Different invented word problems of grade-school level."""
    rng = random.Random(f"math {seed}")
    templates: dict[str, list[str]] = wordbank("math_templates.yaml")
    return _distinct(count, lambda: _filled(rng, rng.choice(templates["problems"])) + rng.choice(templates["endings"]))


def _distinct(count: int, draw: Callable[[], str]) -> list[str]:
    """`count` different draws."""
    if count < 0:
        raise ValueError(f"count must be >= 0, got {count}")
    prompts: dict[str, None] = {}
    repeats = 0
    while len(prompts) < count:
        before = len(prompts)
        prompts[draw()] = None
        repeats = 0 if len(prompts) > before else repeats + 1
        if repeats > _MAX_REPEATS:
            raise ValueError(f"count must be at most about {len(prompts)} for these templates, got {count}")
    return list(prompts)


class _Slots(dict[str, object]):
    """The values of one prompt's slots, drawn when first named."""

    def __init__(self, rng: random.Random, banks: Mapping[str, Sequence[object]]) -> None:
        super().__init__()
        self.rng, self.banks = rng, banks

    def __missing__(self, slot: str) -> object:
        bank = slot.rstrip("0123456789")
        taken = {value for key, value in self.items() if key.rstrip("0123456789") == bank}
        self[slot] = self.rng.choice([value for value in self.banks[bank] if value not in taken])
        return self[slot]


def _filled(rng: random.Random, template: str) -> str:
    slots = _Slots(rng, _BANKS)
    # Twice, because some values have slots of their own.
    return _ARTICLE.sub(r"\1n ", template.format_map(slots).format_map(slots).strip())


@dataclass(frozen=True)
class _Step:
    """One step of an invented function: a part of its name, words for its docstring, and its expression."""

    name: str
    words: str
    code: str
    returned: str = ""


@dataclass(frozen=True)
class _Family:
    """Functions that keep some elements of their argument, change each, and combine them."""

    argument: str
    annotation: str
    noun: str
    limits: tuple[int, int]
    keep: tuple[_Step, ...]
    change: tuple[_Step, ...]
    combine: tuple[_Step, ...]


def _family(row: Mapping[str, Any]) -> _Family:
    steps = {part: tuple(_Step(*step) for step in row[part]) for part in ("keep", "change", "combine")}
    return _Family(**{**row, "limits": tuple(row["limits"]), **steps})


_CODE: dict[str, list[Any]] = wordbank("code_tasks.yaml")
_REQUESTS: dict[str, list[Any]] = wordbank("code_templates.yaml")
_FAMILIES = tuple(_family(row) for row in _CODE["families"])
# What a function may be called with in a doctest, by the name of its argument.
_SAMPLES: dict[str, Callable[[random.Random], list[Any]]] = {
    "values": lambda rng: [rng.randint(-20, 60) for _ in range(rng.randint(4, 6))],
    "words": lambda rng: rng.sample(_CODE["example_words"], rng.randint(4, 5)),
    "scores": lambda rng: [(name, rng.randint(1, 40)) for name in rng.sample(_CODE["example_names"], 4)],
    "days": lambda rng: [datetime.date(2021, 1, 1) + datetime.timedelta(rng.randint(0, 1400)) for _ in range(4)],
}


def _code_prompt(rng: random.Random) -> str:
    family = rng.choice(_FAMILIES)
    n = rng.randint(*family.limits)
    keep, change, combine = rng.choice(family.keep), rng.choice(family.change), rng.choice(family.combine)
    name = "_".join(part.name for part in rng.sample((keep, change, combine), 3) if part.name != "plain")
    aim = f"{combine.words} the {family.noun} {keep.words}, {change.words}".format(n=n)
    body = (
        f"def {name}({family.argument}):\n    kept = []\n    for x in {family.argument}:\n"
        f"        if {keep.code}:\n            kept.append({change.code})\n    return {combine.code}"
    ).format(n=n)
    kind = rng.choices(("complete", "write", "explain", "fix"), (45, 25, 15, 15))[0]
    if kind == "write":
        return rng.choice(_REQUESTS["write"]).format(name=name, noun=family.noun, aim=aim, argument=family.argument)
    if kind == "explain":
        return f"{rng.choice(_REQUESTS['explain'])}\n\n```python\n{body}\n```"
    if kind == "fix":
        right, wrong = rng.choice(_REQUESTS["bugs"])
        return f"{rng.choice(_REQUESTS['fix'])}\n\n```python\n# Returns {aim}.\n{body.replace(right, wrong, 1)}\n```"
    samples = [_SAMPLES[family.argument](rng) for _ in range(rng.randint(1, 2))]
    examples = "".join(f"    >>> {name}({sample!r})\n    {_run(body, sample)!r}\n" for sample in samples)
    start = rng.choice(("Return", "Give", "Compute and return", "Find"))
    head = "import datetime\n\n\n" if "datetime" in family.annotation else ""
    signature = f"{head}def {name}({family.argument}: {family.annotation}) -> {combine.returned}:"
    code = f'{signature}\n    """{start} {aim}.\n\n{examples}    """\n'
    return f"{rng.choice(_REQUESTS['complete'])}\n\n```python\n{code}```" if rng.random() < 0.8 else code


def _run(body: str, argument: object) -> object:
    namespace: dict[str, Any] = {"datetime": datetime}
    exec(body, namespace)
    return next(value for key, value in namespace.items() if key not in {"datetime", "__builtins__"})(argument)
