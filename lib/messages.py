"""Messages: what the house tells people, when it goes out, and how it was received.

Postgres has written down what is said to whom, and leases what is due; here it is put into the reader's language and
clocks, goes out through the first channel that is on and reaches them, and Postgres hears how that went. Whoever ends
in between may have sent: such a message is never sent again by itself.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

from pydantic import Field, TypeAdapter

from lib.answers import Answer, Utc
from lib.channels import CHANNELS, ChannelName, Post, open_post
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.deadlines import Clock, Deadline
from lib.fields import Request
from lib.letters import Message, Ready, Waits, ready
from lib.posting import SECONDS

AT_ONCE = 20
"""Messages leased and sent at the same time."""
LEASE_SECONDS = 120
"""Longer than sending them and saying so can take, also where a provider takes a few in a second."""
LONGEST_LAP = 2 * SECONDS

MessageStatus = Literal["pending", "sent", "delivered", "failed", "unknown", "dropped", "unreachable"]
Only: TypeAlias = Literal["reminders", "notices"]
_Told = Literal["sent", "retrying", "failed", "unknown", "deferred", "unreachable", "stale"]
_INSTANT: TypeAdapter[datetime] = TypeAdapter(Utc)


# --- what is answered -----------------------------------------------------------------------------------


class Posted(Answer):
    """What became of the messages that were due."""

    sent: int
    retrying: int = Field(description="Failed; they are tried again later.")
    failed: int = Field(description="Refused, or tried often enough; an admin may have them sent again.")
    unknown: int = Field(description="Nobody can tell whether they went out; they are not sent again by themselves.")
    deferred: int = Field(description="They wait for the end of their reader's quiet hours.")
    unreachable: int = Field(description="Their reader has no address for any channel that is on.")
    stale: int = Field(description="Took longer than their lease.")
    off: list[ChannelName] = Field(description="Channels that are off; `GET /api/health` says why.")
    more: bool = Field(description="The time was up. The next call goes on.")


class RemindersPosted(Posted):
    """The same of reminders."""

    planned: int = Field(description="Reminders that were put down just now.")


class MessageReader(Answer):
    """Who is told."""

    kind: Literal["tutor", "student", "guardian", "admin"]
    id: UUID
    name: str


class MessageRecord(Answer):
    """One thing said to one reader. Its words are not kept."""

    id: UUID
    template: str = Field(examples=["session_moved"])
    kind: str | None = Field(description="Of a reminder: `24h` or `1h`.", examples=["24h"])
    reader: MessageReader
    session_id: UUID | None
    booking_id: UUID | None
    cancellation_request_id: UUID | None
    about_start: Utc | None = Field(description="The start it speaks of.")
    status: MessageStatus = Field(
        description="`unknown`: it may have gone out, so it is not sent again by itself; `dropped`: not true any more "
        "when its turn came; `unreachable`: its reader has no address for any channel that is on."
    )
    channel: ChannelName | None
    provider: str | None = Field(examples=["resend"])
    attempts: int
    send_after: Utc | None = Field(description="While it is pending: not before this time.")
    expires_at: Utc | None = Field(description="From then on it is not worth sending.")
    last_error: str | None
    sent_at: Utc | None
    delivered_at: Utc | None
    created_at: Utc


class MessagePage(Answer):
    """Messages, oldest first."""

    messages: list[MessageRecord]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class MessageQuery(Request):
    """Which messages."""

    session_id: UUID | None = None
    status: MessageStatus | None = None
    limit: int = Field(default=50, ge=1, le=200, description="Messages a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class InboxButton(Answer):
    """A button under a message."""

    id: str = Field(description="What comes back when it is pressed.")
    title: str


class InboxMessage(Answer):
    """What would have been sent, word for word."""

    id: UUID
    message_id: UUID
    template: str
    channel: ChannelName
    sent_to: str
    subject: str | None
    body: str
    buttons: list[InboxButton]
    attachment_name: str | None
    attachment: str | None
    created_at: Utc


class InboxPage(Answer):
    """What would have been sent, newest first. Without the provider `inbox` nothing."""

    messages: list[InboxMessage]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")


class InboxQuery(Request):
    """Which page."""

    limit: int = Field(default=50, ge=1, le=200, description="Messages a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


# --- sending --------------------------------------------------------------------------------------------


async def send_reminders(database: Database, budget_seconds: float, clock: Clock = time.monotonic) -> RemindersPosted:
    """Put down who is to be reminded of what begins soon, and remind them."""
    deadline = Deadline(budget_seconds / 2, clock)
    planned, more = 0, True
    while more:
        answer = await database.rpc("plan_reminders")
        planned, more = planned + answer["planned"], answer["more"]
        if not deadline.leaves_time_for_another_lap():
            break
    posted = await send_messages(database, "reminders", budget_seconds / 2, clock)
    return RemindersPosted.model_validate(posted.model_dump() | {"planned": planned, "more": more or posted.more})


async def send_messages(database: Database, only: Only, budget_seconds: float, clock: Clock = time.monotonic) -> Posted:
    """Send what is due, through the channels that are on; with none of them it stays where it is."""
    async with open_post() as post:
        return await dispatch(database, post, only, budget_seconds, clock)


async def dispatch(
    database: Database, post: Post, only: Only, budget_seconds: float, clock: Clock = time.monotonic
) -> Posted:
    """Lease, send and settle, lap by lap, each with all its messages at once.

    Args:
        database: speaks as a service.
        post: the channels that are on.
        only: which messages.
        budget_seconds: by ``clock``, for all laps; the first one is run in any case.
        clock: seconds, from whatever beginning.
    """
    # No lap begins that would end too late even if every provider hung.
    deadline = Deadline(budget_seconds - LONGEST_LAP, clock)
    counts: dict[str, int] = dict.fromkeys(get_args(_Told), 0)
    more = bool(post.channels)
    while more:
        lease = {"p_limit": AT_ONCE, "p_lease_seconds": LEASE_SECONDS, "p_only": only}
        claimed = await database.rpc("claim_messages", lease)
        now = _INSTANT.validate_python(claimed["now"])
        results = await asyncio.gather(*(_result_of(each, post, now) for each in claimed["messages"]))
        settled = await database.rpc("settle_messages", {"p_results": results}) if results else {}
        counts = {name: count + settled.get(name, 0) for name, count in counts.items()}
        more = claimed["more"]
        if not deadline.leaves_time_for_another_lap():
            break
    off = [name for name in CHANNELS if name not in post.channels]
    return Posted.model_validate({**counts, "off": off, "more": more})


async def _result_of(claimed: Mapping[str, Any], post: Post, now: datetime) -> Mapping[str, object]:
    """Send one message; how it went, as Postgres takes it."""
    names = {"message_id": claimed["message_id"], "lease_id": claimed["lease_id"]}
    try:
        todo = ready(Message.model_validate(claimed), post, now)
    except Exception as error:  # noqa: BLE001  # a fault of ours about one message must not stop all the others
        return {**names, "outcome": "failed", "error": f"A fault of ours: {type(error).__name__}."}
    match todo:
        case None:
            return {**names, "outcome": "unreachable", "error": "No channel that is on reaches this reader."}
        case Waits(until):
            return {**names, "outcome": "deferred", "send_after": until.isoformat()}
        case Ready():
            return names | await _sent(todo, post)


async def _sent(todo: Ready, post: Post) -> dict[str, object]:
    channel = post.channels[todo.channel]
    way = {"channel": todo.channel, "provider": channel.provider}
    try:
        receipt = await channel.send(todo.letter)
    except Exception as error:  # noqa: BLE001  # where it broke, nobody knows
        return {**way, "outcome": "unknown", "error": f"A fault of ours: {type(error).__name__}."}
    return {**way, **asdict(receipt)}


# --- looking at them ------------------------------------------------------------------------------------


async def list_messages(database: Database, query: MessageQuery) -> MessagePage:
    """One page of what the caller was told or is to be told; for admins everybody."""
    filters = query.model_dump(mode="json", include={"session_id", "status", "limit"})
    parameters = {f"p_{name}": value for name, value in filters.items()} | after(query.cursor, "created")
    answer = await database.rpc("list_messages", parameters)
    messages = [MessageRecord.model_validate(each) for each in answer["messages"]]
    return MessagePage(messages=messages, next_cursor=_next(messages) if answer["has_more"] else None)


async def retry_message(database: Database, message_id: UUID) -> MessageRecord:
    """Have a message sent again that did not go out, or may not have."""
    return MessageRecord.model_validate(await database.write("retry_message", {"p_message_id": str(message_id)}))


async def list_inbox(database: Database, query: InboxQuery) -> InboxPage:
    """One page of what would have been sent."""
    answer = await database.rpc("list_inbox", {"p_limit": query.limit, **after(query.cursor, "created")})
    messages = [InboxMessage.model_validate(each) for each in answer["messages"]]
    return InboxPage(messages=messages, next_cursor=_next(messages) if answer["has_more"] else None)


def _next(page: Sequence[MessageRecord | InboxMessage]) -> str:
    return str(Cursor(page[-1].created_at, page[-1].id))
