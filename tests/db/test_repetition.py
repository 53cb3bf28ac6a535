"""Chapter 10: a call under an idempotency key is carried out once, and what hurts is counted."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.database import Database, Refused
from tests.db.lessons import START, instant, lesson
from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, NOW, ZARA, Person

EID = {"p_on_date": "2026-03-20", "p_name": "Eid"}


def once(  # noqa: PLR0917  # as the function has them
    db: Database,
    function: str,
    arguments: dict[str, Any],
    key: str = "k",
    request_hash: str = "h",
    who: Person | str | None = NADIA,
) -> dict[str, Any]:
    return db.call(
        who,
        "once",
        p_idempotency_key=key,
        p_request_hash=request_hash,
        p_function=function,
        p_arguments=arguments,
    )


def holidays(db: Database) -> int:
    return db.value("select count(*) from public.holidays")


# --- again ------------------------------------------------------------------------------------------------


def test_the_same_call_again_is_answered_the_same_and_writes_nothing(db: Database) -> None:
    before = holidays(db)
    first = once(db, "create_holiday", EID)
    audited = db.value("select count(*) from public.audit_logs")
    assert [once(db, "create_holiday", EID) for _ in range(3)] == [first] * 3
    assert holidays(db) == before + 1
    assert db.value("select count(*) from public.audit_logs") == audited


@pytest.mark.parametrize(
    ("function", "arguments", "member"),
    [
        ("rotate_calendar_token", {}, "token"),
        ("create_webhook_endpoint", {"p_url": "https://books.example/hook"}, "secret"),
        ("rotate_webhook_secret", None, "secret"),
        ("create_progress_link", {"p_guardian_id": "d0000000-0000-4000-8000-000000000001"}, "token"),
    ],
)
def test_what_is_shown_once_is_not_kept(
    db: Database, function: str, arguments: dict[str, Any] | None, member: str
) -> None:
    if arguments is None:
        made = db.call(NADIA, "create_webhook_endpoint", p_url="https://books.example/hook")
        arguments = {"p_endpoint_id": made["id"]}
    first = once(db, function, arguments)
    again = once(db, function, arguments)
    assert first == again | {member: first[member]}
    assert member not in again
    assert first[member] not in str(db.rows("select * from private.answers"))


def test_without_a_key_the_same_call_is_refused(db: Database) -> None:
    once(db, "create_holiday", EID)
    with pytest.raises(Refused, match="already_exists"):
        db.call(NADIA, "create_holiday", **EID)


def test_the_answer_is_that_of_then_not_of_now(db: Database) -> None:
    first = once(db, "create_holiday", EID)
    db.call(NADIA, "update_holiday", p_holiday_id=first["id"], p_name="Eid al-Fitr")
    assert once(db, "create_holiday", EID) == first


def test_the_key_of_another_request_is_refused(db: Database) -> None:
    once(db, "create_holiday", EID)
    with pytest.raises(Refused) as refused:
        once(db, "create_holiday", EID, request_hash="another")
    assert (refused.value.status, refused.value.code) == (422, "key_reused")
    assert refused.value.extra == {"field": "Idempotency-Key"}


def test_another_key_is_another_call(db: Database) -> None:
    once(db, "create_holiday", EID)
    with pytest.raises(Refused, match="already_exists"):
        once(db, "create_holiday", EID, key="another")


def test_a_refusal_is_not_kept(db: Database) -> None:
    holiday = db.call(NADIA, "create_holiday", **EID)
    with pytest.raises(Refused, match="already_exists"):
        once(db, "create_holiday", EID)
    assert db.value("select count(*) from private.answers") == 0
    db.call(NADIA, "delete_holiday", p_holiday_id=holiday["id"])
    assert once(db, "create_holiday", EID)["on_date"] == EID["p_on_date"]
    with pytest.raises(Refused, match="key_reused"):
        once(db, "create_holiday", EID, request_hash="another")


@pytest.mark.parametrize(("hours", "kept"), [(timedelta(hours=24) - timedelta(seconds=1), True), (24, False)])
def test_a_key_is_forgotten_after_a_day(db: Database, hours: timedelta | int, *, kept: bool) -> None:
    first = once(db, "create_holiday", EID)
    db.call(NADIA, "delete_holiday", p_holiday_id=first["id"])
    db.set_clock(instant(NOW) + (hours if isinstance(hours, timedelta) else timedelta(hours=hours)))
    again = once(db, "create_holiday", EID)
    assert (again == first) is kept
    assert once(db, "create_holiday", EID) == again, "what was carried out anew is kept anew"


def test_a_forgotten_key_may_be_used_for_something_else(db: Database) -> None:
    once(db, "create_holiday", EID)
    db.set_clock(instant(NOW) + timedelta(days=1))
    assert once(db, "create_request", {"p_subject": "Latin", "p_student_id": str(LENA.id)}, request_hash="another")


def test_the_keys_of_two_people_never_meet(db: Database) -> None:
    latin = {"p_subject": "Latin"}
    lenas = once(db, "create_request", latin, who=LENA)
    zaras = once(db, "create_request", latin, who=ZARA, request_hash="another")
    assert [each["student"]["id"] for each in (lenas, zaras)] == [str(LENA.id), str(ZARA.id)]
    assert once(db, "create_request", latin, who=LENA) == lenas


# --- at once ----------------------------------------------------------------------------------------------


@pytest.fixture
def two(database_url: str) -> Iterator[tuple[Database, Database]]:
    """Two connections to a house of one's own."""
    with ExitStack() as connections:
        one, other = Database.open(database_url), Database.open(database_url)
        connections.enter_context(one.connection)
        connections.enter_context(other.connection)
        yield one, other


def test_a_twin_in_flight_is_sent_away_until_the_first_is_done(two: tuple[Database, Database]) -> None:
    one, other = two
    with one.connection.transaction():
        first = once(one, "create_holiday", EID)
        with pytest.raises(Refused) as refused:
            once(other, "create_holiday", EID)
        assert (refused.value.status, refused.value.code) == (409, "still_running")
        assert refused.value.extra == {"retry_after": 1}
    assert once(other, "create_holiday", EID) == first


def test_a_twin_of_what_was_taken_back_is_carried_out(two: tuple[Database, Database]) -> None:
    one, other = two
    with one.connection.transaction(force_rollback=True):
        first = once(one, "create_holiday", EID)
    assert once(other, "create_holiday", EID)["id"] != first["id"]


def test_another_persons_call_under_the_same_key_does_not_wait(two: tuple[Database, Database]) -> None:
    one, other = two
    with one.connection.transaction():
        once(one, "create_request", {"p_subject": "Latin"}, who=LENA)
        assert once(other, "create_request", {"p_subject": "Latin"}, who=ZARA)


# --- what may be called -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("get_me", {}),
        ("list_sessions", {}),
        ("get_session", {"p_session_id": str(MATHEMATICS.id)}),
        ("schedule_inputs", {"p_match_id": str(MATHEMATICS.id)}),
        ("once", {"p_idempotency_key": "i", "p_request_hash": "h", "p_function": "x", "p_arguments": {}}),
        ("no_such_function", {}),
        ("create_holiday; drop table public.holidays", EID),
        ("", {}),
        ("create_holiday", EID | {"p_unknown": 1}),
        ("create_holiday", {"p_name": "a date is missing"}),
        ("create_holiday", {"p_on_date, p_name": 1}),
        ("tutor_update_session", {"p_session_id": str(MATHEMATICS.id), "p_idempotency_key": "inner"}),
    ],
)
def test_only_writing_functions_with_their_own_arguments_may_be_called(
    db: Database, function: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refused:
        once(db, function, arguments)
    assert (refused.value.status, refused.value.code) == (422, "invalid")


@pytest.mark.parametrize("arguments", ["[]", "null", '"p_name"', "1"])
def test_arguments_are_an_object(db: Database, arguments: str) -> None:
    with pytest.raises(Refused, match="invalid"):
        db.call(
            NADIA,
            "once",
            p_idempotency_key="k",
            p_request_hash="h",
            p_function="create_holiday",
            p_arguments=arguments,
        )


@pytest.mark.parametrize("key", ["", "x" * 256, None])
def test_a_key_has_1_to_255_characters(db: Database, key: str | None) -> None:
    with pytest.raises(Refused) as refused:
        db.call(
            NADIA,
            "once",
            p_idempotency_key=key,
            p_request_hash="h",
            p_function="create_holiday",
            p_arguments=EID,
        )
    assert (refused.value.status, refused.value.extra) == (422, {"field": "Idempotency-Key"})


@pytest.mark.parametrize(
    ("who", "status"), [(None, 401), ("authenticated", 401), (NEWCOMER, 403), (LENA, 403), (HARRIET, 403)]
)
def test_a_key_opens_nothing(db: Database, who: Person | str | None, status: int) -> None:
    if who is None:
        with pytest.raises(Exception, match="permission denied"):
            once(db, "create_holiday", EID, who=who)
        return
    with pytest.raises(Refused) as refused:
        once(db, "create_holiday", EID, who=who)
    assert refused.value.status == status


def test_every_kind_of_argument_arrives_as_it_would_without_a_key(db: Database) -> None:
    person = {
        "p_email": "new@lessonkeeper.test",
        "p_display_name": "Quote ' and {brace}",
        "p_timezone": "UTC",
        "p_roles": ["tutor", "student"],
    }
    entered = once(db, "create_person", person, key="array")
    assert (entered["display_name"], entered["roles"]) == (person["p_display_name"], ["tutor", "student"])
    pattern = {"timezone": "UTC", "days": [1, 3], "time": "09:00", "duration_mins": 45}
    arguments = {"p_match_id": str(MATHEMATICS.id), "p_schedule_pattern": pattern, "p_meet_link": ""}
    match = once(db, "set_match_schedule", arguments, key="document")
    assert (match["schedule_pattern"], match["meet_link"]) == (pattern, None)
    away = {
        "p_user_id": str(LENA.id),
        "p_starts_at": "2026-03-10T09:00:00+05:00",
        "p_ends_at": "2026-03-10T05:00:00Z",
    }
    time_off = once(db, "create_time_off", away, key="instant")["time_off"]
    assert instant(time_off["starts_at"]) == instant("2026-03-10 04:00")
    deactivated = {"p_person_id": str(ZARA.id), "p_is_active": False}
    assert once(db, "update_person", deactivated, key="flag")["is_active"] is False


# --- tutor_update_session's own key -----------------------------------------------------------------------


@pytest.fixture
def begun(db: Database) -> Iterator[str]:
    """A session of Bilal's that has begun."""
    session = lesson(db)
    db.set_clock(START + timedelta(minutes=5))
    yield str(session)
    db.set_clock(NOW)


def complete(db: Database, session: str, key: str | None = "k", notes: str = "well") -> dict[str, Any]:
    return db.call(
        BILAL,
        "tutor_update_session",
        p_session_id=session,
        p_status="done",
        p_notes=notes,
        p_idempotency_key=key,
    )


def test_a_status_with_a_key_is_set_once(db: Database, begun: str) -> None:
    first = complete(db, begun)
    complete(db, begun, key=None, notes="very well")
    assert complete(db, begun) == first
    assert db.value("select tutor_notes from public.sessions where id = %s", begun) == "very well"
    assert db.value("select count(*) from public.credit_ledger where session_id = %s", begun) == 1


def test_the_key_of_a_status_belongs_to_its_arguments(db: Database, begun: str) -> None:
    complete(db, begun)
    with pytest.raises(Refused, match="key_reused"):
        complete(db, begun, notes="badly")


def test_a_refused_status_leaves_its_key_free(db: Database, begun: str) -> None:
    db.set_clock(START - timedelta(hours=1))
    with pytest.raises(Refused, match="too_early"):
        complete(db, begun)
    db.set_clock(START + timedelta(minutes=5))
    assert complete(db, begun)["changed"] is True


# --- too often --------------------------------------------------------------------------------------------

DAY_BEGINS = datetime.fromisoformat("2026-02-26T00:00:00+00:00")


def ask(db: Database, who: Person = LENA) -> dict[str, Any]:
    return db.call(who, "create_request", p_subject="Latin", p_student_id=LENA.id if who is NADIA else None)


def test_a_student_asks_20_times_a_day_and_is_told_when_again(db: Database) -> None:
    for _ in range(20):
        ask(db)
    with pytest.raises(Refused) as refused:
        ask(db)
    assert (refused.value.status, refused.value.code) == (429, "too_many_requests")
    assert refused.value.extra == {"retry_after": 15 * 3600}, "it is nine o'clock"
    assert ask(db, ZARA), "others are counted by themselves"
    assert ask(db, NADIA), "the office is not counted"


def test_asking_on_while_refused_makes_the_wait_no_longer(db: Database) -> None:
    for _ in range(20):
        ask(db)
    for _ in range(5):
        with pytest.raises(Refused, match="too_many_requests"):
            ask(db)
    db.set_clock(DAY_BEGINS + timedelta(days=1) - timedelta(milliseconds=1))
    with pytest.raises(Refused) as refused:
        ask(db)
    assert refused.value.extra == {"retry_after": 1}
    db.set_clock(DAY_BEGINS + timedelta(days=1))
    for _ in range(20):
        ask(db)
    with pytest.raises(Refused, match="too_many_requests"):
        ask(db)


def test_a_profile_is_changed_60_times_an_hour(db: Database) -> None:
    for number in range(60):
        db.call(LENA, "update_me", p_display_name=f"Lena {number}")
    with pytest.raises(Refused) as refused:
        db.call(LENA, "update_me", p_display_name="Lena again")
    assert (refused.value.status, refused.value.extra) == (429, {"retry_after": 3600})
    assert ask(db), "each action is counted by itself"
    db.set_clock(instant(NOW) + timedelta(hours=1))
    assert db.call(LENA, "update_me", p_display_name="Lena again")["display_name"] == "Lena again"


def test_a_repeated_call_under_a_key_is_counted_once(db: Database) -> None:
    for _ in range(30):
        once(db, "create_request", {"p_subject": "Latin"}, who=LENA)
    for _ in range(19):
        ask(db)
    with pytest.raises(Refused, match="too_many_requests"):
        ask(db)
