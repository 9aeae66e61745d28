"""Entries of a handbook: things with numbers, the place each belongs to, and who keeps that place."""

from __future__ import annotations

from dataclasses import dataclass

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.part import Part, Section
from dftt.suites.worlds.question import Question, extend, value


@dataclass(frozen=True)
class _Entry:
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
