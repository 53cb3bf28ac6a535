"""Chapter 21: a calendar has one secret address, and whoever has it reads that person's lessons and nothing else."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, START, audit, booked, instant, lesson, move, update
from tests.house import (
    BILAL,
    ENGLISH,
    EVERYBODY,
    EXAM_CLINIC,
    HARRIET,
    LENA,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    OLIVER,
    ZARA,
    Person,
)

SERVICE = "service_role"
TODAY = datetime(2026, 2, 26, tzinfo=UTC)


def rotate(db: Database, who: Person) -> str:
    return db.call(who, "rotate_calendar_token")["token"]


def read(db: Database, token: object) -> dict[str, Any]:
    return db.call(SERVICE, "read_calendar_feed", p_token=token)


def lessons_of(db: Database, who: Person) -> list[dict[str, Any]]:
    return read(db, rotate(db, who))["sessions"]


def refusal_of(db: Database, token: object) -> str:
    with pytest.raises(Refused) as refused:
        read(db, token)
    return str(refused.value)


# --- the token ----------------------------------------------------------------------------------------


def test_a_token_is_random_fits_an_address_and_only_its_hash_is_kept(db: Database) -> None:
    token = rotate(db, OLIVER)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token), "32 bytes, of which 244 bits are random"
    stored = db.rows("select profile_id, token_hash from private.calendar_tokens")
    assert stored == [(OLIVER.id, hashlib.sha256(token.encode()).digest())]
    assert len({rotate(db, NADIA) for _ in range(10)}) == 10


def test_a_new_token_stops_the_old_one_at_once(db: Database) -> None:
    old, other = rotate(db, OLIVER), rotate(db, LENA)
    new = rotate(db, OLIVER)
    assert refusal_of(db, old) == refusal_of(db, "x" * 43)
    assert read(db, new)["display_name"] == "Oliver Finch"
    assert read(db, other)["sessions"] == [], "somebody else's goes on"


def test_a_rotation_is_in_the_audit_and_its_token_is_nowhere(db: Database) -> None:
    token = rotate(db, OLIVER)
    assert audit(db, OLIVER.id)[-1] == ("calendar_token_rotated", "student", OLIVER.id)
    tables = db.rows(
        "select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'private', 'auth')"
    )
    assert [
        name for (name,) in tables if db.value(f"select exists (select from {name} t where t::text ~ '{token}')")
    ] == []


def test_a_token_is_made_ten_times_an_hour_at_most(db: Database) -> None:
    last = [rotate(db, OLIVER) for _ in range(10)][-1]
    with pytest.raises(Refused, match="429 too_many_requests"):
        rotate(db, OLIVER)
    assert read(db, last)["sessions"] == [], "the refused one changed nothing"
    rotate(db, LENA)
    db.set_clock("2026-02-26T10:00:00Z")
    assert rotate(db, OLIVER)


def test_people_without_a_role_have_an_empty_calendar(db: Database) -> None:
    lesson(db)
    assert lessons_of(db, NEWCOMER) == []


# --- what opens nothing -------------------------------------------------------------------------------


def test_nothing_that_is_no_present_token_tells_anything(db: Database) -> None:
    old, deactivated, untied = rotate(db, OLIVER), rotate(db, BILAL), rotate(db, ZARA)
    token = rotate(db, OLIVER)
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=False)
    db.run("delete from auth.users where id = %s", ZARA.id)
    hashed = hashlib.sha256(token.encode()).hexdigest()
    odd = ["x" * 43, "", None, token[:-1], token + "x", token.swapcase(), f"{token} ", hashed, str(OLIVER.id), "%", "'"]
    answers = {refusal_of(db, each) for each in [old, deactivated, untied, *odd]}
    assert answers == {"404 not_found: There is no such calendar. {}"}


def test_whoever_is_back_finds_their_calendar_where_it_was(db: Database) -> None:
    token = rotate(db, BILAL)
    for is_active in (False, True):
        db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=is_active)
    assert read(db, token)["timezone"] == "Asia/Karachi"


# --- what a calendar shows ----------------------------------------------------------------------------


def test_a_lesson_is_shown_to_both_sides_with_the_others_name_and_no_more(db: Database) -> None:
    session_id = lesson(db, MATHEMATICS, tutor_notes="Fractions, at last.")
    link = db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id)
    for who, other in ((LENA, BILAL), (BILAL, LENA)):
        (shown,) = lessons_of(db, who)
        assert shown == {
            "id": str(session_id),
            "version": 1,
            "status": "scheduled",
            "scheduled_start_utc": "2026-03-10T15:00:00+00:00",
            "scheduled_end_utc": "2026-03-10T16:00:00+00:00",
            "subject": "Mathematics",
            "other_name": db.value("select display_name from public.profiles where id = %s", other.id),
            "meet_link": link,
            "updated_at": shown["updated_at"],
        }


def test_a_lesson_of_a_booking_has_the_listings_title(db: Database) -> None:
    booked(db, HARRIET, OLIVER, meet_link=EXAM_CLINIC.meet_link)
    (shown,) = lessons_of(db, OLIVER)
    assert (shown["subject"], shown["meet_link"]) == ("Exam clinic", EXAM_CLINIC.meet_link)


def test_everybody_is_shown_the_lessons_that_they_are_listed_and_nobody_elses(db: Database) -> None:
    for nth, match in enumerate((MATHEMATICS, ENGLISH)):
        lesson(db, match, START + nth * DAY)
    booked(db, HARRIET, LENA, START + 3 * DAY)
    found = 0
    for who in EVERYBODY:
        listed = [
            each
            for each in db.call(who, "list_sessions")["sessions"]
            if str(who.id) in {each["tutor"]["id"], each["student"]["id"]}
        ]
        assert [each["id"] for each in lessons_of(db, who)] == [each["id"] for each in listed], who.email
        found += len(listed)
    assert found == 6, "an admin's calendar is not the house's"


def test_lessons_reach_from_ninety_days_back_to_four_hundred_ahead(db: Database) -> None:
    inside = [
        lesson(db, start=start)
        for start in (TODAY - 90 * DAY, TODAY, TODAY + 400 * DAY - timedelta(minutes=1))
    ]  # fmt: skip
    for start in (TODAY - 90 * DAY - timedelta(minutes=61), TODAY + 401 * DAY):
        lesson(db, start=start)
    feed = read(db, rotate(db, LENA))
    assert [each["id"] for each in feed["sessions"]] == [str(each) for each in inside]
    assert (instant(feed["from"]), instant(feed["to"])) == (TODAY - 90 * DAY, TODAY + 400 * DAY)


def test_the_answer_is_the_same_all_day_while_nothing_changes(db: Database) -> None:
    lesson(db)
    token = rotate(db, LENA)
    feed = read(db, token)
    db.set_clock("2026-02-26T23:59:59Z")
    assert read(db, token) == feed


def test_every_change_raises_the_version_and_the_time_of_the_last_one(db: Database) -> None:
    session_id = lesson(db)
    token = rotate(db, LENA)
    changes = [
        lambda: move(db, session_id, START + DAY),
        lambda: update(db, NADIA, session_id, "scheduled", notes="Bring a ruler."),
        lambda: update(db, NADIA, session_id, "rescheduled"),
        lambda: db.call(NADIA, "cancel_session", p_session_id=session_id, p_reason="ill"),
    ]
    seen = read(db, token)["sessions"]
    for hour, change in enumerate(changes, 10):
        db.set_clock(f"2026-02-26T{hour}:00:00Z")
        change()
        seen += read(db, token)["sessions"]
    assert {each["id"] for each in seen} == {str(session_id)}
    assert [each["version"] for each in seen] == [1, 2, 3, 4, 5]
    assert [each["status"] for each in seen][-2:] == ["rescheduled", "cancelled"]
    assert [each["updated_at"][11:13] for each in seen[1:]] == ["10", "11", "12", "13"]


def test_another_link_of_the_match_counts_as_a_change_of_its_lessons(db: Database) -> None:
    lesson(db)
    token = rotate(db, LENA)
    db.set_clock("2026-02-26T12:00:00Z")
    db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_meet_link="https://meet.google.com/new-link-now")
    (shown,) = read(db, token)["sessions"]
    assert shown["meet_link"] == "https://meet.google.com/new-link-now"
    assert instant(shown["updated_at"]) == instant("2026-02-26 12:00")
