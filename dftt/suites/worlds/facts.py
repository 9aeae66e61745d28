"""Facts to look up: entries of a handbook, and constants and conventions that are otherwise in this world than here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.part import Part, Question, Section, extend, value

_HOLDERS = 2  # per constant, where a question needs more than one fact


@dataclass(frozen=True)
class _Holder:
    """Something measured by a constant: a voyage of so many weeks, and who leads it."""

    name: str
    keeper: str
    count: int


class Constants(Part):
    """Constants, each with what is measured by it where a question joins several facts."""

    conflict = True

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw constants unlike those that are known, and what is measured by them."""
        self.facts = draw.sample(self.data, min(max(3, self.spec.tasks), len(self.data)))
        self.numbers = [_unlike_prior(fact, draw) for fact in self.facts]
        self.stated = [
            fact["statement"].format(w=self.world, n=number)
            for fact, number in zip(self.facts, self.numbers, strict=True)
        ]
        self.holders = [
            [_Holder(names.word(), names.word(), count) for count in draw.distinct_integers(_HOLDERS, *fact["counts"])]
            for fact in self.facts
        ]

    def sections(self) -> list[Section]:
        """A section that states the constants, and one on what is measured by them where it is needed."""
        stated = tuple(
            f"{statement} {fact['remark'].format(w=self.world)}"
            for statement, fact in zip(self.stated, self.facts, strict=True)
        )
        sections = [Section(f"What is particular to {self.world}", stated)]
        if self.spec.hops > 1:
            measured = tuple(
                f"{_measured(fact, holder)} {_kept(fact, holder)}"
                for fact, holders in zip(self.facts, self.holders, strict=True)
                for holder in holders
            )
            sections.append(Section(f"Examples from {self.world}", measured))
        return sections

    def ask(self, draw: Draw) -> Question:
        """The constant itself, or what follows from it."""
        index = draw.integer(0, len(self.facts) - 1)
        fact, number, evidence = self.facts[index], self.numbers[index], (self.stated[index],)
        if self.spec.sums == 0:
            others = tuple(str(other) for other in self.numbers if other != number)
            text, prior = fact["ask"].format(w=self.world), str(fact["prior"])
            return Question(text, str(number), evidence, unit=fact["unit"], prior=prior, entities=others)
        bridges: tuple[str, ...] = ()
        if self.spec.hops == 1:
            count = draw.integer(*fact["counts"])
            text = fact["many"].format(w=self.world, k=count)
        else:
            holder, words = draw.pick(self.holders[index]), fact["holder"]
            count, evidence = holder.count, (*evidence, _measured(fact, holder))
            name = words["name"].format(e=holder.name)
            if self.spec.hops > 2:
                name, bridges = words["reference"].format(p=holder.keeper), (holder.name,)
                evidence = (*evidence, _kept(fact, holder))
            text = words["ask"].format(e=name, w=self.world)
        sign = "*" if fact["operation"] == "times" else "+"
        text, working = extend(text, f"{count} {sign} {number}", fact["unit"], self.spec.sums - 1, draw)
        return Question(
            text,
            str(value(working)),
            evidence,
            unit=fact["unit"],
            working=working,
            prior=str(value(working.replace(f"{sign} {number}", f"{sign} {fact['prior']}", 1))),
            entities=tuple(
                str(value(working.replace(f"{count} {sign}", f"{other.count} {sign}", 1)))
                for other in self.holders[index]
                if other.count != count
            ),
            bridges=bridges,
            hops=self.spec.hops,
            sums=self.spec.sums,
        )


def _measured(fact: Mapping[str, Any], holder: _Holder) -> str:
    return fact["holder"]["sentence"].format(e=holder.name, k=holder.count)


def _kept(fact: Mapping[str, Any], holder: _Holder) -> str:
    return fact["holder"]["keeper"].format(e=holder.name, p=holder.keeper)


def _unlike_prior(fact: Mapping[str, Any], draw: Draw) -> int:
    while (number := draw.integer(fact["low"], fact["high"])) == fact["prior"]:
        pass
    return number


class Conventions(Part):
    """Conventions; a question asks for one of them, by name or by what somebody observed."""

    conflict = True

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw what is agreed, and a name for each agreement."""
        self.facts = draw.sample(self.data, min(max(3, self.spec.tasks), len(self.data)))
        self.answers = [draw.pick(fact["answers"]) for fact in self.facts]
        self.places = [names.word() for _ in self.facts]
        self.stated = [
            fact["statement"].format(w=self.world, a=answer)
            for fact, answer in zip(self.facts, self.answers, strict=True)
        ]
        self.named = [
            f"The rule on {fact['topic']} is called the {place} rule."
            for fact, place in zip(self.facts, self.places, strict=True)
        ]

    def sections(self) -> list[Section]:
        """What is agreed, and where it is needed a section on where each agreement has its name from."""
        stated = tuple(f"{each} {fact['remark']}" for each, fact in zip(self.stated, self.facts, strict=True))
        lead = f"Each rule of {self.world} is known by the works where it was first agreed."
        sections = [Section(f"Conventions of {self.world}", stated)]
        return (
            [*sections, Section("Origin of the conventions", (lead, *self.named))] if self.spec.hops > 1 else sections
        )

    def ask(self, draw: Draw) -> Question:
        """What is agreed; with more hops the convention is named by the works that it comes from."""
        index = draw.integer(0, len(self.facts) - 1)
        fact, by_name = self.facts[index], self.spec.hops > 1
        lead = f"The {self.places[index]} rule speaks of {fact['topic']}. According to it: " if by_name else ""
        return Question(
            lead + fact["ask"].format(w=self.world),
            self.answers[index],
            (self.stated[index], self.named[index]) if by_name else (self.stated[index],),
            kind=fact["kind"],
            prior=fact["prior"],
            entities=tuple(
                answer
                for other, answer in zip(self.facts, self.answers, strict=True)
                if other["kind"] == fact["kind"] and other is not fact
            ),
            hops=2 if by_name else 1,
        )


@dataclass(frozen=True)
class _Entry:
    """A thing with numbers, the place it belongs to, and who keeps that place."""

    name: str
    place: str
    keeper: str
    numbers: tuple[int, ...]


class Registry(Part):
    """Look-ups among `distractors + 1` entries; more hops name the entry by its place or by its keeper."""

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw the entries."""
        # Different values, so that no answer is right by another entry's number.
        columns = [
            draw.distinct_integers(self.spec.distractors + 1, fact["low"], fact["high"], fact.get("step", 1))
            for fact in self.data["numbers"]
        ]
        self.entries = [
            _Entry(names.word(), names.word(), names.word(), numbers) for numbers in zip(*columns, strict=True)
        ]
        self.looks = draw.shuffled(self.data["looks"])

    def sections(self) -> list[Section]:
        """One section of entries and one of places and their keepers, in another order."""
        entries = tuple(self._entry(number, entry) for number, entry in enumerate(self.entries))
        keepers = tuple(self._say("keeper", entry) for entry in sorted(self.entries, key=lambda entry: entry.keeper))
        return [
            Section(self.data["heading"], entries),
            Section(self.data["place"]["heading"], (self.data["place"]["lead"], *keepers)),
        ]

    def ask(self, draw: Draw) -> Question:
        """The number, the place or the keeper of an entry."""
        entry = draw.pick(self.entries)
        if draw.integer(1, 3) > 1:
            return self._ask_number(entry, draw)
        others = [other for other in self.entries if other is not entry]
        if self.spec.difficulty == 1:
            return Question(
                self.data["place"]["ask"].format(e=entry.name),
                entry.place,
                (self._say("place", entry),),
                kind=self.data["place"]["kind"],
                entities=tuple(other.place for other in others),
            )
        return Question(
            self.data["keeper"]["ask"].format(e=entry.name),
            entry.keeper,
            (self._say("place", entry), self._say("keeper", entry)),
            kind=self.data["keeper"]["kind"],
            entities=tuple(other.keeper for other in others),
            bridges=(entry.place,) if self.spec.difficulty >= 3 else (),
            hops=2,
        )

    def _ask_number(self, entry: _Entry, draw: Draw) -> Question:
        index = draw.integer(0, len(self.data["numbers"]) - 1)
        fact, hops, sums = self.data["numbers"][index], self.spec.hops, self.spec.sums
        # How the question names the entry, the sentences that lead from there to it, and the names on the way.
        reference, chain, bridges = {
            1: (self.data["name"].format(e=entry.name), (), ()),
            2: (self.data["place"]["reference"].format(p=entry.place), ("place",), (entry.name,)),
            3: (
                self.data["keeper"]["reference"].format(k=entry.keeper),
                ("keeper", "place"),
                (entry.place, entry.name),
            ),
        }[hops]
        times = draw.integer(2, 5)
        text = fact["many" if sums else "ask"].format(e=reference, k=times)
        text, working = extend(text, f"{times} * {entry.numbers[index]}", fact["unit"], sums - 1, draw)
        sign = "* "
        if not sums:  # the number itself is asked for
            working, sign = str(entry.numbers[index]), ""
        others = [
            working.replace(f"{sign}{entry.numbers[index]}", f"{sign}{other.numbers[index]}")
            for other in self.entries
            if other is not entry
        ]
        return Question(
            text,
            str(value(working)),
            (self._number(index, entry), *(self._say(fact, entry) for fact in chain)),
            unit=fact["unit"],
            working=working if sums else "",
            entities=tuple(str(value(other)) for other in others),
            bridges=bridges,
            hops=hops,
            sums=sums,
        )

    def _entry(self, number: int, entry: _Entry) -> str:
        look = self.looks[number % len(self.looks)]
        numbers = [self._number(index, entry) for index in range(len(entry.numbers))]
        return " ".join((f"**{entry.name}.** {look}", self._say("place", entry), *numbers))

    def _number(self, index: int, entry: _Entry) -> str:
        return self.data["numbers"][index]["sentence"].format(e=entry.name, n=entry.numbers[index])

    def _say(self, fact: str, entry: _Entry) -> str:
        return self.data[fact]["sentence"].format(e=entry.name, p=entry.place, k=entry.keeper)
