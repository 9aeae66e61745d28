"""Series of readings whose law has to be found: a constant times a whole power, plus a constant."""

from __future__ import annotations

from dataclasses import dataclass

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.part import Part, Section
from dftt.suites.worlds.question import Question, value

_READINGS = (1, 2, 3, 4, 5)  # enough to tell every power and constant from every other


@dataclass(frozen=True)
class _Series:
    """factor * x ** power + offset, read at one place."""

    place: str
    factor: int
    power: int
    offset: int = 0

    def working(self, x: int) -> str:
        """The law at x, written out."""
        product = " * ".join([str(self.factor), *[str(x)] * self.power])
        return f"{product} + {self.offset}" if self.offset else product

    def at(self, x: int, beyond: int | None = None) -> int:
        """The reading at x, or by how much the one beyond it differs."""
        return value(self.working(x)) if beyond is None else self.at(beyond) - self.at(x)


class Laws(Part):
    """One phenomenon, read at several places with a constant each.

    Where the phenomenon has a `usual` power, the law is another one, and common knowledge answers by the usual power
    from the first reading.
    """

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw a phenomenon and its law, and the order in which each place's readings are listed."""
        self.data = draw.pick(self.data)
        self.conflict = "usual" in self.data
        power = draw.pick(self.data["powers"] if self.spec.difficulty > 1 or self.conflict else [1, 2])
        count = 2 + self.spec.distractors // 6
        factors = draw.distinct_integers(count, 2, 9)
        offsets = draw.distinct_integers(count, 3, 30) if self.spec.difficulty > 2 else [0] * count
        self.series = [
            _Series(names.word(), factor, power, offset) for factor, offset in zip(factors, offsets, strict=True)
        ]
        self.logs = [self._log(series, draw.shuffled(_READINGS)) for series in self.series]

    def sections(self) -> list[Section]:
        """One section for each place."""
        return [
            Section(
                self.data["heading"].format(e=series.place),
                (self.data["setting"].format(e=series.place, w=self.world), log, self.data["remark"]),
            )
            for series, log in zip(self.series, self.logs, strict=True)
        ]

    def ask(self, draw: Draw) -> Question:
        """A reading of the log, one beyond it, or the difference of two beyond it."""
        index = draw.integer(0, len(self.series) - 1)
        series, level = self.series[index], self.spec.difficulty
        x = draw.integer(2, _READINGS[-1]) if level == 1 else draw.integer(_READINGS[-1] + 1, 7 + level)
        beyond = x + draw.integer(1, 3) if level == 5 else None
        answer = series.at(x, beyond)
        if beyond is None:
            working = series.working(x)
        else:
            bare = _Series(series.place, series.factor, series.power)  # what is added to both cancels
            working = f"{bare.working(beyond)} - {bare.working(x)}"
        prior = ""
        if self.conflict:  # what the usual power makes of the first reading
            prior = str(_Series(series.place, series.at(1), self.data["usual"]).at(x, beyond))
        others = [other.at(x, beyond) for other in self.series if other is not series]
        if level == 1:  # a number to be read off: the other readings of the place itself are wrong, too
            others += map(series.at, _READINGS)
        return Question(
            self.data["ask" if beyond is None else "compare"].format(e=series.place, w=self.world, x=x, x2=beyond),
            str(answer),
            (self.logs[index],),
            unit=self.data["unit"],
            working="" if level == 1 else working,
            prior=prior,
            entities=tuple(str(number) for number in dict.fromkeys(others) if number != answer),
            hops=1 if level == 1 else len(_READINGS),
            sums=0 if level == 1 else series.power + (series.offset > 0) + (beyond is not None),
        )

    def _log(self, series: _Series, order: list[int]) -> str:
        """The readings, as a table or as sentences."""
        if "line" in self.data:
            return "\n".join(self.data["line"].format(e=series.place, x=x, y=series.at(x)) for x in order)
        head = f"| {self.data['x']} | {self.data['y']} |\n|---|---|\n"
        return head + "\n".join(f"| {x} | {series.at(x)} |" for x in order)
