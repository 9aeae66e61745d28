"""Rules that a question applies to a case: limits with an exception, invented operators, signs read in another way."""

from __future__ import annotations

from collections.abc import Callable

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.part import Part, Section
from dftt.suites.worlds.question import Question, extend, value

TIMES, MINUS = "\u00d7", "\u2212"  # as such texts print them
Reading = tuple[str, str, str]  # expression, its working by the rule of the document, its working by the usual rule


class Limits(Part):
    """A limit for each of `distractors + 1` classes, which a pass raises; the question offers both verdicts."""

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw classes with their limits, and the exception."""
        self.classes = names.words(self.spec.distractors + 1)
        self.limits = draw.distinct_integers(len(self.classes), self.data["low"], self.data["high"])
        self.name_of_pass, self.raised_by = names.word(), draw.integer(5, 12)
        self.exception = self.data["exception"].format(p=self.name_of_pass, b=self.raised_by)

    def sections(self) -> list[Section]:
        """The limits, and in another section the exception."""
        rules = tuple(self._rule(index) for index in range(len(self.classes)))
        return [
            Section(self.data["heading"], (self.data["lead"], *rules)),
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
            (self._rule(index), self.exception) if has_pass else (self._rule(index),),
            kind="verdict",
            options=options,
            hops=2 if has_pass else 1,
            sums=has_pass + (stacks > 1),
        )

    def _rule(self, index: int) -> str:
        return self.data["sentence"].format(e=self.classes[index], n=self.limits[index])


class Operators(Part):
    """`distractors + 1` invented operators; harder questions apply one to the result of another."""

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw the operators, each with two multipliers."""
        self.names = [name.lower() for name in names.words(self.spec.distractors + 1)]
        self.left = draw.distinct_integers(len(self.names), 2, 20)
        self.right = draw.distinct_integers(len(self.names), 21, 45)

    def sections(self) -> list[Section]:
        """One section that defines them all."""
        return [Section(self.data["heading"], (self.data["lead"], *map(self._rule, range(len(self.names)))))]

    def ask(self, draw: Draw) -> Question:
        """A multiplier of an operator, or the value of an expression."""
        first, second = draw.sample(range(len(self.names)), 2)
        if self.spec.sums == 0:
            side, numbers = draw.pick([("left", self.left), ("right", self.right)])
            text = self.data["ask"].format(e=self.names[first], side=side)
            others = tuple(str(number) for index, number in enumerate(numbers) if index != first)
            return Question(text, str(numbers[first]), (self._rule(first),), entities=others)
        x, y, z = draw.distinct_integers(3, 2, 9)
        text, working, evidence = f"{x} {self.names[first]} {y}", self._apply(first, x, y), (self._rule(first),)
        others = [self._apply(index, x, y) for index in range(len(self.names)) if index != first]
        if self.spec.hops > 1:
            outer = f"{self.left[second]} * "
            text = f"({text}) {self.names[second]} {z}"
            working = f"{outer}{working.replace(' + ', f' + {outer}')} + {self.right[second]} * {z}"
            evidence, others = (*evidence, self._rule(second)), []
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

    def _rule(self, index: int) -> str:
        return self.data["sentence"].format(e=self.names[index], a=self.left[index], b=self.right[index])


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
