"""/listings and /availability."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import listings
from lib.listings import (
    Availability,
    AvailabilityChange,
    Listing,
    ListingCreation,
    ListingPage,
    ListingQuery,
    ListingUpdate,
)

router = APIRouter(prefix="/api", tags=["Bookings"])

OfTutor = Annotated[UUID | None, Query(alias="tutor_id", description="Whose; left out: your own.")]


@router.get("/listings", responses=problems())
async def list_listings(database: AsCaller, query: Annotated[ListingQuery, Query()]) -> ListingPage:
    """What can be booked, in pages; your own also when it cannot, for an admin everything."""
    return await listings.list_listings(database, query)


@router.post("/listings", status_code=201, responses=problems(409, body=True))
async def create_listing(database: AsCallerOnce, listing: ListingCreation) -> Listing:
    """Offer a single lesson (tutor for themselves, admin for any tutor)."""
    return await listings.create_listing(database, listing)


@router.get("/listings/{listing_id}", responses=problems(404))
async def get_listing(database: AsCaller, listing_id: UUID) -> Listing:
    """One listing."""
    return await listings.get_listing(database, listing_id)


@router.patch("/listings/{listing_id}", responses=problems(404, 409, body=True))
async def update_listing(database: AsCallerOnce, listing_id: UUID, changes: ListingUpdate) -> Listing:
    """Change a listing or take it back (its tutor, admin). Bookings that are there stay as they are."""
    return await listings.update_listing(database, listing_id, changes)


@router.get("/availability", responses=problems())
async def get_availability(database: AsCaller, tutor_id: OfTutor = None) -> Availability:
    """The weekly hours of a tutor (tutor for themselves, admin for any tutor)."""
    return await listings.get_availability(database, tutor_id)


@router.put("/availability", responses=problems(409, body=True))
async def set_availability(
    database: AsCallerOnce, availability: AvailabilityChange, tutor_id: OfTutor = None
) -> Availability:
    """Replace all of a tutor's weekly hours (tutor for themselves, admin for any tutor). Bookings stay."""
    return await listings.set_availability(database, availability, tutor_id)
