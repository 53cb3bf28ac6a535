"""/events and /deliveries."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import events
from lib.events import Delivery, DeliveryDetail, EventPage, EventQuery

router = APIRouter(prefix="/api", tags=["Events"])


@router.get("/events", responses=problems())
async def list_events(database: AsCaller, query: Annotated[EventQuery, Query()]) -> EventPage:
    """What happened, in order (admin). Whoever keeps `next` and comes back misses nothing."""
    return await events.list_events(database, query)


@router.get("/deliveries/{delivery_id}", responses=problems(404))
async def get_delivery(database: AsCaller, delivery_id: UUID) -> DeliveryDetail:
    """One delivery, with what was sent and every attempt (admin)."""
    return await events.get_delivery(database, delivery_id)


@router.post("/deliveries/{delivery_id}/replay", responses=problems(404, 409))
async def replay_delivery(database: AsCallerOnce, delivery_id: UUID) -> Delivery:
    """Have a finished delivery sent again, with the same id and bytes (admin)."""
    return await events.replay_delivery(database, delivery_id)
