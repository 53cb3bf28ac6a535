"""Chapter 1: one clock, one way to refuse, words that are checked, and records that only grow."""

from importlib import resources
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
import tzdata

from tests.database import Database, Refused
from tests.db.lessons import audit, instant, lesson, update
from tests.house import BILAL, EVERYBODY, LENA, MATHEMATICS, NADIA, NOW, Person

# --- the clock ----------------------------------------------------------------------------------------


def test_the_clock_of_the_tests_stands_still_until_it_is_set(db: Database) -> None:
    assert db.value("select private.now()") == instant(NOW)
    db.set_clock("2027-01-01T00:00:00+05:00")
    assert db.value("select private.now()") == instant("2026-12-31 19:00")


def test_a_clock_that_is_not_set_is_the_real_one(db: Database) -> None:
    db.set_clock(None)
    assert db.value("select private.now() = now()") is True


def test_rows_are_stamped_by_the_clock(db: Database) -> None:
    db.set_clock("2026-03-02T10:00:00Z")
    db.call(LENA, "update_me", p_display_name="Lena O.")
    stamps = db.rows(
        """select p.updated_at, a.created_at from public.profiles p, public.audit_logs a
            where p.id = %s and a.entity_id = p.id order by a.id desc limit 1""",
        LENA.id,
    )
    assert stamps == [(instant("2026-03-02 10:00"), instant("2026-03-02 10:00"))]


# --- refusing -----------------------------------------------------------------------------------------


def test_a_refusal_carries_status_code_sentence_and_members(db: Database) -> None:
    with pytest.raises(Refused) as refused:
        db.run("""select private.refuse(418, 'teapot', 'Short and stout.', '{"spout": 1}')""")
    told = refused.value
    assert (told.status, told.code, told.detail, told.extra) == (418, "teapot", "Short and stout.", {"spout": 1})


def test_a_refusal_without_members_has_none(db: Database) -> None:
    with pytest.raises(Refused) as refused:
        db.run("select private.refuse(404, 'not_found', 'Not here.')")
    assert refused.value.extra == {}


# --- words that are checked ---------------------------------------------------------------------------


AREAS = {
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
}


def test_the_time_zones_are_exactly_those_that_python_can_compute_with(db: Database) -> None:
    """A zone that only one side knows would be accepted here and fail there, or the other way round."""
    known = {name for (name,) in db.rows("select name from private.timezones")}
    listed = resources.files(tzdata).joinpath("zones").read_text(encoding="utf-8").split()
    assert known == {"UTC", *(name for name in listed if name.partition("/")[0] in AREAS)}
    assert len(known) > 400


@pytest.mark.parametrize(
    "name",
    [
        "UTC",
        "Europe/London",
        "America/Argentina/Buenos_Aires",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Chatham",
    ],
)
def test_a_place_or_utc_is_a_time_zone(db: Database, name: str) -> None:
    assert db.value("select private.is_timezone(%s)", name) is True


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "utc",
        "europe/london",
        "Europe/London ",
        "Europe",
        "Europe/Atlantis",
        "GMT",
        "EST",
        "EST5EDT",
        "Etc/GMT+5",
        "US/Eastern",
        "PKT",
        "+05:00",
        "UTC+5",
        "posix/Europe/London",
        "localtime",
        "Europe/London\n",
    ],
)
def test_anything_else_is_no_time_zone(db: Database, name: str) -> None:
    assert db.value("select private.is_timezone(%s)", name) is False


@pytest.mark.parametrize("text", ["a", "Ada", "Ada Lovelace", "O'Brien-Ñúñez", "日本語", "x" * 20, "🙂" * 20])
def test_a_trimmed_text_is_a_line(db: Database, text: str) -> None:
    assert db.value("select private.is_line(%s, 20)", text) is True


@pytest.mark.parametrize(
    "text",
    ["", " ", " Ada", "Ada ", "x" * 21, "🙂" * 21, "A\nB", "A\tB", "\nA", "A\r", "A\x7fB", "A\x01", "A\x85B"],
)
def test_anything_else_is_no_line(db: Database, text: str) -> None:
    assert db.value("select private.is_line(%s, 20)", text) is False


@pytest.mark.parametrize("phone", ["+923001234567", "+12025550101", "+1234567", "+123456789012345"])
def test_a_plus_and_seven_to_fifteen_digits_are_a_phone_number(db: Database, phone: str) -> None:
    assert db.value("select private.is_e164(%s)", phone) is True


@pytest.mark.parametrize(
    "phone",
    [
        "",
        "+",
        "923001234567",
        "+0923001234",
        "+123456",
        "+1234567890123456",
        "+1 202 555 0101",
        "+1-202-555",
        "+12025550101\n",
        "00923001234567",
        "+١٢٣٤٥٦٧٨",
    ],
)
def test_anything_else_is_no_phone_number(db: Database, phone: str) -> None:
    assert db.value("select private.is_e164(%s)", phone) is False


@pytest.mark.parametrize(
    "email", ["a@b.co", "first.last+tag@sub.example.org", "o'brien@example.ie", "x" * 242 + "@example.org"]
)
def test_a_lower_case_address_is_an_email(db: Database, email: str) -> None:
    assert db.value("select private.is_email(%s)", email) is True


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "@",
        "a@b",
        "@b.co",
        "a@.",
        "a@b.",
        "a b@c.de",
        "a@b c.de",
        "A@b.co",
        "a@@b.co",
        "a@b@c.de",
        "a@b.co\n",
        "a\x01@b.co",
        "x" * 243 + "@example.org",
    ],
)
def test_anything_else_is_no_email(db: Database, email: str) -> None:
    assert db.value("select private.is_email(%s)", email) is False


# --- the audit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "update public.audit_logs set action = 'x'",
        "update public.audit_logs set action = 'x' where false",
        "delete from public.audit_logs",
        "truncate public.audit_logs",
    ],
)
def test_the_audit_is_append_only(db: Database, statement: LiteralString) -> None:
    with pytest.raises(Refused) as refused:
        db.run(statement)
    assert (refused.value.status, refused.value.code) == (409, "use_function")
    assert "append-only" in refused.value.detail


def last_audit(db: Database) -> tuple[Any, ...]:
    (row,) = db.rows(
        """select action, entity_type, entity_id, actor_role::text, actor_user_id, details
             from public.audit_logs order by id desc limit 1"""
    )
    return row


def test_a_change_is_told_column_by_column_from_what_to_what(db: Database) -> None:
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_tier_sessions=12, p_end_date="2026-04-30")
    assert last_audit(db) == (
        "package_updated",
        "package",
        MATHEMATICS.package_id,
        "admin",
        NADIA.id,
        {"tier_sessions": {"from": 8, "to": 12}, "end_date": {"from": "2026-04-04", "to": "2026-04-30"}},
    )


def test_a_birth_and_a_death_are_told_too(db: Database) -> None:
    holiday = db.call(NADIA, "create_holiday", p_on_date="2026-12-25", p_name="Christmas")
    action, *_, details = last_audit(db)
    assert (action, details["name"], details["on_date"]) == (
        "holiday_created",
        {"from": None, "to": "Christmas"},
        {"from": None, "to": "2026-12-25"},
    )
    db.call(NADIA, "delete_holiday", p_holiday_id=holiday["id"])
    action, *_, details = last_audit(db)
    assert (action, details["name"]) == ("holiday_deleted", {"from": "Christmas", "to": None})


def test_a_change_that_changes_nothing_is_not_told(db: Database) -> None:
    before = last_audit(db)
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_tier_sessions=8)
    db.run("update public.profiles set timezone = timezone")
    assert last_audit(db) == before


def test_contact_details_are_named_and_never_copied(db: Database) -> None:
    person = db.call(
        NADIA, "create_person", p_email="canary-mail@lessonkeeper.test", p_display_name="Canary Name",
        p_timezone="UTC", p_roles=["student"], p_phone="+15550000001",
    )  # fmt: skip
    db.call(NADIA, "update_person", p_person_id=person["id"], p_display_name="Canary Other", p_phone="+15550000002")
    guardian = db.call(
        NADIA, "create_guardian", p_student_id=person["id"], p_name="Canary Guardian", p_timezone="UTC",
        p_phone="+15550000003", p_email="canary-guardian@lessonkeeper.test",
    )  # fmt: skip
    db.call(NADIA, "update_guardian", p_guardian_id=guardian["id"], p_name="Canary Aunt", p_phone="+15550000004")
    db.call(
        NADIA, "create_time_off", p_user_id=person["id"], p_starts_on="2026-03-01", p_ends_on="2026-03-01",
        p_note="Canary note",
    )  # fmt: skip
    told = db.value("select string_agg(a::text, ' ') from public.audit_logs a")
    assert "anary" not in told
    assert "+1555" not in told
    details = db.value(
        "select details from public.audit_logs where action = 'guardian_created' order by id desc limit 1"
    )
    assert [details[name] for name in ("name", "phone", "email")] == [{"changed": True}] * 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ('{"x-request-id": "req-1"}', "req-1"),
        ("{}", None),
        ("no json", None),
        ("", None),
        ('{"x-request-id": "' + "x" * 200 + '"}', "x" * 128),
    ],
)
def test_a_request_id_is_kept_when_there_is_one(db: Database, headers: str, expected: str | None) -> None:
    db.rows("select set_config('request.headers', %s, true)", headers)
    db.call(NADIA, "create_holiday", p_on_date="2026-12-25", p_name="Christmas")
    assert db.value("select request_id from public.audit_logs order by id desc limit 1") == expected


def test_only_admins_read_the_audit(db: Database) -> None:
    for who in EVERYBODY:
        count = len(db.rows("select id from public.audit_logs", who=who))
        assert (count > 0) == (who == NADIA)


@pytest.mark.parametrize("who", [NADIA, BILAL, "service_role", "anon"])
def test_no_role_of_the_api_writes_the_audit(db: Database, who: Person | str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.rows(
            "insert into public.audit_logs (actor_role, action, entity_type) values ('admin', 'x', 'x') returning id",
            who=who,
        )


# --- the outbox ---------------------------------------------------------------------------------------


def happen(db: Database, aggregate: UUID, occurred_at: str = "2026-01-01 00:00+00") -> None:
    db.run("insert into private.event_types values ('x.happened', 3, 'A test.') on conflict do nothing")
    db.run("select private.record_event('x.happened', 'x', %s, '{}', %s)", aggregate, occurred_at)


def test_events_of_one_thing_are_numbered_in_order_and_never_share_a_number(db: Database) -> None:
    one, other = uuid4(), uuid4()
    for aggregate in (one, other, one, one):
        happen(db, aggregate)
    numbers = db.rows("select aggregate_id, aggregate_sequence from private.outbox_events order by id")
    assert numbers == [(one, 1), (other, 1), (one, 2), (one, 3)]
    with pytest.raises(psycopg.errors.UniqueViolation, match="outbox_events_in_order"):
        db.run(
            """insert into private.outbox_events
                 (event_type, schema_version, aggregate_type, aggregate_id, aggregate_sequence, payload, occurred_at)
               values ('x.happened', 3, 'x', %s, 3, '{}', now())""",
            one,
        )


def test_numbers_go_on_where_events_are_forgotten(db: Database) -> None:
    one = uuid4()
    happen(db, one)
    db.run("delete from private.outbox_events where aggregate_id = %s", one)
    happen(db, one)
    assert db.rows("select aggregate_sequence from private.outbox_events where aggregate_id = %s", one) == [(2,)]


def test_an_event_of_a_type_that_nobody_entered_is_refused(db: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="outbox_events_event_type_fkey"):
        db.run("select private.record_event('x.unheard', 'x', %s, '{}', private.now())", uuid4())


def test_an_event_is_part_of_its_change_and_vanishes_with_it(db: Database) -> None:
    session_id = lesson(db)
    with db.connection.transaction(force_rollback=True):
        update(db, NADIA, session_id, "cancelled", reason="Flu.")
        assert db.value("select count(*) from private.outbox_events where aggregate_id = %s", session_id) == 1
        assert len(audit(db, session_id)) == 1
    assert db.value("select count(*) from private.outbox_events where aggregate_id = %s", session_id) == 0
    assert audit(db, session_id) == []


def test_an_event_knows_its_transaction_and_both_its_times(db: Database) -> None:
    happen(db, uuid4(), "2026-01-01 00:00+00")
    row = db.rows(
        """select occurred_at, recorded_at, transaction_id = pg_current_xact_id(), schema_version
             from private.outbox_events order by id desc limit 1"""
    )
    assert row == [(instant("2026-01-01 00:00"), instant(NOW), True, 3)]


@pytest.mark.parametrize("who", [NADIA, "authenticated", "service_role", "anon"])
def test_nobody_reaches_the_private_schema(db: Database, who: Person | str) -> None:
    for table in ("outbox_events", "timezones", "session_transitions", "credit_differences"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.rows(f"select * from private.{table}", who=who)


# --- in which capacity --------------------------------------------------------------------------------


def test_the_capacity_of_an_actor_is_theirs_or_the_services_or_studios(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=["tutor", "student"])
    for who, role in ((NADIA, "admin"), (BILAL, "tutor"), (LENA, "student"), ("service_role", "service")):
        with db.acting(who) as connection:
            connection.execute("reset role")  # as inside a definer function: the owner runs, the claims stay
            ((found,),) = connection.execute("select private.actor_role()::text").fetchall()
        assert found == role
    assert db.value("select private.actor_role()::text") == "studio"
