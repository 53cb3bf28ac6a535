"""Times as people read them, in their language and on their clocks. Pure.

A zone is called by the city that the IANA database names it after, as people do.
"""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import NamedTuple

import pendulum

from lib.fields import Language
from lib.zones import Change, changes, to_local, to_utc, zone

_DAY_FORMATS: Mapping[Language, str] = {
    "en": "dddd, D MMMM YYYY",
    "de": "dddd, D. MMMM YYYY",
    "es": "dddd, D [de] MMMM [de] YYYY",
}
_DATE_FORMATS: Mapping[Language, str] = {"en": "D MMMM", "de": "D. MMMM", "es": "D [de] MMMM"}
_HERE: Mapping[Language, str] = {
    "en": "{day}, {hours} ({zone})",
    "de": "{day}, {hours} Uhr ({zone})",
    "es": "{day}, {hours} h ({zone})",
}
_THERE: Mapping[Language, str] = {
    "en": "; that is {hours} in {zone}",
    "de": "; das ist {hours} Uhr in {zone}",
    "es": "; son las {hours} h en {zone}",
}
_THERE_ON_ANOTHER_DAY: Mapping[Language, str] = {
    "en": "; that is {day}, {hours} in {zone}",
    "de": "; das ist {day}, {hours} Uhr in {zone}",
    "es": "; en {zone} es el {day}, {hours} h",
}
_CLOCKS_CHANGE: Mapping[Language, str] = {
    "en": ". Please note the change of clocks {changes}",
    "de": ". Bitte beachten Sie die Zeitumstellung {changes}",
    "es": ". Tenga en cuenta el cambio de hora {changes}",
}
_ONE_CHANGE: Mapping[Language, str] = {
    "en": "in {zone} on {date}",
    "de": "in {zone} am {date}",
    "es": "en {zone} el {date}",
}
_AND: Mapping[Language, str] = {"en": " and ", "de": " und ", "es": " y "}
_WEEK = timedelta(days=7)


class Span(NamedTuple):
    """From one instant to another."""

    start: datetime
    end: datetime


def written(span: Span, language: Language, here: str, there: str) -> str:
    """A lesson's day and hours for its reader, to stand at the end of a line; without a full stop.

    Where the other side's clocks show another time, that stands beside it, and where one of the two zones changes its
    clocks around the lesson, a sentence says so: the hour may be another one than last week's.

    Args:
        span: when it is.
        language: of the reader.
        here: the reader's zone.
        there: the zone of whoever is on the other side.
    """
    return listed(span, language, here, there) + note_of_changes(span, language, here, there)


def listed(span: Span, language: Language, here: str, there: str) -> str:
    """The same for one of several lines, without the sentence about changes of clocks."""
    text = _HERE[language].format(day=day(span.start, language, here), hours=hours(span, here), zone=place(here))
    return text + (_there(span, language, here, there) if _differs(span, here, there) else "")


def note_of_changes(span: Span, language: Language, here: str, there: str) -> str:
    """The sentence about changes of clocks between a week before a span and the end of the week it ends in, if any.

    Zones that change at the same instant by the same step are one change to people, and called by the reader's.
    """
    found = {change: name for name in (there, here) for change in _changes_around(span, name)}
    told = [
        _ONE_CHANGE[language].format(zone=place(name), date=_date(change, language, name))
        for change, name in sorted(found.items())
    ]
    return _CLOCKS_CHANGE[language].format(changes=_AND[language].join(told)) if told else ""


def day(instant: datetime, language: Language, zone_name: str) -> str:
    """The date with its weekday."""
    return _on_clocks(instant, zone_name).format(_DAY_FORMATS[language], locale=language)


def hours(span: Span, zone_name: str) -> str:
    """The wall times of start and end."""
    start, end = (_on_clocks(instant, zone_name).format("HH:mm") for instant in span)
    return f"{start}\N{EN DASH}{end}"


def moment(instant: datetime, language: Language, zone_name: str) -> str:
    """A single instant with its day, such as the end of a delay."""
    at = _on_clocks(instant, zone_name).format("HH:mm")
    return _HERE[language].format(day=day(instant, language, zone_name), hours=at, zone=place(zone_name))


def place(zone_name: str) -> str:
    """The city of a zone, such as New York."""
    return zone_name.rpartition("/")[2].replace("_", " ")


def _there(span: Span, language: Language, here: str, there: str) -> str:
    days = {day(span.start, language, name) for name in (here, there)}
    form = (_THERE if len(days) == 1 else _THERE_ON_ANOTHER_DAY)[language]
    return form.format(day=day(span.start, language, there), hours=hours(span, there), zone=place(there))


def _differs(span: Span, here: str, there: str) -> bool:
    return any(_on_clocks(instant, here).naive() != _on_clocks(instant, there).naive() for instant in span)


def _changes_around(span: Span, zone_name: str) -> list[Change]:
    """From a week before a span to the end of the week it ends in, on the clocks of that zone."""
    last = to_local(span.end, zone(zone_name))
    next_monday = last.date() + timedelta(days=7 - last.weekday())
    return list(changes(zone(zone_name), span.start - _WEEK, to_utc(next_monday, time(), zone(zone_name)).utc))


def _date(change: Change, language: Language, zone_name: str) -> str:
    return _on_clocks(change.utc, zone_name).format(_DATE_FORMATS[language], locale=language)


def _on_clocks(instant: datetime, zone_name: str) -> pendulum.DateTime:
    return pendulum.instance(to_local(instant, zone(zone_name)))
