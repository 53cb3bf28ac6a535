"""The outbox: events that wait are taken to those who subscribed, and what is old is forgotten.

Postgres leases what is due, each consumer's sender sends it, and Postgres hears how it went. Whoever ends in between
has sent, but not said so: the lease runs out and the same message goes again, under the same id.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from lib.adapters import Sent
from lib.adapters.webhook import SECONDS, Message, WebhookSender
from lib.answers import Answer
from lib.database import Database
from lib.deadlines import Clock, Deadline
from lib.targets import targets

AT_ONCE = 50
"""Deliveries leased and sent at the same time."""
LEASE_SECONDS = 60
"""Longer than sending them and saying so can take."""


class Delivery(BaseModel):
    """A message under lease, and what its consumer's sender must know besides."""

    model_config = ConfigDict(frozen=True)

    delivery_id: str
    lease_id: str
    consumer: str
    message_id: str
    body: str = Field(repr=False)
    url: str = Field(default="", repr=False)
    secrets: tuple[str, ...] = Field(default=(), repr=False)


Send: TypeAlias = Callable[[Delivery], Awaitable[Sent]]
"""Takes one message to its consumer, within `SECONDS`."""


class Dispatched(Answer):
    """What became of the deliveries that were due."""

    delivered: int
    retrying: int = Field(description="Failed; they are tried again later.")
    dead: int = Field(description="Given up; an admin may replay them.")
    stale: int = Field(description="Took longer than their lease; somebody else has them.")
    more: bool = Field(description="The time was up. The next call goes on.")


class CleanedUp(Answer):
    """What was repaired, and what was forgotten because it is old."""

    repaired: int = Field(description="Reactions to an event that had failed before.")
    failed: int = Field(description="Reactions that failed again.")
    deliveries: int
    events: int
    answers: int = Field(description="Kept for repeated calls.")
    call_counts: int
    refreshes: int
    messages: int = Field(description="That are over, with their words in the inbox.")
    consent_tokens: int = Field(description="Of links that guardians have had.")
    provider_events: int = Field(description="Kept so that a provider's repetition changes nothing.")
    more: bool = Field(description="The time was up. The next call goes on.")


async def deliver_outbox(database: Database, budget_seconds: float, clock: Clock = time.monotonic) -> Dispatched:
    """Take what is due to everybody who subscribed, until nothing is left or ``budget_seconds`` are nearly over."""
    async with WebhookSender(targets()) as webhooks:
        senders = {"webhook": _by_webhook(webhooks)}
        return await dispatch(database, senders, budget_seconds, clock)


async def dispatch(
    database: Database, senders: Mapping[str, Send], budget_seconds: float, clock: Clock = time.monotonic
) -> Dispatched:
    """Lease, send and settle, lap by lap, each with all its messages at once.

    Args:
        database: speaks as a service.
        senders: by the consumer whose messages they take.
        budget_seconds: by ``clock``, for all laps; the first one is run in any case.
        clock: seconds, from whatever beginning.
    """
    # No lap begins that would end too late even if every receiver hung.
    deadline = Deadline(budget_seconds - SECONDS, clock)
    done = Dispatched(delivered=0, retrying=0, dead=0, stale=0, more=True)
    while done.more:
        claimed = await database.rpc("claim_deliveries", {"p_limit": AT_ONCE, "p_lease_seconds": LEASE_SECONDS})
        deliveries = [Delivery.model_validate(each) for each in claimed["deliveries"]]
        results = await asyncio.gather(*(_result_of(each, senders, clock) for each in deliveries))
        done = _with(done, await _settle(database, results), more=claimed["more"])
        if not deadline.leaves_time_for_another_lap():
            break
    return done


async def clean_up(database: Database, budget_seconds: float, clock: Clock = time.monotonic) -> CleanedUp:
    """Repair what failed and forget what is old, a transaction at a time, until ``budget_seconds`` are nearly over."""
    deadline = Deadline(budget_seconds, clock)
    done = CleanedUp.model_validate(dict.fromkeys(CleanedUp.model_fields, 0) | {"more": True})
    while done.more:
        step = CleanedUp.model_validate(await database.rpc("clean_up"))
        done = CleanedUp.model_validate(_sums(done.model_dump(), step.model_dump()) | {"more": step.more})
        if not deadline.leaves_time_for_another_lap():
            break
    return done


def _by_webhook(webhooks: WebhookSender) -> Send:
    def send(delivery: Delivery) -> Awaitable[Sent]:
        body = delivery.body.encode()
        return webhooks.send(Message(delivery.message_id, delivery.url, body, delivery.secrets))

    return send


async def _result_of(delivery: Delivery, senders: Mapping[str, Send], clock: Clock) -> Mapping[str, Any]:
    """Send one message; how it went, as Postgres takes it."""
    began = clock()
    sent = await _send(delivery, senders.get(delivery.consumer))
    return {
        "delivery_id": delivery.delivery_id,
        "lease_id": delivery.lease_id,
        "outcome": sent.outcome,
        "status_code": sent.status_code,
        "error": sent.error,
        "duration_ms": int((clock() - began) * 1000),
        "retry_after_seconds": sent.retry_after_seconds,
    }


async def _send(delivery: Delivery, send: Send | None) -> Sent:
    if send is None:
        return Sent("failed", error="These functions have no way to send this.")
    try:
        return await send(delivery)
    except Exception as error:  # noqa: BLE001  # a fault of ours about one message must not repeat all the others
        return Sent("failed", error=f"A fault of ours: {type(error).__name__}.")


async def _settle(database: Database, results: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    return await database.rpc("settle_deliveries", {"p_results": results}) if results else {}


def _with(done: Dispatched, settled: Mapping[str, int], *, more: bool) -> Dispatched:
    counts = done.model_dump(exclude={"more"})
    return Dispatched.model_validate(_sums(counts, settled) | {"more": more})


def _sums(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, Any]:
    """Each count of ``counts`` with what ``more`` adds to it."""
    return {name: count + more.get(name, 0) for name, count in counts.items()}
