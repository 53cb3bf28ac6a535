"""Numbers and dates as the readers of a page write them, and where the marks of a chart stand. Pure.

A chart is told in hundredths of the space that it gets, so that a page may make it as wide as its reader's screen. The
page draws it itself from these few numbers: libraries that write SVG bring scripts, styles of their own or copyleft
terms, and none of them draws how uncertain a line is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, NamedTuple

import pendulum

from lib.fields import Language
from lib.zones import to_local, zone

_DAY: Mapping[Language, str] = {"en": "D MMM YYYY", "de": "D. MMM YYYY", "es": "D MMM YYYY"}
_DECIMAL: Mapping[Language, str] = {"en": ".", "de": ",", "es": ","}
_BEFORE_PERCENT: Mapping[Language, str] = {"en": "", "de": "\u00a0", "es": "\u00a0"}
_MINUS, _SMALL = "\u2212", 9.95

_MOST_TICKS = 4
_LEFT, _WIDTH, _TOP, _HEIGHT = 11.0, 87.0, 4.0, 84.0
"""The space for marks within the whole picture; beside and below it is that of the words."""
_INSET, _NEAR = 3.0, 8.0
"""So far from either side of their space the first and the last mark stand; and what is so near to it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How to write figures in a language, on the clocks of a timezone."""

    language: Language
    timezone: str

    def number(self, value: float, decimals: int = 1) -> str:
        """With so many decimals at most: ``17``, ``12.5``, ``12,5``."""
        text = f"{abs(value):.{decimals}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        sign = _MINUS if value < 0 and float(text) else ""
        return sign + text.replace(".", _DECIMAL[self.language])

    def percent(self, percent: float) -> str:
        """Whole per cent. What is not all of it is never written as 100, nor what is something as 0."""
        whole = round(percent)
        if 0 < percent < 100:  # noqa: PLR2004  # the ends of the scale
            whole = min(max(whole, 1), 99)
        return f"{whole}{_BEFORE_PERCENT[self.language]}%"

    def share(self, rate: float) -> str:
        """A rate between 0 and 1 in per cent."""
        return self.percent(rate * 100)

    def change(self, points: float) -> str:
        """With its sign, as exactly as it makes sense: ``+4.2``, or ``-13`` with a true minus."""
        text = self.number(points, 1 if abs(points) < _SMALL else 0)
        return text if text == "0" or text.startswith(_MINUS) else f"+{text}"

    def size(self, points: float) -> str:
        """The same without its sign."""
        return self.change(points).lstrip(f"+{_MINUS}")

    def day(self, instant: datetime) -> str:
        """The date of an instant on the reader's clocks."""
        return self.on(to_local(instant, zone(self.timezone)).date())

    def on(self, day: date) -> str:
        """``2 Mar 2026``."""
        return pendulum.date(day.year, day.month, day.day).format(_DAY[self.language], locale=self.language)

    def month(self, day: date, *, with_year: bool) -> str:
        """``Mar 2026``, or ``Mar``."""
        form = "MMM YYYY" if with_year else "MMM"
        return pendulum.date(day.year, day.month, day.day).format(form, locale=self.language)


class Reading(NamedTuple):
    """Something measured, or to be drawn, at a time: in hundredths."""

    at: datetime
    percent: float


class Range(NamedTuple):
    """A point of a line, and between what it lies."""

    at: datetime
    percent: float
    low: float
    high: float


class Dot(NamedTuple):
    """Where a mark stands in the whole picture, in its hundredths from the left and from above."""

    x: float
    y: float


class Tick(NamedTuple):
    """A word beside an axis, where it stands, and which part of it stands there: its start, middle or end."""

    place: float
    text: str
    anchor: Literal["start", "middle", "end"] = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """Marks over time from 0 to 100, with a line through them and the space in which it may lie."""

    dots: Sequence[Dot]
    line: str
    """The points of the line and of its space within the space for marks, as SVG writes them."""
    space: str
    across: Sequence[Tick]
    upwards: Sequence[Tick]


def chart(marks: Sequence[Reading], line: Sequence[Range], figures: Figures) -> Chart:
    """The chart of some marks, earliest first. At least one."""
    first, last = marks[0].at, marks[-1].at
    length = (last - first).total_seconds()

    def across(at: datetime) -> float:
        share = (at - first).total_seconds() / length if length else 0.5
        return _INSET + share * (100 - 2 * _INSET)

    upper = [(across(each.at), 100 - each.high) for each in line]
    lower = [(across(each.at), 100 - each.low) for each in reversed(line)]
    return Chart(
        dots=[Dot(_in_width(across(each.at)), _in_height(each.percent)) for each in marks],
        line=_points((across(each.at), 100 - each.percent) for each in line),
        space=_points((*upper, *lower)),
        across=[_tick(across(at), text) for at, text in _words(first, last, figures)],
        upwards=[Tick(_in_height(each), str(each)) for each in (0, 25, 50, 75, 100)],
    )


def _tick(place: float, text: str) -> Tick:
    """Near a side the word stands to the inside of its place."""
    anchor = "start" if place < _NEAR else "end" if place > 100 - _NEAR else "middle"
    return Tick(_in_width(place), text, anchor)


def _in_width(place: float) -> float:
    return round(_LEFT + place * _WIDTH / 100, 2)


def _in_height(percent: float) -> float:
    return round(_TOP + (100 - min(max(percent, 0), 100)) * _HEIGHT / 100, 2)


def _points(places: Iterator[tuple[float, float]] | Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in places)


def _words(first: datetime, last: datetime, figures: Figures) -> list[tuple[datetime, str]]:
    """The beginnings of months, as many as find room; where there are not two of them, both ends themselves."""
    months = list(_months(first, last, figures))
    if len(months) > 1:
        step = -(-len(months) // _MOST_TICKS)
        named = months[::step]
        years = [at.year for at in named]
        return [
            (at, figures.month(at.date(), with_year=before != at.year))
            for at, before in zip(named, (None, *years), strict=False)
        ]
    return [(at, figures.day(at)) for at in ((first, last) if first < last else (first,))]


def _months(first: datetime, last: datetime, figures: Figures) -> Iterator[datetime]:
    """Midnights that begin a month between two instants, on the reader's clocks."""
    local = to_local(first, zone(figures.timezone))
    year, month = local.year, local.month
    while True:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)  # noqa: PLR2004  # months of a year
        begins = datetime(year, month, 1, tzinfo=zone(figures.timezone))
        if begins > last:
            return
        yield begins
