"""/sessions/{id}/prep."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller
from functions.problems import problems
from lib import briefs
from lib.briefs import Brief, BriefQuery

router = APIRouter(prefix="/api", tags=["Learning"])


@router.get("/sessions/{session_id}/prep", responses=problems(404, 409, 429))
async def prepare_session(database: AsCaller, session_id: UUID, query: Annotated[BriefQuery, Query()]) -> Brief:
    """What to know before a session (its tutor, admin), each sentence with the events it rests on."""
    return await briefs.prepare_session(database, session_id, query)
