"""Wishes to cancel a session: its tutor or student asks, the student's guardian or an admin decides."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from lib.answers import (
    Answer,
    CancellationStatus,
    Capacity,
    Participant,
    Session,
    Side,
    Utc,
    session_seen_from,
    viewer_timezone,
)
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.fields import Reason, Request
from lib.zones import Timezone

CancellationStep = CancellationStatus | Literal["requested", "guardian_asked", "guardian_not_asked"]


class CancellationWish(Request):
    """Why a session should be cancelled."""

    reason: Reason


class CancellationDecision(Request):
    """What an admin says about a wish. There may be no body at all."""

    reason: Reason | None = None


class CancellationQuery(Request):
    """Which wishes. Filters narrow what the caller may see anyway."""

    status: CancellationStatus | None = None
    session_id: UUID | None = None
    tz: Timezone | None = Field(default=None, description="Show times in this zone, not in the profile's.")
    limit: int = Field(default=50, ge=1, le=200, description="Requests a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


class CancellationHistory(Answer):
    """One step of a wish."""

    step: CancellationStep = Field(description="What happened, or the status that it took.")
    by_role: Capacity = Field(description="In which capacity; names nobody.")
    at: Utc


class CancellationRequest(Answer):
    """A wish to cancel a session, and what became of it."""

    id: UUID
    status: CancellationStatus = Field(
        description="`lapsed`: the session changed before anybody decided. `call_requested`: the guardian would like a "
        "call, and an admin decides."
    )
    reason: str = Field(examples=["Down with the flu"])
    requested_by: Participant
    requested_by_role: Side
    asks_guardian: bool = Field(description="Whether the student's guardian is asked; else an admin decides.")
    asked_at: Utc | None = Field(description="When a messaging provider took the question; null until then.")
    expires_at: Utc | None = Field(description="When silence becomes consent; null while no time runs.")
    unasked_reason: str | None = Field(
        description="Why the guardian could not be asked, in one word; an admin decides.", examples=["no_guardian"]
    )
    answered_by_guardian: bool
    decided_at: Utc | None
    decision_reason: str | None
    history: list[CancellationHistory] = Field(description="Every step so far, oldest first.")
    session: Session = Field(description="As it is now.")
    created_at: Utc


class CancellationResult(Answer):
    """A wish after an action."""

    request: CancellationRequest
    changed: bool = Field(description="False when everything was so already.")


class CancellationPage(Answer):
    """Wishes by age, oldest first."""

    requests: list[CancellationRequest]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")
    timezone: str = Field(description="The zone of the local times.", examples=["Europe/London"])


async def request_cancellation(
    database: Database, session_id: UUID, wish: CancellationWish, timezone: str | None
) -> CancellationResult:
    """Ask to cancel a session that has not begun."""
    return _result(await database.write("request_cancellation", wish.parameters(session_id=str(session_id))), timezone)


async def list_cancellation_requests(database: Database, query: CancellationQuery) -> CancellationPage:
    """One page of the caller's wishes; for admins everybody's."""
    filters = query.model_dump(mode="json", exclude={"tz", "cursor"})
    parameters = {f"p_{name}": value for name, value in filters.items()}
    answer = await database.rpc("list_cancellation_requests", parameters | after(query.cursor, "created"))
    timezone = viewer_timezone(answer, query.tz)
    requests = [_seen(each, timezone) for each in answer["requests"]]
    return CancellationPage(
        requests=requests,
        next_cursor=str(Cursor(requests[-1].created_at, requests[-1].id)) if answer["has_more"] else None,
        timezone=timezone,
    )


async def get_cancellation_request(database: Database, request_id: UUID, timezone: str | None) -> CancellationRequest:
    """One wish that the caller may see."""
    answer = await database.rpc("get_cancellation_request", {"p_request_id": str(request_id)})
    return _seen(answer["request"], viewer_timezone(answer, timezone))


async def approve_cancellation(
    database: Database, request_id: UUID, decision: CancellationDecision, timezone: str | None
) -> CancellationResult:
    """Cancel the session as was asked."""
    return _result(
        await database.write("approve_cancellation", decision.parameters(request_id=str(request_id))), timezone
    )


async def reject_cancellation(
    database: Database, request_id: UUID, decision: CancellationDecision, timezone: str | None
) -> CancellationResult:
    """Keep the session."""
    return _result(
        await database.write("reject_cancellation", decision.parameters(request_id=str(request_id))), timezone
    )


async def withdraw_cancellation(database: Database, request_id: UUID, timezone: str | None) -> CancellationResult:
    """Take one's own wish back."""
    return _result(await database.write("withdraw_cancellation", {"p_request_id": str(request_id)}), timezone)


def _result(answer: dict[str, Any], timezone: str | None) -> CancellationResult:
    return CancellationResult(
        request=_seen(answer["request"], viewer_timezone(answer, timezone)), changed=answer["changed"]
    )


def _seen(stored: dict[str, Any], timezone: str) -> CancellationRequest:
    return CancellationRequest.model_validate({**stored, "session": session_seen_from(timezone, stored["session"])})
