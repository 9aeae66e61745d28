"""Rules of a notation: invented operators, and known signs that are read in another way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dftt.suites.worlds.arithmetic import extend, value
from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question

TIMES, MINUS = "\u00d7", "\u2212"  # as such texts print them
Reading = tuple[str, str, str]  # expression, its working by the rule of the document, its working by the usual rule


class Operators:
    """`distractors + 1` invented operators; harder questions apply one to the result of another."""

    conflict = False

    def __init__(self, data: Mapping[str, Any], setting: Setting) -> None:
        count = setting.spec.distractors + 1
        self._data, self._spec = data, setting.spec
        self._names = [name.lower() for name in setting.names.words(count)]
        self._left = setting.draw.distinct_integers(count, 2, 20)
        self._right = setting.draw.distinct_integers(count, 21, 45)

    def sections(self) -> list[Section]:
        """One section that defines them all."""
        rules = tuple(self._rule(index) for index in range(len(self._names)))
        return [Section(self._data["heading"], (self._data["lead"], *rules))]

    def ask(self, draw: Draw) -> Question:
        """A multiplier of an operator, or the value of an expression."""
        first, second = draw.sample(range(len(self._names)), 2)
        if self._spec.sums == 0:
            side, numbers = draw.pick([("left", self._left), ("right", self._right)])
            text = self._data["ask"].format(e=self._names[first], side=side)
            others = tuple(str(number) for index, number in enumerate(numbers) if index != first)
            return Question(text, str(numbers[first]), (self._rule(first),), entities=others)
        x, y, z = draw.distinct_integers(3, 2, 9)
        inner = f"{x} {self._names[first]} {y}"
        if self._spec.hops == 1:
            text, working, evidence = inner, self._apply(first, x, y), (self._rule(first),)
        else:
            text = f"({inner}) {self._names[second]} {z}"
            working = self._nest(first, second, x, y, z)
            evidence = (self._rule(first), self._rule(second))
        text, working = extend(f"What is {text}?", working, "", self._spec.sums - 1, draw)
        return Question(
            text.replace("  ", " "),
            str(value(working)),
            evidence,
            working=working,
            entities=tuple(
                str(value(self._apply(index, x, y)))
                for index in range(len(self._names))
                if index != first and self._spec.hops == 1
            ),
            hops=len(evidence),
            sums=working.count("+") + working.count("-"),
        )

    def _apply(self, index: int, x: int, y: int) -> str:
        return f"{self._left[index]} * {x} + {self._right[index]} * {y}"

    def _nest(self, first: int, second: int, x: int, y: int, z: int) -> str:
        outer = self._left[second]
        left, right = f"{outer} * {self._left[first]} * {x}", f"{outer} * {self._right[first]} * {y}"
        return f"{left} + {right} + {self._right[second]} * {z}"

    def _rule(self, index: int) -> str:
        return self._data["sentence"].format(e=self._names[index], a=self._left[index], b=self._right[index])


def _sums_first(numbers: list[int]) -> Reading:
    first, *rest = numbers
    by_rule = " + ".join(f"{first} * {number}" for number in rest)
    return f"{first} {TIMES} {' + '.join(map(str, rest))}", by_rule, f"{first} * {' + '.join(map(str, rest))}"


def _signs_exchanged(numbers: list[int]) -> Reading:
    first, second, *rest = numbers
    added, factors = "".join(f" + {number}" for number in rest), "".join(f" * {number}" for number in rest)
    shown = f"{first} + {second}" if not rest else f"({first} + {second}) {TIMES} {f' {TIMES} '.join(map(str, rest))}"
    return shown, f"{first} * {second}{added}", f"{first}{factors} + {second}{factors}"


def _from_the_right(numbers: list[int]) -> Reading:
    numbers = [number * 10**place for number, place in zip(numbers, range(len(numbers), 0, -1), strict=True)]
    shown = f" {MINUS} ".join(map(str, numbers))
    signs = [" - " if place % 2 == 0 else " + " for place in range(len(numbers) - 1)]
    by_rule = str(numbers[0]) + "".join(sign + str(number) for sign, number in zip(signs, numbers[1:], strict=True))
    return shown, by_rule, " - ".join(map(str, numbers))


_READINGS: dict[str, Callable[[list[int]], Reading]] = {
    "sums_first": _sums_first,
    "signs_exchanged": _signs_exchanged,
    "from_the_right": _from_the_right,
}


class Notation:
    """One rule by which known signs are read in an unknown way."""

    conflict = True

    def __init__(self, data: Mapping[str, Any], setting: Setting) -> None:
        self._data, self._spec, self._world = data, setting.spec, setting.world
        self._rule = setting.draw.pick(sorted(_READINGS))

    def sections(self) -> list[Section]:
        """One section with the rule and its reason."""
        rule = self._state()
        return [Section(self._data["heading"].format(w=self._world), (self._data["lead"], rule, self._data["remark"]))]

    def ask(self, draw: Draw) -> Question:
        """The value of an expression of up to five numbers."""
        length = {1: 2, 2: 2, 3: 3, 4: 4, 5: 5}[self._spec.difficulty] + (self._rule != "signs_exchanged")
        numbers = draw.distinct_integers(min(length, 5), 2, 9)
        shown, by_rule, usual = _READINGS[self._rule](numbers)
        return Question(
            self._data["ask"].format(w=self._world, x=shown),
            str(value(by_rule)),
            (self._state(),),
            working=by_rule,
            prior=str(value(usual)),
            sums=len(numbers) - 1,
        )

    def _state(self) -> str:
        return self._data["rules"][self._rule].format(w=self._world)
