"""/holidays and /time-off."""

from uuid import UUID

from fastapi import APIRouter

from functions.callers import AsCallerOnce
from functions.problems import problems
from lib import days_off
from lib.days_off import (
    Holiday,
    HolidayCreation,
    HolidayUpdate,
    TimeOffCreation,
    TimeOffResult,
    TimeOffUpdate,
)

router = APIRouter(prefix="/api", tags=["Days off"])


@router.post("/holidays", status_code=201, responses=problems(404, 409, body=True))
async def create_holiday(database: AsCallerOnce, holiday: HolidayCreation) -> Holiday:
    """Enter a date on which nobody is taught (admin)."""
    return await days_off.create_holiday(database, holiday)


@router.patch("/holidays/{holiday_id}", responses=problems(404, 409, body=True))
async def update_holiday(database: AsCallerOnce, holiday_id: UUID, changes: HolidayUpdate) -> Holiday:
    """Change a holiday (admin)."""
    return await days_off.update_holiday(database, holiday_id, changes)


@router.delete("/holidays/{holiday_id}", responses=problems(404))
async def delete_holiday(database: AsCallerOnce, holiday_id: UUID) -> Holiday:
    """Take a holiday back (admin)."""
    return await days_off.delete_holiday(database, holiday_id)


@router.post("/time-off", status_code=201, responses=problems(404, 409, body=True))
async def create_time_off(database: AsCallerOnce, time_off: TimeOffCreation) -> TimeOffResult:
    """Enter time off of a tutor or student (admin), and see which sessions it hits. None is moved."""
    return await days_off.create_time_off(database, time_off)


@router.patch("/time-off/{time_off_id}", responses=problems(404, 409, body=True))
async def update_time_off(database: AsCallerOnce, time_off_id: UUID, changes: TimeOffUpdate) -> TimeOffResult:
    """Change time off (admin), and see which sessions it hits now."""
    return await days_off.update_time_off(database, time_off_id, changes)


@router.delete("/time-off/{time_off_id}", responses=problems(404))
async def delete_time_off(database: AsCallerOnce, time_off_id: UUID) -> TimeOffResult:
    """Take time off back (admin)."""
    return await days_off.delete_time_off(database, time_off_id)
