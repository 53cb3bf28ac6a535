"""/me/calendar-token, /calendar."""

import hashlib

from fastapi import APIRouter, Request, Response

from functions.callers import AsCallerOnce, AsServiceOfLinks
from functions.problems import problems
from lib import feeds
from lib.feeds import CalendarToken

router = APIRouter(prefix="/api", tags=["Calendars"])

CALENDAR = "text/calendar"
CACHED = "private, max-age=300"


@router.post("/me/calendar-token", status_code=201, responses=problems(429))
async def rotate_calendar_token(database: AsCallerOnce) -> CalendarToken:
    """Give your calendar a secret address, shown here alone; the one before stops at once."""
    return await feeds.rotate_calendar_token(database)


@router.get(
    "/calendar/{token}.ics",
    response_class=Response,
    responses={
        200: {"content": {CALENDAR: {"schema": {"type": "string"}}}, "description": "The calendar (RFC 5545)."},
        304: {"description": "It is still as `If-None-Match` says."},
        **problems(404),
    },
)
async def get_calendar(request: Request, database: AsServiceOfLinks, token: str) -> Response:
    """The lessons of the person whose calendar has this secret address, for any program that reads calendars."""
    return _unless_known(request, await feeds.read_calendar(database, token))


def _unless_known(request: Request, calendar: str) -> Response:
    """The calendar, or the word that it has not changed (RFC 9110 §13.1.2)."""
    tag = f'"{hashlib.sha256(calendar.encode()).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": CACHED}
    known = request.headers.get("if-none-match", "").split(",")
    if tag in (each.strip().removeprefix("W/") for each in known):
        return Response(status_code=304, headers=headers)
    return Response(calendar, media_type=f"{CALENDAR}; charset=utf-8", headers=headers)
