"""Bookings: a student asks for a single lesson at a time that a tutor offers, and the tutor decides.

Which times are offered is worked out here, because only Python knows the timezones. A request reads what that
rests on, and sends its fingerprint along; the database decides whether it still holds and whether the time is free.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, computed_field

from lib.answers import Answer, Participant, Role, Session, Utc, session_seen_from, viewer_timezone
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.errors import Invalid
from lib.fields import ExpectedVersion, Instant, Reason, Remark, Request
from lib.slots import SlotInputs, free_slots, is_offered
from lib.zones import Timezone, to_local, zone

BookingStatus = Literal["draft", "accepted", "declined", "cancelled"]
DecidedBy = Literal["admin", "tutor", "student", "clock", "service", "studio"]


class FreeSlot(Answer):
    """A time that can be asked for."""

    start_utc: Utc
    end_utc: Utc
    start_local: AwareDatetime = Field(
        description="The start on the viewer's clocks.", examples=["2026-03-02T14:00:00+00:00"]
    )
    end_local: AwareDatetime = Field(
        description="The end on the viewer's clocks.", examples=["2026-03-02T15:00:00+00:00"]
    )


class FreeSlots(Answer):
    """The free times of a listing, earliest first."""

    listing_id: UUID
    tutor: Participant
    duration_mins: int = Field(examples=[60])
    timezone: str = Field(description="The zone of the local times.", examples=["Europe/London"])
    calendar_as_of: Utc | None = Field(
        description="When the tutor's Google calendar was last read, which the slots go by; null when none is."
    )
    slots: list[FreeSlot]


class BookedListing(Answer):
    """What a booking says about its listing."""

    id: UUID
    title: str = Field(examples=["Exam clinic"])
    subject: str | None = Field(examples=["Mathematics"])


class Booking(Answer):
    """A student's wish for a single lesson, with its times in UTC and on the viewer's clocks."""

    id: UUID
    status: BookingStatus
    listing: BookedListing
    tutor: Participant
    student: Participant
    starts_at: Utc
    ends_at: Utc
    timezone: str = Field(
        description="The viewer's: of the profile, or as asked with `tz`.", examples=["Europe/London"]
    )
    note: str | None = Field(description="The student's, for the tutor.")
    reason: str | None = Field(description="Why it was declined or cancelled.")
    decided_by_user_id: UUID | None
    decided_by_role: DecidedBy | None
    decided_at: Utc | None
    session_id: UUID | None = Field(description="The session that it became when it was accepted.")
    version: int = Field(description="Send it as `expected_version` to be told when somebody was faster.")
    created_at: Utc
    updated_at: Utc

    @computed_field(description="The start on the viewer's clocks.", examples=["2026-03-02T14:00:00+00:00"])
    @property
    def start_local(self) -> AwareDatetime:
        """``starts_at`` in ``timezone``."""
        return to_local(self.starts_at, zone(self.timezone))

    @computed_field(description="The end on the viewer's clocks.", examples=["2026-03-02T15:00:00+00:00"])
    @property
    def end_local(self) -> AwareDatetime:
        """``ends_at`` in ``timezone``."""
        return to_local(self.ends_at, zone(self.timezone))


class BookingPage(Answer):
    """Bookings by start, earliest first."""

    bookings: list[Booking]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")
    timezone: str = Field(description="The zone of the local times.", examples=["Europe/London"])


class BookingResult(Answer):
    """A booking after an action."""

    booking: Booking
    changed: bool = Field(description="False when everything was so already.")


class AcceptedBooking(BookingResult):
    """A booking that was accepted, and the session that it became."""

    session: Session


class SlotQuery(Request):
    """Which free times."""

    listing_id: UUID
    from_: Instant = Field(alias="from", description="Starting at this time or later.")
    to: Instant = Field(description="Starting before this time, at most 62 days after `from`.")
    tz: Timezone | None = Field(default=None, description="Show times in this zone, not in the profile's.")


class BookingRequest(Request):
    """A student's wish. Its length is the listing's."""

    listing_id: UUID
    start_utc: Instant = Field(description="Of one of the listing's free slots.")
    note: Remark | None = Field(default=None, description="For the tutor.")


class BookingQuery(Request):
    """Which bookings. Filters narrow what the caller may see anyway."""

    role: Role | None = Field(default=None, description="Only those in which the caller has this role.")
    status: list[BookingStatus] | None = Field(default=None, max_length=4, description="May be repeated.")
    from_: Instant | None = Field(default=None, alias="from", description="Starting at this time or later.")
    to: Instant | None = Field(default=None, description="Starting before this time.")
    tz: Timezone | None = Field(default=None, description="Show times in this zone, not in the profile's.")
    limit: int = Field(default=50, ge=1, le=200, description="Bookings a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class Acceptance(Request):
    """Accepting a booking. There may be no body at all."""

    expected_version: ExpectedVersion | None = None


class Refusal(Request):
    """Declining or cancelling a booking. There may be no body at all."""

    reason: Reason | None = Field(default=None, description="The other side reads it.")
    expected_version: ExpectedVersion | None = None


async def list_slots(database: Database, query: SlotQuery) -> FreeSlots:
    """The times of a listing at which both its tutor and the caller are free."""
    answer = await _slot_inputs(database, query.listing_id, query.from_, query.to)
    inputs = SlotInputs.model_validate(answer)
    timezone = viewer_timezone(answer, query.tz)
    local = zone(timezone)
    slots = [
        FreeSlot(
            start_utc=slot.start,
            end_utc=slot.end,
            start_local=to_local(slot.start, local),
            end_local=to_local(slot.end, local),
        )
        for slot in free_slots(inputs, query.from_, query.to)
    ]
    return FreeSlots(
        listing_id=inputs.listing_id,
        tutor=Participant.model_validate(answer["tutor"]),
        duration_mins=inputs.duration_mins,
        timezone=timezone,
        calendar_as_of=answer["calendar_as_of"],
        slots=slots,
    )


async def request_booking(database: Database, request: BookingRequest, timezone: str | None) -> BookingResult:
    """Ask for a lesson.

    Raises:
        Invalid: ``not_available``: the tutor offers none at that time. The rest is the database's, also whether the
            time has passed or is taken.
    """
    start = request.start_utc
    inputs = SlotInputs.model_validate(
        await _slot_inputs(database, request.listing_id, start, start + timedelta(minutes=1))
    )
    if not is_offered(inputs, start):
        raise Invalid("not_available", "The tutor offers no lesson of this listing that begins then.")

    answer = await database.write("request_booking", request.parameters(fingerprint=inputs.fingerprint))
    return _result(answer, timezone)


async def list_bookings(database: Database, query: BookingQuery) -> BookingPage:
    """One page of the bookings that the caller may see."""
    answer = await database.rpc("list_bookings", _parameters(query))
    timezone = viewer_timezone(answer, query.tz)
    bookings = [_seen_from(timezone, each) for each in answer["bookings"]]
    return BookingPage(
        bookings=bookings,
        next_cursor=str(Cursor(bookings[-1].starts_at, bookings[-1].id)) if answer["has_more"] else None,
        timezone=timezone,
    )


async def get_booking(database: Database, booking_id: UUID, timezone: str | None) -> Booking:
    """One booking that the caller may see."""
    return _seen(await database.rpc("get_booking", {"p_booking_id": str(booking_id)}), timezone)


async def accept_booking(
    database: Database, booking_id: UUID, acceptance: Acceptance, timezone: str | None
) -> AcceptedBooking:
    """Accept a booking. Its session is made in the same transaction."""
    answer = await database.write("accept_booking", acceptance.parameters(booking_id=str(booking_id)))
    return AcceptedBooking(
        booking=_seen(answer, timezone),
        session=session_seen_from(viewer_timezone(answer, timezone), answer["session"]),
        changed=answer["changed"],
    )


async def decline_booking(
    database: Database, booking_id: UUID, refusal: Refusal, timezone: str | None
) -> BookingResult:
    """Decline a booking. No session comes of it."""
    answer = await database.write("decline_booking", refusal.parameters(booking_id=str(booking_id)))
    return _result(answer, timezone)


async def cancel_booking(database: Database, booking_id: UUID, refusal: Refusal, timezone: str | None) -> BookingResult:
    """Take back a booking that nobody has decided about."""
    answer = await database.write("cancel_booking", refusal.parameters(booking_id=str(booking_id)))
    return _result(answer, timezone)


async def _slot_inputs(database: Database, listing_id: UUID, first: datetime, last: datetime) -> dict[str, Any]:
    parameters = {"p_listing_id": str(listing_id), "p_from": first.isoformat(), "p_to": last.isoformat()}
    return await database.rpc("slot_inputs", parameters)


def _result(answer: Mapping[str, Any], timezone: str | None) -> BookingResult:
    return BookingResult(booking=_seen(answer, timezone), changed=answer["changed"])


def _seen(answer: Mapping[str, Any], timezone: str | None) -> Booking:
    return _seen_from(viewer_timezone(answer, timezone), answer["booking"])


def _seen_from(timezone: str, stored: Mapping[str, Any]) -> Booking:
    return Booking.model_validate({**stored, "timezone": timezone})


def _parameters(query: BookingQuery) -> dict[str, object]:
    filters = query.model_dump(mode="json", by_alias=True, exclude={"tz", "cursor"})
    return {f"p_{name}": value for name, value in filters.items()} | after(query.cursor, "start")
