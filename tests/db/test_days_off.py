"""Chapter 5: when no lesson is planned, in whole days or to the minute."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from lib.recurrence import TimeOff, falls_on_time_off
from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, START, audit, booked, lesson
from tests.house import BILAL, EVERYBODY, HARRIET, LENA, MARCUS, NADIA, NEWCOMER, OLIVER, ZARA, Person

FOUNDERS_DAY = UUID("40000000-0000-4000-8000-000000000001")
WEDDING = UUID("50000000-0000-4000-8000-000000000001")


def refused_by(db: Database, function: str, **arguments: object) -> Refused:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, function, **arguments)
    return refused.value


# --- holidays -----------------------------------------------------------------------------------------


def test_a_holiday_is_entered_changed_and_taken_back(db: Database) -> None:
    holiday = db.call(NADIA, "create_holiday", p_on_date="2026-12-25", p_name="Christmas")
    holiday_id = holiday["id"]
    assert holiday == {"id": holiday_id, "on_date": "2026-12-25", "name": "Christmas"}
    assert db.call(NADIA, "update_holiday", p_holiday_id=holiday_id) == holiday
    moved = db.call(NADIA, "update_holiday", p_holiday_id=holiday_id, p_on_date="2026-12-26")
    assert moved == holiday | {"on_date": "2026-12-26"}
    renamed = db.call(NADIA, "update_holiday", p_holiday_id=holiday_id, p_name="Boxing Day")
    assert renamed == moved | {"name": "Boxing Day"}
    assert db.call(NADIA, "delete_holiday", p_holiday_id=holiday_id) == renamed
    assert [action for action, *_ in audit(db, holiday_id)] == [
        "holiday_created",
        "holiday_updated",
        "holiday_updated",
        "holiday_deleted",
    ]


def test_a_date_is_a_holiday_once(db: Database) -> None:
    refused = refused_by(db, "create_holiday", p_on_date="2026-03-17", p_name="Again")
    assert (refused.status, refused.code) == (409, "already_exists")
    other = db.call(NADIA, "create_holiday", p_on_date="2026-12-25", p_name="Christmas")
    refused = refused_by(db, "update_holiday", p_holiday_id=other["id"], p_on_date="2026-03-17")
    assert (refused.status, refused.code) == (409, "already_exists")


@pytest.mark.parametrize(
    "arguments",
    [
        {"p_name": ""},
        {"p_name": "x" * 121},
        {"p_name": "a\nb"},
        {"p_name": None},
        {"p_on_date": "1999-12-31"},
        {"p_on_date": "2101-01-01"},
        {"p_on_date": "infinity"},
        {"p_on_date": None},
    ],
)
def test_a_holiday_has_a_name_and_a_sane_date(db: Database, arguments: dict[str, Any]) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.NotNullViolation)):
        db.call(NADIA, "create_holiday", **{"p_on_date": "2026-12-25", "p_name": "Christmas"} | arguments)


def test_sessions_on_a_new_holiday_stay(db: Database) -> None:
    session_id = lesson(db)
    db.call(NADIA, "create_holiday", p_on_date="2026-03-10", p_name="Snow")
    assert db.call(BILAL, "get_session", p_session_id=session_id)["session"]["status"] == "scheduled"


def test_everybody_with_a_role_reads_the_holidays(db: Database) -> None:
    for who in EVERYBODY:
        assert len(db.rows("select name from public.holidays", who=who)) == int(who != NEWCOMER)


# --- time off -----------------------------------------------------------------------------------------


def take_off(db: Database, who: Person = BILAL, **arguments: object) -> dict[str, Any]:
    return db.call(NADIA, "create_time_off", p_user_id=who.id, **arguments)


def test_whole_days_off_are_shown_as_given(db: Database) -> None:
    answer = take_off(db, p_starts_on="2026-03-20", p_ends_on="2026-03-22", p_note="Exams")
    assert answer["live_sessions"] == []
    time_off = answer["time_off"]
    assert time_off.pop("id")
    assert time_off == {
        "person": {"id": str(BILAL.id), "display_name": "Bilal Siddiqi", "timezone": "Asia/Karachi"},
        "starts_on": "2026-03-20",
        "ends_on": "2026-03-22",
        "starts_at": None,
        "ends_at": None,
        "note": "Exams",
    }


def test_a_range_off_is_shown_in_utc(db: Database) -> None:
    time_off = take_off(db, p_starts_at="2026-03-20T10:00+05:00", p_ends_at="2026-03-20T12:00+05:00", p_note="")[
        "time_off"
    ]
    assert (time_off["starts_at"], time_off["ends_at"]) == ("2026-03-20T05:00:00+00:00", "2026-03-20T07:00:00+00:00")
    assert (time_off["starts_on"], time_off["ends_on"], time_off["note"]) == (None, None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"p_starts_on": "2026-03-20"},
        {"p_ends_on": "2026-03-20"},
        {"p_starts_at": "2026-03-20T10:00Z"},
        {"p_starts_on": "2026-03-20", "p_ends_at": "2026-03-20T10:00Z"},
        {"p_starts_on": "2026-03-20", "p_ends_on": "2026-03-20", "p_starts_at": "2026-03-20T10:00Z"},
        {
            "p_starts_on": "2026-03-20",
            "p_ends_on": "2026-03-20",
            "p_starts_at": "2026-03-20T10:00Z",
            "p_ends_at": "2026-03-20T11:00Z",
        },
        {"p_starts_on": "2026-03-20", "p_ends_on": "2026-03-19"},
        {"p_starts_at": "2026-03-20T10:00Z", "p_ends_at": "2026-03-20T10:00Z"},
        {"p_starts_on": "2026-03-20", "p_ends_on": "2028-03-20"},
        {"p_starts_at": "2026-03-20T10:00Z", "p_ends_at": "2028-03-20T10:00Z"},
        {"p_starts_on": "1999-12-31", "p_ends_on": "2000-01-02"},
        {"p_starts_on": "2100-12-31", "p_ends_on": "2101-01-01"},
        {"p_starts_at": "2026-03-20T10:00Z", "p_ends_at": "infinity"},
        {"p_starts_on": "2026-03-20", "p_ends_on": "2026-03-20", "p_note": "x" * 501},
    ],
)
def test_time_off_that_cannot_be_is_refused(db: Database, arguments: dict[str, Any]) -> None:
    before = db.value("select count(*) from public.time_off")
    refused = refused_by(db, "create_time_off", p_user_id=BILAL.id, **arguments)
    assert (refused.status, refused.code) == (422, "invalid")
    assert db.value("select count(*) from public.time_off") == before


def test_time_off_is_somebodys(db: Database) -> None:
    refused = refused_by(db, "create_time_off", p_user_id=uuid4(), p_starts_on="2026-03-20", p_ends_on="2026-03-20")
    assert (refused.status, refused.code, refused.extra) == (422, "invalid", {"field": "user_id"})


def test_changing_time_off_keeps_what_is_left_out(db: Database) -> None:
    before = take_off(db, p_starts_on="2026-03-20", p_ends_on="2026-03-22", p_note="Exams")["time_off"]

    def changed(**arguments: object) -> dict[str, Any]:
        return db.call(NADIA, "update_time_off", p_time_off_id=before["id"], **arguments)["time_off"]

    assert changed() == before
    assert changed(p_ends_on="2026-03-24") == before | {"ends_on": "2026-03-24"}
    assert changed(p_note="", p_ends_on="2026-03-22") == before | {"note": None}


def test_days_become_a_range_and_days_again(db: Database) -> None:
    time_off_id = take_off(db, p_starts_on="2026-03-20", p_ends_on="2026-03-22")["time_off"]["id"]
    ranged = db.call(
        NADIA,
        "update_time_off",
        p_time_off_id=time_off_id,
        p_starts_at="2026-03-20T10:00Z",
        p_ends_at="2026-03-20T12:00Z",
    )["time_off"]
    assert [ranged[name] is None for name in ("starts_on", "ends_on", "starts_at", "ends_at")] == [
        True,
        True,
        False,
        False,
    ]
    days = db.call(
        NADIA, "update_time_off", p_time_off_id=time_off_id, p_starts_on="2026-03-20", p_ends_on="2026-03-20"
    )
    assert days["time_off"]["starts_at"] is None
    half = refused_by(db, "update_time_off", p_time_off_id=time_off_id, p_starts_at="2026-03-20T10:00Z")
    assert (half.status, half.code) == (422, "invalid")
    both = refused_by(
        db, "update_time_off", p_time_off_id=time_off_id, p_starts_at="2026-03-20T10:00Z", p_starts_on="2026-03-20"
    )
    assert (both.status, both.code) == (422, "invalid")


def test_time_off_is_taken_back(db: Database) -> None:
    answer = db.call(NADIA, "delete_time_off", p_time_off_id=WEDDING)
    assert answer["time_off"]["note"] == "Family wedding"
    assert db.rows("select 1 from public.time_off where id = %s", WEDDING) == []
    assert refused_by(db, "delete_time_off", p_time_off_id=WEDDING).status == 404


@pytest.mark.parametrize("function", ["update_time_off", "delete_time_off"])
def test_time_off_that_is_not_there_is_not_found(db: Database, function: str) -> None:
    refused = refused_by(db, function, p_time_off_id=uuid4())
    assert (refused.status, refused.code) == (404, "not_found")


@pytest.mark.parametrize("function", ["update_holiday", "delete_holiday"])
def test_a_holiday_that_is_not_there_is_not_found(db: Database, function: str) -> None:
    refused = refused_by(db, function, p_holiday_id=uuid4())
    assert (refused.status, refused.code) == (404, "not_found")


# --- what it hits -------------------------------------------------------------------------------------


def near(answer: dict[str, Any]) -> list[str]:
    return [each["session_id"] for each in answer["live_sessions"]]


def test_a_range_names_the_live_sessions_it_meets_and_no_other(db: Database) -> None:
    meets = [lesson(db), booked(db, BILAL, OLIVER, START + 2 * HOUR)]
    lesson(db, start=START - HOUR)
    booked(db, BILAL, OLIVER, START + 3 * HOUR)
    lesson(db, start=START + HOUR, status="cancelled")
    booked(db, MARCUS, ZARA, START)
    answer = take_off(db, p_starts_at=START, p_ends_at=START + 3 * HOUR)
    assert near(answer) == [str(each) for each in meets]
    assert answer["live_sessions"][0] == {
        "session_id": str(meets[0]),
        "scheduled_start_utc": "2026-03-10T15:00:00+00:00",
        "scheduled_end_utc": "2026-03-10T16:00:00+00:00",
        "tutor": {"id": str(BILAL.id), "display_name": "Bilal Siddiqi", "timezone": "Asia/Karachi"},
        "student": {"id": str(LENA.id), "display_name": "Lena Ortiz", "timezone": "America/New_York"},
    }


def test_a_students_time_off_names_the_students_sessions(db: Database) -> None:
    mine = lesson(db)
    booked(db, BILAL, OLIVER, START + 2 * HOUR)
    answer = take_off(db, LENA, p_starts_at=START, p_ends_at=START + 4 * HOUR)
    assert near(answer) == [str(mine)]


ZONES = ["Pacific/Kiritimati", "Asia/Karachi", "UTC", "America/New_York", "Pacific/Pago_Pago"]


@pytest.mark.parametrize("timezone", ZONES)
def test_whole_days_name_every_session_that_falls_on_them_in_any_zone(db: Database, timezone: str) -> None:
    """A superset, which Python narrows: between the easternmost and the westernmost zone a day lasts fifty hours."""
    db.call(BILAL, "update_me", p_timezone=timezone)
    hours = [START + number * HOUR for number in range(-72, 73, 2)]
    sessions = {str(lesson(db, start=start)): start for start in hours}
    answer = take_off(db, p_starts_on="2026-03-10", p_ends_on="2026-03-10")
    day = TimeOff(id=UUID(answer["time_off"]["id"]), of="tutor", starts_on=date(2026, 3, 10), ends_on=date(2026, 3, 10))
    hit = {name for name, start in sessions.items() if falls_on_time_off(start, start + HOUR, day, timezone)}
    assert len(hit) in {12, 13}
    assert hit <= set(near(answer))
    assert len(near(answer)) < len(sessions), "and yet not the whole table"


def test_entering_time_off_moves_nothing(db: Database) -> None:
    session_id = lesson(db)
    before = db.call(BILAL, "get_session", p_session_id=session_id)
    take_off(db, p_starts_on="2026-03-10", p_ends_on="2026-03-10")
    assert db.call(BILAL, "get_session", p_session_id=session_id) == before


def test_changed_time_off_names_what_it_hits_now(db: Database) -> None:
    later = lesson(db, start=START + 10 * DAY)
    answer = take_off(db, p_starts_on="2026-03-10", p_ends_on="2026-03-10")
    assert near(answer) == []
    changed = db.call(
        NADIA,
        "update_time_off",
        p_time_off_id=answer["time_off"]["id"],
        p_starts_on="2026-03-20",
        p_ends_on="2026-03-20",
    )
    assert near(changed) == [str(later)]


# --- who ----------------------------------------------------------------------------------------------

ADMIN_CALLS: dict[str, dict[str, Any]] = {
    "create_holiday": {"p_on_date": "2026-12-25", "p_name": "Christmas"},
    "update_holiday": {"p_holiday_id": FOUNDERS_DAY, "p_name": "Founders"},
    "delete_holiday": {"p_holiday_id": FOUNDERS_DAY},
    "create_time_off": {"p_user_id": BILAL.id, "p_starts_on": "2026-03-20", "p_ends_on": "2026-03-20"},
    "update_time_off": {"p_time_off_id": WEDDING, "p_note": "Party"},
    "delete_time_off": {"p_time_off_id": WEDDING},
}


@pytest.mark.parametrize("function", ADMIN_CALLS)
def test_only_admins_enter_days_off(db: Database, function: str) -> None:
    for who in EVERYBODY:
        if who != NADIA:
            with pytest.raises(Refused, match="403 not_allowed"):
                db.call(who, function, **ADMIN_CALLS[function])
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", function, **ADMIN_CALLS[function])
    for role in ("anon", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(role, function, **ADMIN_CALLS[function])


def test_people_read_their_own_time_off(db: Database) -> None:
    for who, count in ((BILAL, 1), (MARCUS, 1), (HARRIET, 0), (LENA, 0), (NEWCOMER, 0), (NADIA, 2)):
        assert len(db.rows("select id from public.time_off", who=who)) == count
