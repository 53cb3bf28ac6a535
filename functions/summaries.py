"""/sessions/{id}/summary."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import summaries
from lib.summaries import Summary, SummaryApproval, SummaryResult, SummaryUpdate

router = APIRouter(prefix="/api", tags=["Learning"])

Approval = Annotated[SummaryApproval, Body(default_factory=SummaryApproval)]


@router.post("/sessions/{session_id}/summary", responses=problems(404, 409, 429))
async def draft_summary(database: AsCallerOnce, session_id: UUID) -> SummaryResult:
    """Draft what is told of a session that is done (its tutor, admin). An earlier draft is written anew."""
    return await summaries.draft_summary(database, session_id)


@router.get("/sessions/{session_id}/summary", responses=problems(404))
async def get_summary(database: AsCaller, session_id: UUID) -> Summary:
    """What is told of a session (its tutor, admin; its student once it is approved)."""
    return await summaries.get_summary(database, session_id)


@router.patch("/sessions/{session_id}/summary", responses=problems(404, 409, body=True))
async def update_summary(database: AsCallerOnce, session_id: UUID, change: SummaryUpdate) -> SummaryResult:
    """Change the text of a draft (its tutor, admin)."""
    return await summaries.update_summary(database, session_id, change)


@router.post("/sessions/{session_id}/summary/approve", responses=problems(404, 409, body=True))
async def approve_summary(database: AsCallerOnce, session_id: UUID, approval: Approval) -> SummaryResult:
    """Let a summary go out as it is (its tutor, admin)."""
    return await summaries.approve_summary(database, session_id, approval)
