"""Listings, a tutor's offers of single lessons, and the weekly hours in which a tutor takes them."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Participant, Utc
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.fields import (
    Changes,
    ClearableMeetLink,
    ClearableSubject,
    Description,
    Flag,
    MeetLink,
    Name,
    Request,
)
from lib.slots import WeeklyHours
from lib.zones import Timezone

Minutes = Annotated[
    int, Field(strict=True, ge=15, le=480, description="Elapsed minutes from start to end.", examples=[60])
]


class Listing(Answer):
    """A single lesson that a tutor offers."""

    id: UUID
    tutor: Participant
    title: str = Field(examples=["Exam clinic"])
    description: str | None
    subject: str | None = Field(examples=["Mathematics"])
    duration_mins: int = Field(examples=[60])
    meet_link: str | None = Field(
        description="For its tutor and admins. Students find it with their session.",
        examples=["https://meet.google.com/abc-defg-hij"],
    )
    is_active: bool = Field(description="Whether it can be booked and others see it.")
    created_at: Utc
    updated_at: Utc


class ListingPage(Answer):
    """Listings, oldest first."""

    listings: list[Listing]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class Availability(Answer):
    """The hours in which a tutor takes bookings, week by week."""

    tutor: Participant
    timezone: str = Field(description="The zone of the hours.", examples=["Asia/Karachi"])
    hours: list[WeeklyHours] = Field(description="By weekday and time; empty: the tutor takes none.")


class ListingQuery(Request):
    """Which listings."""

    tutor_id: UUID | None = None
    limit: int = Field(default=50, ge=1, le=200, description="Listings a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class ListingCreation(Request):
    """A new listing. A tutor makes their own, an admin any tutor's."""

    title: Name
    duration_mins: Minutes = 60
    description: Description | None = None
    subject: Name | None = None
    meet_link: MeetLink | None = None
    is_active: Flag = True
    tutor_id: UUID | None = Field(default=None, description="For admins; a tutor's own is meant without it.")


class ListingUpdate(Changes):
    """What may change of a listing. Bookings that are there keep their length."""

    title: Name | None = None
    description: Description | None = None
    subject: ClearableSubject | None = None
    duration_mins: Minutes | None = None
    meet_link: ClearableMeetLink | None = None
    is_active: Flag | None = None


class AvailabilityChange(Request):
    """All weekly hours of a tutor, in place of those that were there."""

    timezone: Timezone
    hours: Annotated[list[WeeklyHours], Field(max_length=50, description="On no weekday may two of them overlap.")]


async def create_listing(database: Database, listing: ListingCreation) -> Listing:
    """Offer a single lesson."""
    return Listing.model_validate(await database.write("create_listing", listing.parameters()))


async def update_listing(database: Database, listing_id: UUID, changes: ListingUpdate) -> Listing:
    """Change an offer, or take it back with ``is_active``."""
    parameters = changes.parameters(listing_id=str(listing_id))
    return Listing.model_validate(await database.write("update_listing", parameters))


async def get_listing(database: Database, listing_id: UUID) -> Listing:
    """One offer."""
    return Listing.model_validate(await database.rpc("get_listing", {"p_listing_id": str(listing_id)}))


async def list_listings(database: Database, query: ListingQuery) -> ListingPage:
    """One page of what is offered."""
    parameters = {"p_tutor_id": query.tutor_id and str(query.tutor_id), "p_limit": query.limit}
    answer = await database.rpc("list_listings", parameters | after(query.cursor, "created_at"))
    listings = [Listing.model_validate(each) for each in answer["listings"]]
    return ListingPage(
        listings=listings,
        next_cursor=str(Cursor(listings[-1].created_at, listings[-1].id)) if answer["has_more"] else None,
    )


async def get_availability(database: Database, tutor_id: UUID | None) -> Availability:
    """A tutor's weekly hours; without an id the caller's own."""
    parameters = {"p_tutor_id": tutor_id and str(tutor_id)}
    return Availability.model_validate(await database.rpc("get_availability", parameters))


async def set_availability(database: Database, change: AvailabilityChange, tutor_id: UUID | None) -> Availability:
    """Replace a tutor's weekly hours; without an id the caller's own. Bookings stay."""
    parameters = change.parameters(tutor_id=tutor_id and str(tutor_id))
    return Availability.model_validate(await database.write("set_availability", parameters))
