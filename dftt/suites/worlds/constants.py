"""Constants that everybody knows and that differ in this world: days of a week, the freezing point of water."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dftt.suites.worlds.arithmetic import extend, value
from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question

_HOLDERS = 2  # per constant, where a question needs more than one fact


@dataclass(frozen=True)
class _Holder:
    """Something measured by a constant: a voyage of so many weeks, and who leads it."""

    name: str
    keeper: str
    count: int


class Constants:
    """Constants, each with what is measured by it where a question joins several facts."""

    conflict = True

    def __init__(self, data: Sequence[Mapping[str, Any]], setting: Setting) -> None:
        draw, self._spec, self._world = setting.draw, setting.spec, setting.world
        self._facts = draw.sample(data, min(max(3, setting.spec.tasks), len(data)))
        self._numbers = [_unlike_prior(fact, draw) for fact in self._facts]
        self._holders = [
            [
                _Holder(setting.names.word(), setting.names.word(), count)
                for count in draw.distinct_integers(_HOLDERS, *fact["counts"])
            ]
            for fact in self._facts
        ]

    def sections(self) -> list[Section]:
        """A section that states the constants, and one on what is measured by them where it is needed."""
        stated = tuple(
            f"{self._state(index)} {fact['remark'].format(w=self._world)}" for index, fact in enumerate(self._facts)
        )
        sections = [Section(f"What is particular to {self._world}", stated)]
        if self._spec.hops > 1:
            measured = tuple(
                f"{fact['holder']['sentence'].format(e=holder.name, k=holder.count)} {self._keeper(fact, holder)}"
                for fact, holders in zip(self._facts, self._holders, strict=True)
                for holder in holders
            )
            sections.append(Section(f"Examples from {self._world}", measured))
        return sections

    def ask(self, draw: Draw) -> Question:
        """The constant itself, or what follows from it."""
        index = draw.integer(0, len(self._facts) - 1)
        fact, number, spec = self._facts[index], self._numbers[index], self._spec
        state = self._state(index)
        if spec.sums == 0:
            others = tuple(str(other) for other in self._numbers if other != number)
            text, prior = fact["ask"].format(w=self._world), str(fact["prior"])
            return Question(text, str(number), (state,), unit=fact["unit"], prior=prior, entities=others)
        if spec.hops == 1:
            count = draw.integer(*fact["counts"])
            text, evidence, bridges = fact["many"].format(w=self._world, k=count), (state,), ()
        else:
            holder = draw.pick(self._holders[index])
            count = holder.count
            text, evidence, bridges = self._ask_holder(fact, holder)
            evidence = (state, *evidence)
        sign = "*" if fact["operation"] == "times" else "+"
        text, working = extend(text, f"{count} {sign} {number}", fact["unit"], spec.sums - 1, draw)
        return Question(
            text,
            str(value(working)),
            evidence,
            unit=fact["unit"],
            working=working,
            prior=str(value(working.replace(f"{sign} {number}", f"{sign} {fact['prior']}", 1))),
            entities=tuple(
                str(value(working.replace(f"{count} {sign}", f"{other.count} {sign}", 1)))
                for other in self._holders[index]
                if other.count != count
            ),
            bridges=bridges,
            hops=spec.hops,
            sums=spec.sums,
        )

    def _ask_holder(self, fact: Mapping[str, Any], holder: _Holder) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Question, evidence and bridges of something that is measured by a constant."""
        words = fact["holder"]
        measured = words["sentence"].format(e=holder.name, k=holder.count)
        if self._spec.hops == 2:
            return words["ask"].format(e=words["name"].format(e=holder.name), w=self._world), (measured,), ()
        reference = words["reference"].format(p=holder.keeper)
        text = words["ask"].format(e=reference, w=self._world)
        return text, (measured, self._keeper(fact, holder)), (holder.name,)

    def _state(self, index: int) -> str:
        return self._facts[index]["statement"].format(w=self._world, n=self._numbers[index])

    def _keeper(self, fact: Mapping[str, Any], holder: _Holder) -> str:
        return fact["holder"]["keeper"].format(e=holder.name, p=holder.keeper)


def _unlike_prior(fact: Mapping[str, Any], draw: Draw) -> int:
    while (number := draw.integer(fact["low"], fact["high"])) == fact["prior"]:
        pass
    return number
