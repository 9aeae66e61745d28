"""Rules with a limit and an exception, applied to a case: it is allowed, or it is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question


class Limits:
    """A limit for each of `distractors + 1` classes, which a pass raises; the question offers both verdicts."""

    conflict = False

    def __init__(self, data: Mapping[str, Any], setting: Setting) -> None:
        count = setting.spec.distractors + 1
        self._data, self._spec = data, setting.spec
        self._classes = setting.names.words(count)
        self._limits = setting.draw.distinct_integers(count, data["low"], data["high"])
        self._pass, self._raise = setting.names.word(), setting.draw.integer(5, 12)

    def sections(self) -> list[Section]:
        """The limits, and in another section the exception."""
        rules = tuple(self._rule(index) for index in range(len(self._classes)))
        return [
            Section(self._data["heading"], (self._data["lead"], *rules)),
            Section(self._data["exception_heading"], (f"{self._exception()} {self._data['exception_remark']}",)),
        ]

    def ask(self, draw: Draw) -> Question:
        """Whether a case keeps the rule; with more difficulty the exception may apply and the load comes in stacks."""
        index = draw.integer(0, len(self._classes) - 1)
        has_pass = self._spec.difficulty > 1 and draw.integer(0, 1) == 1
        stacks = draw.integer(3, 5) if self._spec.sums > 1 else 1
        limit = self._limits[index] + (self._raise if has_pass else 0)
        excess = draw.integer(1, 4)
        allowed = draw.integer(0, 1) == 1
        # Whole stacks: the nearest load on the side that the verdict is to lie on.
        each = (limit - excess + 1) // stacks if allowed else -(-(limit + excess) // stacks)
        load = str(each) if stacks == 1 else f"{stacks} {self._data['stacks']} of {each}"
        text = self._data["ask"].format(e=self._classes[index], m=load)
        if has_pass:
            text = f"{text} {self._data['with_pass'].format(p=self._pass)}"
        options = (self._data["yes"], self._data["no"])
        return Question(
            f"{text} {self._data['verdict']}",
            options[0] if allowed else options[1],
            (self._rule(index), self._exception()) if has_pass else (self._rule(index),),
            kind="verdict",
            options=options,
            hops=2 if has_pass else 1,
            sums=has_pass + (stacks > 1),
        )

    def _rule(self, index: int) -> str:
        return self._data["sentence"].format(e=self._classes[index], n=self._limits[index])

    def _exception(self) -> str:
        return self._data["exception"].format(p=self._pass, b=self._raise)
