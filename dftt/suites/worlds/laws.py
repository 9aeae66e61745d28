"""Series of readings whose law has to be found: a constant times a whole power, plus a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dftt.suites.worlds.arithmetic import value
from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question

_READINGS = (1, 2, 3, 4, 5)  # enough to tell every power and constant from every other


@dataclass(frozen=True)
class _Series:
    """factor * x ** power + offset, read at one place."""

    place: str
    factor: int
    power: int
    offset: int

    def working(self, x: int) -> str:
        """The law at x, written out."""
        product = " * ".join([str(self.factor), *[str(x)] * self.power])
        return f"{product} + {self.offset}" if self.offset else product

    def at(self, x: int) -> int:
        """The reading at x."""
        return value(self.working(x))


class Laws:
    """One phenomenon, read at several places with a constant each.

    Where the phenomenon has a `usual` power, the law is another one, and common knowledge answers by the usual power
    from the first reading.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], setting: Setting) -> None:
        draw, self._spec, self._world = setting.draw, setting.spec, setting.world
        self._data = draw.pick(data)
        power = draw.pick(self._data["powers"] if self._spec.difficulty > 1 or self.conflict else [1, 2])
        count = 2 + self._spec.distractors // 6
        factors = draw.distinct_integers(count, 2, 9)
        offsets = draw.distinct_integers(count, 3, 30) if self._spec.difficulty > 2 else [0] * count
        self._series = [
            _Series(setting.names.word(), factor, power, offset)
            for factor, offset in zip(factors, offsets, strict=True)
        ]
        self._orders = [draw.shuffled(_READINGS) for _ in self._series]

    @property
    def conflict(self) -> bool:
        """Whether the phenomenon is a known one, with another law here."""
        return "usual" in self._data

    def sections(self) -> list[Section]:
        """One section for each place."""
        return [
            Section(
                self._data["heading"].format(e=series.place),
                (self._data["setting"].format(e=series.place, w=self._world), self._log(index), self._data["remark"]),
            )
            for index, series in enumerate(self._series)
        ]

    def ask(self, draw: Draw) -> Question:
        """A reading of the log, one beyond it, or the difference of two beyond it."""
        index = draw.integer(0, len(self._series) - 1)
        series, level = self._series[index], self._spec.difficulty
        x = draw.integer(2, _READINGS[-1]) if level == 1 else draw.integer(_READINGS[-1] + 1, 7 + level)
        beyond = x + draw.integer(1, 3) if level == 5 else None
        text = self._data["ask" if beyond is None else "compare"].format(e=series.place, w=self._world, x=x, x2=beyond)
        return Question(
            text,
            str(_answer(series, x, beyond)),
            (self._log(index),),
            unit=self._data["unit"],
            working="" if level == 1 else _working(series, x, beyond),
            prior=str(self._usual(series, x, beyond)) if self.conflict else "",
            entities=self._others(series, x, beyond),
            hops=1 if level == 1 else len(_READINGS),
            sums=0 if level == 1 else series.power + (series.offset > 0) + (beyond is not None),
        )

    def _others(self, series: _Series, x: int, beyond: int | None) -> tuple[str, ...]:
        """What the other places give; for a number to be read off, also the other readings of the place itself."""
        given = [_answer(other, x, beyond) for other in self._series if other is not series]
        if self._spec.difficulty == 1:
            given += [series.at(other) for other in _READINGS]
        answer = _answer(series, x, beyond)
        return tuple(str(number) for number in dict.fromkeys(given) if number != answer)

    def _usual(self, series: _Series, x: int, beyond: int | None) -> int:
        """What the usual power makes of the first reading."""
        usual = _Series(series.place, series.at(1), self._data["usual"], 0)
        return _answer(usual, x, beyond)

    def _log(self, index: int) -> str:
        """The readings, as a table or as sentences."""
        series, order = self._series[index], self._orders[index]
        if "line" in self._data:
            return "\n".join(self._data["line"].format(e=series.place, x=x, y=series.at(x)) for x in order)
        head = f"| {self._data['x']} | {self._data['y']} |\n|---|---|\n"
        return head + "\n".join(f"| {x} | {series.at(x)} |" for x in order)


def _answer(series: _Series, x: int, beyond: int | None) -> int:
    return series.at(x) if beyond is None else series.at(beyond) - series.at(x)


def _working(series: _Series, x: int, beyond: int | None) -> str:
    if beyond is None:
        return series.working(x)
    bare = _Series(series.place, series.factor, series.power, 0)  # what is added to both cancels
    return f"{bare.working(beyond)} - {bare.working(x)}"
