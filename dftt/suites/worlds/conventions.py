"""Conventions that are the other way round in this world: the colour that means stop, the way a screw is loosened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question


class Conventions:
    """Conventions; a question asks for one of them, by name or by what somebody observed."""

    conflict = True

    def __init__(self, data: Sequence[Mapping[str, Any]], setting: Setting) -> None:
        self._spec, self._world = setting.spec, setting.world
        self._facts = setting.draw.sample(data, min(max(3, setting.spec.tasks), len(data)))
        self._answers = [setting.draw.pick(fact["answers"]) for fact in self._facts]
        self._places = [setting.names.word() for _ in self._facts]

    def sections(self) -> list[Section]:
        """What is agreed, and where it is needed a section on where each agreement has its name from."""
        stated = tuple(f"{self._state(index)} {fact['remark']}" for index, fact in enumerate(self._facts))
        named = tuple(self._name(index) for index in range(len(self._facts)))
        lead = f"Each rule of {self._world} is known by the works where it was first agreed."
        sections = [Section(f"Conventions of {self._world}", stated)]
        return [*sections, Section("Origin of the conventions", (lead, *named))] if self._spec.hops > 1 else sections

    def ask(self, draw: Draw) -> Question:
        """What is agreed; with more hops the convention is named by the works that it comes from."""
        index = draw.integer(0, len(self._facts) - 1)
        fact, by_name = self._facts[index], self._spec.hops > 1
        lead = f"The {self._places[index]} rule speaks of {fact['topic']}. According to it: " if by_name else ""
        return Question(
            lead + fact["ask"].format(w=self._world),
            self._answers[index],
            (self._state(index), self._name(index)) if by_name else (self._state(index),),
            kind=fact["kind"],
            prior=fact["prior"],
            entities=tuple(
                answer
                for other, answer in zip(self._facts, self._answers, strict=True)
                if other["kind"] == fact["kind"] and other is not fact
            ),
            hops=2 if by_name else 1,
        )

    def _state(self, index: int) -> str:
        return self._facts[index]["statement"].format(w=self._world, a=self._answers[index])

    def _name(self, index: int) -> str:
        return f"The rule on {self._facts[index]['topic']} is called the {self._places[index]} rule."
