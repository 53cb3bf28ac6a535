"""/sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from functions.callers import AsCaller, AsCallerOnce, InZone
from functions.problems import problems
from lib import clock, sessions
from lib.answers import Session
from lib.clock import Refreshed
from lib.sessions import (
    PackageChange,
    SessionCompletion,
    SessionDispute,
    SessionMissed,
    SessionPage,
    SessionQuery,
    SessionResult,
    SessionStart,
    StatusUpdate,
)

router = APIRouter(prefix="/api", tags=["Sessions"])

Start = Annotated[SessionStart, Body(default_factory=SessionStart)]
Completion = Annotated[SessionCompletion, Body(default_factory=SessionCompletion)]


@router.get("/sessions", responses=problems())
async def list_sessions(database: AsCaller, query: Annotated[SessionQuery, Query()]) -> SessionPage:
    """Your sessions, earliest first, in pages; for an admin everybody's."""
    return await sessions.list_sessions(database, query)


# Before the routes with an id, which would take its name for one.
@router.post("/sessions/refresh-status", responses=problems(409))
async def refresh_session_statuses(database: AsCallerOnce) -> Refreshed:
    """Let the clock move your own due sessions. Within 15 seconds of the last time it moves nothing."""
    return await clock.refresh_session_statuses(database)


@router.get("/sessions/{session_id}", responses=problems(404))
async def get_session(database: AsCaller, session_id: UUID, tz: InZone = None) -> Session:
    """One of your sessions; for an admin any."""
    return await sessions.get_session(database, session_id, tz)


@router.post("/sessions/{session_id}/status", responses=problems(402, 404, 409, body=True))
async def tutor_update_session(
    database: AsCallerOnce, session_id: UUID, update: StatusUpdate, tz: InZone = None
) -> SessionResult:
    """Set what became of a session (its tutor, admin). Asked again for the same, it changes nothing."""
    return await sessions.tutor_update_session(database, session_id, update, tz)


@router.post("/sessions/{session_id}/start", responses=problems(404, 409, body=True))
@router.patch("/sessions/{session_id}/start", name="start_session_by_patch", responses=problems(404, 409, body=True))
async def start_session(database: AsCallerOnce, session_id: UUID, start: Start, tz: InZone = None) -> SessionResult:
    """Begin a session (its tutor, its student, admin). After the clock, this records who came."""
    return await sessions.start_session(database, session_id, start, tz)


@router.post("/sessions/{session_id}/complete", responses=problems(402, 404, 409, body=True))
@router.patch(
    "/sessions/{session_id}/complete", name="complete_session_by_patch", responses=problems(402, 404, 409, body=True)
)
async def complete_session(
    database: AsCallerOnce, session_id: UUID, completion: Completion, tz: InZone = None
) -> SessionResult:
    """Complete a session (its tutor, admin; its student when it is delayed)."""
    return await sessions.complete_session(database, session_id, completion, tz)


@router.post("/sessions/{session_id}/missed", responses=problems(402, 404, 409, body=True))
async def mark_missed(
    database: AsCallerOnce, session_id: UUID, missed: SessionMissed, tz: InZone = None
) -> SessionResult:
    """Say that the student or the tutor was not there (its tutor, admin), from the start on."""
    return await sessions.mark_missed(database, session_id, missed, tz)


@router.post("/sessions/{session_id}/dispute", responses=problems(404, 409, body=True))
async def dispute_session(
    database: AsCallerOnce, session_id: UUID, dispute: SessionDispute, tz: InZone = None
) -> SessionResult:
    """Object to what the clock completed (its student). It stays as it is until an admin corrects it."""
    return await sessions.dispute_session(database, session_id, dispute, tz)


@router.post("/sessions/{session_id}/package", responses=problems(402, 404, 409, body=True))
async def move_session_to_package(
    database: AsCallerOnce, session_id: UUID, change: PackageChange, tz: InZone = None
) -> SessionResult:
    """Charge a session to another package of its request (admin). A credit that was taken goes along."""
    return await sessions.move_session_to_package(database, session_id, change, tz)
