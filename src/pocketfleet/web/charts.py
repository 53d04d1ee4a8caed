"""Charts as what a template needs to draw them in SVG: bars and a line, their axes, and the numbers in words.

Places are percent of the drawing's width, so a chart fits any column while its text keeps its size; heights are pixels.
Colours are classes (charts.css): the page has no inline style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

#: Pixels from the top line to the base line, and in all, with the words below.
HEIGHT = 132
WHOLE_HEIGHT = HEIGHT + 28
#: Pixels that something small is shown with all the same.
LEAST = 2.0
#: Of its place, how much a bar takes.
_SHARE = 0.72
_STEPS = (1, 2, 2.5, 5, 10)
#: Parts that an axis is divided into.
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis and its words: `at` in percent or pixels."""

    at: str
    text: str
    #: SVG's `text-anchor`
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: the whole and, within it at the bottom, the part that went wrong."""

    #: of its place, for the pointer
    left: str
    width: str
    #: of the bar itself
    x: str
    bar_width: str
    top: str
    height: str
    bad_top: str
    bad_height: str
    #: what the pointer is told
    words: str

    @property
    def is_there(self) -> bool:
        """Whether there is anything to draw."""
        return self.height != "0"

    @property
    def is_bad(self) -> bool:
        """Whether anything went wrong."""
        return self.bad_height != "0"


@dataclass(frozen=True, slots=True)
class Chart:
    """What both kinds have: `name` is unique on the page, `lines` and `labels` are the axes."""

    name: str
    title: str
    #: for those who do not see it
    description: str
    lines: tuple[Tick, ...]
    labels: tuple[Tick, ...]
    bars: tuple[Bar, ...] = ()
    #: SVG path data in a square of 100 x 100 that is stretched; "" for none
    line: str = ""
    area: str = ""
    #: where the line ends, in percent and pixels
    end: Tick | None = None
    #: what is said instead where there is nothing to show, and when there will be
    empty: str = ""
    hint: str = ""
    height: int = HEIGHT
    whole_height: int = WHOLE_HEIGHT
    words_at: int = HEIGHT + 20

    @property
    def has_bad(self) -> bool:
        """Whether anything went wrong, so that the colour needs a word."""
        return any(bar.is_bad for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at its place, None where it is not known: `label` below it, "" for none; `words` for the pointer."""

    value: int | None
    bad: int = 0
    label: str = ""
    words: str = ""


def bar_chart(name: str, title: str, description: str, points: Sequence[Point], *, empty: str, hint: str = "") -> Chart:
    """Bars from left to right; `empty` and `hint` are said where all are 0."""
    largest = max((point.value or 0 for point in points), default=0)
    labels = _labels(points)
    if not largest:
        return Chart(name, title, description, (), labels, empty=empty, hint=hint)
    top, lines = _axis(largest, whole=True)
    bars = tuple(_bar(index, len(points), point, top) for index, point in enumerate(points))
    return Chart(name, title, description, lines, labels, bars)


def line_chart(
    name: str, title: str, description: str, points: Sequence[Point], *, empty: str, hint: str = ""
) -> Chart:
    """A line through the values that are known; `empty` and `hint` are said where none is."""
    known = [(index, point.value) for index, point in enumerate(points) if point.value is not None]
    labels = _labels(points)
    if not known:
        return Chart(name, title, description, (), labels, empty=empty, hint=hint)
    top, lines = _axis(max(value for _, value in known), whole=False)
    places = [(_middle(index, len(points)), 100 - 100 * value / top) for index, value in known]
    path = " L".join(f"{_number(x)} {_number(y)}" for x, y in places)
    last, height = places[-1]
    return Chart(
        name,
        title,
        description,
        lines,
        labels,
        line=f"M{path}" if len(places) > 1 else "",
        area=f"M{_number(places[0][0])} 100 L{path} L{_number(last)} 100 Z" if len(places) > 1 else "",
        end=Tick(f"{_number(last)}%", _number(height * HEIGHT / 100)),
    )


def count_words(count: float) -> str:
    """`12`, `1,234`, `12.3k`, `4.5M`: for figures and axes; tables have all digits."""
    if count < 10_000:
        return f"{count:,.0f}"
    for unit, factor in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if count < 999.5 * factor or unit == "G":
            return f"{_three_digits(count / factor)}{unit}"
    raise AssertionError(count)


def size_words(count: float) -> str:
    """`0`, `12 kB`, `3.4 MB`: decimal units, as disks are sold by."""
    if count < 999.5:
        return f"{count:.0f} B" if count else "0"
    for unit, factor in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)):
        if count < 999.5 * factor or unit == "TB":
            return f"{_three_digits(count / factor)} {unit}"
    raise AssertionError(count)


def _three_digits(number: float) -> str:
    decimals = 0 if number >= 99.95 else 1
    return f"{number:,.{decimals}f}".removesuffix(".0")


def _axis(largest: int, *, whole: bool) -> tuple[float, tuple[Tick, ...]]:
    """Where the scale ends, and its lines from the base up: at round numbers, whole ones for what is counted."""
    step = _step(max(largest, 1) / _PARTS, whole=whole)
    count = max(1, ceil(largest / step))
    top = step * count
    words = count_words if whole else size_words
    return top, tuple(
        Tick(_number(HEIGHT - HEIGHT * number / count), words(step * number)) for number in range(count + 1)
    )


def _step(at_least: float, *, whole: bool) -> float:
    unit = 10.0 ** floor(log10(at_least))
    step = next(unit * factor for factor in _STEPS if unit * factor >= at_least * (1 - 1e-9))
    return float(max(1, ceil(step))) if whole else step


def _bar(index: int, count: int, point: Point, top: float) -> Bar:
    width = 100 / count
    height = _pixels(point.value or 0, top)
    bad = min(_pixels(point.bad, top), height)
    return Bar(
        left=f"{_number(index * width)}%",
        width=f"{_number(width)}%",
        x=f"{_number((index + (1 - _SHARE) / 2) * width)}%",
        bar_width=f"{_number(_SHARE * width)}%",
        top=_number(HEIGHT - height),
        height=_number(height),
        bad_top=_number(HEIGHT - bad),
        bad_height=_number(bad),
        words=point.words,
    )


def _pixels(value: int, top: float) -> float:
    return max(LEAST, HEIGHT * min(value / top, 1.0)) if value else 0.0


def _labels(points: Sequence[Point]) -> tuple[Tick, ...]:
    """Those at the ends are kept within the drawing."""
    count = len(points)
    return tuple(
        Tick(f"{_number(_middle(index, count))}%", point.label, _anchor(index, count))
        for index, point in enumerate(points)
        if point.label
    )


def _anchor(index: int, count: int) -> str:
    if index < count / 24:
        return "start"
    return "end" if index >= count - count / 24 else "middle"


def _middle(index: int, count: int) -> float:
    return 100 * (index + 0.5) / count


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
