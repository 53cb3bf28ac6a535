"""A person's lessons as a calendar (RFC 5545) that other programs subscribe to by a secret address.

The same lesson is always the same event: its uid never changes, its sequence grows with every change, and a
cancelled one stays and says so. Nothing in it but what a calendar needs: no notes, no addresses, no phones.

Sources: RFC 5545; RFC 7986 §5.7 for REFRESH-INTERVAL.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import pendulum
from icalendar import Calendar, Component, Event, Timezone, TimezoneDaylight, TimezoneStandard, vDuration, vText
from pydantic import Field, computed_field

from lib.answers import Answer, SessionStatus, Utc, viewer_timezone
from lib.database import Database
from lib.errors import NotFound
from lib.zones import to_local, zone

EventStatus = Literal["CONFIRMED", "TENTATIVE", "CANCELLED"]

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_STATUS: Mapping[SessionStatus, EventStatus] = {"rescheduled": "TENTATIVE", "cancelled": "CANCELLED"}
"""Of a parked session the time is given up and no other set. Every other status is a lesson that stands."""
_REFRESH = timedelta(hours=1)
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


class CalendarToken(Answer):
    """The secret address of one's calendar."""

    token: str | None = Field(
        default=None,
        description="Shown here alone: null when the request is repeated. Whoever has it reads your lessons.",
    )

    @computed_field(description="Where the calendar is, on this host.", examples=["/api/calendar/….ics"])
    @property
    def path(self) -> str | None:
        """The address, from the host on."""
        return self.token and f"/api/calendar/{self.token}.ics"


class Lesson(Answer):
    """A session as a calendar shows it to one side."""

    id: UUID
    version: int
    status: SessionStatus
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    subject: str
    other_name: str
    meet_link: str | None
    updated_at: Utc


class Feed(Answer):
    """Somebody's lessons that start in [from, to), and their clocks."""

    display_name: str
    timezone: str
    from_: Utc = Field(alias="from")
    to: Utc
    sessions: list[Lesson]


class Change(NamedTuple):
    """An instant at which the clocks of a zone change."""

    utc: datetime
    before: timedelta


async def rotate_calendar_token(database: Database) -> CalendarToken:
    """Another secret address for the caller's calendar."""
    return CalendarToken.model_validate(await database.write("rotate_calendar_token"))


async def read_calendar(database: Database, token: str) -> str:
    """The calendar behind a secret address, as text.

    Raises:
        NotFound: nobody's calendar has this token, or not any more.
    """
    if _TOKEN.fullmatch(token) is None:
        raise NotFound(detail="There is no such calendar.")
    return as_calendar(Feed.model_validate(await database.rpc("read_calendar_feed", {"p_token": token})))


def as_calendar(feed: Feed) -> str:
    """The feed in the words of RFC 5545, on the clocks of its owner. The same feed gives the same text."""
    viewer = zone(viewer_timezone({"viewer_timezone": feed.timezone}, None))
    calendar = Calendar()
    _put(
        calendar,
        {
            "prodid": "-//Lessonkeeper//Lessons//EN",
            "version": "2.0",
            "x-wr-calname": vText(f"Lessons of {feed.display_name}"),
            "refresh-interval": vDuration(_REFRESH, {"VALUE": "DURATION"}),
        },
    )
    # A lesson that starts in the last minute ends a day later at most.
    calendar.add_component(_zone_component(viewer, feed.from_, feed.to + _DAY))
    for lesson in feed.sessions:
        calendar.add_component(_event(lesson, viewer))
    return calendar.to_ical().decode()


def _event(lesson: Lesson, viewer: pendulum.Timezone) -> Event:
    event = Event()
    _put(
        event,
        {
            "uid": f"{lesson.id}@lessonkeeper",
            "sequence": lesson.version,
            "dtstamp": lesson.updated_at,
            "last-modified": lesson.updated_at,
            "dtstart": _on_clocks(lesson.scheduled_start_utc, viewer),
            "dtend": _on_clocks(lesson.scheduled_end_utc, viewer),
            "summary": f"{lesson.subject} with {lesson.other_name}",
            "status": _STATUS.get(lesson.status, "CONFIRMED"),
        },
    )
    if lesson.meet_link is not None:
        _put(event, {"location": lesson.meet_link, "url": lesson.meet_link})
    return event


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
    at_first = Change(since, to_local(since, viewer).utcoffset() or timedelta())
    for change in (at_first, *_changes(viewer, since, until)):
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


def _changes(viewer: pendulum.Timezone, since: datetime, until: datetime) -> Iterator[Change]:
    """Every change between two instants; no zone has two within a day."""
    day = since
    while day < until:
        before = to_local(day, viewer).utcoffset() or timedelta()
        if to_local(day + _DAY, viewer).utcoffset() != before:
            yield Change(_change_within(viewer, day, before), before)
        day += _DAY


def _change_within(viewer: pendulum.Timezone, day: datetime, before: timedelta) -> datetime:
    """The first second of the 24 hours from ``day`` on at which ``before`` no longer holds."""
    still, no_longer = day, day + _DAY
    while no_longer - still > _SECOND:
        between = still + (no_longer - still) // _SECOND // 2 * _SECOND
        if to_local(between, viewer).utcoffset() == before:
            still = between
        else:
            no_longer = between
    return no_longer
