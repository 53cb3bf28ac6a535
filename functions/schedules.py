"""/matches/{id}/sessions: from the weekly pattern to sessions."""

from uuid import UUID

from fastapi import APIRouter, Response

from functions.callers import AsCaller, AsCallerOnce, InZone
from functions.problems import problems
from lib import schedules
from lib.answers import Session
from lib.schedules import ExtraSessionRequest, Generated, GenerationRequest, Preview, PreviewRequest

router = APIRouter(prefix="/api", tags=["Schedules"])

STATUS_OF = {True: 201, False: 200}
"""The status of a commit, by whether it created sessions."""


@router.post("/matches/{match_id}/sessions/preview", responses=problems(404, 409, body=True))
async def preview_sessions(database: AsCaller, match_id: UUID, request: PreviewRequest) -> Preview:
    """What a commit would write now (admin): times, clock changes, skips and conflicts. Writes nothing."""
    return await schedules.preview_sessions(database, match_id, request)


@router.post(
    "/matches/{match_id}/sessions",
    responses={
        201: {"model": Generated, "description": "Sessions were created."},
        **problems(404, 409, body=True),
    },
)
async def generate_sessions(
    database: AsCallerOnce, match_id: UUID, request: GenerationRequest, response: Response, tz: InZone = None
) -> Generated:
    """Create the package's sessions, all or none (admin). Asked again, it shows the same and creates none."""
    generated = await schedules.generate_sessions(database, match_id, request, tz)
    response.status_code = STATUS_OF[generated.created > 0]
    return generated


@router.post("/matches/{match_id}/sessions/extra", status_code=201, responses=problems(402, 404, 409, body=True))
async def add_extra_session(
    database: AsCallerOnce, match_id: UUID, request: ExtraSessionRequest, tz: InZone = None
) -> Session:
    """Add one session outside the pattern, such as a make-up, with a reason (admin)."""
    return await schedules.add_extra_session(database, match_id, request, tz)
