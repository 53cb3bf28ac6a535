"""Google Calendar for the tests of the database: turned on, claimed, settled; and a tutor whose calendar is read."""

from typing import Any
from uuid import UUID

from tests.database import Database
from tests.house import HARRIET, NADIA, Match, Person

LINK = "https://meet.google.com/abc-defg-hij"


def turn(db: Database, *, on: bool) -> None:
    """The switch of the house."""
    db.call(NADIA, "update_settings", p_sync_google_calendar=on)


def without_link(db: Database, *matches: Match) -> None:
    """Matches as the seed does not have them: without a Meet link."""
    for match in matches:
        db.call(NADIA, "update_match", p_match_id=match.id, p_meet_link="")


def claim(db: Database, **options: object) -> list[dict[str, Any]]:
    """What a dispatcher gets to put into Google; options without their `p_`."""
    parameters = {f"p_{name}": value for name, value in options.items()}
    return db.call("service_role", "claim_calendar_syncs", **parameters)["syncs"]


def result(claimed: dict[str, Any], outcome: str = "synced", **more: object) -> dict[str, Any]:
    """The report of one claimed session."""
    return {"session_id": claimed["session_id"], "lease_id": claimed["lease_id"], "outcome": outcome, **more}


def settle(db: Database, claimed: list[dict[str, Any]], outcome: str = "synced", **more: object) -> dict[str, int]:
    """The same for all that was claimed."""
    results = [result(each, outcome, **more) for each in claimed]
    return db.call("service_role", "settle_calendar_syncs", p_results=results or "[]")


def told(**counts: int) -> dict[str, int]:
    """The answer of `settle_calendar_syncs`."""
    return {"synced": 0, "failed": 0, "given_up": 0, "postponed": 0, "stale": 0} | counts


def sync_all(db: Database) -> int:
    """As a dispatcher whom Google refuses nothing; how many sessions it put there."""
    done = 0
    while syncs := claim(db):
        done += settle(db, syncs)["synced"]
    return done


def syncs(db: Database) -> dict[UUID, tuple[str, int, int]]:
    """Status, wanted and synced version of every session that is kept in Google."""
    rows = db.rows("select session_id, status::text, wanted_version, synced_version from public.calendar_syncs")
    return {session_id: (status, wanted, synced) for session_id, status, wanted, synced in rows}


def enter_calendar(db: Database, tutor: Person = HARRIET, calendar_id: str = "harriet@calendar.test") -> None:
    """The tutor's own Google calendar; an empty one takes it away."""
    db.call(NADIA, "update_person", p_person_id=tutor.id, p_google_calendar_id=calendar_id)


def claim_reads(db: Database) -> list[dict[str, Any]]:
    """The calendars that a dispatcher gets to read."""
    return db.call("service_role", "claim_busy_reads")["reads"]


def settle_read(
    db: Database, claimed: dict[str, Any], *busy: tuple[str, str], error: str | None = None
) -> dict[str, int]:
    """What it read there, or why not."""
    read = {
        "tutor_id": claimed["tutor_id"],
        "lease_id": claimed["lease_id"],
        "busy": [{"start": start, "end": end} for start, end in busy],
        "read_until": "2026-04-29T09:00:00Z",
        "error": error,
    }
    return db.call("service_role", "settle_busy_reads", p_results=[read])
