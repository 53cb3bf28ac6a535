"""Events: what happened, in order, and what became of telling each receiver."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from lib.answers import Answer, Utc
from lib.database import Database
from lib.fields import Request

DeliveryStatus = Literal["pending", "delivered", "dead", "cancelled"]


class Aggregate(Answer):
    """What an event is about."""

    type: str = Field(examples=["session"])
    id: UUID
    sequence: int = Field(description="Counts 1, 2, 3 … for this one; a consumer of its events orders by it.")


class Event(Answer):
    """What happened. A webhook's body is this."""

    id: str = Field(description="Of the message too, however often it is sent.", examples=["evt_42"])
    type: str = Field(examples=["session.completed"])
    schema_version: int = Field(description="Of `data`.")
    aggregate: Aggregate
    occurred_at: Utc
    data: dict[str, Any]


class EventPage(Answer):
    """Events in the order in which they may be relied upon: none comes later that belongs before."""

    events: list[Event]
    next: str | None = Field(description="Send it as `after`, now or later, to go on behind these. Keep it.")
    has_more: bool


class EventQuery(Request):
    """From where on."""

    after: Annotated[str, Field(pattern=r"^[0-9]{1,18}\.[0-9]{1,18}$")] | None = Field(
        default=None, description="The `next` of an earlier answer. Left out: from the oldest that is kept."
    )
    limit: int = Field(default=100, ge=1, le=200, description="Events a page.")


class Delivery(Answer):
    """One event for one endpoint."""

    id: UUID
    endpoint_id: UUID
    event_id: str = Field(examples=["evt_42"])
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Utc | None = Field(description="While it is pending: not before this time.")
    last_status_code: int | None = Field(description="Of the endpoint's last answer.")
    last_error: str | None
    delivered_at: Utc | None
    created_at: Utc


class DeliveryAttempt(Answer):
    """How one attempt ended."""

    attempt: int
    attempted_at: Utc
    duration_ms: int | None
    outcome: Literal["delivered", "failed", "refused", "gone", "lost"] = Field(
        description="`refused`: the address is not allowed; `gone`: it answered 410; `lost`: its sender never said."
    )
    status_code: int | None
    error: str | None


class DeliveryDetail(Delivery):
    """The same, with what was sent and every attempt."""

    event: Event
    log: list[DeliveryAttempt]


class DeliveryPage(Answer):
    """Deliveries to one endpoint, newest event first."""

    deliveries: list[Delivery]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class DeliveryQuery(Request):
    """Which of them."""

    status: DeliveryStatus | None = None
    limit: int = Field(default=50, ge=1, le=200, description="Deliveries a page.")
    cursor: Annotated[str, Field(pattern=r"^evt_[0-9]{1,18}$")] | None = Field(
        default=None, description="The `next_cursor` of the page before."
    )


async def list_events(database: Database, query: EventQuery) -> EventPage:
    """What happened, behind ``after``."""
    return EventPage.model_validate(await database.rpc("list_events", query.parameters()))


async def list_deliveries(database: Database, endpoint_id: UUID, query: DeliveryQuery) -> DeliveryPage:
    """What was sent to an endpoint, or is to be."""
    parameters = {
        "p_endpoint_id": str(endpoint_id),
        "p_status": query.status,
        "p_after": query.cursor,
        "p_limit": query.limit,
    }
    answer = await database.rpc("list_deliveries", parameters)
    return DeliveryPage.model_validate({"deliveries": answer["deliveries"], "next_cursor": answer["next"]})


async def get_delivery(database: Database, delivery_id: UUID) -> DeliveryDetail:
    """One delivery, with its event and its attempts."""
    return DeliveryDetail.model_validate(await database.rpc("get_delivery", {"p_delivery_id": str(delivery_id)}))


async def replay_delivery(database: Database, delivery_id: UUID) -> Delivery:
    """Have a finished delivery sent again, with the same id and bytes."""
    return Delivery.model_validate(await database.write("replay_delivery", {"p_delivery_id": str(delivery_id)}))
