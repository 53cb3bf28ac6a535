"""From a tutor's weekly hours to the times that can be booked. Pure: all it knows, the time included, is handed to it.

The database gives the inputs (RPC ``slot_inputs``). From the beginning of each of the tutor's hours slots follow
one another, each as long as the listing. A slot lies within the hours as a whole; it may run on into others that
begin where these end, be it at midnight. The hours are wall time in a zone of their own: an end of them that does
not exist moves forward by the length of the gap, one that comes twice means the first, as everywhere
(``zones.to_utc``), and in between time elapses. So a night on which the clocks change has more slots or fewer, and
none of another length.

Every range is half-open. Every instant is in UTC.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, NamedTuple, Self
from uuid import UUID

import pendulum
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lib.recurrence import Absence, Facts, Holiday, Instant, Person, Timeline, Weekday
from lib.zones import Timezone, to_local, to_utc, zone

LONGEST_WINDOW = timedelta(days=62)
"""Whatever is asked for, no slot that starts later than this is looked for, which bounds time and answer."""

MIDNIGHT = "24:00"
"""The end of a day, as the end of hours."""

_ONE_DAY = timedelta(days=1)
_AROUND = timedelta(days=2)
"""A gap may move hours by up to a day, and a slot may run on into those of the next."""


class WeeklyHours(BaseModel):
    """When a tutor takes bookings, on one weekday of every week, on the clocks of the tutor's hours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weekday: Annotated[Weekday, Field(description="ISO weekday, Monday = 1.", examples=[2])]
    starts_at: Annotated[
        str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="Wall time.", examples=["16:30"])
    ]
    ends_at: Annotated[
        str,
        Field(
            pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
            description="Wall time, not included; `24:00` is the end of the day.",
            examples=["20:00"],
        ),
    ]

    @model_validator(mode="after")
    def _begin_before_they_end(self) -> Self:
        if self.starts_at >= self.ends_at:
            raise ValueError("ends_at must be later than starts_at; hours past midnight are two rows")
        return self

    def span(self, day: date, timezone: pendulum.Timezone) -> tuple[datetime, datetime]:
        """Their two ends on that date as instants. A gap may swallow them: then they end no later than they begin."""
        end = (day + _ONE_DAY, time.min) if self.ends_at == MIDNIGHT else (day, time.fromisoformat(self.ends_at))
        return to_utc(day, time.fromisoformat(self.starts_at), timezone).utc, to_utc(*end, timezone).utc


class BusyTime(Facts):
    """When the tutor or the student has a lesson, or the tutor's Google calendar something else."""

    start: Instant
    end: Instant


class SlotInputs(Facts):
    """All that a listing's slots depend on, read in one trip, and the fingerprint that lets a request check it."""

    listing_id: UUID
    duration_mins: Annotated[int, Field(ge=15)]
    tutor: Person
    timezone: Timezone
    hours: tuple[WeeklyHours, ...]
    holidays: tuple[Holiday, ...]
    time_off: tuple[Absence, ...]
    busy: tuple[BusyTime, ...]
    now: Instant
    fingerprint: str

    @property
    def length(self) -> timedelta:
        """Elapsed time from start to end of a slot, whatever the clocks do in between."""
        return timedelta(minutes=self.duration_mins)


class Slot(NamedTuple):
    """A time that could be booked."""

    start: datetime
    end: datetime


def free_slots(inputs: SlotInputs, first: datetime, last: datetime) -> list[Slot]:
    """The slots that start in [first, last), later than now, with tutor and student free; earliest first.

    Never raises on parsed inputs and instants of the years that ``fields`` lets in.
    """
    busy = Timeline((each.start, each.end, each) for each in inputs.busy)
    offered = _offered(inputs, first, min(last, first + LONGEST_WINDOW))
    return [slot for slot in offered if slot.start > inputs.now and not busy.overlapping(*slot)]


def is_offered(inputs: SlotInputs, start: datetime) -> bool:
    """Whether a slot begins at ``start``. Whether it has passed or is taken is for the database to say."""
    return bool(_offered(inputs, start, start + timedelta.resolution))


def _offered(inputs: SlotInputs, first: datetime, last: datetime) -> list[Slot]:
    """The slots that start in [first, last), whoever is busy then; each once, although a gap may put two in one."""
    away = Timeline((*each.span(inputs.tutor.timezone), each) for each in inputs.time_off)
    slots = {
        slot
        for opening in _joined(_spans(inputs, first, last))
        for slot in _within(opening, inputs.length)
        if first <= slot.start < last and not away.overlapping(*slot)
    }
    return sorted(slots)


_Span = tuple[datetime, datetime]


def _spans(inputs: SlotInputs, first: datetime, last: datetime) -> list[_Span]:
    """The hours of all dates that could have, or lengthen, a slot that starts in [first, last)."""
    timezone = zone(inputs.timezone)
    holidays = {holiday.date for holiday in inputs.holidays}
    first_day = to_local(first, timezone).date() - _AROUND
    last_day = to_local(last, timezone).date() + _AROUND
    return [
        hours.span(day, timezone)
        for day in map(date.fromordinal, range(first_day.toordinal(), last_day.toordinal() + 1))
        for hours in inputs.hours
        if day.isoweekday() == hours.weekday and day not in holidays
    ]


def _joined(spans: Iterable[_Span]) -> list[list[_Span]]:
    """The hours, together with those that follow without a break. What a gap has swallowed is left out."""
    joined: list[list[_Span]] = []
    open_until = datetime.min.replace(tzinfo=UTC)
    for opens, closes in sorted(spans):
        if opens >= closes:
            continue
        if opens > open_until:
            joined.append([])
        joined[-1].append((opens, closes))
        open_until = max(open_until, closes)
    return joined


def _within(opening: list[_Span], length: timedelta) -> Iterator[Slot]:
    """The slots that begin in each of these hours, one behind the other, and end before the last of them does."""
    open_until = max(closes for _, closes in opening)
    for opens, closes in opening:
        start = opens
        while start < closes and start + length <= open_until:
            yield Slot(start, start + length)
            start += length
