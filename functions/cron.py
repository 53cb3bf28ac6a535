"""/cron: what a scheduler calls."""

from fastapi import APIRouter

from functions.callers import AsService
from functions.problems import problems
from lib import clock
from lib.clock import Swept
from lib.config import settings

router = APIRouter(prefix="/api/cron", tags=["Cron"])


@router.get("/complete-sessions", responses=problems())
async def sweep_session_statuses(database: AsService) -> Swept:
    """Let the clock begin and complete what is due. As often as you like; once a minute is meant."""
    return await clock.sweep_session_statuses(database, settings().cron_budget_seconds)
