"""Chapter 17: what is offered and when, who asks for it, who decides, and the session that comes of it."""

from datetime import datetime, timedelta
from itertools import product
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import (
    DAY,
    HOUR,
    START,
    audit,
    booked,
    booking,
    column,
    events,
    instant,
    ledger,
    lesson,
    move,
    update,
)
from tests.house import (
    BILAL,
    ENGLISH,
    EXAM_CLINIC,
    HARRIET,
    LENA,
    MARCUS,
    MATHEMATICS,
    MATHEMATICS_HELP,
    NADIA,
    NEWCOMER,
    NOW,
    OLIVER,
    ZARA,
    Person,
)

MINUTE = timedelta(minutes=1)
UNKNOWN = UUID(int=0)
CLINIC = instant("2026-03-09 09:00")
"""A Monday on which the seeded exam clinic is open, before any lesson of Harriet's or Lena's."""
DECISIONS = {"accept": "accepted", "decline": "declined", "cancel": "cancelled"}


def slots(db: Database, who: Person, listing: UUID = EXAM_CLINIC.id, start: datetime = CLINIC, **options: Any) -> Any:
    """What `slot_inputs` answers for a day; options without their `p_`."""
    asked = {"p_from": start, "p_to": start + DAY} | {f"p_{name}": value for name, value in options.items()}
    return db.call(who, "slot_inputs", p_listing_id=listing, **asked)


def ask(db: Database, who: Person, start: datetime = CLINIC, listing: UUID = EXAM_CLINIC.id, **options: object) -> Any:
    """Both trips of a request: the fingerprint of the free times, and the request."""
    fingerprint = slots(db, who, listing)["fingerprint"]
    return db.call(
        who, "request_booking", p_listing_id=listing, p_start_utc=start, **{"p_fingerprint": fingerprint} | options
    )


def asked(db: Database, who: Person = LENA, start: datetime = CLINIC, listing: UUID = EXAM_CLINIC.id) -> UUID:
    """A draft's id."""
    return UUID(ask(db, who, start, listing)["booking"]["id"])


def decide(db: Database, who: Person, decision: str, booking_id: object, **options: object) -> Any:
    """`accept_booking`, `decline_booking` or `cancel_booking`; options without their `p_`."""
    parameters = {f"p_{name}": value for name, value in options.items()}
    return db.call(who, f"{decision}_booking", p_booking_id=booking_id, **parameters)


def state(db: Database, booking_id: object) -> tuple[str, int, int]:
    """A booking's status and version, and how many sessions it has."""
    ((status, version, sessions),) = db.rows(
        "select status::text, version, (select count(*) from public.sessions where booking_id = b.id)"
        " from public.bookings b where id = %s",
        booking_id,
    )
    return status, version, sessions


def at_the_end_of_the_transaction(db: Database) -> None:
    """What waits for the end of a transaction is asked now."""
    db.run("set constraints all immediate")
    db.run("set constraints all deferred")


# --- listings -----------------------------------------------------------------------------------------------


def test_a_tutor_offers_lessons_and_changes_the_offer(db: Database) -> None:
    offered = db.call(
        HARRIET,
        "create_listing",
        p_title="Essay surgery",
        p_duration_mins=45,
        p_description="Bring an essay.",
        p_subject="English",
        p_meet_link="https://meet.google.com/xyz-abcd-efg",
    )
    assert offered["tutor"]["id"] == str(HARRIET.id)
    assert (offered["duration_mins"], offered["is_active"]) == (45, True)
    changed = db.call(
        HARRIET, "update_listing", p_listing_id=offered["id"], p_description="", p_meet_link="", p_is_active=False
    )
    assert changed | {"updated_at": None} == offered | {
        "description": None,
        "meet_link": None,
        "is_active": False,
        "updated_at": None,
    }
    assert [action for action, _, _ in audit(db, UUID(offered["id"]))] == ["listing_created", "listing_updated"]


def test_an_admin_offers_for_a_tutor_and_for_nobody_else(db: Database) -> None:
    offered = db.call(NADIA, "create_listing", p_title="Chess", p_tutor_id=MARCUS.id)
    assert (offered["tutor"]["id"], offered["duration_mins"]) == (str(MARCUS.id), 60)
    for tutor in (None, LENA.id, UNKNOWN):
        with pytest.raises(Refused) as refused:
            db.call(NADIA, "create_listing", p_title="Chess", p_tutor_id=tutor)
        assert (refused.value.status, refused.value.extra) == (422, {"field": "tutor_id"})


@pytest.mark.parametrize("who", [LENA, MARCUS, NEWCOMER])
def test_nobody_else_offers_in_a_tutors_name(db: Database, who: Person) -> None:
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "create_listing", p_title="Chess", p_tutor_id=HARRIET.id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": " Chess"},
        {"title": "x" * 121},
        {"subject": "x" * 121},
        {"description": "x" * 5001},
        {"duration_mins": 14},
        {"duration_mins": 481},
        {"meet_link": "https://example.com"},
    ],
)
def test_a_listing_that_cannot_be_is_refused_with_a_sentence(db: Database, wrong: dict[str, object]) -> None:
    parameters = {f"p_{name}": value for name, value in ({"title": "Chess"} | wrong).items()}
    for function, more in (("create_listing", {}), ("update_listing", {"p_listing_id": EXAM_CLINIC.id})):
        with pytest.raises(Refused, match="422 invalid") as refused:
            db.call(HARRIET, function, **parameters | more)
        assert "A value is missing" not in refused.value.detail


def test_the_meet_link_is_for_its_tutor_and_admins_until_a_booking_is_accepted(db: Database) -> None:
    for who in (HARRIET, NADIA):
        assert db.call(who, "get_listing", p_listing_id=EXAM_CLINIC.id)["meet_link"] == EXAM_CLINIC.meet_link
    for who in (LENA, MARCUS):
        assert db.call(who, "get_listing", p_listing_id=EXAM_CLINIC.id)["meet_link"] is None
        listed = db.call(who, "list_listings", p_tutor_id=HARRIET.id)["listings"]
        assert [each["meet_link"] for each in listed] == [None]


HIDDEN: dict[str, LiteralString] = {
    "not active": "update public.listings set is_active = false",
    "its tutor is deactivated": "update public.accounts set deactivated_at = now() where profile_id in"
    " (select tutor_user_id from public.listings)",
    "its tutor is none any more": "delete from public.user_roles where role = 'tutor'",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_what_is_not_offered_is_there_for_admins_alone_and_its_tutor_while_they_may_act(db: Database, how: str) -> None:
    def seen(who: Person) -> list[str]:
        return [each["id"] for each in db.call(who, "list_listings")["listings"]]

    both = [str(EXAM_CLINIC.id), str(MATHEMATICS_HELP.id)]
    assert [seen(who) for who in (LENA, MARCUS, NADIA)] == [both] * 3
    db.run(HIDDEN[how])
    assert [seen(who) for who in (LENA, MARCUS, NADIA)] == [[], [], both]
    unknown = refused_by(db, LENA, "get_listing", p_listing_id=UNKNOWN)
    assert refused_by(db, LENA, "get_listing", p_listing_id=EXAM_CLINIC.id) == unknown
    if how == "not active":
        assert seen(HARRIET) == [str(EXAM_CLINIC.id)]
        for hidden in (EXAM_CLINIC.id, UNKNOWN):
            for function, more in (
                ("slot_inputs", {"p_from": CLINIC, "p_to": CLINIC + DAY}),
                ("request_booking", {"p_start_utc": CLINIC}),
                ("update_listing", {"p_title": "Mine"}),
            ):
                assert refused_by(db, LENA, function, p_listing_id=hidden, **more) == unknown


def test_whoever_has_no_role_is_offered_nothing(db: Database) -> None:
    assert db.call(NEWCOMER, "list_listings") == {"listings": [], "has_more": False}
    assert refused_by(db, NEWCOMER, "get_listing", p_listing_id=EXAM_CLINIC.id).startswith("404")


@pytest.mark.parametrize("who", [LENA, BILAL])
def test_a_listing_is_changed_by_its_tutor_or_an_admin(db: Database, who: Person) -> None:
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(who, "update_listing", p_listing_id=EXAM_CLINIC.id, p_title="Mine")
    assert db.call(NADIA, "update_listing", p_listing_id=EXAM_CLINIC.id, p_title="Theirs")["title"] == "Theirs"


def test_listings_come_a_page_at_a_time_and_all_of_them_once(db: Database) -> None:
    for number in range(3):
        db.call(HARRIET, "create_listing", p_title=f"Offer {number}")
    everything = [each["id"] for each in db.call(LENA, "list_listings")["listings"]]
    assert len(everything) == 5
    paged: list[str] = []
    after: dict[str, object] = {}
    while True:
        page = db.call(LENA, "list_listings", p_limit=2, **after)
        paged += [each["id"] for each in page["listings"]]
        last = page["listings"][-1]
        after = {"p_after_created_at": last["created_at"], "p_after_id": last["id"]}
        if not page["has_more"]:
            break
    assert paged == everything
    with pytest.raises(Refused, match="limit must be"):
        db.call(LENA, "list_listings", p_limit=201)


# --- hours of the week --------------------------------------------------------------------------------------


def hours(*rows: tuple[int, str, str]) -> list[dict[str, object]]:
    return [{"weekday": weekday, "starts_at": starts, "ends_at": ends} for weekday, starts, ends in rows]


def test_a_tutor_sets_the_hours_of_the_week_as_a_whole(db: Database) -> None:
    week = hours((1, "09:00", "12:00"), (1, "12:00", "13:00"), (5, "00:00", "24:00"))
    answer = db.call(HARRIET, "set_availability", p_timezone="Europe/Paris", p_hours=week[::-1])
    assert (answer["timezone"], answer["hours"], answer["tutor"]["id"]) == ("Europe/Paris", week, str(HARRIET.id))
    assert db.call(HARRIET, "get_availability") == answer
    assert db.call(NADIA, "get_availability", p_tutor_id=HARRIET.id) == answer
    emptied = db.call(NADIA, "set_availability", p_timezone="Europe/Paris", p_hours="[]", p_tutor_id=HARRIET.id)
    assert (emptied["timezone"], emptied["hours"]) == ("Europe/London", [])


def test_the_same_hours_again_change_nothing(db: Database) -> None:
    before = db.rows("select id from public.availability order by id")
    week = db.call(HARRIET, "get_availability")
    twice = week["hours"] * 2
    assert db.call(HARRIET, "set_availability", p_timezone=week["timezone"], p_hours=twice) == week
    assert db.rows("select id from public.availability order by id") == before
    told = "select count(*) from public.audit_logs where entity_type = 'availability' and actor_user_id is not null"
    assert db.value(told) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        hours((1, "09:00", "12:00"), (1, "11:59", "13:00")),
        hours((0, "09:00", "12:00")),
        hours((8, "09:00", "12:00")),
        hours((1, "12:00", "12:00")),
        hours((1, "22:00", "02:00")),
        hours((1, "24:00", "24:00")),
        hours((1, "9:00", "12:00")),
        hours((1, "09:00", "24:01")),
        hours((1, "09:00", "12:60")),
        [{"weekday": 1, "starts_at": "09:00"}],
        [{"weekday": "Monday", "starts_at": "09:00", "ends_at": "10:00"}],
        [{}],
        hours(*((1, "09:00", "10:00") for _ in range(51))),
    ],
)
def test_hours_that_cannot_be_are_refused_and_the_old_ones_stay(db: Database, wrong: list[dict[str, object]]) -> None:
    before = db.call(HARRIET, "get_availability")
    with pytest.raises(Refused, match="422 invalid") as refused:
        db.call(HARRIET, "set_availability", p_timezone="Europe/London", p_hours=wrong)
    assert "A value is missing" not in refused.value.detail
    assert db.call(HARRIET, "get_availability") == before


@pytest.mark.parametrize("wrong", ['"none"', "{}", "[1]", "[[]]", "null", None])
def test_hours_are_a_list_of_documents(db: Database, wrong: str | None) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        db.call(HARRIET, "set_availability", p_timezone="Europe/London", p_hours=wrong)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "GMT+5", "", None])
def test_hours_are_in_a_zone_that_exists(db: Database, zone: str | None) -> None:
    with pytest.raises(Refused) as refused:
        db.call(HARRIET, "set_availability", p_timezone=zone, p_hours="[]")
    assert (refused.value.code, refused.value.extra) == ("invalid", {"field": "timezone"})


def test_an_edit_by_hand_keeps_the_rules_of_hours(db: Database) -> None:
    with pytest.raises(psycopg.errors.ExclusionViolation, match="availability_in_one_timezone"):
        db.run("update public.availability set timezone = 'Europe/Paris' where weekday = 1")
    with pytest.raises(psycopg.errors.ExclusionViolation, match="availability_hours_apart"):
        db.run("update public.availability set weekday = 2 where weekday = 1")


@pytest.mark.parametrize("who", [LENA, MARCUS, NEWCOMER])
def test_hours_are_between_a_tutor_and_admins(db: Database, who: Person) -> None:
    for function, more in (("get_availability", {}), ("set_availability", {"p_timezone": "UTC", "p_hours": "[]"})):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(who, function, p_tutor_id=HARRIET.id, **more)


# --- free times ---------------------------------------------------------------------------------------------


def test_slots_follow_from_hours_days_off_and_what_both_have_in_the_way(db: Database) -> None:
    of_tutor, of_student = lesson(db, ENGLISH, CLINIC), lesson(db, MATHEMATICS, CLINIC + HOUR)
    both = booked(db, HARRIET, LENA, CLINIC + 2 * HOUR)
    booked(db, HARRIET, ZARA, CLINIC + 3 * HOUR, status="cancelled")
    booked(db, MARCUS, ZARA, CLINIC)
    booked(db, HARRIET, ZARA, CLINIC + 3 * DAY)
    db.call(NADIA, "create_time_off", p_user_id=HARRIET.id, p_starts_on="2026-03-16", p_ends_on="2026-03-16")
    db.call(NADIA, "create_time_off", p_user_id=LENA.id, p_starts_on="2026-03-16", p_ends_on="2026-03-16")
    inputs = slots(db, LENA)
    assert (inputs["listing_id"], inputs["duration_mins"]) == (str(EXAM_CLINIC.id), 60)
    assert (inputs["tutor"]["id"], inputs["timezone"]) == (str(HARRIET.id), "Europe/London")
    assert inputs["hours"] == hours(*((weekday, "09:00", "12:00") for weekday in range(1, 6)))
    assert inputs["holidays"] == [{"date": "2026-03-17", "name": "Founders' Day"}]
    assert [(each["of"], each["starts_on"]) for each in inputs["time_off"]] == [("tutor", "2026-03-16")]
    assert instant(inputs["now"]) == instant(NOW)
    assert inputs["viewer_timezone"] == "America/New_York"
    assert [(instant(each["start"]), instant(each["end"]), each["of"]) for each in inputs["busy"]] == [
        (CLINIC, CLINIC + HOUR, "tutor"),
        (CLINIC + HOUR, CLINIC + 2 * HOUR, "student"),
        (CLINIC + 2 * HOUR, CLINIC + 3 * HOUR, "both"),
    ]
    told = str(inputs)
    for private in (of_tutor, of_student, both, OLIVER.id, BILAL.id, "Oliver", EXAM_CLINIC.meet_link):
        assert str(private) not in told


def test_the_fingerprint_is_of_what_is_offered_and_not_of_when_one_looks(db: Database) -> None:
    first = slots(db, LENA)["fingerprint"]
    booked(db, HARRIET, OLIVER, CLINIC)
    db.set_clock(CLINIC - DAY)
    assert slots(db, ZARA, start=CLINIC + 30 * DAY)["fingerprint"] == first
    seen = {first}
    for change in (
        "update public.listings set duration_mins = 30",
        "update public.availability set ends_at = '11:00' where weekday = 3",
        "delete from public.availability where weekday = 1",
        "update public.profiles set timezone = 'Asia/Karachi'",
        "insert into public.holidays (on_date, name) values ('2026-05-01', 'May Day')",
        "insert into public.time_off (user_id, starts_on, ends_on) values ('{}', '2026-05-02', '2026-05-02')",
    ):
        db.run(change.replace("{}", str(HARRIET.id)))  # pyright: ignore[reportArgumentType]
        seen.add(slots(db, LENA)["fingerprint"])
    assert len(seen) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": CLINIC},
        {"to": CLINIC - MINUTE},
        {"to": CLINIC + 62 * DAY + MINUTE},
        {"to": None},
        {"from": None},
        {"to": "infinity"},
        {"from": "-infinity"},
    ],
)
def test_free_times_are_asked_for_at_most_two_months_at_a_time(db: Database, wrong: dict[str, Any]) -> None:
    assert slots(db, LENA, to=CLINIC + 62 * DAY)["fingerprint"]
    with pytest.raises(Refused, match="422 invalid"):
        slots(db, LENA, **wrong)


# --- asking -------------------------------------------------------------------------------------------------


def test_a_request_is_a_draft_as_long_as_the_listing_and_makes_no_session(db: Database) -> None:
    answer = ask(db, LENA, p_note=" Past paper 3. ")
    assert (answer["changed"], answer["session"], answer["viewer_timezone"]) == (True, None, "America/New_York")
    draft = answer["booking"]
    booking_id = UUID(draft.pop("id"))
    assert instant(draft.pop("created_at")) == instant(draft.pop("updated_at")) == instant(NOW)
    assert draft == {
        "listing": {"id": str(EXAM_CLINIC.id), "title": "Exam clinic", "subject": "English"},
        "tutor": {"id": str(HARRIET.id), "display_name": "Harriet Cole", "timezone": "Europe/London"},
        "student": {"id": str(LENA.id), "display_name": "Lena Ortiz", "timezone": "America/New_York"},
        "starts_at": CLINIC.isoformat(),
        "ends_at": (CLINIC + HOUR).isoformat(),
        "status": "draft",
        "note": "Past paper 3.",
        "reason": None,
        "decided_by_user_id": None,
        "decided_by_role": None,
        "decided_at": None,
        "session_id": None,
        "version": 1,
    }
    assert audit(db, booking_id) == [("booking_requested", "student", LENA.id)]
    assert events(db, booking_id) == ["booking.requested"]
    assert "Past paper" not in str(db.rows("select details from public.audit_logs where entity_id = %s", booking_id))
    assert db.value("select count(*) from public.sessions") == 0


def test_asked_again_while_it_waits_it_is_the_same_booking(db: Database) -> None:
    first = ask(db, LENA)
    again = ask(db, LENA, p_note="Other words.")
    assert again == first | {"changed": False}
    decide(db, LENA, "cancel", first["booking"]["id"])
    assert ask(db, LENA)["booking"]["id"] != first["booking"]["id"]


def test_several_may_ask_for_one_time(db: Database) -> None:
    assert len({asked(db, who) for who in (LENA, OLIVER, ZARA)}) == 3


@pytest.mark.parametrize("who", [BILAL, NADIA, HARRIET])
def test_only_students_ask(db: Database, who: Person) -> None:
    assert refused_by(db, who, "request_booking", p_listing_id=EXAM_CLINIC.id, p_start_utc=CLINIC).startswith("403")


def test_nobody_books_themselves(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["tutor", "student"])
    with pytest.raises(Refused, match="Nobody tutors themselves"):
        ask(db, HARRIET)


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (NOW, "start_in_past"),
        (instant(NOW) - MINUTE, "start_in_past"),
        (None, "invalid"),
        ("infinity", "invalid"),
        ("2101-01-03T00:00Z", "invalid"),
    ],
)
def test_the_time_asked_for_is_to_come(db: Database, start: Any, code: str) -> None:
    with pytest.raises(Refused) as refused:
        ask(db, LENA, start)
    assert (refused.value.status, refused.value.code) == (422, code)


@pytest.mark.parametrize("fingerprint", [None, "", "0" * 64])
def test_a_request_rests_on_what_is_offered_now(db: Database, fingerprint: str | None) -> None:
    with pytest.raises(Refused, match="409 plan_changed"):
        ask(db, LENA, p_fingerprint=fingerprint)


def test_a_time_that_somebody_of_the_two_has_taken_is_refused_and_tells_whose(db: Database) -> None:
    cases = {
        "tutor": lambda: booked(db, HARRIET, OLIVER, CLINIC - HOUR / 2),
        "student": lambda: booked(db, BILAL, LENA, CLINIC + HOUR / 2),
        "both": lambda: booked(db, HARRIET, LENA, CLINIC),
    }
    for of, occupy in cases.items():
        with db.connection.transaction(force_rollback=True):
            session_id = occupy()
            with pytest.raises(Refused) as refused:
                ask(db, LENA)
            assert (refused.value.status, refused.value.code) == (409, "slot_taken")
            assert refused.value.extra["conflicts"] == [
                {
                    "start_utc": CLINIC.isoformat(),
                    "end_utc": (CLINIC + HOUR).isoformat(),
                    "session_id": None if of == "tutor" else str(session_id),
                    "of": of,
                }
            ]


def test_the_time_before_and_after_is_free(db: Database) -> None:
    booked(db, HARRIET, OLIVER, CLINIC - HOUR)
    booked(db, BILAL, LENA, CLINIC + HOUR)
    booked(db, HARRIET, LENA, CLINIC, status="cancelled")
    assert ask(db, LENA)["changed"] is True


def test_twenty_requests_an_hour_are_enough(db: Database) -> None:
    for number in range(20):
        asked(db, LENA, CLINIC + number * DAY)
    with pytest.raises(Refused, match="429 too_many_requests"):
        asked(db, LENA, CLINIC + 20 * DAY)
    asked(db, OLIVER)


def test_the_length_is_that_of_the_day_of_the_request(db: Database) -> None:
    booking_id = asked(db)
    db.call(HARRIET, "update_listing", p_listing_id=EXAM_CLINIC.id, p_duration_mins=30)
    answer = decide(db, HARRIET, "accept", booking_id)
    assert instant(answer["session"]["scheduled_end_utc"]) == CLINIC + HOUR


# --- deciding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [HARRIET, NADIA])
def test_accepting_makes_the_session_with_the_bookings_times_and_the_listings_link(db: Database, who: Person) -> None:
    booking_id = asked(db)
    answer = decide(db, who, "accept", booking_id, expected_version=1)
    session, decided = answer["session"], answer["booking"]
    role = "tutor" if who is HARRIET else "admin"
    assert (answer["changed"], decided["status"], decided["version"]) == (True, "accepted", 2)
    assert (decided["decided_by_user_id"], decided["decided_by_role"]) == (str(who.id), role)
    assert instant(decided["decided_at"]) == instant(NOW)
    assert (session["scheduled_start_utc"], session["scheduled_end_utc"]) == (decided["starts_at"], decided["ends_at"])
    assert (session["origin"], session["booking_id"], decided["session_id"]) == (
        "booking",
        str(booking_id),
        session["id"],
    )
    assert (session["status"], session["subject"], session["meet_link"]) == (
        "scheduled",
        "Exam clinic",
        EXAM_CLINIC.meet_link,
    )
    assert (session["tutor"]["id"], session["student"]["id"]) == (str(HARRIET.id), str(LENA.id))
    assert audit(db, booking_id)[1:] == [("booking_accepted", role, who.id)]
    assert events(db, booking_id) == ["booking.requested", "booking.accepted"]
    assert events(db, session["id"]) == ["session.booked"]
    assert ledger(db, session["id"]) == []
    for reader in (NADIA, HARRIET, LENA):
        seen = db.call(reader, "get_session", p_session_id=session["id"])["session"]
        assert (seen["subject"], seen["meet_link"]) == ("Exam clinic", EXAM_CLINIC.meet_link)
    assert db.call(LENA, "list_sessions", p_origin="booking")["sessions"] == [seen]
    at_the_end_of_the_transaction(db)


def test_the_session_keeps_the_link_it_was_made_with(db: Database) -> None:
    session = decide(db, HARRIET, "accept", asked(db))["session"]
    db.call(HARRIET, "update_listing", p_listing_id=EXAM_CLINIC.id, p_meet_link="")
    assert db.call(LENA, "get_session", p_session_id=session["id"])["session"]["meet_link"] == EXAM_CLINIC.meet_link


@pytest.mark.parametrize(
    ("decision", "who"),
    [("decline", HARRIET), ("decline", NADIA), ("cancel", LENA), ("cancel", NADIA)],
)
def test_a_draft_that_is_declined_or_cancelled_has_no_session_and_its_reason_is_kept(
    db: Database, decision: str, who: Person
) -> None:
    booking_id = asked(db)
    db.set_clock(CLINIC + DAY)  # also when its time has passed
    answer = decide(db, who, decision, booking_id, reason=" Other plans. ")
    decided = answer["booking"]
    assert (decided["status"], decided["reason"], decided["session_id"]) == (DECISIONS[decision], "Other plans.", None)
    assert answer["session"] is None
    assert events(db, booking_id) == ["booking.requested", f"booking.{DECISIONS[decision]}"]
    assert (
        db.value(
            "select reason from public.audit_logs where entity_id = %s and action = %s",
            booking_id,
            f"booking_{DECISIONS[decision]}",
        )
        == "Other plans."
    )
    assert state(db, booking_id) == (DECISIONS[decision], 2, 0)


@pytest.mark.parametrize(
    ("decision", "who"),
    [("accept", LENA), ("decline", LENA), ("cancel", HARRIET)],
)
def test_each_side_decides_only_what_is_its_own(db: Database, decision: str, who: Person) -> None:
    booking_id = asked(db)
    assert refused_by(db, who, f"{decision}_booking", p_booking_id=booking_id).startswith("403 not_allowed")
    assert state(db, booking_id) == ("draft", 1, 0)


def test_whoever_lost_the_role_decides_nothing_any_more(db: Database) -> None:
    booking_id = asked(db)
    db.run("delete from public.user_roles where role <> 'admin'")
    for who, decision in ((HARRIET, "accept"), (HARRIET, "decline"), (LENA, "cancel")):
        assert refused_by(db, who, f"{decision}_booking", p_booking_id=booking_id).startswith("403 not_allowed")


@pytest.mark.parametrize("function", ["get_booking", "accept_booking", "decline_booking", "cancel_booking"])
@pytest.mark.parametrize("who", [OLIVER, MARCUS, NEWCOMER])
def test_somebody_elses_booking_and_none_are_told_alike(db: Database, who: Person, function: str) -> None:
    waiting, accepted = asked(db), asked(db, LENA, CLINIC + DAY)
    decide(db, HARRIET, "accept", accepted)
    answers = {refused_by(db, who, function, p_booking_id=each) for each in (waiting, accepted, UNKNOWN)}
    assert answers == {"404 not_found: There is no such booking. {}"}


@pytest.mark.parametrize(("first", "then"), list(product(DECISIONS, DECISIONS)))
def test_what_is_decided_is_so_for_good_and_again_it_is_the_same_answer(db: Database, first: str, then: str) -> None:
    booking_id = asked(db)
    answer = decide(db, NADIA, first, booking_id)
    before = state(db, booking_id), audit(db, booking_id), events(db, booking_id)
    if first == then:
        # Whatever version the caller saw, and also when the time has passed.
        db.set_clock(CLINIC + DAY)
        again = decide(db, NADIA, then, booking_id, expected_version=99)
        if first == "accept":
            again["session"]["actions"] = answer["session"]["actions"]  # those follow the clock
        assert again == answer | {"changed": False}
    else:
        with pytest.raises(Refused) as refused:
            decide(db, NADIA, then, booking_id)
        assert (refused.value.status, refused.value.code) == (409, "illegal_transition")
        assert refused.value.extra == {"from": DECISIONS[first], "to": DECISIONS[then]}
        if first == "accept":
            assert "ask for that to be cancelled, or ask an admin" in refused.value.detail
    assert (state(db, booking_id), audit(db, booking_id), events(db, booking_id)) == before


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_stale_version_is_refused(db: Database, decision: str) -> None:
    booking_id = asked(db)
    db.run("update public.bookings set note = 'Changed.' where id = %s", booking_id)
    with pytest.raises(Refused) as refused:
        decide(db, NADIA, decision, booking_id, expected_version=1)
    assert (refused.value.code, refused.value.extra) == ("stale_version", {"version": 2})
    assert decide(db, NADIA, decision, booking_id, expected_version=2)["changed"] is True


@pytest.mark.parametrize("who", [HARRIET, NADIA])
def test_a_draft_is_accepted_until_its_time_has_come(db: Database, who: Person) -> None:
    booking_id = asked(db)
    db.set_clock(CLINIC)
    with pytest.raises(Refused) as refused:
        decide(db, who, "accept", booking_id)
    assert (refused.value.status, refused.value.code) == (409, "too_late")
    assert instant(refused.value.extra["closed_at"]) == CLINIC
    db.set_clock(CLINIC - MINUTE)
    assert decide(db, who, "accept", booking_id)["changed"] is True


def test_of_two_drafts_for_one_time_one_is_accepted(db: Database) -> None:
    of_lena, of_oliver = asked(db, LENA), asked(db, OLIVER)
    session = decide(db, HARRIET, "accept", of_oliver)["session"]
    with pytest.raises(Refused) as refused:
        decide(db, HARRIET, "accept", of_lena)
    assert (refused.value.status, refused.value.code) == (409, "slot_taken")
    (conflict,) = refused.value.extra["conflicts"]
    assert (conflict["session_id"], conflict["of"]) == (session["id"], "tutor")
    assert state(db, of_lena) == ("draft", 1, 0)
    # When that session is cancelled the time is free again, and the booking of it stays accepted.
    update(db, NADIA, session["id"], "cancelled", reason="ill")
    assert decide(db, HARRIET, "accept", of_lena)["changed"] is True
    assert state(db, of_oliver) == ("accepted", 2, 1)


def test_a_tutor_is_not_told_with_whom_the_student_is_then(db: Database) -> None:
    booking_id = asked(db)
    session_id = booked(db, BILAL, LENA, CLINIC)
    for who, told in ((HARRIET, None), (NADIA, str(session_id))):
        with pytest.raises(Refused) as refused:
            decide(db, who, "accept", booking_id)
        (conflict,) = refused.value.extra["conflicts"]
        assert (conflict["session_id"], conflict["of"]) == (told, "student")


def test_a_reason_too_long_is_refused_with_a_sentence(db: Database) -> None:
    with pytest.raises(Refused, match="A reason has at most 1000 characters"):
        decide(db, LENA, "cancel", asked(db), reason="x" * 1001)
    with pytest.raises(Refused, match="A note has at most 1000 characters"):
        ask(db, LENA, CLINIC + DAY, p_note="x" * 1001)


# --- the session of a booking -------------------------------------------------------------------------------


def test_a_booking_becomes_a_lesson_that_lives_through_its_day(db: Database) -> None:
    session_id = decide(db, HARRIET, "accept", asked(db))["session"]["id"]
    db.set_clock(CLINIC - 10 * MINUTE)
    assert refused_by(db, HARRIET, "complete_session", p_session_id=session_id).startswith("409 illegal_transition")
    assert db.call(LENA, "start_session", p_session_id=session_id)["session"]["status"] == "in_progress"
    db.set_clock(CLINIC + HOUR)
    assert refused_by(db, LENA, "complete_session", p_session_id=session_id).startswith("403 not_allowed")
    assert db.call(HARRIET, "complete_session", p_session_id=session_id)["session"]["status"] == "done"
    assert events(db, session_id) == ["session.booked", "session.started", "session.completed"]
    assert refused_by(db, HARRIET, "start_session", p_session_id=session_id).startswith("409 illegal_transition")


def test_what_its_session_comes_to_leaves_the_booking_accepted(db: Database) -> None:
    booking_id = asked(db)
    session_id = decide(db, HARRIET, "accept", booking_id)["session"]["id"]
    for status in ("cancelled", "scheduled", "in_progress", "no_show_student", "no_show_tutor", "done"):
        update(db, NADIA, session_id, status, reason="as it was")
        assert state(db, booking_id) == ("accepted", 2, 1)
        at_the_end_of_the_transaction(db)


@pytest.mark.parametrize(
    "change",
    [
        "scheduled_start_utc = scheduled_start_utc + interval '1 minute'",
        "scheduled_end_utc = scheduled_end_utc - interval '1 minute'",
        "tutor_user_id = student_user_id, student_user_id = tutor_user_id",
        "booking_id = gen_random_uuid()",
        "status = 'rescheduled'",
        "meet_link = 'https://example.com'",
    ],
)
@pytest.mark.parametrize("by", ["hand", "function"])
def test_its_session_keeps_times_and_people_whoever_writes(db: Database, change: LiteralString, by: str) -> None:
    session_id = decide(db, HARRIET, "accept", asked(db))["session"]["id"]
    version = "" if by == "hand" else ", version = version + 1"
    with pytest.raises((Refused, psycopg.errors.CheckViolation)):
        db.run(f"update public.sessions set {change}{version} where id = %s", session_id)
    assert column(db, session_id, "scheduled_start_utc") == CLINIC


def test_without_the_trigger_the_foreign_key_keeps_the_times_all_the_same(db: Database) -> None:
    session_id = decide(db, HARRIET, "accept", asked(db))["session"]["id"]
    db.run("alter table public.sessions disable trigger sessions_stamp")
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="sessions_keep_the_bookings_people_and_times"):
        move(db, UUID(session_id), CLINIC + HOUR)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"status": "declined", "decided_by_role": "tutor", "decided_at": START},
        {"status": "cancelled", "decided_by_role": "student", "decided_at": START},
    ],
)
def test_only_an_accepted_booking_has_a_session(db: Database, columns: dict[str, Any]) -> None:
    booking_id = booking(db, HARRIET, LENA, **columns)
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="sessions_keep_the_bookings_people_and_times"):
        a_session_for(db, booking_id)


@pytest.mark.parametrize(
    "off",
    [
        {"tutor_user_id": BILAL.id},
        {"student_user_id": OLIVER.id},
        {"scheduled_start_utc": START + MINUTE},
        {"scheduled_end_utc": START + 2 * HOUR},
        {"booking_id": uuid4()},
    ],
)
def test_the_session_is_the_bookings_in_every_respect(db: Database, off: dict[str, Any]) -> None:
    booking_id = booking(db, HARRIET, LENA, status="accepted", decided_by_role="tutor", decided_at=START)
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="sessions_keep_the_bookings_people_and_times"):
        a_session_for(db, booking_id, **off)
    a_session_for(db, booking_id)
    at_the_end_of_the_transaction(db)


def test_a_match_has_no_link_in_its_sessions(db: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="sessions_of_a_match_use_its_meet_link"):
        lesson(db, meet_link=EXAM_CLINIC.meet_link)


def test_an_accepted_booking_has_a_session_by_the_end_of_the_transaction(db: Database) -> None:
    booking(db, HARRIET, LENA, status="accepted", decided_by_role="tutor", decided_at=START)
    with pytest.raises(Refused, match="409 use_function: A booking is accepted with accept_booking"):
        at_the_end_of_the_transaction(db)


def a_session_for(db: Database, of_booking: UUID, **columns: object) -> None:
    """A session put into the table by hand, the booking's but for these columns."""
    values = {
        "booking_id": of_booking,
        "tutor_user_id": HARRIET.id,
        "student_user_id": LENA.id,
        "scheduled_start_utc": START,
        "scheduled_end_utc": START + HOUR,
    } | columns
    db.run(
        "insert into public.sessions"
        " (booking_id, tutor_user_id, student_user_id, scheduled_start_utc, scheduled_end_utc)"
        " values (%s, %s, %s, %s, %s)",
        *values.values(),
    )


# --- edits by hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["draft", "accepted", "declined", "cancelled"])
@pytest.mark.parametrize("by_hand", ["accepted", "declined", "cancelled", "draft"])
def test_a_decision_by_hand_is_refused_and_the_functions_are_named(db: Database, status: str, by_hand: str) -> None:
    booking_id = asked(db)
    for decision, decided in DECISIONS.items():
        if decided == status:
            decide(db, NADIA, decision, booking_id)
    before = state(db, booking_id)
    if status == by_hand:
        db.run("update public.bookings set status = %s where id = %s", by_hand, booking_id)
        return
    with pytest.raises(Refused, match="accept_booking, decline_booking or cancel_booking"):
        db.run(
            "update public.bookings set status = %s, decided_at = now(), decided_by_role = 'admin' where id = %s",
            by_hand,
            booking_id,
        )
    assert state(db, booking_id) == before


def test_a_decision_by_hand_that_passes_for_a_functions_still_leaves_no_booking_without_its_session(
    db: Database,
) -> None:
    booking_id = asked(db)
    accept = "update public.bookings set status = 'accepted', decided_at = now(), decided_by_role = 'studio',"
    with db.connection.transaction(force_rollback=True):
        db.run(f"{accept} version = version + 1 where id = %s", booking_id)
        with pytest.raises(Refused, match="makes its session"):
            at_the_end_of_the_transaction(db)
    decide(db, HARRIET, "accept", booking_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="sessions_keep_the_bookings_people_and_times"):
        db.run("update public.bookings set status = 'cancelled', version = version + 1 where id = %s", booking_id)


@pytest.mark.parametrize(
    "change",
    [
        "starts_at = starts_at + interval '1 hour', ends_at = ends_at + interval '1 hour'",
        "ends_at = ends_at + interval '1 hour'",
        f"student_user_id = '{OLIVER.id}'",
        f"tutor_user_id = '{BILAL.id}', listing_id = '{MATHEMATICS_HELP.id}'",
    ],
)
def test_a_booking_keeps_listing_people_and_time_whoever_writes(db: Database, change: LiteralString) -> None:
    booking_id = asked(db)
    for version in ("", ", version = version + 1"):
        with pytest.raises(Refused, match=r"cancel_booking .* request_booking"):
            db.run(f"update public.bookings set {change}{version} where id = %s", booking_id)


def test_a_note_may_be_corrected_by_hand_and_leaves_its_trace(db: Database) -> None:
    booking_id = asked(db)
    db.run("update public.bookings set note = 'Paper 4.' where id = %s", booking_id)
    assert state(db, booking_id) == ("draft", 2, 0)
    assert audit(db, booking_id)[1:] == [("booking_updated", "studio", None)]
    assert events(db, booking_id) == ["booking.requested"]


@pytest.mark.parametrize("statement", ["delete from public.bookings", "truncate public.bookings cascade"])
def test_bookings_are_never_deleted(db: Database, statement: LiteralString) -> None:
    asked(db)
    with pytest.raises(Refused, match=r"cancel_booking|tutor_update_session"):
        db.run(statement)


@pytest.mark.parametrize(
    ("constraint", "columns"),
    [
        ("bookings_of_two_people", {"student_user_id": HARRIET.id}),
        ("bookings_end_after_start", {"ends_at": START}),
        ("bookings_end_after_start", {"ends_at": START + 8 * HOUR + MINUTE}),
        ("bookings_in_this_century", {"starts_at": "1999-12-31 23:30+00", "ends_at": "2000-01-01 00:30+00"}),
        ("bookings_decided_unless_draft", {"decided_at": START}),
        ("bookings_decided_unless_draft", {"decided_by_role": "tutor"}),
        ("bookings_decided_unless_draft", {"status": "declined"}),
    ],
)
def test_a_booking_that_cannot_be_is_refused(db: Database, constraint: str, columns: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        booking(db, HARRIET, LENA, **columns)


def test_a_booking_is_on_a_listing_of_its_tutor(db: Database) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="bookings_tutor_is_the_listings"):
        booking(db, HARRIET, LENA, listing_id=MATHEMATICS_HELP.id)


# --- who reads which ----------------------------------------------------------------------------------------


@pytest.fixture
def three(db: Database) -> dict[str, UUID]:
    """Bookings by name: two with Harriet, one accepted; one with Bilal."""
    made = {
        "lena": asked(db),
        "oliver": asked(db, OLIVER, CLINIC + DAY),
        "maths": asked(db, OLIVER, instant("2026-03-12 16:00"), MATHEMATICS_HELP.id),
    }
    decide(db, HARRIET, "accept", made["oliver"])
    return made


@pytest.mark.parametrize(
    ("who", "options", "expected"),
    [
        (NADIA, {}, ["lena", "oliver", "maths"]),
        (NADIA, {"p_role": "tutor"}, []),
        (HARRIET, {}, ["lena", "oliver"]),
        (HARRIET, {"p_role": "student"}, []),
        (BILAL, {"p_role": "tutor"}, ["maths"]),
        (OLIVER, {}, ["oliver", "maths"]),
        (OLIVER, {"p_role": "student", "p_status": ["draft", "declined"]}, ["maths"]),
        (NADIA, {"p_status": ["accepted"]}, ["oliver"]),
        (NADIA, {"p_from": CLINIC + MINUTE}, ["oliver", "maths"]),
        (NADIA, {"p_to": CLINIC + DAY}, ["lena"]),
        (ZARA, {}, []),
        (NEWCOMER, {}, []),
    ],
)
def test_everybody_lists_their_own_and_admins_all(
    db: Database, three: dict[str, UUID], who: Person, options: dict[str, Any], expected: list[str]
) -> None:
    answer = db.call(who, "list_bookings", **options)
    assert [each["id"] for each in answer["bookings"]] == [str(three[name]) for name in expected]
    assert answer["has_more"] is False
    for each in answer["bookings"]:
        assert db.call(who, "get_booking", p_booking_id=each["id"])["booking"] == each


def test_bookings_come_a_page_at_a_time_and_all_of_them_once(db: Database) -> None:
    wanted = [asked(db, LENA, CLINIC + number * DAY) for number in range(5)]
    wanted += [asked(db, OLIVER, CLINIC + number * DAY) for number in range(3)]
    paged: list[UUID] = []
    after: dict[str, object] = {}
    while True:
        page = db.call(HARRIET, "list_bookings", p_limit=3, **after)
        paged += [UUID(each["id"]) for each in page["bookings"]]
        after = {"p_after_start": page["bookings"][-1]["starts_at"], "p_after_id": page["bookings"][-1]["id"]}
        if not page["has_more"]:
            break
    assert len(paged) == 8
    assert set(paged) == set(wanted)
    with pytest.raises(Refused, match="limit must be"):
        db.call(HARRIET, "list_bookings", p_limit=0)


def test_only_an_admin_lists_as_one(db: Database) -> None:
    assert refused_by(db, HARRIET, "list_bookings", p_role="admin").startswith("403 not_allowed")


def test_who_shares_a_booking_sees_the_others_name(db: Database) -> None:
    def named(who: Person) -> set[UUID]:
        return {each for (each,) in db.rows("select id from public.profiles", who=who)}

    assert HARRIET.id not in named(LENA)
    asked(db)
    assert HARRIET.id in named(LENA)
    assert LENA.id in named(HARRIET)
    assert LENA.id not in named(OLIVER)


def refused_by(db: Database, who: Person, function: str, **parameters: object) -> str:
    """How a call is refused: status, code, sentence and members."""
    with pytest.raises(Refused) as refused:
        db.call(who, function, **parameters)
    return str(refused.value)
