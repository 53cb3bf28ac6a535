"""/sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import sessions
from lib.answers import Session
from lib.sessions import PackageChange, SessionPage, SessionQuery, SessionResult, StatusUpdate
from lib.zones import Timezone

router = APIRouter(prefix="/api", tags=["Sessions"])

InZone = Annotated[Timezone | None, Query(description="Show times in this zone, not in the profile's.")]


@router.get("/sessions", responses=problems())
async def list_sessions(database: AsCaller, query: Annotated[SessionQuery, Query()]) -> SessionPage:
    """Your sessions, earliest first, in pages; for an admin everybody's."""
    return await sessions.list_sessions(database, query)


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


@router.post("/sessions/{session_id}/package", responses=problems(402, 404, 409, body=True))
async def move_session_to_package(
    database: AsCallerOnce, session_id: UUID, change: PackageChange, tz: InZone = None
) -> SessionResult:
    """Charge a session to another package of its request (admin). A credit that was taken goes along."""
    return await sessions.move_session_to_package(database, session_id, change, tz)
