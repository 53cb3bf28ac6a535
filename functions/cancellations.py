"""/cancellation-requests."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from functions.callers import AsCaller, AsCallerOnce, InZone
from functions.problems import problems
from lib import cancellations
from lib.cancellations import (
    CancellationDecision,
    CancellationPage,
    CancellationQuery,
    CancellationRequest,
    CancellationResult,
    CancellationWish,
)

router = APIRouter(prefix="/api", tags=["Cancellations"])

Decision = Annotated[CancellationDecision, Body(default_factory=CancellationDecision)]


@router.post("/sessions/{session_id}/request-cancel", status_code=202, responses=problems(404, 409, 429, body=True))
async def request_cancellation(
    database: AsCallerOnce, session_id: UUID, wish: CancellationWish, tz: InZone = None
) -> CancellationResult:
    """Ask to cancel a session that has not begun (its tutor, its student). An admin decides."""
    return await cancellations.request_cancellation(database, session_id, wish, tz)


@router.get("/cancellation-requests", responses=problems())
async def list_cancellation_requests(
    database: AsCaller, query: Annotated[CancellationQuery, Query()]
) -> CancellationPage:
    """Your wishes to cancel, oldest first, in pages; for an admin everybody's."""
    return await cancellations.list_cancellation_requests(database, query)


@router.get("/cancellation-requests/{cancellation_request_id}", responses=problems(404))
async def get_cancellation_request(
    database: AsCaller, cancellation_request_id: UUID, tz: InZone = None
) -> CancellationRequest:
    """One of your wishes to cancel; for an admin any."""
    return await cancellations.get_cancellation_request(database, cancellation_request_id, tz)


@router.post("/cancellation-requests/{cancellation_request_id}/approve", responses=problems(404, 409, body=True))
async def approve_cancellation(
    database: AsCallerOnce, cancellation_request_id: UUID, decision: Decision, tz: InZone = None
) -> CancellationResult:
    """Cancel the session as was asked (admin)."""
    return await cancellations.approve_cancellation(database, cancellation_request_id, decision, tz)


@router.post("/cancellation-requests/{cancellation_request_id}/reject", responses=problems(404, 409, body=True))
async def reject_cancellation(
    database: AsCallerOnce, cancellation_request_id: UUID, decision: Decision, tz: InZone = None
) -> CancellationResult:
    """Keep the session (admin)."""
    return await cancellations.reject_cancellation(database, cancellation_request_id, decision, tz)


@router.post("/cancellation-requests/{cancellation_request_id}/withdraw", responses=problems(404, 409))
async def withdraw_cancellation(
    database: AsCallerOnce, cancellation_request_id: UUID, tz: InZone = None
) -> CancellationResult:
    """Take your own wish back."""
    return await cancellations.withdraw_cancellation(database, cancellation_request_id, tz)
