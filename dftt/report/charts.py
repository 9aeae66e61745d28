"""Three kinds of charts: estimates with intervals, lines, and bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dftt.report.drawing import FONT_SIZE, LETTER, Box, Dot, Drawing, Label, Line, Path
from dftt.report.markup import visible
from dftt.report.palette import series

_WIDTH = 760.0
_ROW = 26.0
_LONGEST = 44  # letters of a label
_LONGEST_GROUP = 80
_ASIDE = 4.0  # between lines with whiskers, which else cover each other


@dataclass(frozen=True)
class Estimate:
    """A named number with its interval; None where there is none. Neighbours of one group stand under its name."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    series: int = 0
    group: str = ""


@dataclass(frozen=True)
class Point:
    """A point of a line, with its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


def intervals(estimates: Sequence[Estimate], *, axis: str, zero: float | None = None) -> Drawing:
    """One row per estimate: a dot, and a stroke over its 95 % interval.

    Args:
        estimates: From top to bottom.
        axis: What the numbers are.
        zero: Where a dashed line marks "no difference".
    """
    left = _label_room([estimate.label for estimate in estimates])
    begins = [
        each.group != before for each, before in zip(estimates, ["", *(e.group for e in estimates)], strict=False)
    ]
    drawing = Drawing(_WIDTH, _ROW * (len(estimates) + sum(begins)) + 62)
    shown = [x for each in estimates for x in (each.value, each.low, each.high) if x is not None]
    scale = _Scale([*shown, *([zero] if zero is not None else [])], left, _WIDTH - 20)
    bottom = drawing.height - 46
    _x_axis(drawing, scale, axis, top=6, bottom=bottom)
    if zero is not None:
        drawing.add(Line(scale(zero), 6, scale(zero), bottom, "muted", 1.5, dashed=True))
    row = 0
    for each, begins_group in zip(estimates, begins, strict=True):
        if begins_group:
            drawing.add(Label(0, 6 + _ROW * (row + 0.5) + 4, _label(each.group, _LONGEST_GROUP), colour="muted"))
        row += 1 + begins_group
        y = 6 + _ROW * (row - 0.5)
        drawing.add(Label(left - 10, y + 4, _label(each.label), "end"))
        if each.value is None:
            drawing.add(Label(left + 6, y + 4, "no number", colour="muted"))
            continue
        note = f"{visible(each.label)}: {each.value:.3f}"
        if each.low is not None and each.high is not None:
            note += f" [{each.low:.3f}, {each.high:.3f}]"
            drawing.add(Line(scale(each.low), y, scale(each.high), y, series(each.series), 3))
        drawing.add(Dot(scale(each.value), y, 5, series(each.series), note))
    return drawing


def lines(
    named: Mapping[str, Sequence[Point]], *, x_axis: str, y_axis: str, height: float = 300, from_zero: bool = False
) -> Drawing:
    """One line per name, with whiskers where points have intervals (beside each other then), and a legend below.

    Args:
        named: Points of each line, by rising x.
        x_axis: What x is.
        y_axis: What y is, written above.
        height: Of the area between the axes.
        from_zero: Let the y axis begin at 0.
    """
    points = [point for line in named.values() for point in line]
    whiskers = any(point.low is not None for point in points)
    top, left = 30.0, 62.0
    per_row = max(1, int((_WIDTH - left) // (_label_room(list(named)) + 34)))
    legend_rows = math.ceil(len(named) / per_row)
    drawing = Drawing(_WIDTH, top + height + 52 + legend_rows * 20)
    room = _ASIDE * (len(named) + 1) / 2 if whiskers else 0  # what is set aside stays within the axes
    across = _Scale([point.x for point in points], left + room, _WIDTH - 20 - room)
    heights = [y for point in points for y in (point.y, point.low, point.high) if y is not None]
    up = _Scale([*heights, *([0.0] if from_zero else [])], top + height, top)
    drawing.add(Label(left, 16, y_axis, colour="muted"))
    for tick in up.ticks:
        drawing.add(
            Line(left, up(tick), _WIDTH - 20, up(tick)), Label(left - 8, up(tick) + 4, f"{tick:g}", "end", "muted")
        )
    _x_axis(drawing, across, x_axis, top=top, bottom=top + height)
    for index, (name, line) in enumerate(named.items()):
        colour = series(index)
        # A second round of the same colours is told apart by dashes.
        dashed = index >= 8
        aside = _ASIDE * (index - (len(named) - 1) / 2) if whiskers else 0
        drawing.add(Path(tuple((across(point.x) + aside, up(point.y)) for point in line), colour, dashed=dashed))
        for point in line if len(line) <= 60 else ():
            if point.low is not None and point.high is not None:
                x = across(point.x) + aside
                drawing.add(Line(x, up(point.low), x, up(point.high), colour, 1.5))
            note = f"{visible(name)}: {point.x:g}, {point.y:.3f}"
            drawing.add(Dot(across(point.x) + aside, up(point.y), 3.5, colour, note))
        x = left + (index % per_row) * (_WIDTH - left) / per_row
        y = top + height + 56 + (index // per_row) * 20
        drawing.add(Line(x, y - 4, x + 22, y - 4, colour, 3, dashed), Label(x + 28, y, _label(name)))
    return drawing


def bars(parts: Mapping[str, Mapping[str, float]], *, axis: str) -> Drawing:
    """One stacked bar per name, and a legend of the parts below.

    Args:
        parts: Per bar its parts by name; a part has the same colour in every bar.
        axis: What lengths are.
    """
    names = list(dict.fromkeys(name for bar in parts.values() for name in bar))
    left = _label_room(list(parts))
    drawing = Drawing(_WIDTH, _ROW * len(parts) + 86)
    scale = _Scale([0.0, *(sum(bar.values()) for bar in parts.values())], left, _WIDTH - 20)
    bottom = drawing.height - 70
    _x_axis(drawing, scale, axis, top=6, bottom=bottom)
    for index, (label, bar) in enumerate(parts.items()):
        y, start = 6 + _ROW * index, 0.0
        drawing.add(Label(left - 10, y + _ROW / 2 + 4, _label(label), "end"))
        for name, value in bar.items():
            note = f"{visible(label)}, {name}: {value:.4g}"
            width = scale(start + value) - scale(start)
            drawing.add(Box(scale(start), y + 5, width, _ROW - 10, series(names.index(name)), note))
            start += value
    x = left
    for index, name in enumerate(names):
        drawing.add(Box(x, drawing.height - 18, 14, 12, series(index)), Label(x + 20, drawing.height - 8, name))
        x += 44 + LETTER * len(name)
    return drawing


class _Scale:
    """Maps values to pixels, with a few round ticks; ends are the outermost ticks."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if high - low < 1e-9 * max(1.0, abs(high)):
            low, high = low - 0.5, high + 0.5
        step = _round_step((high - low) / 5)
        start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        self.ticks = [round(number * step, 10) for number in range(start, end + 1)]
        self._low, self._span = self.ticks[0], self.ticks[-1] - self.ticks[0]
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        return self._first + (value - self._low) / self._span * (self._last - self._first)


def _round_step(rough: float) -> float:
    power = 10 ** math.floor(math.log10(rough))
    return next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough), 10 * power)


def _x_axis(drawing: Drawing, scale: _Scale, name: str, *, top: float, bottom: float) -> None:
    for tick in scale.ticks:
        drawing.add(Line(scale(tick), top, scale(tick), bottom))
        drawing.add(Label(scale(tick), bottom + 17, f"{tick:g}", "middle", "muted"))
    middle = (scale(scale.ticks[0]) + scale(scale.ticks[-1])) / 2
    drawing.add(Label(middle, bottom + 17 + FONT_SIZE + 4, name, "middle", "muted"))


def _label(text: str, longest: int = _LONGEST) -> str:
    text = visible(text[: longest + 1])
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _label_room(labels: Sequence[str]) -> float:
    return 24 + LETTER * max((len(_label(label)) for label in labels), default=0)
