"""/calendar-syncs."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import calendar_sync
from lib.calendar_sync import CalendarSync, CalendarSyncPage, CalendarSyncQuery

router = APIRouter(prefix="/api/calendar-syncs", tags=["Calendars"])


@router.get("", responses=problems())
async def list_calendar_syncs(database: AsCaller, query: Annotated[CalendarSyncQuery, Query()]) -> CalendarSyncPage:
    """How sessions stand in Google Calendar: what is there, what waits, and why (admin)."""
    return await calendar_sync.list_calendar_syncs(database, query)


@router.post("/{session_id}/retry", responses=problems(404, 409))
async def retry_calendar_sync(database: AsCallerOnce, session_id: UUID) -> CalendarSync:
    """Have a session put into Google Calendar anew, as it is now (admin)."""
    return await calendar_sync.retry_calendar_sync(database, session_id)
