"""Entries of a handbook: things with numbers, the place each belongs to, and who keeps that place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dftt.suites.worlds.arithmetic import extend, value
from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question


@dataclass(frozen=True)
class _Entry:
    name: str
    place: str
    keeper: str
    numbers: tuple[int, ...]


class Registry:
    """Look-ups among `distractors + 1` entries; more hops name the entry by its place or by its keeper."""

    conflict = False

    def __init__(self, data: Mapping[str, Any], setting: Setting) -> None:
        draw, count = setting.draw, setting.spec.distractors + 1
        self._data, self._spec = data, setting.spec
        # Different values, so that no answer is right by another entry's number.
        columns = [
            draw.distinct_integers(count, fact["low"], fact["high"], fact.get("step", 1)) for fact in data["numbers"]
        ]
        self._entries = [
            _Entry(setting.names.word(), setting.names.word(), setting.names.word(), tuple(numbers))
            for numbers in zip(*columns, strict=True)
        ]
        self._looks = draw.shuffled(data["looks"])

    def sections(self) -> list[Section]:
        """One section of entries and one of places and their keepers, in another order."""
        entries = tuple(self._entry(number, entry) for number, entry in enumerate(self._entries))
        keepers = tuple(self._say("keeper", entry) for entry in sorted(self._entries, key=lambda entry: entry.keeper))
        return [
            Section(self._data["heading"], entries),
            Section(self._data["place"]["heading"], (self._data["place"]["lead"], *keepers)),
        ]

    def ask(self, draw: Draw) -> Question:
        """The number, the place or the keeper of an entry."""
        entry = draw.pick(self._entries)
        if draw.integer(1, 3) > 1:
            return self._ask_number(entry, draw)
        if self._spec.difficulty == 1:
            others = tuple(other.place for other in self._entries if other is not entry)
            text = self._data["place"]["ask"].format(e=entry.name)
            return Question(
                text, entry.place, (self._say("place", entry),), kind=self._data["place"]["kind"], entities=others
            )
        others = tuple(other.keeper for other in self._entries if other is not entry)
        return Question(
            self._data["keeper"]["ask"].format(e=entry.name),
            entry.keeper,
            (self._say("place", entry), self._say("keeper", entry)),
            kind=self._data["keeper"]["kind"],
            entities=others,
            bridges=(entry.place,) if self._spec.difficulty >= 3 else (),
            hops=2,
        )

    def _ask_number(self, entry: _Entry, draw: Draw) -> Question:
        index = draw.integer(0, len(self._data["numbers"]) - 1)
        fact, hops, sums = self._data["numbers"][index], self._spec.hops, self._spec.sums
        reference, chain = self._reference(entry, hops)
        evidence = (self._number(index, entry), *chain)
        bridges = ((), (entry.name,), (entry.place, entry.name))[hops - 1]
        times = draw.integer(2, 5)
        text = fact["many" if sums else "ask"].format(e=reference, k=times)
        text, working = extend(text, f"{times} * {entry.numbers[index]}", fact["unit"], sums - 1, draw)
        others = [
            working.replace(f"* {entry.numbers[index]}", f"* {other.numbers[index]}")
            if sums
            else str(other.numbers[index])
            for other in self._entries
            if other is not entry
        ]
        return Question(
            text,
            str(value(working)) if sums else str(entry.numbers[index]),
            evidence,
            unit=fact["unit"],
            working=working if sums else "",
            entities=tuple(str(value(other)) for other in others),
            bridges=bridges,
            hops=hops,
            sums=sums,
        )

    def _reference(self, entry: _Entry, hops: int) -> tuple[str, tuple[str, ...]]:
        """How a question names an entry, and the sentences that lead from there to it."""
        if hops == 1:
            return self._data["name"].format(e=entry.name), ()
        if hops == 2:
            return self._data["place"]["reference"].format(p=entry.place), (self._say("place", entry),)
        chain = (self._say("keeper", entry), self._say("place", entry))
        return self._data["keeper"]["reference"].format(k=entry.keeper), chain

    def _entry(self, number: int, entry: _Entry) -> str:
        look = self._looks[number % len(self._looks)]
        numbers = [self._number(index, entry) for index in range(len(entry.numbers))]
        return " ".join((f"**{entry.name}.** {look}", self._say("place", entry), *numbers))

    def _number(self, index: int, entry: _Entry) -> str:
        return self._data["numbers"][index]["sentence"].format(e=entry.name, n=entry.numbers[index])

    def _say(self, fact: str, entry: _Entry) -> str:
        return self._data[fact]["sentence"].format(e=entry.name, p=entry.place, k=entry.keeper)
