"""/requests, /matches, and the weekly pattern of a match."""

from uuid import UUID

from fastapi import APIRouter

from functions.callers import AsCallerOnce
from functions.problems import problems
from lib import matches
from lib.matches import (
    EndedMatch,
    Match,
    MatchCreation,
    MatchEnd,
    MatchSchedule,
    MatchUpdate,
    RequestCreation,
    RequestUpdate,
    TeachingRequest,
)

router = APIRouter(prefix="/api", tags=["Matches"])


@router.post("/requests", status_code=201, responses=problems(404, 409, 429, body=True))
async def create_request(database: AsCallerOnce, request: RequestCreation) -> TeachingRequest:
    """File a request to be taught (student for themselves, admin for any student)."""
    return await matches.create_request(database, request)


@router.patch("/requests/{request_id}", responses=problems(404, 409, body=True))
async def update_request(database: AsCallerOnce, request_id: UUID, changes: RequestUpdate) -> TeachingRequest:
    """Change, close or reopen a request (admin)."""
    return await matches.update_request(database, request_id, changes)


@router.post("/matches", status_code=201, responses=problems(404, 409, body=True))
async def create_match(database: AsCallerOnce, match: MatchCreation) -> Match:
    """Match a request with a tutor (admin)."""
    return await matches.create_match(database, match)


@router.patch("/matches/{match_id}", responses=problems(404, 409, body=True))
async def update_match(database: AsCallerOnce, match_id: UUID, changes: MatchUpdate) -> Match:
    """Change a match's tutor or Meet link (admin)."""
    return await matches.update_match(database, match_id, changes)


@router.put("/matches/{match_id}/schedule", responses=problems(404, 409, body=True))
async def set_match_schedule(database: AsCallerOnce, match_id: UUID, schedule: MatchSchedule) -> Match:
    """Set the weekly pattern and the Meet link (admin)."""
    return await matches.set_match_schedule(database, match_id, schedule)


@router.post("/matches/{match_id}/end", responses=problems(404, 409, body=True))
async def end_match(database: AsCallerOnce, match_id: UUID, end: MatchEnd) -> EndedMatch:
    """End a match (admin): its sessions to come and its parked ones are cancelled, its request is open again."""
    return await matches.end_match(database, match_id, end)
