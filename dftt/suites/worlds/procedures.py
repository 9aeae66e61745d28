"""Procedures: invented ones with durations, and everyday ones whose order differs in this world."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.suites.worlds.draw import Draw, Names
from dftt.suites.worlds.part import Part, Question, Section, value

_WHERE = {2: "right after", 3: "two places after"}  # facts joined: the step itself, and each step on the way


class Procedures(Part):
    """Invented procedures, two or more; no two steps of a document are alike."""

    def draw_facts(self, draw: Draw, names: Names) -> None:
        """Draw procedures and how long each step takes."""
        count, length = 2 + self.spec.distractors // 5, self.data["steps"]
        # Different things in all steps: two steps on one thing would both fit a loose answer.
        things = draw.sample(self.data["things"], count * length)
        steps = [f"{draw.pick(self.data['verbs'])} the {thing}" for thing in things]
        minutes = draw.distinct_integers(count * length, 3, 3 + 2 * count * length)
        self.titles = [self.data["title"].format(e=names.word()) for _ in range(count)]
        self.steps = [steps[start : start + length] for start in range(0, count * length, length)]
        self.minutes = [minutes[start : start + length] for start in range(0, count * length, length)]
        self.lists = [
            "\n".join(
                f"Step {number}: {step}, which takes {time} minutes."
                for number, (step, time) in enumerate(zip(steps, minutes, strict=True), 1)
            )
            for steps, minutes in zip(self.steps, self.minutes, strict=True)
        ]

    def sections(self) -> list[Section]:
        """One section for each procedure."""
        return [
            Section(title, (self.data["lead"].format(t=title), listed))
            for title, listed in zip(self.titles, self.lists, strict=True)
        ]

    def ask(self, draw: Draw) -> Question:
        """A step, by its number or by one before it, or the time that steps take."""
        index = draw.integer(0, len(self.steps) - 1)
        return self._ask_time(index, draw) if draw.integer(0, 1) else self._ask_step(index, draw)

    def _ask_step(self, index: int, draw: Draw) -> Question:
        steps, hops = self.steps[index], self.spec.hops
        position = draw.integer(hops - 1, len(steps) - 1)
        if hops == 1:
            text = f"What is step {position + 1} of {self.titles[index]!r}?"
        else:
            text = f"In {self.titles[index]!r}, which step comes {_WHERE[hops]} {steps[position - hops + 1]!r}?"
        return Question(
            text,
            steps[position],
            (self.lists[index],),
            kind="step",
            entities=tuple(
                step for procedure in self.steps for step in procedure if step != steps[position] and step not in text
            ),
            hops=hops,
        )

    def _ask_time(self, index: int, draw: Draw) -> Question:
        steps, minutes, hops, sums = self.steps[index], self.minutes[index], self.spec.hops, self.spec.sums
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
            (self.lists[index],),
            unit="minutes",
            working=" + ".join(chosen) if sums else "",
            entities=tuple(str(number) for number in minutes if str(number) not in chosen),
            hops=min(hops, 2),
            sums=sums,
        )


class Customs(Part):
    """Everyday procedures in an order that nobody else keeps, with two questions or more on each."""

    conflict = True

    def draw_facts(self, draw: Draw, names: Names) -> None:  # noqa: ARG002
        """Draw the procedures and their order here."""
        self.customs = draw.sample(self.data, max(2, (self.spec.tasks + 1) // 2))
        self.orders = [_reordered(custom["steps"], draw) for custom in self.customs]
        self.lists = [
            "\n".join(f"Step {number}: {step}." for number, step in enumerate(order, 1)) for order in self.orders
        ]

    def sections(self) -> list[Section]:
        """One section for each of them."""
        lead = f"On {self.world}, {{}} follows an order of its own, which visitors are to keep."
        return [
            Section(custom["heading"], (lead.format(custom["activity"]), listed))
            for custom, listed in zip(self.customs, self.lists, strict=True)
        ]

    def ask(self, draw: Draw) -> Question:
        """A step, by its number or by one before it, that is another one everywhere else."""
        index = draw.integer(0, len(self.customs) - 1)
        usual, order, hops = self.customs[index]["steps"], self.orders[index], self.spec.hops
        if hops == 1:
            position = draw.integer(0, len(order) - 1)
            prior, text = usual[position], f"What is step {position + 1} of"
        else:
            # A step that nothing follows so far on in the usual order has no prior.
            gap = hops - 1
            start = draw.pick([i for i in range(len(order) - gap) if usual.index(order[i]) + gap < len(usual)])
            position, prior = start + gap, usual[usual.index(order[start]) + gap]
            text = f"Which step comes {_WHERE[hops]} {order[start]!r} in"
        text = f"{text} {self.customs[index]['activity']} on {self.world}?"
        gold = order[position]
        others = tuple(step for step in order if step not in (gold, prior) and step not in text)
        return Question(text, gold, (self.lists[index],), kind="step", prior=prior, entities=others, hops=hops)


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
