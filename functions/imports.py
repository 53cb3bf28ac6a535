"""/import."""

from fastapi import APIRouter

from functions.callers import AsCallerOnce
from functions.problems import problems
from lib import imports
from lib.imports import Import, ImportReport

router = APIRouter(prefix="/api", tags=["Import"])


@router.post("/import", responses=problems(body=True))
async def import_house(database: AsCallerOnce, house: Import) -> ImportReport:
    """Bring people, matches and packages from elsewhere (admin): all lines or none, and every bad line is named.

    A dry run unless said otherwise. Lines that are there already change nothing, so that a corrected file can be sent
    again. With bad lines and no dry run the answer is 422 `import_refused`, whose `errors` are those of the report.
    """
    return await imports.import_house(database, house)
