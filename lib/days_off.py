"""Days without lessons: the platform's holidays, and the time off of single people.

Time off moves no session. What it hits is listed, so that an admin can decide about each.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from lib import recurrence
from lib.answers import Answer, Participant, Utc
from lib.database import Database
from lib.fields import Changes, Day, Instant, Name, Remark, Request

_WHOLE_DAYS = ("starts_on", "ends_on")
_RANGE = ("starts_at", "ends_at")
LONGEST_SPAN = timedelta(days=730)


class Holiday(Answer):
    """A date without lessons, in the timezone of each match's pattern."""

    id: UUID
    on_date: date
    name: str = Field(examples=["Eid al-Fitr"])


class TimeOff(Answer):
    """When a person neither teaches nor learns: whole days in their own timezone, or a range."""

    id: UUID
    person: Participant
    starts_on: date | None
    ends_on: date | None = Field(description="Included.")
    starts_at: Utc | None
    ends_at: Utc | None = Field(description="Not included.")
    note: str | None


class SessionHit(Answer):
    """A live session that falls on time off."""

    session_id: UUID
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    tutor: Participant
    student: Participant


class TimeOffResult(Answer):
    """Time off, and the live sessions it hits. None of them was moved."""

    time_off: TimeOff
    sessions_hit: list[SessionHit]


class HolidayCreation(Request):
    """A new holiday."""

    on_date: Day
    name: Name


class HolidayUpdate(Changes):
    """What an admin may change of a holiday."""

    on_date: Day | None = None
    name: Name | None = None


def _require_one_whole_span(given: Mapping[str, Any]) -> None:
    """Refuse all but exactly one of the two forms, whole and in its order."""
    days, instants = ([given[name] for name in names if given[name] is not None] for names in (_WHOLE_DAYS, _RANGE))
    if sorted((len(days), len(instants))) != [0, len(_RANGE)]:
        raise ValueError("must have either starts_on and ends_on, or starts_at and ends_at")
    if days and not timedelta(0) <= days[1] - days[0] <= LONGEST_SPAN:
        raise ValueError("ends_on must lie within the two years from starts_on")
    if instants and not timedelta(0) < instants[1] - instants[0] <= LONGEST_SPAN:
        raise ValueError("ends_at must lie within the two years after starts_at")


class TimeOffCreation(Request):
    """New time off: either whole days (`starts_on`, `ends_on`) or a range (`starts_at`, `ends_at`)."""

    user_id: UUID
    starts_on: Day | None = None
    ends_on: Day | None = Field(default=None, description="Included.")
    starts_at: Instant | None = None
    ends_at: Instant | None = Field(default=None, description="Not included.")
    note: Remark | None = None

    @model_validator(mode="after")
    def _has_a_span(self) -> Self:
        _require_one_whole_span(self.__dict__)
        return self


class TimeOffUpdate(Changes):
    """What may change of time off. A new span is given whole, in one of the two forms."""

    starts_on: Day | None = None
    ends_on: Day | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    note: Remark | None = None

    @model_validator(mode="after")
    def _has_a_whole_span_or_none(self) -> Self:
        if self.model_fields_set - {"note"}:
            _require_one_whole_span(self.__dict__)
        return self


async def create_holiday(database: Database, holiday: HolidayCreation) -> Holiday:
    """Enter a holiday; sessions that exist stay."""
    return Holiday.model_validate(await database.write("create_holiday", holiday.parameters()))


async def update_holiday(database: Database, holiday_id: UUID, changes: HolidayUpdate) -> Holiday:
    """Change a holiday."""
    parameters = changes.parameters(holiday_id=str(holiday_id))
    return Holiday.model_validate(await database.write("update_holiday", parameters))


async def delete_holiday(database: Database, holiday_id: UUID) -> Holiday:
    """Take a holiday back; gives what it was."""
    return Holiday.model_validate(await database.write("delete_holiday", {"p_holiday_id": str(holiday_id)}))


async def create_time_off(database: Database, time_off: TimeOffCreation) -> TimeOffResult:
    """Enter time off and list the sessions it hits."""
    return _with_sessions_hit(await database.write("create_time_off", time_off.parameters()))


async def update_time_off(database: Database, time_off_id: UUID, changes: TimeOffUpdate) -> TimeOffResult:
    """Change time off and list the sessions it hits now."""
    parameters = changes.parameters(time_off_id=str(time_off_id))
    return _with_sessions_hit(await database.write("update_time_off", parameters))


async def delete_time_off(database: Database, time_off_id: UUID) -> TimeOffResult:
    """Take time off back; gives what it was."""
    return _with_sessions_hit(await database.write("delete_time_off", {"p_time_off_id": str(time_off_id)}))


def _with_sessions_hit(answer: Mapping[str, Any]) -> TimeOffResult:
    """The database lists live sessions about that time; which it hits needs a timezone, so is found here."""
    time_off = TimeOff.model_validate(answer["time_off"])
    near = [SessionHit.model_validate(each) for each in answer.get("live_sessions") or ()]
    span = recurrence.TimeOff(
        id=time_off.id,
        of="tutor",  # either side: a span is the same for both
        starts_on=time_off.starts_on,
        ends_on=time_off.ends_on,
        starts_at=time_off.starts_at,
        ends_at=time_off.ends_at,
    )
    hit = [
        each
        for each in near
        if recurrence.falls_on_time_off(
            each.scheduled_start_utc, each.scheduled_end_utc, span, time_off.person.timezone
        )
    ]
    return TimeOffResult(time_off=time_off, sessions_hit=hit)
