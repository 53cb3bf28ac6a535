"""/reschedule-requests, and a match's series on a weekly pattern."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query

from functions.callers import AsCaller, AsCallerOnce, InZone
from functions.problems import problems
from lib import reschedules
from lib.reschedules import (
    RescheduleAcceptance,
    ReschedulePage,
    RescheduleQuery,
    RescheduleRejection,
    RescheduleResult,
    RescheduleWish,
    SeriesPreview,
    SeriesPreviewRequest,
    SeriesRequest,
    SeriesResult,
)

router = APIRouter(prefix="/api", tags=["Moves"])

Acceptance = Annotated[RescheduleAcceptance, Body(default_factory=RescheduleAcceptance)]
Rejection = Annotated[RescheduleRejection, Body(default_factory=RescheduleRejection)]


@router.post("/sessions/{session_id}/request-reschedule", status_code=202, responses=problems(404, 409, 429, body=True))
async def request_reschedule(
    database: AsCallerOnce, session_id: UUID, wish: RescheduleWish, tz: InZone = None
) -> RescheduleResult:
    """Ask for another time (its tutor, its student). A new wish takes the place of your last one."""
    return await reschedules.request_reschedule(database, session_id, wish, tz)


@router.get("/reschedule-requests", responses=problems())
async def list_reschedule_requests(database: AsCaller, query: Annotated[RescheduleQuery, Query()]) -> ReschedulePage:
    """Your wishes for another time, oldest first, in pages; for an admin everybody's, with which times are free."""
    return await reschedules.list_reschedule_requests(database, query)


@router.post("/reschedule-requests/{reschedule_request_id}/accept", responses=problems(404, 409, body=True))
async def accept_reschedule_request(
    database: AsCallerOnce, reschedule_request_id: UUID, acceptance: Acceptance, tz: InZone = None
) -> RescheduleResult:
    """Move the session to one of the proposed times, or to any where none was (admin). Other wishes about it lapse."""
    return await reschedules.accept_reschedule_request(database, reschedule_request_id, acceptance, tz)


@router.post("/reschedule-requests/{reschedule_request_id}/reject", responses=problems(404, 409, body=True))
async def reject_reschedule_request(
    database: AsCallerOnce, reschedule_request_id: UUID, rejection: Rejection, tz: InZone = None
) -> RescheduleResult:
    """Leave the session at its time (admin)."""
    return await reschedules.reject_reschedule_request(database, reschedule_request_id, rejection, tz)


@router.post("/reschedule-requests/{reschedule_request_id}/withdraw", responses=problems(404, 409))
async def withdraw_reschedule_request(
    database: AsCallerOnce, reschedule_request_id: UUID, tz: InZone = None
) -> RescheduleResult:
    """Take your own wish back."""
    return await reschedules.withdraw_reschedule_request(database, reschedule_request_id, tz)


@router.post("/matches/{match_id}/reschedule/preview", responses=problems(404, 409, body=True))
async def preview_series(database: AsCaller, match_id: UUID, request: SeriesPreviewRequest) -> SeriesPreview:
    """Where one session, it and the following, or all that are open would go (admin). Writes nothing."""
    return await reschedules.preview_series(database, match_id, request)


@router.post("/matches/{match_id}/reschedule", responses=problems(404, 409, body=True))
async def reschedule_series(
    database: AsCallerOnce, match_id: UUID, request: SeriesRequest, tz: InZone = None
) -> SeriesResult:
    """Move them, all or none (admin), each to the next date of the weekly pattern."""
    return await reschedules.reschedule_series(database, match_id, request, tz)
