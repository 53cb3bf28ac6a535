"""Sessions: who has which lessons when, and what became of them."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from lib.answers import (
    Answer,
    Capacity,
    Role,
    Session,
    SessionOrigin,
    SessionStatus,
    Utc,
    session_seen_from,
    viewer_timezone,
)
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.fields import ExpectedVersion, Flag, Instant, Notes, Reason, Request
from lib.zones import Timezone


class SessionQuery(Request):
    """Which sessions. Filters narrow what the caller may see anyway."""

    role: Role | None = Field(default=None, description="Only those in which the caller has this role.")
    student_id: UUID | None = None
    tutor_id: UUID | None = None
    match_id: UUID | None = None
    status: list[SessionStatus] | None = Field(default=None, max_length=7, description="May be repeated.")
    origin: SessionOrigin | None = None
    from_: Instant | None = Field(default=None, alias="from", description="Starting at this time or later.")
    to: Instant | None = Field(default=None, description="Starting before this time.")
    tz: Timezone | None = Field(default=None, description="Show times in this zone, not in the profile's.")
    limit: int = Field(default=50, ge=1, le=200, description="Sessions a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class SessionPage(Answer):
    """Sessions by start, earliest first."""

    sessions: list[Session]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")
    timezone: str = Field(description="The zone of the local times.", examples=["Europe/London"])


class StatusUpdate(Request):
    """What became of a session."""

    status: SessionStatus
    notes: Notes | None = Field(
        default=None,
        description="The tutor's notes, which the student reads. Left out: kept; empty: cleared.",
    )
    reason: Reason | None = Field(default=None, description="Needed for a correction by an admin.")
    expected_version: ExpectedVersion | None = None


class SessionStart(Request):
    """Beginning a session. There may be no body at all."""

    expected_version: ExpectedVersion | None = None


class SessionCompletion(Request):
    """Completing a session. There may be no body at all."""

    notes: Notes | None = Field(
        default=None, description="The tutor's notes, which the student reads. Left out: kept; empty: cleared."
    )
    expected_version: ExpectedVersion | None = None


class SessionMissed(Request):
    """Who was not there."""

    by: Literal["student", "tutor"]
    notes: Notes | None = Field(
        default=None, description="The tutor's notes, which the student reads. Left out: kept; empty: cleared."
    )
    reason: Reason | None = Field(default=None, description="Needed for a correction by an admin.")
    notify_guardian: Flag = Field(default=False, description="Has the guardian told that the student was not there.")
    expected_version: ExpectedVersion | None = None


class SessionDispute(Request):
    """What a student has against a session that the clock completed."""

    reason: Reason


class PackageChange(Request):
    """The package that a session is to be charged to."""

    package_id: UUID = Field(description="Of the same request.")
    reason: Reason


class SessionMove(Request):
    """Another time for a session; it keeps its length."""

    start_utc: Instant
    reason: Reason | None = Field(default=None, description="Needed once the lesson was begun in time.")
    expected_version: ExpectedVersion | None = None


class SessionCancellation(Request):
    """The end of a session that will not take place."""

    reason: Reason
    expected_version: ExpectedVersion | None = None


class Move(Answer):
    """When a session was to be before, and since."""

    from_start_utc: Utc
    from_end_utc: Utc
    to_start_utc: Utc
    to_end_utc: Utc
    reason: str | None
    by_role: Capacity
    moved_at: Utc


class SessionWithHistory(Session):
    """A session and how it came to its time."""

    moves: list[Move] = Field(description="Every change of its time, oldest first.")


class SessionResult(Answer):
    """A session after an action."""

    session: Session
    changed: bool = Field(description="False when everything was so already.")


async def list_sessions(database: Database, query: SessionQuery) -> SessionPage:
    """One page of the sessions that the caller may see."""
    answer = await database.rpc("list_sessions", _parameters(query))
    timezone = viewer_timezone(answer, query.tz)
    sessions = [session_seen_from(timezone, each) for each in answer["sessions"]]
    return SessionPage(
        sessions=sessions,
        next_cursor=_cursor_behind(sessions) if answer["has_more"] else None,
        timezone=timezone,
    )


async def get_session(database: Database, session_id: UUID, timezone: str | None) -> SessionWithHistory:
    """One session that the caller may see, and its moves."""
    answer = await database.rpc("get_session", {"p_session_id": str(session_id)})
    shown = {**answer["session"], "moves": answer["moves"], "timezone": viewer_timezone(answer, timezone)}
    return SessionWithHistory.model_validate(shown)


async def tutor_update_session(
    database: Database, session_id: UUID, update: StatusUpdate, timezone: str | None
) -> SessionResult:
    """Set what became of a session. Credits, audit and events follow in the same transaction."""
    answer = await database.write("tutor_update_session", update.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def start_session(
    database: Database, session_id: UUID, start: SessionStart, timezone: str | None
) -> SessionResult:
    """Begin a session. After the clock has begun it, this records who came and leaves it delayed."""
    answer = await database.write("start_session", start.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def complete_session(
    database: Database, session_id: UUID, completion: SessionCompletion, timezone: str | None
) -> SessionResult:
    """Complete a session. It takes a credit in the same transaction."""
    answer = await database.write("complete_session", completion.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def mark_missed(
    database: Database, session_id: UUID, missed: SessionMissed, timezone: str | None
) -> SessionResult:
    """Say that the student or the tutor was not there."""
    answer = await database.write("mark_missed", missed.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def dispute_session(
    database: Database, session_id: UUID, dispute: SessionDispute, timezone: str | None
) -> SessionResult:
    """Object to what the clock completed. The session stays as it is until an admin corrects it."""
    answer = await database.write("dispute_session", dispute.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def reschedule_session(
    database: Database, session_id: UUID, move: SessionMove, timezone: str | None
) -> SessionResult:
    """Give a session another time, or bring a parked one back."""
    answer = await database.write("reschedule_session", move.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def cancel_session(
    database: Database, session_id: UUID, cancellation: SessionCancellation, timezone: str | None
) -> SessionResult:
    """Cancel a session at once. Its time is free again."""
    answer = await database.write("cancel_session", cancellation.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


async def move_session_to_package(
    database: Database, session_id: UUID, change: PackageChange, timezone: str | None
) -> SessionResult:
    """Charge a session to another package; a credit that was taken goes along."""
    answer = await database.write("move_session_to_package", change.parameters(session_id=str(session_id)))
    return _result(answer, timezone)


def _result(answer: dict[str, Any], timezone: str | None) -> SessionResult:
    return SessionResult(session=_seen(answer, timezone), changed=answer["changed"])


def _seen(answer: dict[str, Any], timezone: str | None) -> Session:
    return session_seen_from(viewer_timezone(answer, timezone), answer["session"])


def _cursor_behind(sessions: list[Session]) -> str | None:
    if not sessions:
        return None
    return str(Cursor(sessions[-1].scheduled_start_utc, sessions[-1].id))


def _parameters(query: SessionQuery) -> dict[str, object]:
    filters = query.model_dump(mode="json", by_alias=True, exclude={"tz", "cursor"})
    return {f"p_{name}": value for name, value in filters.items()} | after(query.cursor, "start")
