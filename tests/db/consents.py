"""Guardians for the tests: asked as a provider's report would, answering as the page does."""

from typing import Any
from uuid import UUID

from tests.database import Database
from tests.house import LENA, Person

ROSA = UUID("d0000000-0000-4000-8000-000000000001")
"""LENA's primary guardian, whom WhatsApp reaches."""
ANSWERS = {"approve": "approved", "keep": "rejected", "reschedule": "reschedule_requested", "call": "call_requested"}
"""What each answer makes of a request."""


def wish(db: Database, session_id: object, who: Person = LENA, reason: str = "Flu.") -> UUID:
    """Somebody asks to cancel; the request."""
    answer = db.call(who, "request_cancellation", p_session_id=session_id, p_reason=reason)
    return UUID(answer["request"]["id"])


def token_for(db: Database, request_id: object) -> str:
    return db.value("select private.new_consent_token(%s)", request_id)


def asked(db: Database, session_id: object, who: Person = LENA) -> tuple[UUID, str]:
    """A wish to cancel whose question a provider has just taken; the request, and the guardian's token."""
    request_id = wish(db, session_id, who)
    token = token_for(db, request_id)
    db.run("select private.start_consent_timer(%s)", request_id)
    return request_id, token


def read(db: Database, token: str) -> dict[str, Any]:
    return db.call("service_role", "read_consent", p_token=token)


def reply(db: Database, token: str, answer: str) -> dict[str, Any]:
    return db.call("service_role", "answer_consent", p_token=token, p_answer=answer)


def silence(db: Database, **options: object) -> dict[str, Any]:
    """The scheduler comes by."""
    return db.call("service_role", "auto_approve_cancellations", **options)


def request(db: Database, request_id: object) -> dict[str, Any]:
    """The row."""
    return db.value("select to_jsonb(r) from public.cancellation_requests r where id = %s", request_id)
