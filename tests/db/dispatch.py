"""Events and their deliveries for the tests of the database: written down, claimed, settled."""

from typing import Any, LiteralString
from uuid import UUID, uuid4

from tests.database import Database
from tests.house import NADIA

URL = "https://receiver.test/hook"
EVENT_TYPE = "session.completed"


def endpoint(db: Database, *event_types: str, url: str = URL) -> UUID:
    """A webhook endpoint for these types of event, or for all."""
    made = db.call(NADIA, "create_webhook_endpoint", p_url=url, p_event_types=list(event_types))
    return UUID(made["id"])


def happen(db: Database, event_type: str = EVENT_TYPE, aggregate: UUID | None = None) -> int:
    """One event, as a transition writes it; its number in the outbox."""
    db.run(
        "select private.record_event(%s, 'session', %s, '{\"word\": \"größer\"}', private.now())",
        event_type,
        aggregate or uuid4(),
    )
    return db.value("select max(id) from private.outbox_events")


def claim(db: Database, **options: int) -> list[dict[str, Any]]:
    """What a dispatcher gets to send; options without their `p_`."""
    parameters = {f"p_{name}": value for name, value in options.items()}
    return db.call("service_role", "claim_deliveries", **parameters)["deliveries"]


def result(claimed: dict[str, Any], outcome: str = "delivered", **more: object) -> dict[str, Any]:
    """The report of one claimed delivery."""
    return {"delivery_id": claimed["delivery_id"], "lease_id": claimed["lease_id"], "outcome": outcome, **more}


def settle(db: Database, claimed: dict[str, Any], outcome: str = "delivered", **more: object) -> dict[str, int]:
    return db.call("service_role", "settle_deliveries", p_results=[result(claimed, outcome, **more)])


def told(**counts: int) -> dict[str, int]:
    """The answer of `settle_deliveries`."""
    return {"delivered": 0, "retrying": 0, "dead": 0, "stale": 0} | counts


def delivery(db: Database, delivery_id: object, column: LiteralString = "status") -> Any:
    """One column of a delivery."""
    return db.value(f"select {column} from public.deliveries where id = %s", delivery_id)


def log(db: Database, delivery_id: object) -> list[tuple[Any, ...]]:
    """The attempts: number, outcome, status code, error."""
    return db.rows(
        "select attempt, outcome::text, status_code, error from public.delivery_attempts"
        " where delivery_id = %s order by attempt",
        delivery_id,
    )
