"""Procedures: invented ones with durations, and everyday ones whose order differs in this world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dftt.suites.worlds.arithmetic import value
from dftt.suites.worlds.draw import Draw
from dftt.suites.worlds.part import Section, Setting
from dftt.suites.worlds.question import Question

_WHERE = {2: "right after", 3: "two places after"}  # facts joined: the step itself, and each step on the way


class Procedures:
    """Invented procedures, two or more; no two steps of a document are alike."""

    conflict = False

    def __init__(self, data: Mapping[str, Any], setting: Setting) -> None:
        draw, self._data, self._spec = setting.draw, data, setting.spec
        count, length = 2 + setting.spec.distractors // 5, data["steps"]
        pairs = [f"{verb} the {thing}" for verb in data["verbs"] for thing in data["things"]]
        # Different things in all steps: two steps on one thing would both fit a loose answer.
        steps = _unlike_steps(pairs, data["things"], count * length, draw)
        minutes = draw.distinct_integers(count * length, 3, 3 + 2 * count * length)
        self._titles = [data["title"].format(e=setting.names.word()) for _ in range(count)]
        self._steps = [steps[start : start + length] for start in range(0, count * length, length)]
        self._minutes = [minutes[start : start + length] for start in range(0, count * length, length)]

    def sections(self) -> list[Section]:
        """One section for each procedure."""
        return [
            Section(title, (self._data["lead"].format(t=title), self._list(index)))
            for index, title in enumerate(self._titles)
        ]

    def ask(self, draw: Draw) -> Question:
        """A step, by its number or by one before it, or the time that steps take."""
        index = draw.integer(0, len(self._steps) - 1)
        return self._ask_time(index, draw) if draw.integer(0, 1) else self._ask_step(index, draw)

    def _ask_step(self, index: int, draw: Draw) -> Question:
        steps, hops = self._steps[index], self._spec.hops
        position = draw.integer(hops - 1, len(steps) - 1)
        if hops == 1:
            text = f"What is step {position + 1} of {self._titles[index]!r}?"
        else:
            text = f"In {self._titles[index]!r}, which step comes {_WHERE[hops]} {steps[position - hops + 1]!r}?"
        return Question(
            text,
            steps[position],
            (self._list(index),),
            kind="step",
            entities=tuple(
                step for procedure in self._steps for step in procedure if step != steps[position] and step not in text
            ),
            hops=hops,
        )

    def _ask_time(self, index: int, draw: Draw) -> Question:
        steps, minutes, hops, sums = self._steps[index], self._minutes[index], self._spec.hops, self._spec.sums
        start = draw.integer(0, len(steps) - max(2, sums + 1))
        first = start
        if hops > 1:
            start = min(start, len(steps) - sums - 2)
            first = start + 1
        chosen = [str(number) for number in minutes[first : first + sums + 1]]
        task = steps[start] if hops == 1 else f"do the step that comes right after {steps[start]!r}"
        after = ["", " and to do the step after it", *(f" and to do the {more} steps after it" for more in (2, 3))]
        return Question(
            f"How many minutes does it take to {task}{after[sums]}?",
            str(value(" + ".join(chosen))),
            (self._list(index),),
            unit="minutes",
            working=" + ".join(chosen) if sums else "",
            entities=tuple(str(number) for number in minutes if str(number) not in chosen),
            hops=min(hops, 2),
            sums=sums,
        )

    def _list(self, index: int) -> str:
        """The numbered steps with their durations."""
        pairs = zip(self._steps[index], self._minutes[index], strict=True)
        lines = [f"Step {number}: {step}, which takes {time} minutes." for number, (step, time) in enumerate(pairs, 1)]
        return "\n".join(lines)


class Customs:
    """Everyday procedures in an order that nobody else keeps, with two questions or more on each."""

    conflict = True

    def __init__(self, data: Sequence[Mapping[str, Any]], setting: Setting) -> None:
        self._spec, self._world = setting.spec, setting.world
        self._customs = setting.draw.sample(data, max(2, (setting.spec.tasks + 1) // 2))
        self._orders = [_reordered(custom["steps"], setting.draw) for custom in self._customs]

    def sections(self) -> list[Section]:
        """One section for each of them."""
        return [
            Section(
                custom["heading"],
                (
                    f"On {self._world}, {custom['activity']} follows an order of its own, which visitors are to keep.",
                    self._list(index),
                ),
            )
            for index, custom in enumerate(self._customs)
        ]

    def ask(self, draw: Draw) -> Question:
        """A step, by its number or by one before it, that is another one everywhere else."""
        index = draw.integer(0, len(self._customs) - 1)
        usual, order, hops = self._customs[index]["steps"], self._orders[index], self._spec.hops
        if hops == 1:
            position = draw.integer(0, len(order) - 1)
            prior, text = usual[position], f"What is step {position + 1} of"
        else:
            # A step that nothing follows so far on in the usual order has no prior.
            gap = hops - 1
            start = draw.pick([i for i in range(len(order) - gap) if usual.index(order[i]) + gap < len(usual)])
            position, prior = start + gap, usual[usual.index(order[start]) + gap]
            text = f"Which step comes {_WHERE[hops]} {order[start]!r} in"
        text = f"{text} {self._customs[index]['activity']} on {self._world}?"
        gold = order[position]
        others = tuple(step for step in order if step not in (gold, prior) and step not in text)
        return Question(text, gold, (self._list(index),), kind="step", prior=prior, entities=others, hops=hops)

    def _list(self, index: int) -> str:
        return "\n".join(f"Step {number}: {step}." for number, step in enumerate(self._orders[index], 1))


def _unlike_steps(pairs: Sequence[str], things: Sequence[str], count: int, draw: Draw) -> list[str]:
    """`count` steps on different things."""
    chosen = draw.sample(things, count)
    return [draw.pick([pair for pair in pairs if pair.endswith(f" the {thing}")]) for thing in chosen]


def _reordered(steps: Sequence[str], draw: Draw) -> list[str]:
    """The steps in an order that keeps none in its place and lets none follow the one, or the next but one, it used to.

    Two steps or more have a usual one to come two places after them.
    """
    while True:
        order = draw.shuffled(steps)
        places = [steps.index(step) for step in order]
        moved = all(place != usual for place, usual in enumerate(places))
        parted = all(
            later - earlier != gap for gap in (1, 2) for earlier, later in zip(places, places[gap:], strict=False)
        )
        if moved and parted and sum(place + 2 < len(steps) for place in places[:-2]) > 1:
            return order
