"""/cron: what a scheduler calls."""

from fastapi import APIRouter

from functions.callers import AsService
from functions.problems import problems
from lib import calendar_sync, clock, outbox
from lib.calendar_sync import CalendarSynced
from lib.clock import Swept
from lib.config import settings
from lib.outbox import CleanedUp, Dispatched

router = APIRouter(prefix="/api/cron", tags=["Cron"])


@router.get("/complete-sessions", responses=problems())
async def sweep_session_statuses(database: AsService) -> Swept:
    """Let the clock begin and complete what is due. As often as you like; once a minute is meant."""
    return await clock.sweep_session_statuses(database, settings().cron_budget_seconds)


@router.get("/deliver-outbox", responses=problems())
async def deliver_outbox(database: AsService) -> Dispatched:
    """Take events to the endpoints that wait for them. As often as you like; once a minute is meant."""
    return await outbox.deliver_outbox(database, settings().cron_budget_seconds)


@router.get("/sync-calendar", responses=problems())
async def sync_calendar(database: AsService) -> CalendarSynced:
    """Have Google Calendar show sessions as they are, and read tutors' busy times. Once a minute is meant."""
    return await calendar_sync.sync_calendar(database, settings().cron_budget_seconds)


@router.get("/clean-up", responses=problems())
async def clean_up(database: AsService) -> CleanedUp:
    """Repair what failed beside an event, and forget what is old. Once a day is meant."""
    return await outbox.clean_up(database, settings().cron_budget_seconds)
