"""Messages for the tests of the database: who was told what, claimed, settled."""

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from tests.database import Database
from tests.house import BILAL, LENA, NADIA, Person

ROSA = UUID("d0000000-0000-4000-8000-000000000001")
"""Lena's primary guardian: on WhatsApp, in Spanish, with quiet hours of her own."""
GRACE = UUID("d0000000-0000-4000-8000-000000000003")
"""Oliver's: e-mail alone."""
IMRAN = UUID("d0000000-0000-4000-8000-000000000004")
"""Zara's: on WhatsApp."""

NAMES = {BILAL.id: "tutor", LENA.id: "student", ROSA: "guardian", NADIA.id: "admin"}
"""The readers of the lessons of mathematics."""


def told(db: Database, template: str | None = None) -> list[tuple[str, str]]:
    """What is put down: template and reader, sorted."""
    rows = db.rows(
        "select template, reader::text, reader_id from public.messages"
        " where kind is null and coalesce(template = %s, true)",
        template,
    )
    return sorted((name, NAMES.get(reader_id, f"another {reader}")) for name, reader, reader_id in rows)


def forget(db: Database) -> None:
    """As if nothing had been said yet."""
    db.run("delete from public.messages")


def write(db: Database, reader: Person | UUID = LENA, template: str = "session_disputed", **columns: object) -> UUID:
    """One message, about nothing in particular."""
    profile, guardian = (reader.id, None) if isinstance(reader, Person) else (None, reader)
    number = db.value("select private.write_message(%s, %s, %s, null, '{}')", template, profile, guardian)
    for name, value in columns.items():
        db.run(f"update public.messages set {name} = %s where id = %s", value, number)
    return number


def claim(db: Database, **options: object) -> list[dict[str, Any]]:
    """What a dispatcher gets to send; options without their `p_`."""
    parameters = {f"p_{name}": value for name, value in options.items()}
    return db.call("service_role", "claim_messages", **parameters)["messages"]


def result(claimed: dict[str, Any], outcome: str = "sent", **more: object) -> dict[str, Any]:
    """The report of one claimed message."""
    carried = {"channel": "email", "provider": "resend"} if outcome == "sent" else {}
    return {"message_id": claimed["message_id"], "lease_id": claimed["lease_id"], "outcome": outcome, **carried, **more}


def settle(db: Database, *results: dict[str, Any]) -> dict[str, int]:
    """The answer of `settle_messages`, less what did not happen."""
    counts = db.call("service_role", "settle_messages", p_results=list(results) or "[]")
    return {word: count for word, count in counts.items() if count}


def message(db: Database, message_id: object, column: LiteralString = "status::text") -> Any:
    """One column of a message."""
    return db.value(f"select {column} from public.messages where id = %s", message_id)


def plan(db: Database, now: datetime | None = None, **options: object) -> int:
    """How many reminders are planned at that time."""
    if now is not None:
        db.set_clock(now)
    parameters = {f"p_{name}": value for name, value in options.items()}
    return db.call("service_role", "plan_reminders", **parameters)["planned"]


def reminders(db: Database, session_id: object, *statuses: str) -> list[tuple[str, str, datetime]]:
    """The reminders of a session in these states (pending): reader, kind and the start they speak of."""
    return db.rows(
        "select reader::text, kind, about_start from public.messages"
        " where session_id = %s and kind is not null and status::text = any (%s) order by about_start, 1, 2",
        session_id,
        list(statuses or ("pending",)),
    )  # pyright: ignore[reportReturnType]
