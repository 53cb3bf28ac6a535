"""/schedules/generate: the month of a whole house."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from functions.callers import AsCaller
from functions.problems import problems
from lib import months, web
from lib.config import settings
from lib.months import MatchLine, MonthRequest, ProgressLine, SummaryLine
from lib.web import ErrorLine

router = APIRouter(prefix="/api", tags=["Schedules"])

Line = Annotated[ProgressLine | MatchLine | SummaryLine | ErrorLine, Field(discriminator="type")]


class Lines(JSONResponse):
    """Tells OpenAPI that each line of the answer is a JSON document."""

    media_type = web.LINES_TYPE


@router.post(
    "/schedules/generate",
    response_class=Lines,
    response_model=Line,
    response_description="One JSON document a line. The last one is a `summary`, else the run is incomplete.",
    responses=problems(body=True),
)
async def generate_month(request: Request, database: AsCaller, month: MonthRequest) -> Response:
    """Create the sessions of every package of a month that has none yet (admin), told line by line.

    A match that fails stops no other; its line says why. When `more` is true, when the stream ends in an `error`
    or breaks off, send the same again: nothing is created twice.
    """
    lines = await months.generate_month(database, month, settings().month_run_budget_seconds)
    return web.lines_response(request, lines)
