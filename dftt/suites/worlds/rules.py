"""Rules that a question applies: limits with an exception, operators, signs read in another way, laws of readings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.part import Part, Question, Section, extend, value

TIMES, MINUS = "\u00d7", "\u2212"  # as such texts print them
MEASURED_AT = (1, 2, 3, 4, 5)  # enough to tell every power and constant from every other
Reading = tuple[str, str, str]  # expression, its working by the rule of the document, its working by the usual rule


class Limits(Part):
    """A limit for each of `distractors + 1` classes, which a pass raises; the question offers both verdicts."""

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw classes with their limits, and the exception."""
        self.classes = names.words(self.spec.distractors + 1)
        self.limits = draw.distinct_integers(len(self.classes), self.data["low"], self.data["high"])
        self.rules = [
            self.data["sentence"].format(e=name, n=limit) for name, limit in zip(self.classes, self.limits, strict=True)
        ]
        self.name_of_pass, self.raised_by = names.word(), draw.integer(5, 12)
        self.exception = self.data["exception"].format(p=self.name_of_pass, b=self.raised_by)

    def sections(self) -> list[Section]:
        """The limits, and in another section the exception."""
        return [
            Section(self.data["heading"], (self.data["lead"], *self.rules)),
            Section(self.data["exception_heading"], (f"{self.exception} {self.data['exception_remark']}",)),
        ]

    def ask(self, draw: Draw) -> Question:
        """Whether a case keeps the rule; with more difficulty the exception may apply and the load comes in stacks."""
        index = draw.integer(0, len(self.classes) - 1)
        has_pass = self.spec.difficulty > 1 and draw.integer(0, 1) == 1
        stacks = draw.integer(3, 5) if self.spec.sums > 1 else 1
        limit = self.limits[index] + (self.raised_by if has_pass else 0)
        excess = draw.integer(1, 4)
        allowed = draw.integer(0, 1) == 1
        # Whole stacks: the nearest load on the side that the verdict is to lie on.
        each = (limit - excess + 1) // stacks if allowed else -(-(limit + excess) // stacks)
        load = str(each) if stacks == 1 else f"{stacks} {self.data['stacks']} of {each}"
        text = self.data["ask"].format(e=self.classes[index], m=load)
        if has_pass:
            text = f"{text} {self.data['with_pass'].format(p=self.name_of_pass)}"
        options = (self.data["yes"], self.data["no"])
        return Question(
            f"{text} {self.data['verdict']}",
            options[0] if allowed else options[1],
            (self.rules[index], self.exception) if has_pass else (self.rules[index],),
            kind="verdict",
            options=options,
            hops=2 if has_pass else 1,
            sums=has_pass + (stacks > 1),
        )


class Operators(Part):
    """`distractors + 1` invented operators; harder questions apply one to the result of another."""

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw the operators, each with two multipliers."""
        self.names = [name.lower() for name in names.words(self.spec.distractors + 1)]
        self.left = draw.distinct_integers(len(self.names), 2, 20)
        self.right = draw.distinct_integers(len(self.names), 21, 45)
        self.rules = [
            self.data["sentence"].format(e=name, a=left, b=right)
            for name, left, right in zip(self.names, self.left, self.right, strict=True)
        ]

    def sections(self) -> list[Section]:
        """One section that defines them all."""
        return [Section(self.data["heading"], (self.data["lead"], *self.rules))]

    def ask(self, draw: Draw) -> Question:
        """A multiplier of an operator, or the value of an expression."""
        first, second = draw.sample(range(len(self.names)), 2)
        if self.spec.sums == 0:
            side, numbers = draw.pick([("left", self.left), ("right", self.right)])
            text = self.data["ask"].format(e=self.names[first], side=side)
            others = tuple(str(number) for index, number in enumerate(numbers) if index != first)
            return Question(text, str(numbers[first]), (self.rules[first],), entities=others)
        x, y, z = draw.distinct_integers(3, 2, 9)
        text, working, evidence = f"{x} {self.names[first]} {y}", self._apply(first, x, y), (self.rules[first],)
        others = [self._apply(index, x, y) for index in range(len(self.names)) if index != first]
        if self.spec.hops > 1:
            outer = f"{self.left[second]} * "
            text = f"({text}) {self.names[second]} {z}"
            working = f"{outer}{working.replace(' + ', f' + {outer}')} + {self.right[second]} * {z}"
            evidence, others = (*evidence, self.rules[second]), []
        text, working = extend(f"What is {text}?", working, "", self.spec.sums - 1, draw)
        return Question(
            text.replace("  ", " "),
            str(value(working)),
            evidence,
            working=working,
            entities=tuple(str(value(other)) for other in others),
            hops=len(evidence),
            sums=working.count("+") + working.count("-"),
        )

    def _apply(self, index: int, x: int, y: int) -> str:
        return f"{self.left[index]} * {x} + {self.right[index]} * {y}"


class Notation(Part):
    """One rule by which known signs are read in an unknown way."""

    conflict = True

    def draw_facts(self, draw: Draw, names: Names) -> None:  # noqa: ARG002
        """Draw the rule."""
        self.rule = draw.pick(sorted(_READINGS))
        self.stated = self.data["rules"][self.rule].format(w=self.world)

    def sections(self) -> list[Section]:
        """One section with the rule and its reason."""
        paragraphs = (self.data["lead"], self.stated, self.data["remark"])
        return [Section(self.data["heading"].format(w=self.world), paragraphs)]

    def ask(self, draw: Draw) -> Question:
        """The value of an expression of up to five numbers."""
        length = max(2, self.spec.difficulty) + (self.rule != "signs_exchanged")
        numbers = draw.distinct_integers(min(length, 5), 2, 9)
        shown, by_rule, usual = _READINGS[self.rule](numbers)
        return Question(
            self.data["ask"].format(w=self.world, x=shown),
            str(value(by_rule)),
            (self.stated,),
            working=by_rule,
            prior=str(value(usual)),
            sums=len(numbers) - 1,
        )


def _sums_first(numbers: list[int]) -> Reading:
    first, *rest = numbers
    by_rule = " + ".join(f"{first} * {number}" for number in rest)
    added = " + ".join(map(str, rest))
    return f"{first} {TIMES} {added}", by_rule, f"{first} * {added}"


def _signs_exchanged(numbers: list[int]) -> Reading:
    first, second, *rest = numbers
    added, factors = "".join(f" + {number}" for number in rest), "".join(f" * {number}" for number in rest)
    shown = f"({first} + {second}){factors.replace('*', TIMES)}" if rest else f"{first} + {second}"
    return shown, f"{first} * {second}{added}", f"{first}{factors} + {second}{factors}"


def _from_the_right(numbers: list[int]) -> Reading:
    numbers = [number * 10**place for number, place in zip(numbers, range(len(numbers), 0, -1), strict=True)]
    by_rule = str(numbers[0])
    for place, number in enumerate(numbers[1:]):
        by_rule += f" {'+' if place % 2 else '-'} {number}"
    return f" {MINUS} ".join(map(str, numbers)), by_rule, " - ".join(map(str, numbers))


_READINGS: dict[str, Callable[[list[int]], Reading]] = {
    "sums_first": _sums_first,
    "signs_exchanged": _signs_exchanged,
    "from_the_right": _from_the_right,
}


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
    """One phenomenon, read at several places, whose law has to be found: a constant times a whole power, and another.

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
        self.logs = [self._log(series, draw.shuffled(MEASURED_AT)) for series in self.series]

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
        x = draw.integer(2, MEASURED_AT[-1]) if level == 1 else draw.integer(MEASURED_AT[-1] + 1, 7 + level)
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
            others += map(series.at, MEASURED_AT)
        return Question(
            self.data["ask" if beyond is None else "compare"].format(e=series.place, w=self.world, x=x, x2=beyond),
            str(answer),
            (self.logs[index],),
            unit=self.data["unit"],
            working="" if level == 1 else working,
            prior=prior,
            entities=tuple(str(number) for number in dict.fromkeys(others) if number != answer),
            hops=1 if level == 1 else len(MEASURED_AT),
            sums=0 if level == 1 else series.power + (series.offset > 0) + (beyond is not None),
        )

    def _log(self, series: _Series, order: list[int]) -> str:
        """The readings, as a table or as sentences."""
        if "line" in self.data:
            return "\n".join(self.data["line"].format(e=series.place, x=x, y=series.at(x)) for x in order)
        head = f"| {self.data['x']} | {self.data['y']} |\n|---|---|\n"
        return head + "\n".join(f"| {x} | {series.at(x)} |" for x in order)
