"""Lessons for the tests of the database: planned as lib does it, or put into the table as they are wanted."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg import sql

from lib.recurrence import Plan, ScheduleInputs, plan, plan_hash
from tests.database import Database, refusal
from tests.house import MATHEMATICS, NADIA, Match, Person

BORN: dict[str, list[str]] = {"match": [], "booking": ["session.booked"]}
"""What the outbox says of a session's birth; those of a match are told of the match."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
"""A Tuesday on which no seeded pattern has a lesson at this hour."""


def instant(text: str) -> datetime:
    """The moment that an answer wrote as ISO 8601, or a test in short: `2026-03-02 14:00`, in UTC."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- as lib does it -----------------------------------------------------------------------------------


def inputs_of(db: Database, match: Match, package_id: UUID | None = None, **options: object) -> ScheduleInputs:
    """What `schedule_inputs` answers an admin."""
    answer = db.call(
        NADIA, "schedule_inputs", p_match_id=match.id, p_package_id=package_id or match.package_id, **options
    )
    return ScheduleInputs.model_validate(answer)


def commit_of(inputs: ScheduleInputs, *, skip_conflicts: bool = False) -> dict[str, Any]:
    """The arguments with which `generate_sessions` writes the plan that follows from these inputs."""
    assert inputs.pattern is not None
    planned = plan(inputs, inputs.pattern, skip_conflicts=skip_conflicts)
    return {
        "p_match_id": inputs.match_id,
        "p_package_id": inputs.package_id,
        "p_fingerprint": inputs.fingerprint,
        "p_occurrences": occurrences_of(planned) or "[]",  # an empty list would go as an array
        "p_plan_hash": plan_hash(planned, inputs.fingerprint),
    }


def occurrences_of(planned: Plan) -> list[dict[str, str]]:
    return [
        {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()} for each in planned.occurrences
    ]


def generate(db: Database, match: Match, **options: object) -> dict[str, Any]:
    """Plan the match's package and write the plan, as an admin does; the answer of `generate_sessions`."""
    return db.call(NADIA, "generate_sessions", **(commit_of(inputs_of(db, match)) | options))


def update(
    db: Database, who: Person | str | None, session: object, status: str | None, **options: object
) -> dict[str, Any]:
    """`tutor_update_session`; options without their `p_`."""
    parameters = {f"p_{name}": value for name, value in options.items()}
    return db.call(who, "tutor_update_session", p_session_id=session, p_status=status, **parameters)


# --- as wanted ----------------------------------------------------------------------------------------


def lesson(
    db: Database,
    match: Match = MATHEMATICS,
    start: datetime = START,
    *,
    length: timedelta = HOUR,
    package_id: UUID | None = None,
    **columns: object,
) -> UUID:
    """A session of a match in whatever state, as the owner of the table may insert it."""
    package_id = package_id or match.package_id
    number = db.value(
        "select coalesce(max(sequence_number), 0) + 1 from public.sessions where package_id = %s", package_id
    )
    return _insert(
        db,
        {
            "match_id": match.id,
            "package_id": package_id,
            "sequence_number": number,
            "occurrence_start_utc": start,
            "tutor_user_id": match.tutor.id,
            "student_user_id": match.student.id,
            "scheduled_start_utc": start,
            "scheduled_end_utc": start + length,
        }
        | columns,
    )


def listing_of(db: Database, tutor: Person) -> UUID:
    """Something that the tutor offers: what the seed knows of, or a new listing, which has the same id every time."""
    listing_id = db.rows("select id from public.listings where tutor_user_id = %s order by created_at, id", tutor.id)
    if listing_id:
        return listing_id[0][0]
    return db.value(
        "insert into public.listings (id, tutor_user_id, title) values (%s, %s, 'Chess') returning id",
        uuid5(tutor.id, "listing"),
        tutor.id,
    )


def booking(
    db: Database,
    tutor: Person,
    student: Person,
    start: datetime = START,
    *,
    length: timedelta = HOUR,
    **columns: object,
) -> UUID:
    """A student's draft, whatever the tutor's hours are."""
    return _insert(
        db,
        {
            "listing_id": listing_of(db, tutor),
            "tutor_user_id": tutor.id,
            "student_user_id": student.id,
            "starts_at": start,
            "ends_at": start + length,
        }
        | columns,
        table="bookings",
    )


def booked(
    db: Database,
    tutor: Person,
    student: Person,
    start: datetime = START,
    *,
    length: timedelta = HOUR,
    booking_id: UUID | None = None,
    **columns: object,
) -> UUID:
    """A session of an accepted booking, in whatever state."""
    with db.connection.transaction():  # at its end an accepted booking has its session
        booking_id = booking(
            db,
            tutor,
            student,
            start,
            length=length,
            id=booking_id or uuid4(),
            status="accepted",
            decided_by_role="tutor",
            decided_at=start,
        )
        return _insert(
            db,
            {
                "booking_id": booking_id,
                "tutor_user_id": tutor.id,
                "student_user_id": student.id,
                "scheduled_start_utc": start,
                "scheduled_end_utc": start + length,
            }
            | columns,
        )


def move(db: Database, session_id: object, start: datetime, *, length: timedelta = HOUR) -> None:
    """Another time for a session, as an edit in Studio."""
    db.run(
        "update public.sessions set scheduled_start_utc = %s, scheduled_end_utc = %s where id = %s",
        start,
        start + length,
        session_id,
    )


def _insert(db: Database, columns: dict[str, Any], table: str = "sessions") -> UUID:
    statement = sql.SQL("insert into {} ({}) values ({}) returning id").format(
        sql.Identifier("public", table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
    )
    try:
        with db.connection.transaction():
            row = db.connection.execute(statement, list(columns.values())).fetchone()
    except psycopg.Error as error:
        raise refusal(error) from None
    assert row is not None
    return row[0]


def package(db: Database, match: Match, tier: int = 8, used: int = 0) -> UUID:
    """One more package for the request of a match, with the window of the seeded ones."""
    sold = db.call(
        NADIA,
        "create_package",
        p_request_id=match.request_id,
        p_tier_sessions=tier,
        p_start_date="2026-03-01",
        p_end_date="2026-04-04",
        p_opening_used=used,
    )
    return UUID(sold["id"])


# --- what is left behind ------------------------------------------------------------------------------


def used(db: Database, package_id: UUID) -> int:
    return db.value("select sessions_used from public.packages where id = %s", package_id)


def ledger(db: Database, session_id: object) -> list[tuple[int, int, UUID]]:
    """A session's entries: number, amount, package."""
    return db.rows(
        "select entry_no, amount, package_id from public.credit_ledger where session_id = %s order by 1",
        session_id,
    )  # pyright: ignore[reportReturnType]


def column(db: Database, session_id: object, name: LiteralString) -> object:
    """One column of a session."""
    return db.value(f"select {name} from public.sessions where id = %s", session_id)


def audit(db: Database, entity_id: object) -> list[tuple[str, str, UUID | None]]:
    """What the audit says of something: action, capacity, person; oldest first."""
    return db.rows(
        "select action, actor_role::text, actor_user_id from public.audit_logs where entity_id = %s order by id",
        entity_id,
    )  # pyright: ignore[reportReturnType]


def events(db: Database, aggregate_id: object) -> list[str]:
    """The events in the outbox about something, in order."""
    rows = db.rows(
        "select event_type from private.outbox_events where aggregate_id = %s order by aggregate_sequence",
        aggregate_id,
    )
    return [event for (event,) in rows]
