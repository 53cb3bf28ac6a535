"""Lessons as events of a calendar (RFC 5545): the feed that programs subscribe to, and invitations. Pure.

The same lesson is always the same event: its uid never changes, its sequence grows with every change, and a
cancelled one stays and says so. Nothing in it but what a calendar needs: no notes, no phones.

Sources: RFC 5545; RFC 7986 §5.7 for REFRESH-INTERVAL; RFC 5546 §3.2 for what an invitation must hold.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import pendulum
from icalendar import (
    Calendar,
    Component,
    Event,
    Timezone,
    TimezoneDaylight,
    TimezoneStandard,
    vCalAddress,
    vDuration,
    vText,
)

from lib.answers import SessionStatus
from lib.zones import Change, changes, offset, to_local

EventStatus = Literal["CONFIRMED", "TENTATIVE", "CANCELLED"]
Method = Literal["PUBLISH", "REQUEST", "CANCEL"]
"""What an e-mail asks of a calendar: to take several events in, one event, or to strike one out."""

_STATUS: Mapping[SessionStatus, EventStatus] = {"rescheduled": "TENTATIVE", "cancelled": "CANCELLED"}
"""Of a parked session the time is given up and no other set. Every other status is a lesson that stands."""
_REFRESH = timedelta(hours=1)
_DAY = timedelta(days=1)


class Lesson(NamedTuple):
    """A session as a calendar shows it to one reader."""

    id: UUID
    version: int
    status: SessionStatus
    start: datetime
    end: datetime
    summary: str
    place: str | None
    changed_at: datetime


def feed(title: str, lessons: Sequence[Lesson], viewer: pendulum.Timezone, since: datetime, until: datetime) -> str:
    """All lessons that start in [since, until), on the clocks of their reader. The same lessons give the same text."""
    calendar = _calendar({"x-wr-calname": vText(title), "refresh-interval": vDuration(_REFRESH, {"VALUE": "DURATION"})})
    # A lesson that starts in the last minute ends a day later at most.
    calendar.add_component(_zone_component(viewer, since, until + _DAY))
    for lesson in lessons:
        calendar.add_component(_event(lesson, viewer))
    return calendar.to_ical().decode()


def invitation(
    method: Method, lessons: Sequence[Lesson], viewer: pendulum.Timezone, organizer: str, attendee: str
) -> str:
    """What goes along with an e-mail from ``organizer`` to ``attendee``, both plain addresses.

    Args:
        method: REQUEST and CANCEL are about one lesson, PUBLISH may be about several (RFC 5546 §3.2).
        lessons: at least one.
        viewer: the reader's clocks.
        organizer: who answers for the event; calendars tell them who accepts.
        attendee: whose calendar it is. A list that is published names nobody.
    """
    calendar = _calendar({"method": method})
    starts = [lesson.start for lesson in lessons]
    calendar.add_component(_zone_component(viewer, min(starts), max(starts) + _DAY))
    for lesson in lessons:
        event = _event(lesson, viewer)
        _put(event, {"organizer": vCalAddress(f"mailto:{organizer}")})
        if method != "PUBLISH":
            _put(event, {"attendee": _attendee(attendee)})
        calendar.add_component(event)
    return calendar.to_ical().decode()


def _calendar(properties: Mapping[str, object]) -> Calendar:
    calendar = Calendar()
    _put(calendar, {"prodid": "-//Lessonkeeper//Lessons//EN", "version": "2.0", **properties})
    return calendar


def _event(lesson: Lesson, viewer: pendulum.Timezone) -> Event:
    event = Event()
    _put(
        event,
        {
            "uid": f"{lesson.id}@lessonkeeper",
            "sequence": lesson.version,
            "dtstamp": lesson.changed_at,
            "last-modified": lesson.changed_at,
            "dtstart": _on_clocks(lesson.start, viewer),
            "dtend": _on_clocks(lesson.end, viewer),
            "summary": lesson.summary,
            "status": _STATUS.get(lesson.status, "CONFIRMED"),
        },
    )
    if lesson.place is not None:
        _put(event, {"location": lesson.place, "url": lesson.place})
    return event


def _attendee(address: str) -> vCalAddress:
    attendee = vCalAddress(f"mailto:{address}")
    # Nobody is asked whether they come: whoever cannot says so in the house, not in a calendar.
    attendee.params["rsvp"] = "FALSE"
    return attendee


def _put(component: Component, properties: Mapping[str, object]) -> None:
    for name, value in properties.items():
        component.add(name, value)  # pyright: ignore[reportUnknownMemberType]  # it takes whatever it can write


def _on_clocks(instant: datetime, viewer: pendulum.Timezone) -> datetime:
    """The wall time; of one that comes twice the first alone has a name in RFC 5545, so the second stays UTC."""
    local = to_local(instant, viewer)
    return instant.astimezone(UTC) if local.fold else local


# --- the zone's own rules -----------------------------------------------------------------------------
# The library can make a VTIMEZONE too, but steps over a change that is taken back within two months, as in
# Casablanca, and gives the onset of summer time on the clocks that begin then instead of those that end.


def _zone_component(viewer: pendulum.Timezone, since: datetime, until: datetime) -> Timezone:
    """What the clocks of the zone do between two instants."""
    component = Timezone()
    _put(component, {"tzid": viewer.name})
    for change in (Change(since, offset(since, viewer)), *changes(viewer, since, until)):
        component.add_component(_observance(viewer, change))
    return component


def _observance(viewer: pendulum.Timezone, change: Change) -> TimezoneStandard | TimezoneDaylight:
    """What holds from a change on. Its start is read on the clocks of before."""
    local = to_local(change.utc, viewer)
    observance = TimezoneDaylight() if local.dst() else TimezoneStandard()
    _put(
        observance,
        {
            "dtstart": change.utc.replace(tzinfo=None) + change.before,
            "tzoffsetfrom": change.before,
            "tzoffsetto": local.utcoffset(),
            "tzname": local.tzname(),
        },
    )
    return observance
