"""Requests to be taught, and the matches of a request with a tutor, which carry the weekly pattern."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Participant, Utc
from lib.database import Database
from lib.fields import Changes, ClearableMeetLink, Level, MeetLink, Name, Reason, Request
from lib.recurrence import SchedulePattern

RequestStatus = Literal["open", "matched", "active", "closed"]
MatchStatus = Literal["proposed", "active", "ended"]


class TeachingRequest(Answer):
    """A student's wish to be taught."""

    id: UUID
    student: Participant
    subject: str = Field(examples=["Mathematics"])
    level: str | None = Field(examples=["GCSE"])
    status: RequestStatus
    created_at: Utc


class Match(Answer):
    """A request and the tutor who takes it on."""

    id: UUID
    request_id: UUID
    status: MatchStatus
    tutor: Participant
    student: Participant
    subject: str
    level: str | None
    schedule_pattern: SchedulePattern | None
    meet_link: str | None = Field(examples=["https://meet.google.com/abc-defg-hij"])
    created_at: Utc
    updated_at: Utc


class EndedMatch(Answer):
    """A match that has ended."""

    match: Match
    cancelled: list[UUID] = Field(description="The sessions that were cancelled with it.")


class RequestCreation(Request):
    """A new request. A student files it for themselves, an admin for any student."""

    subject: Name
    level: Level | None = None
    student_id: UUID | None = Field(default=None, description="For admins; a student's own is meant without it.")


class RequestUpdate(Changes):
    """What an admin may change of a request. `matched` and `active` follow from its matches."""

    subject: Name | None = None
    level: Level | None = None
    status: Literal["open", "closed"] | None = None


class MatchCreation(Request):
    """A new match."""

    request_id: UUID
    tutor_id: UUID
    schedule_pattern: SchedulePattern | None = None
    meet_link: MeetLink | None = None


class MatchUpdate(Changes):
    """What an admin may change of a match."""

    tutor_id: UUID | None = None
    meet_link: ClearableMeetLink | None = None


class MatchSchedule(Request):
    """The weekly pattern of a match, and with it, if given, its Meet link."""

    schedule_pattern: SchedulePattern
    meet_link: ClearableMeetLink | None = Field(default=None, description="Left out: the old one stays.")


class MatchEnd(Request):
    """The end of a match."""

    reason: Reason


async def create_request(database: Database, request: RequestCreation) -> TeachingRequest:
    """File a request."""
    return TeachingRequest.model_validate(await database.write("create_request", request.parameters()))


async def update_request(database: Database, request_id: UUID, changes: RequestUpdate) -> TeachingRequest:
    """Change, close or reopen a request."""
    parameters = changes.parameters(request_id=str(request_id))
    return TeachingRequest.model_validate(await database.write("update_request", parameters))


async def create_match(database: Database, match: MatchCreation) -> Match:
    """Give a request its tutor."""
    return Match.model_validate(await database.write("create_match", match.parameters()))


async def update_match(database: Database, match_id: UUID, changes: MatchUpdate) -> Match:
    """Change a match's tutor or Meet link."""
    return Match.model_validate(await database.write("update_match", changes.parameters(match_id=str(match_id))))


async def set_match_schedule(database: Database, match_id: UUID, schedule: MatchSchedule) -> Match:
    """Set the weekly pattern; sessions that exist stay as they are."""
    parameters = schedule.parameters(match_id=str(match_id))
    return Match.model_validate(await database.write("set_match_schedule", parameters))


async def end_match(database: Database, match_id: UUID, end: MatchEnd) -> EndedMatch:
    """End a match and cancel what is still to come of it."""
    return EndedMatch.model_validate(await database.write("end_match", end.parameters(match_id=str(match_id))))
