"""A part of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dftt.analysis.statistics import Interval
from dftt.report.figure import Figure
from dftt.report.markup import Child, Markup, join, tag
from dftt.tables import number, value_range


@dataclass(frozen=True)
class Section:
    """A titled part with its figures.

    Args:
        id: What links point to.
        title: Its heading.
        body: Its content.
        figures: The figures in it, to be saved beside the report.
    """

    id: str
    title: str
    body: Markup
    figures: Sequence[Figure] = ()

    def element(self) -> Markup:
        """The section in the page."""
        return tag("section", tag("h2", self.title), self.body, id=self.id)


def note(*text: Child) -> Markup:
    """A remark in small print."""
    return tag("p", *text, class_="note")


def shown(figures: Sequence[Figure]) -> Markup:
    """The figures one below the other."""
    return join([figure.element() for figure in figures])


def shown_interval(interval: Interval, sign: str = "") -> str:
    """An estimate with its interval, as all tables of the page show it."""
    return value_range(number(interval.estimate), number(interval.low), number(interval.high), sign)
