"""/settings: the policies of the house."""

from fastapi import APIRouter

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import policies
from lib.policies import HouseSettings, SettingsUpdate

router = APIRouter(prefix="/api", tags=["House"])


@router.get("/settings", responses=problems())
async def get_settings(database: AsCaller) -> HouseSettings:
    """The policies in force (admin)."""
    return await policies.get_settings(database)


@router.patch("/settings", responses=problems(409, body=True))
async def update_settings(database: AsCallerOnce, changes: SettingsUpdate) -> HouseSettings:
    """Change policies (admin). They hold from then on, also for sessions that are there already."""
    return await policies.update_settings(database, changes)
