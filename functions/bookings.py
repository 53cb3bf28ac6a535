"""/slots and /bookings."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response

from functions.callers import AsCaller, AsCallerOnce, InZone
from functions.problems import problems
from lib import bookings
from lib.bookings import (
    Acceptance,
    AcceptedBooking,
    Booking,
    BookingPage,
    BookingQuery,
    BookingRequest,
    BookingResult,
    FreeSlots,
    Refusal,
    SlotQuery,
)

router = APIRouter(prefix="/api", tags=["Bookings"])

STATUS_OF = {True: 201, False: 200}
"""The status of a request, by whether it is new."""

Accepting = Annotated[Acceptance, Body(default_factory=Acceptance)]
Refusing = Annotated[Refusal, Body(default_factory=Refusal)]


@router.get("/slots", responses=problems(404))
async def list_slots(database: AsCaller, query: Annotated[SlotQuery, Query()]) -> FreeSlots:
    """The times of a listing that are free, for its tutor and for you."""
    return await bookings.list_slots(database, query)


@router.post(
    "/bookings",
    responses={
        201: {"model": BookingResult, "description": "It was asked for."},
        **problems(404, 409, 429, body=True),
    },
)
async def request_booking(
    database: AsCallerOnce, request: BookingRequest, response: Response, tz: InZone = None
) -> BookingResult:
    """Ask for a lesson at one of a listing's free times (student). Asked again, it shows the same."""
    requested = await bookings.request_booking(database, request, tz)
    response.status_code = STATUS_OF[requested.changed]
    return requested


@router.get("/bookings", responses=problems())
async def list_bookings(database: AsCaller, query: Annotated[BookingQuery, Query()]) -> BookingPage:
    """Your bookings, earliest first, in pages; for an admin everybody's."""
    return await bookings.list_bookings(database, query)


@router.get("/bookings/{booking_id}", responses=problems(404))
async def get_booking(database: AsCaller, booking_id: UUID, tz: InZone = None) -> Booking:
    """One of your bookings; for an admin any."""
    return await bookings.get_booking(database, booking_id, tz)


@router.post("/bookings/{booking_id}/accept", responses=problems(404, 409, body=True))
async def accept_booking(
    database: AsCallerOnce, booking_id: UUID, acceptance: Accepting, tz: InZone = None
) -> AcceptedBooking:
    """Accept a booking (its tutor, admin), which makes its session. Asked again, it shows the same."""
    return await bookings.accept_booking(database, booking_id, acceptance, tz)


@router.post("/bookings/{booking_id}/decline", responses=problems(404, 409, body=True))
async def decline_booking(
    database: AsCallerOnce, booking_id: UUID, refusal: Refusing, tz: InZone = None
) -> BookingResult:
    """Decline a booking (its tutor, admin). No session comes of it."""
    return await bookings.decline_booking(database, booking_id, refusal, tz)


@router.post("/bookings/{booking_id}/cancel", responses=problems(404, 409, body=True))
async def cancel_booking(
    database: AsCallerOnce, booking_id: UUID, refusal: Refusing, tz: InZone = None
) -> BookingResult:
    """Take back a booking that is not decided (its student, admin)."""
    return await bookings.cancel_booking(database, booking_id, refusal, tz)
