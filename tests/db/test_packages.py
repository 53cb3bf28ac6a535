"""Chapter 4: what a family paid for, how it stands, and what stays as it was sold."""

from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, START, audit, generate, lesson, package, update, used
from tests.house import (
    BILAL,
    EVERYBODY,
    HARRIET,
    IELTS,
    LENA,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    OPEN_REQUEST_ID,
    PHYSICS,
    ZARA,
)


def sell(db: Database, **options: object) -> dict[str, Any]:
    arguments: dict[str, object] = {
        "p_request_id": OPEN_REQUEST_ID,
        "p_tier_sessions": 8,
        "p_start_date": "2026-03-01",
        "p_end_date": "2026-03-31",
    }
    return db.call(NADIA, "create_package", **arguments | options)


def change(db: Database, **options: object) -> dict[str, Any]:
    return db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, **options)


# --- selling ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", [8, 12, 20])
def test_eight_twelve_and_twenty_sessions_are_sold(db: Database, tier: int) -> None:
    sold = sell(db, p_tier_sessions=tier)
    package_id = sold.pop("id")
    assert sold == {
        "request_id": str(OPEN_REQUEST_ID),
        "student_id": "c0000000-0000-4000-8000-000000000002",
        "tier_sessions": tier,
        "opening_used": 0,
        "sessions_used": 0,
        "sessions_left": tier,
        "start_date": "2026-03-01",
        "end_date": "2026-03-31",
        "status": "active",
        "standing": "active",
    }
    assert audit(db, package_id) == [("package_created", "admin", NADIA.id)]


def test_what_was_used_elsewhere_is_used_from_the_start(db: Database) -> None:
    sold = sell(db, p_opening_used=3)
    assert (sold["opening_used"], sold["sessions_used"], sold["sessions_left"]) == (3, 3, 5)
    assert sell(db, p_opening_used=None)["sessions_used"] == 0
    assert sell(db, p_opening_used=8)["standing"] == "exhausted"


@pytest.mark.parametrize(
    ("sentence", "options"),
    [
        ("A package has 8, 12 or 20 sessions.", {"p_tier_sessions": 10}),
        ("A package has 8, 12 or 20 sessions.", {"p_tier_sessions": 0}),
        ("No more can be used already than the package has.", {"p_opening_used": -1}),
        ("No more can be used already than the package has.", {"p_opening_used": 9}),
        ("A window ends on or after its start and is at most two years long.", {"p_end_date": "2026-02-28"}),
        ("A window ends on or after its start and is at most two years long.", {"p_end_date": "2028-03-01"}),
        ("A window lies between the years 2000 and 2100.", {"p_start_date": "1999-12-31", "p_end_date": "2000-01-31"}),
        ("A window lies between the years 2000 and 2100.", {"p_start_date": "2100-12-31", "p_end_date": "2101-01-01"}),
    ],
)
def test_a_package_that_cannot_be_is_refused(db: Database, sentence: str, options: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        sell(db, **options)
    assert (refused.value.status, refused.value.code, refused.value.detail) == (422, "invalid", sentence)


@pytest.mark.parametrize("missing", ["p_tier_sessions", "p_start_date", "p_end_date"])
def test_a_package_has_a_tier_and_a_window(db: Database, missing: str) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        sell(db, **{missing: None})


@pytest.mark.parametrize("end_date", ["2026-03-01", "2028-02-29"])
def test_a_window_is_one_day_to_two_years_long(db: Database, end_date: str) -> None:
    assert sell(db, p_end_date=end_date)["end_date"] == end_date


def test_a_package_is_of_a_request(db: Database) -> None:
    with pytest.raises(Refused) as refused:
        sell(db, p_request_id=uuid4())
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert refused.value.extra == {"field": "request_id"}


# --- changing -----------------------------------------------------------------------------------------


def test_what_is_left_out_stays(db: Database) -> None:
    before = change(db)
    assert change(db, p_end_date="2026-04-30") == before | {"end_date": "2026-04-30"}
    assert change(db, p_start_date="2026-02-01", p_tier_sessions=12, p_status="cancelled") == before | {
        "start_date": "2026-02-01",
        "end_date": "2026-04-30",
        "tier_sessions": 12,
        "sessions_left": 12,
        "status": "cancelled",
        "standing": "cancelled",
    }
    assert change(db, p_status="active")["standing"] == "active"


def test_the_tier_is_never_below_what_is_used(db: Database) -> None:
    change(db, p_tier_sessions=20)
    for day in range(9):
        lesson(db, start=START + day * DAY, status="done")
    with pytest.raises(Refused) as refused:
        change(db, p_tier_sessions=8)
    assert (refused.value.status, refused.value.code) == (409, "in_use")
    assert change(db, p_tier_sessions=12)["sessions_left"] == 3
    with pytest.raises(psycopg.errors.CheckViolation, match="packages_used_within_tier"):
        db.run("update public.packages set tier_sessions = 8 where id = %s", MATHEMATICS.package_id)


def test_the_tier_may_fall_to_exactly_what_is_used(db: Database) -> None:
    change(db, p_tier_sessions=12)
    for day in range(8):
        lesson(db, start=START + day * DAY, status="done")
    assert change(db, p_tier_sessions=8)["standing"] == "exhausted"


def test_a_tier_between_the_sold_ones_is_refused(db: Database) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        change(db, p_tier_sessions=9)


@pytest.mark.parametrize("options", [{"p_start_date": "2026-04-05"}, {"p_end_date": "2026-02-28"}])
def test_a_window_stays_in_order(db: Database, options: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        change(db, **options)


def test_a_package_that_is_not_there_cannot_be_changed(db: Database) -> None:
    with pytest.raises(Refused, match="404 not_found"):
        db.call(NADIA, "update_package", p_package_id=uuid4(), p_tier_sessions=12)


def test_sessions_stay_when_a_package_is_cancelled(db: Database) -> None:
    before = generate(db, MATHEMATICS)["sessions"]
    change(db, p_status="cancelled")
    assert db.call(NADIA, "list_sessions")["sessions"] == before


# --- how it stands ------------------------------------------------------------------------------------


def test_a_package_expires_the_day_after_its_last(db: Database) -> None:
    db.set_clock("2026-04-04T23:59:59Z")
    assert change(db)["standing"] == "active"
    db.set_clock("2026-04-05T00:00:00Z")
    assert change(db)["standing"] == "expired"
    assert change(db, p_end_date="2026-04-05")["standing"] == "active"


def test_a_package_is_exhausted_when_all_is_used_and_no_longer_when_given_back(db: Database) -> None:
    full = package(db, MATHEMATICS, tier=8, used=7)
    session_id = lesson(db, package_id=full)
    update(db, NADIA, session_id, "done")
    shown = db.call(NADIA, "update_package", p_package_id=full)
    assert (shown["standing"], shown["sessions_left"], shown["status"]) == ("exhausted", 0, "active")
    update(db, NADIA, session_id, "cancelled", reason="It did not take place.")
    assert db.call(NADIA, "update_package", p_package_id=full)["standing"] == "active"


def test_cancelled_goes_before_exhausted_and_exhausted_before_expired(db: Database) -> None:
    full = package(db, MATHEMATICS, tier=8, used=8)
    db.set_clock("2026-06-01T00:00:00Z")
    assert db.call(NADIA, "update_package", p_package_id=full)["standing"] == "exhausted"
    assert db.call(NADIA, "update_package", p_package_id=full, p_status="cancelled")["standing"] == "cancelled"


# --- edits in Studio ----------------------------------------------------------------------------------

KEPT: dict[LiteralString, object] = {
    "request_id": PHYSICS.request_id,
    "student_user_id": ZARA.id,
    "opening_used": 2,
    "sessions_used": 2,
}


@pytest.mark.parametrize("column", KEPT)
def test_what_was_sold_stays_and_what_is_used_is_the_ledgers(db: Database, column: LiteralString) -> None:
    with pytest.raises(Refused) as refused:
        db.run(f"update public.packages set {column} = %s where id = %s", KEPT[column], MATHEMATICS.package_id)
    assert (refused.value.status, refused.value.code) == (409, "use_function")
    way = "tutor_update_session" if column == "sessions_used" else "create_package"
    assert way in refused.value.detail


def test_tier_window_and_status_may_be_edited_in_studio_and_are_audited(db: Database) -> None:
    db.run(
        "update public.packages set tier_sessions = 20, end_date = '2026-05-31', status = 'cancelled' where id = %s",
        MATHEMATICS.package_id,
    )
    details = db.value(
        "select details from public.audit_logs where action = 'package_updated' and entity_id = %s",
        MATHEMATICS.package_id,
    )
    assert details == {
        "tier_sessions": {"from": 8, "to": 20},
        "end_date": {"from": "2026-04-04", "to": "2026-05-31"},
        "status": {"from": "active", "to": "cancelled"},
    }


@pytest.mark.parametrize(
    "statement",
    ["delete from public.packages", "truncate public.packages cascade"],
)
def test_packages_are_never_deleted(db: Database, statement: LiteralString) -> None:
    with pytest.raises(Refused, match="409 use_function"):
        db.run(statement)


def test_a_package_is_of_the_requests_student(db: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="packages_student_is_the_requests"):
        db.run(
            """insert into public.packages (request_id, student_user_id, tier_sessions, start_date, end_date)
               values (%s, %s, 8, '2026-03-01', '2026-03-31')""",
            MATHEMATICS.request_id,
            ZARA.id,
        )


# --- who ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (
            "create_package",
            {
                "p_request_id": OPEN_REQUEST_ID,
                "p_tier_sessions": 8,
                "p_start_date": "2026-03-01",
                "p_end_date": "2026-03-31",
            },
        ),
        ("update_package", {"p_package_id": MATHEMATICS.package_id, "p_tier_sessions": 20}),
    ],
)
def test_only_admins_sell_and_change(db: Database, function: str, arguments: dict[str, Any]) -> None:
    for who in EVERYBODY:
        if who != NADIA:
            with pytest.raises(Refused, match="403 not_allowed"):
                db.call(who, function, **arguments)
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", function, **arguments)
    for role in ("anon", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(role, function, **arguments)
    assert used(db, MATHEMATICS.package_id) == 0


def test_students_read_their_packages_and_credits_and_tutors_those_of_their_matches(db: Database) -> None:
    lesson(db, status="done")
    lesson(db, PHYSICS, status="done")
    for who, packages, charged in (
        (LENA, {MATHEMATICS.package_id}, {MATHEMATICS.package_id}),
        (BILAL, {MATHEMATICS.package_id}, {MATHEMATICS.package_id}),
        (ZARA, {PHYSICS.package_id, IELTS.package_id}, {PHYSICS.package_id}),
        (NEWCOMER, set[UUID](), set[UUID]()),
        (NADIA, None, {MATHEMATICS.package_id, PHYSICS.package_id}),
    ):
        seen = {row for (row,) in db.rows("select id from public.packages", who=who)}
        assert packages is None or seen == packages
        assert {row for (row,) in db.rows("select package_id from public.credit_ledger", who=who)} == charged
    assert len(db.rows("select id from public.packages", who=HARRIET)) == 2
