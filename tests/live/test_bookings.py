"""Single lessons over HTTP, with real sign-ins: offered, asked for, decided, held; and what is refused to whom."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count
from uuid import uuid4

import httpx
import pytest

from tests.house import (
    BILAL,
    EXAM_CLINIC,
    HARRIET,
    LENA,
    MATHEMATICS,
    MATHEMATICS_HELP,
    NADIA,
    NEWCOMER,
    OLIVER,
    ZARA,
    Listing,
    Person,
)
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

FIRST_WEEK = {"from": "2026-03-02T00:00:00Z", "to": "2026-03-07T00:00:00Z"}
AROUND_THE_CHANGE = {"from": "2026-03-27T00:00:00Z", "to": "2026-03-31T00:00:00Z"}
TUESDAY = "2026-03-03T10:00:00Z"
"""The clinic's second hour; English is at 17:00 that day."""
NOTHING_MORE = {"changed": False}


def slots(house: ServedHouse, who: Person, **query: str) -> list[Row]:
    """What is free at the clinic, in its first week if not said otherwise."""
    params = {"listing_id": str(EXAM_CLINIC.id)} | FIRST_WEEK | query
    return answer(house.sign_in(who).get("/slots", params=params))["slots"]


def starts(slots: list[Row]) -> list[str]:
    return [each["start_utc"] for each in slots]


def ask(
    house: ServedHouse, who: Person, start: str = TUESDAY, listing: Listing = EXAM_CLINIC, **more: str
) -> httpx.Response:
    body = {"listing_id": str(listing.id), "start_utc": start} | more
    return house.sign_in(who).post("/bookings", json=body)


def asked(house: ServedHouse, who: Person, start: str = TUESDAY, listing: Listing = EXAM_CLINIC) -> Row:
    """A draft."""
    return answer(ask(house, who, start, listing), 201)["booking"]


def decide(house: ServedHouse, who: Person, booking: Row, action: str, **body: object) -> httpx.Response:
    """The button of that name; without anything to say, without a body."""
    path, client = f"/bookings/{booking['id']}/{action}", house.sign_in(who)
    return client.post(path, json=body) if body else client.post(path)


def accepted(house: ServedHouse, student: Person, start: str = TUESDAY) -> Row:
    """The session of a booking at the clinic."""
    return answer(decide(house, HARRIET, asked(house, student, start), "accept"))["session"]


def press(house: ServedHouse, who: Person, session: Row, action: str, **body: object) -> httpx.Response:
    return house.sign_in(who).post(f"/sessions/{session['id']}/{action}", json=body)


def from_start(house: ServedHouse, session: Row, **by: int) -> None:
    """Move the clock so far from the session's start."""
    house.set_clock(datetime.fromisoformat(session["scheduled_start_utc"]) + timedelta(**by))


def sweep(house: ServedHouse) -> tuple[int, int]:
    """The scheduler's call: how many it began and completed."""
    secret = {"Authorization": f"Bearer {house.env['CRON_SECRET']}"}
    swept = answer(house.anybody.get("/cron/complete-sessions", headers=secret))
    return swept["started"], swept["completed"]


def bookings_of(house: ServedHouse, who: Person, **query: str) -> list[str]:
    return [each["id"] for each in answer(house.sign_in(who).get("/bookings", params=query))["bookings"]]


# --- what is offered ------------------------------------------------------------------------------------


def test_a_tutor_offers_a_lesson_and_hours_and_students_see_free_times(house: ServedHouse) -> None:
    tutor = house.sign_in(BILAL)
    geometry = {"title": "Geometry", "duration_mins": 90, "meet_link": MATHEMATICS_HELP.meet_link}
    listing = answer(tutor.post("/listings", json=geometry), 201)
    hours = {
        "timezone": "Asia/Karachi",
        "hours": [
            {"weekday": 1, "starts_at": "22:30", "ends_at": "24:00"},
            {"weekday": 2, "starts_at": "00:00", "ends_at": "01:30"},
        ],
    }
    assert answer(tutor.put("/availability", json=hours))["hours"] == hours["hours"]
    assert answer(tutor.get("/availability")) == answer(house.sign_in(NADIA).get(f"/availability?tutor_id={BILAL.id}"))

    window = {"listing_id": listing["id"], "from": "2026-03-02T00:00:00Z", "to": "2026-03-09T00:00:00Z"}
    found = answer(house.sign_in(LENA).get("/slots", params=window))
    assert found["timezone"] == "America/New_York"
    assert found["slots"] == [
        {
            "start_utc": "2026-03-02T17:30:00Z",
            "end_utc": "2026-03-02T19:00:00Z",
            "start_local": "2026-03-02T12:30:00-05:00",
            "end_local": "2026-03-02T14:00:00-05:00",
        },
        {
            "start_utc": "2026-03-02T19:00:00Z",
            "end_utc": "2026-03-02T20:30:00Z",
            "start_local": "2026-03-02T14:00:00-05:00",
            "end_local": "2026-03-02T15:30:00-05:00",
        },
    ]
    changed = answer(tutor.patch(f"/listings/{listing['id']}", json={"duration_mins": 45, "meet_link": ""}))
    assert (changed["duration_mins"], changed["meet_link"]) == (45, None)
    assert len(answer(house.sign_in(LENA).get("/slots", params=window))["slots"]) == 4
    none = answer(tutor.put("/availability", json={"timezone": "Asia/Karachi", "hours": []}))
    assert none["hours"] == []
    assert answer(house.sign_in(LENA).get("/slots", params=window))["slots"] == []


def test_the_clinic_stays_at_nine_when_the_clocks_change(house: ServedHouse) -> None:
    found = slots(house, OLIVER, **AROUND_THE_CHANGE)
    assert starts(found) == [f"2026-03-27T{hour:02}:00:00Z" for hour in (9, 10, 11)] + [
        f"2026-03-30T{hour:02}:00:00Z" for hour in (8, 9, 10)
    ]
    assert {each["start_local"][10:16] for each in found} == {"T09:00", "T10:00", "T11:00"}
    in_karachi = slots(house, OLIVER, **AROUND_THE_CHANGE, tz="Asia/Karachi")
    assert in_karachi[-1]["start_local"] == "2026-03-30T15:00:00+05:00"


def test_holidays_time_off_and_lessons_of_either_side_leave_no_slot(house: ServedHouse) -> None:
    before = starts(slots(house, LENA))
    assert len(before) == 15
    admin = house.sign_in(NADIA)
    answer(admin.post("/holidays", json={"on_date": "2026-03-02", "name": "Closed"}), 201)
    away = {"user_id": str(HARRIET.id), "starts_at": "2026-03-03T09:30:00Z", "ends_at": "2026-03-03T10:00:00Z"}
    answer(admin.post("/time-off", json=away), 201)
    accepted(house, OLIVER, "2026-03-04T10:00:00Z")
    gone = {*before[:3], "2026-03-03T09:00:00Z", "2026-03-04T10:00:00Z"}
    assert starts(slots(house, LENA)) == [start for start in before if start not in gone]
    # Lena herself is taught mathematics on Thursday at 09:30 that week.
    body = {"start_utc": "2026-03-05T09:30:00Z", "reason": "Make-up"}
    answer(admin.post(f"/matches/{MATHEMATICS.id}/sessions/extra", json=body), 201)
    gone |= {"2026-03-05T09:00:00Z", "2026-03-05T10:00:00Z"}
    assert starts(slots(house, LENA)) == [start for start in before if start not in gone]
    assert "2026-03-05T09:00:00Z" in starts(slots(house, ZARA))


def test_a_listing_that_was_taken_back_is_seen_by_its_tutor_and_admins_alone(house: ServedHouse) -> None:
    path = f"/listings/{EXAM_CLINIC.id}"
    for who, link in ((OLIVER, None), (BILAL, None), (HARRIET, EXAM_CLINIC.meet_link), (NADIA, EXAM_CLINIC.meet_link)):
        shown = answer(house.sign_in(who).get(path))
        assert (shown["meet_link"], shown["tutor"]["id"]) == (link, str(HARRIET.id))
    problem(house.sign_in(BILAL).patch(path, json={"is_active": False}), 403, "not_allowed")
    answer(house.sign_in(HARRIET).patch(path, json={"is_active": False}))
    for who, sees in ((OLIVER, False), (BILAL, False), (HARRIET, True), (NADIA, True)):
        listed = [each["id"] for each in answer(house.sign_in(who).get("/listings"))["listings"]]
        assert (str(EXAM_CLINIC.id) in listed) == sees
        assert house.sign_in(who).get(path).status_code == (200 if sees else 404)
    problem(ask(house, OLIVER), 404, "not_found")


def test_listings_come_in_pages(house: ServedHouse) -> None:
    tutor = house.sign_in(HARRIET)
    for n in range(5):
        answer(tutor.post("/listings", json={"title": f"Chess {n}"}), 201)
    student = house.sign_in(OLIVER)
    whole = [each["id"] for each in answer(student.get("/listings"))["listings"]]
    assert len(whole) == 7
    pages: list[str] = []
    cursor: str | None = None
    for _ in count():
        page = answer(student.get("/listings", params={"limit": 2} | ({"cursor": cursor} if cursor else {})))
        pages += [each["id"] for each in page["listings"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == whole
    of_harriet = answer(student.get("/listings", params={"tutor_id": str(HARRIET.id)}))["listings"]
    assert len(of_harriet) == 6


# --- asked for and decided ------------------------------------------------------------------------------


def test_a_student_asks_and_the_tutor_accepts_which_makes_the_session(house: ServedHouse) -> None:
    start = starts(slots(house, OLIVER))[4]
    draft = answer(ask(house, OLIVER, start, note="Poetry, please"), 201)
    assert draft["changed"]
    booking = draft["booking"]
    assert (booking["status"], booking["note"], booking["session_id"]) == ("draft", "Poetry, please", None)
    assert (booking["starts_at"], booking["start_local"]) == (start, "2026-03-03T10:00:00Z")
    assert booking["listing"] == {"id": str(EXAM_CLINIC.id), "title": "Exam clinic", "subject": "English"}
    assert start in starts(slots(house, OLIVER)), "a draft takes no time"

    result = answer(decide(house, HARRIET, booking, "accept", expected_version=booking["version"]))
    session = result["session"]
    assert result["changed"]
    assert (result["booking"]["status"], result["booking"]["session_id"]) == ("accepted", session["id"])
    assert (result["booking"]["decided_by_user_id"], result["booking"]["decided_by_role"]) == (str(HARRIET.id), "tutor")
    assert (session["scheduled_start_utc"], session["scheduled_end_utc"]) == (start, "2026-03-03T11:00:00Z")
    assert (session["origin"], session["booking_id"], session["match_id"]) == ("booking", booking["id"], None)
    assert (session["status"], session["package"]) == ("scheduled", None)
    assert (session["meet_link"], session["subject"]) == (EXAM_CLINIC.meet_link, "Exam clinic")
    for who, role in ((OLIVER, "student"), (HARRIET, "tutor")):
        listed = answer(house.sign_in(who).get("/sessions", params={"role": role, "origin": "booking"}))["sessions"]
        assert [each["id"] for each in listed] == [session["id"]]
        assert listed[0]["meet_link"] == EXAM_CLINIC.meet_link
    assert start not in starts(slots(house, OLIVER))
    assert start not in starts(slots(house, LENA))


def test_a_declined_booking_makes_no_session_and_tells_the_student_why(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    declined = answer(decide(house, HARRIET, booking, "decline", reason="A wedding"))
    assert (declined["booking"]["status"], declined["changed"]) == ("declined", True)
    seen = answer(house.sign_in(OLIVER).get(f"/bookings/{booking['id']}"))
    assert (seen["status"], seen["reason"], seen["session_id"]) == ("declined", "A wedding", None)
    assert answer(house.sign_in(OLIVER).get("/sessions"))["sessions"] == []
    assert answer(decide(house, HARRIET, booking, "decline")) == declined | NOTHING_MORE
    refused = problem(decide(house, HARRIET, booking, "accept"), 409, "illegal_transition")
    assert (refused["from"], refused["to"]) == ("declined", "accepted")


def test_a_student_takes_a_draft_back_and_not_what_was_accepted(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    problem(decide(house, HARRIET, booking, "cancel"), 403, "not_allowed")
    cancelled = answer(decide(house, OLIVER, booking, "cancel", reason="Ill"))
    assert (cancelled["booking"]["status"], cancelled["booking"]["reason"]) == ("cancelled", "Ill")
    assert answer(decide(house, OLIVER, booking, "cancel")) == cancelled | NOTHING_MORE
    problem(decide(house, HARRIET, booking, "accept"), 409, "illegal_transition")

    again = asked(house, OLIVER)
    assert again["id"] != booking["id"]
    answer(decide(house, HARRIET, again, "accept"))
    for who in (OLIVER, NADIA):
        refused = problem(decide(house, who, again, "cancel"), 409, "illegal_transition")
        assert "session" in refused["detail"]
    assert answer(house.sign_in(OLIVER).get(f"/bookings/{again['id']}"))["status"] == "accepted"


def test_a_student_decides_nothing_and_a_tutor_asks_for_nothing(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    for action in ("accept", "decline"):
        problem(decide(house, OLIVER, booking, action), 403, "not_allowed")
    for tutor in (HARRIET, BILAL, NADIA):
        problem(ask(house, tutor), 403, "not_allowed")
    answer(decide(house, NADIA, booking, "accept"))


def test_asking_again_for_the_same_time_is_the_same_booking(house: ServedHouse) -> None:
    first = answer(ask(house, OLIVER), 201)
    assert answer(ask(house, OLIVER)) == first | NOTHING_MORE
    assert bookings_of(house, OLIVER) == [first["booking"]["id"]]


def test_an_acceptance_repeated_gives_the_same_answer_and_one_session(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    first = answer(decide(house, HARRIET, booking, "accept"))
    traces = house.database.value("select count(*) from public.audit_logs")
    for who in (HARRIET, HARRIET, NADIA):
        again = answer(decide(house, who, booking, "accept", expected_version=booking["version"]))
        assert again["session"]["id"] == first["session"]["id"]
        assert not again["changed"]
    assert house.database.value("select count(*) from public.audit_logs") == traces
    assert house.database.value("select count(*) from public.sessions") == 1


def test_an_acceptance_raced_makes_one_session(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    house.sign_in(NADIA)
    with ThreadPoolExecutor(8) as threads:
        racing = [threads.submit(decide, house, who, booking, "accept") for who in (HARRIET, NADIA) * 8]
        answers = [answer(each.result()) for each in racing]
    assert len({each["session"]["id"] for each in answers}) == 1
    assert sorted(each["changed"] for each in answers) == [False] * 15 + [True]
    assert house.database.value("select count(*) from public.sessions") == 1


def test_one_of_two_drafts_for_a_time_is_accepted_however_they_race(house: ServedHouse) -> None:
    drafts = [asked(house, student) for student in (OLIVER, LENA, ZARA)]
    with ThreadPoolExecutor(6) as threads:
        racing = [threads.submit(decide, house, HARRIET, draft, "accept") for draft in drafts * 2]
        answers = [each.result() for each in racing]
    winners = {each.json()["booking"]["id"] for each in answers if each.status_code == 200}
    assert len(winners) == 1
    for each in answers:
        if each.status_code != 200:
            (conflict,) = problem(each, 409, "slot_taken")["conflicts"]
            assert (conflict["start_utc"], conflict["of"]) == ("2026-03-03T10:00:00+00:00", "tutor")
    statuses = house.database.rows("select status::text from public.bookings order by 1")
    assert [status for (status,) in statuses] == ["accepted", "draft", "draft"]
    assert house.database.value("select count(*) from public.sessions") == 1


def test_accepting_and_cancelling_at_once_do_one_of_the_two(house: ServedHouse) -> None:
    for start in starts(slots(house, OLIVER))[:4]:
        booking = asked(house, OLIVER, start)
        with ThreadPoolExecutor(2) as threads:
            accepting = threads.submit(decide, house, HARRIET, booking, "accept")
            cancelling = threads.submit(decide, house, OLIVER, booking, "cancel")
            statuses = sorted((accepting.result().status_code, cancelling.result().status_code))
        assert statuses == [200, 409]
        sessions = house.database.value("select count(*) from public.sessions where booking_id = %s", booking["id"])
        seen = answer(house.sign_in(OLIVER).get(f"/bookings/{booking['id']}"))
        assert (seen["status"], sessions) in {("accepted", 1), ("cancelled", 0)}


def test_what_moved_on_meanwhile_is_not_decided_blindly(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    newer = booking["version"] + 1
    for action in ("accept", "decline"):
        stale = problem(decide(house, HARRIET, booking, action, expected_version=newer), 409, "stale_version")
        assert stale["version"] == booking["version"]
    problem(decide(house, OLIVER, booking, "cancel", expected_version=newer), 409, "stale_version")
    assert answer(house.sign_in(OLIVER).get(f"/bookings/{booking['id']}")) == booking


# --- times that cannot be had ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "status", "code"),
    [
        ("2026-03-03T08:00:00Z", 422, "not_available"),
        ("2026-03-03T10:30:00Z", 422, "not_available"),
        ("2026-03-03T12:00:00Z", 422, "not_available"),
        ("2026-03-01T10:00:00Z", 422, "not_available"),
        ("2026-03-17T10:00:00Z", 422, "not_available"),
        ("2026-02-25T10:00:00Z", 422, "start_in_past"),
        ("2100-12-31T10:00:00+14:00", 422, "not_available"),
    ],
    ids=["before the hours", "between slots", "at their end", "Sunday", "holiday", "past", "far off"],
)
def test_a_time_that_is_not_offered_is_refused(house: ServedHouse, start: str, status: int, code: str) -> None:
    problem(ask(house, OLIVER, start), status, code)
    assert bookings_of(house, NADIA) == []


def test_a_time_that_is_taken_is_refused_without_telling_by_whom(house: ServedHouse) -> None:
    session = accepted(house, OLIVER)
    refused = problem(ask(house, LENA), 409, "slot_taken")
    (conflict,) = refused["conflicts"]
    assert (conflict["session_id"], conflict["of"]) == (None, "tutor")
    assert str(OLIVER.id) not in str(refused)
    assert session["id"] not in str(refused)
    (conflict,) = problem(ask(house, OLIVER), 409, "slot_taken")["conflicts"]
    assert (conflict["session_id"], conflict["of"]) == (session["id"], "both")


def test_an_acceptance_comes_too_late_from_the_start_on(house: ServedHouse) -> None:
    booking = asked(house, OLIVER)
    house.set_clock(TUESDAY)
    late = problem(decide(house, HARRIET, booking, "accept"), 409, "too_late")
    assert datetime.fromisoformat(late["closed_at"]) == datetime.fromisoformat(TUESDAY)
    problem(ask(house, LENA), 422, "start_in_past")
    answer(decide(house, HARRIET, booking, "decline", reason="Too late"))


def test_twenty_requests_in_an_hour_are_enough(house: ServedHouse) -> None:
    times = starts(slots(house, OLIVER, to="2026-03-20T00:00:00Z"))
    for start in times[:20]:
        asked(house, OLIVER, start)
    wait = problem(ask(house, OLIVER, times[20]), 429, "too_many_requests")["retry_after"]
    assert 0 < wait <= 3600
    asked(house, LENA, times[20])


# --- the session of a booking ---------------------------------------------------------------------------


@pytest.mark.parametrize("starter", [OLIVER, HARRIET], ids=["the student", "the tutor"])
def test_either_side_starts_and_its_tutor_completes(house: ServedHouse, starter: Person) -> None:
    session = accepted(house, OLIVER)
    from_start(house, session, minutes=-16)
    problem(press(house, starter, session, "start"), 409, "too_early")
    from_start(house, session, minutes=5)
    problem(press(house, HARRIET, session, "complete"), 409, "illegal_transition")
    started = answer(press(house, starter, session, "start"))
    assert (started["session"]["status"], started["session"]["started_by"]) == ("in_progress", str(starter.id))
    problem(press(house, OLIVER, session, "complete"), 403, "not_allowed")
    from_start(house, session, minutes=55)
    completed = answer(press(house, HARRIET, session, "complete", notes="Well read"))
    assert (completed["session"]["status"], completed["session"]["tutor_notes"]) == ("done", "Well read")
    assert house.database.value("select count(*) from public.credit_ledger") == 0
    assert answer(press(house, HARRIET, session, "complete")) == completed | NOTHING_MORE
    problem(press(house, HARRIET, session, "start"), 409, "illegal_transition")


def test_no_step_is_skipped_taken_back_or_invented(house: ServedHouse) -> None:
    session = accepted(house, OLIVER)
    from_start(house, session, minutes=5)
    for status in ("done", "no_show_student", "no_show_tutor"):
        step = house.sign_in(HARRIET).post(f"/sessions/{session['id']}/status", json={"status": status})
        problem(step, 409, "illegal_transition")
    problem(press(house, HARRIET, session, "missed", by="student"), 409, "illegal_transition")
    problem(press(house, NADIA, session, "status", status="rescheduled", reason="Moved"), 409, "illegal_transition")
    seen = answer(house.sign_in(HARRIET).get(f"/sessions/{session['id']}"))
    assert (seen["status"], seen["version"]) == ("scheduled", session["version"])


def test_the_clock_begins_and_completes_sessions_of_bookings_too(house: ServedHouse) -> None:
    on_time, forgotten = accepted(house, OLIVER), accepted(house, LENA, "2026-03-03T11:00:00Z")
    from_start(house, on_time)
    answer(press(house, OLIVER, on_time, "start"))
    from_start(house, forgotten, minutes=60)
    assert sweep(house) == (1, 1)
    seen = [answer(house.sign_in(HARRIET).get(f"/sessions/{each['id']}")) for each in (on_time, forgotten)]
    assert [(each["status"], each["is_delayed"]) for each in seen] == [("done", False), ("in_progress", True)]
    problem(press(house, LENA, forgotten, "complete"), 403, "not_allowed")
    answer(press(house, HARRIET, forgotten, "complete"))


def test_an_admin_cancels_the_session_and_the_booking_stays_accepted(house: ServedHouse) -> None:
    session = accepted(house, OLIVER)
    problem(press(house, HARRIET, session, "status", status="cancelled"), 403, "not_allowed")
    problem(press(house, NADIA, session, "status", status="cancelled"), 422, "reason_required")
    answer(press(house, NADIA, session, "status", status="cancelled", reason="The tutor is ill"))
    booking = answer(house.sign_in(OLIVER).get(f"/bookings/{session['booking_id']}"))
    assert (booking["status"], booking["session_id"]) == ("accepted", session["id"])
    assert TUESDAY in starts(slots(house, LENA)), "the time is free again"
    asked(house, LENA)


# --- whose is what --------------------------------------------------------------------------------------


def test_each_side_lists_its_own_bookings_by_filter_and_in_pages(house: ServedHouse) -> None:
    times = starts(slots(house, OLIVER))
    of_oliver = [asked(house, OLIVER, start)["id"] for start in times[:3]]
    of_lena = [asked(house, LENA, start)["id"] for start in times[3:5]]
    elsewhere = asked(house, LENA, "2026-03-03T15:00:00Z", MATHEMATICS_HELP)["id"]
    answer(decide(house, HARRIET, {"id": of_oliver[0]}, "accept"))
    answer(decide(house, LENA, {"id": of_lena[0]}, "cancel"))
    clinic = of_oliver + of_lena
    for who, query, wanted in (
        (OLIVER, {}, of_oliver),
        (OLIVER, {"role": "student"}, of_oliver),
        (OLIVER, {"role": "tutor"}, []),
        (LENA, {}, [*of_lena, elsewhere]),
        (HARRIET, {}, clinic),
        (HARRIET, {"role": "tutor", "status": "draft"}, [*of_oliver[1:], of_lena[1]]),
        (HARRIET, {"status": "accepted"}, of_oliver[:1]),
        (BILAL, {}, [elsewhere]),
        (ZARA, {}, []),
        (NEWCOMER, {}, []),
        (NADIA, {}, [*clinic, elsewhere]),
        (NADIA, {"from": times[1], "to": times[3]}, of_oliver[1:]),
    ):
        assert bookings_of(house, who, **query) == wanted, (who, query)
    first = answer(house.sign_in(HARRIET).get("/bookings", params={"limit": 3}))
    rest = answer(house.sign_in(HARRIET).get("/bookings", params={"cursor": first["next_cursor"]}))
    assert [each["id"] for each in first["bookings"] + rest["bookings"]] == clinic
    assert rest["next_cursor"] is None


def test_a_strangers_booking_and_no_ones_are_answered_alike(house: ServedHouse) -> None:
    booking, nothing = asked(house, OLIVER), {"id": str(uuid4())}
    before = house.rows(NADIA, "bookings")

    def told(who: Person, each: Row) -> list[Row]:
        refusals = [house.sign_in(who).get(f"/bookings/{each['id']}")]
        refusals += [decide(house, who, each, action) for action in ("accept", "decline", "cancel")]
        return [problem(refusal, 404, "not_found") | {"request_id": ""} for refusal in refusals]

    for stranger in (LENA, BILAL, ZARA):
        assert told(stranger, booking) == told(stranger, nothing)
        assert house.rows(stranger, "bookings") == []
    assert house.rows(NADIA, "bookings") == before


def test_who_shares_a_booking_sees_the_others_name_and_no_more(house: ServedHouse) -> None:
    assert not house.rows(HARRIET, "profiles", id=str(LENA.id))
    asked(house, LENA)
    assert house.rows(HARRIET, "profiles", id=str(LENA.id))
    assert house.rows(LENA, "profiles", id=str(HARRIET.id))
    columns = {"accounts": "profile_id", "guardians": "student_user_id", "availability": "tutor_user_id"}
    for table, column in columns.items():
        assert house.rows(HARRIET, table, **{column: str(LENA.id)}) == []
        assert house.rows(LENA, table, **{column: str(HARRIET.id)}) == []


def test_only_a_tutor_and_an_admin_set_hours_and_listings(house: ServedHouse) -> None:
    hours = {"timezone": "UTC", "hours": [{"weekday": 1, "starts_at": "10:00", "ends_at": "11:00"}]}
    for who in (OLIVER, NEWCOMER):
        client = house.sign_in(who)
        problem(client.post("/listings", json={"title": "Mine"}), 403, "not_allowed")
        problem(client.put("/availability", json=hours), 403, "not_allowed")
        problem(client.get("/availability"), 403, "not_allowed")
    for path in (f"/availability?tutor_id={HARRIET.id}", f"/availability?tutor_id={uuid4()}"):
        problem(house.sign_in(BILAL).put(path, json=hours), 403, "not_allowed")
        problem(house.sign_in(BILAL).get(path), 403, "not_allowed")
    hers = {"title": "Hers", "tutor_id": str(HARRIET.id)}
    problem(house.sign_in(BILAL).post("/listings", json=hers), 403, "not_allowed")
    admin = house.sign_in(NADIA)
    assert answer(admin.put(f"/availability?tutor_id={BILAL.id}", json=hours))["tutor"]["id"] == str(BILAL.id)
    made = answer(admin.post("/listings", json={"title": "For him", "tutor_id": str(BILAL.id)}), 201)
    assert made["tutor"]["id"] == str(BILAL.id)


def test_hours_that_overlap_are_refused_and_the_old_ones_stay(house: ServedHouse) -> None:
    tutor = house.sign_in(HARRIET)
    before = answer(tutor.get("/availability"))
    overlapping = [{"weekday": 1, "starts_at": "10:00", "ends_at": end} for end in ("11:00", "24:00")]
    problem(tutor.put("/availability", json={"timezone": "UTC", "hours": overlapping}), 422, "invalid")
    assert answer(tutor.get("/availability")) == before


# --- bad input ------------------------------------------------------------------------------------------


def test_a_window_that_is_none_is_refused(house: ServedHouse) -> None:
    student = house.sign_in(OLIVER)
    listing = {"listing_id": str(EXAM_CLINIC.id)}
    for window in (
        {"from": "2026-03-02T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        {"from": "2026-03-03T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
        {"from": "2026-03-02T00:00:00Z", "to": "2026-05-03T00:00:01Z"},
        {"from": "2000-01-01T00:00:00Z", "to": "2100-12-31T00:00:00Z"},
    ):
        problem(student.get("/slots", params=listing | window), 422, "invalid")
    widest = {"from": "2026-03-02T00:00:00Z", "to": "2026-05-03T00:00:00Z"}
    assert len(answer(student.get("/slots", params=listing | widest))["slots"]) == 3 * 44
    for listing_id in (str(uuid4()), str(OLIVER.id)):
        problem(student.get("/slots", params=FIRST_WEEK | {"listing_id": listing_id}), 404, "not_found")


def test_a_request_that_makes_no_sense_is_refused(house: ServedHouse) -> None:
    good = {"listing_id": str(EXAM_CLINIC.id), "start_utc": TUESDAY}
    for bad in (
        {"start_utc": "2026-03-03T10:00:00"},
        {"start_utc": "tomorrow"},
        {"start_utc": None},
        {"listing_id": "1"},
        {"note": "x" * 501},
        {"note": "\x00"},
        {"student_id": str(LENA.id)},
        {"end_utc": "2026-03-03T18:00:00Z"},
        {"status": "accepted"},
    ):
        problem(house.sign_in(OLIVER).post("/bookings", json=good | bad), 422, "invalid")
    problem(house.sign_in(OLIVER).post("/bookings", json=good | {"listing_id": str(uuid4())}), 404, "not_found")
    assert bookings_of(house, NADIA) == []
