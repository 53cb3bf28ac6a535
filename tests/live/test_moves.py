"""Another time for a lesson, over HTTP with real sign-ins: at once, by request, and for a whole series."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.house import BILAL, ENGLISH, HARRIET, IELTS, LENA, MATHEMATICS, NADIA, OLIVER, ZARA, Match, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

EVENING, NOON, MORNING = "2026-03-15T23:00:00Z", "2026-03-16T17:00:00Z", "2026-03-17T13:00:00Z"
"""Nobody of mathematics has anything to do then."""
A_MINUTE_LATER = "2026-02-26T09:01:00+00:00"


def generate(house: ServedHouse, match: Match) -> list[Row]:
    return answer(house.sign_in(NADIA).post(f"/matches/{match.id}/sessions", json={}), 201)["sessions"]


def later(instant: str, **by: int) -> str:
    return f"{datetime.fromisoformat(instant) + timedelta(**by):%Y-%m-%dT%H:%M:%SZ}"


def move(house: ServedHouse, who: Person, session: Row, start: str, **more: object) -> httpx.Response:
    return house.sign_in(who).patch(f"/sessions/{session['id']}", json={"start_utc": start} | more)


def park(house: ServedHouse, session: Row) -> Row:
    body = {"status": "rescheduled"}
    return answer(house.sign_in(NADIA).post(f"/sessions/{session['id']}/status", json=body))["session"]


def seen(house: ServedHouse, session: Row, who: Person = NADIA) -> Row:
    return answer(house.sign_in(who).get(f"/sessions/{session['id']}"))


def allow_tutors(house: ServedHouse) -> None:
    assert answer(house.sign_in(NADIA).patch("/settings", json={"tutor_may_reschedule": True}))["tutor_may_reschedule"]


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """The month of mathematics."""
    return generate(house, MATHEMATICS)


# --- at once --------------------------------------------------------------------------------------------


def test_an_admin_moves_parks_and_brings_back_and_the_history_tells(house: ServedHouse, lessons: list[Row]) -> None:
    lesson = lessons[2]
    first = answer(move(house, NADIA, lesson, EVENING, reason="School trip", expected_version=1))
    assert first["changed"]
    session = first["session"]
    assert (session["scheduled_start_utc"], session["scheduled_end_utc"]) == (EVENING, later(EVENING, hours=1))
    assert (session["status"], session["occurrence_start_utc"]) == ("scheduled", lesson["scheduled_start_utc"])
    assert session["start_local"] == "2026-03-16T04:00:00+05:00", "the admin's clocks stand in Karachi"
    assert "moves" not in session

    again = answer(move(house, NADIA, lesson, EVENING, reason="School trip", expected_version=1))
    assert (again["changed"], again["session"]["version"]) == (False, session["version"])
    assert problem(move(house, NADIA, lesson, NOON, expected_version=1), 409, "stale_version")["version"] == 2

    assert park(house, lesson)["status"] == "rescheduled"
    back = answer(move(house, NADIA, lesson, NOON))["session"]
    assert (back["status"], back["scheduled_start_utc"]) == ("scheduled", NOON)
    for who in (NADIA, BILAL, LENA):
        told = seen(house, lesson, who)["moves"]
        assert [(each["from_start_utc"], each["to_start_utc"], each["reason"], each["by_role"]) for each in told] == [
            (lesson["scheduled_start_utc"], EVENING, "School trip", "admin"),
            (EVENING, NOON, None, "admin"),
        ]
        assert {each["to_end_utc"] for each in told} == {later(EVENING, hours=1), later(NOON, hours=1)}


def test_a_move_that_cannot_be_is_refused_and_says_why(house: ServedHouse, lessons: list[Row]) -> None:
    lesson, other = lessons[2:4]
    problem(move(house, NADIA, lesson, "2026-02-26T08:59:59Z"), 422, "start_in_past")
    half_an_hour_into_it = later(other["scheduled_start_utc"], minutes=30)
    taken = problem(move(house, NADIA, lesson, half_an_hour_into_it), 409, "slot_taken")
    assert [(each["session_id"], each["of"]) for each in taken["conflicts"]] == [(other["id"], "both")]
    answer(move(house, NADIA, lesson, other["scheduled_end_utc"]))  # in that very second

    answer(house.sign_in(NADIA).post(f"/sessions/{other['id']}/cancel", json={"reason": "Ill"}))
    assert problem(move(house, NADIA, other, NOON), 409, "illegal_transition")["from"] == "cancelled"
    problem(move(house, LENA, lesson, NOON), 403, "not_allowed")
    problem(move(house, OLIVER, lesson, NOON), 404, "not_found")
    assert seen(house, other)["moves"] == []


def test_a_tutor_moves_where_the_house_lets_them(house: ServedHouse, lessons: list[Row]) -> None:
    lesson = lessons[2]
    assert problem(move(house, BILAL, lesson, NOON), 403, "not_allowed")["policy"] == "tutor_may_reschedule"
    allow_tutors(house)
    moved = answer(move(house, BILAL, lesson, NOON, reason="Dentist"))["session"]
    assert (moved["scheduled_start_utc"], moved["status_reason"]) == (NOON, "Dentist")
    assert [each["by_role"] for each in seen(house, lesson)["moves"]] == ["tutor"]

    # Which lessons the student has with others is not the tutor's to know.
    (conflict,) = problem(move(house, BILAL, lessons[3], NOON), 409, "slot_taken")["conflicts"]
    assert "session_id" not in conflict
    problem(move(house, HARRIET, lessons[3], EVENING), 404, "not_found")
    problem(move(house, LENA, lessons[3], EVENING), 403, "not_allowed")


# --- by request -----------------------------------------------------------------------------------------


def wish(house: ServedHouse, who: Person, session: Row, *starts: str, reason: str = "School trip") -> Row:
    """What is answered to somebody who asks for one of these times, or any."""
    body = {"reason": reason, "proposed_starts_utc": starts}
    return answer(house.sign_in(who).post(f"/sessions/{session['id']}/request-reschedule", json=body), 202)


def wishes(house: ServedHouse, who: Person, **query: str) -> list[Row]:
    return answer(house.sign_in(who).get("/reschedule-requests", params=query))["requests"]


def decide(house: ServedHouse, who: Person, request: Row, decision: str, **body: object) -> httpx.Response:
    return house.sign_in(who).post(f"/reschedule-requests/{request['id']}/{decision}", json=body or None)


def statuses(house: ServedHouse, session: Row) -> dict[str, str]:
    """Of the wishes about a session, by whose they are."""
    return {each["requested_by_role"]: each["status"] for each in wishes(house, NADIA, session_id=session["id"])}


def test_a_student_proposes_three_times_and_an_admin_takes_one_that_is_free(
    house: ServedHouse, lessons: list[Row]
) -> None:
    lesson = lessons[2]
    asked = wish(house, LENA, lesson, EVENING, lessons[3]["scheduled_start_utc"], NOON)
    request = asked["request"]
    assert (asked["changed"], request["status"], request["requested_by"]["id"]) == (True, "pending", str(LENA.id))
    assert {each["is_free"] for each in request["proposals"]} == {None}, "she does not learn when others are busy"
    assert request["proposals"][0]["start_local"] == "2026-03-15T19:00:00-04:00"
    assert not wish(house, LENA, lesson, EVENING, lessons[3]["scheduled_start_utc"], NOON)["changed"]
    house.set_clock(A_MINUTE_LATER)
    wish(house, BILAL, lesson, reason="Dentist")

    of_both = wishes(house, NADIA, status="pending", session_id=lesson["id"])
    assert [each["requested_by_role"] for each in of_both] == ["student", "tutor"]
    assert [each["is_free"] for each in of_both[0]["proposals"]] == [True, False, True]
    assert [each["id"] for each in wishes(house, LENA)] == [request["id"]]
    assert wishes(house, HARRIET) == wishes(house, OLIVER) == []

    problem(decide(house, LENA, request, "accept", start_utc=NOON), 403, "not_allowed")
    assert problem(decide(house, NADIA, request, "accept"), 422, "invalid")["field"] == "start_utc"
    problem(decide(house, NADIA, request, "accept", start_utc=MORNING), 422, "invalid")
    busy = lessons[3]["scheduled_start_utc"]
    problem(decide(house, NADIA, request, "accept", start_utc=busy), 409, "slot_taken")
    accepted = answer(decide(house, NADIA, request, "accept", start_utc=NOON, reason="Gladly"))
    assert (accepted["changed"], accepted["request"]["accepted_start_utc"]) == (True, NOON)
    assert accepted["request"]["session"]["scheduled_start_utc"] == NOON
    assert statuses(house, lesson) == {"student": "accepted", "tutor": "lapsed"}
    assert [each["to_start_utc"] for each in seen(house, lesson, LENA)["moves"]] == [NOON]

    assert not answer(decide(house, NADIA, request, "accept", start_utc=NOON))["changed"]
    for decision in ("reject", "withdraw"):
        who = LENA if decision == "withdraw" else NADIA
        problem(decide(house, who, request, decision), 409, "already_decided")


def test_a_wish_is_rejected_withdrawn_or_replaced(house: ServedHouse, lessons: list[Row]) -> None:
    rejected = wish(house, LENA, lessons[2], NOON)["request"]
    told = answer(decide(house, NADIA, rejected, "reject", reason="The room is taken"))["request"]
    assert (told["status"], told["decision_reason"]) == ("rejected", "The room is taken")
    assert not answer(decide(house, NADIA, rejected, "reject"))["changed"]
    assert [each["decision_reason"] for each in wishes(house, LENA)] == ["The room is taken"]

    withdrawn = wish(house, BILAL, lessons[3], NOON)["request"]
    problem(decide(house, NADIA, withdrawn, "withdraw"), 403, "not_allowed")
    problem(decide(house, LENA, withdrawn, "withdraw"), 404, "not_found")
    assert answer(decide(house, BILAL, withdrawn, "withdraw"))["request"]["status"] == "withdrawn"
    problem(decide(house, NADIA, withdrawn, "accept"), 409, "already_decided")

    old = wish(house, LENA, lessons[4], NOON)["request"]
    house.set_clock(A_MINUTE_LATER)
    new = wish(house, LENA, lessons[4], EVENING)["request"]
    assert [(each["id"], each["status"]) for each in wishes(house, LENA, session_id=lessons[4]["id"])] == [
        (old["id"], "withdrawn"),
        (new["id"], "pending"),
    ]
    assert answer(decide(house, NADIA, new, "accept"))["request"]["accepted_start_utc"] == EVENING, "the only one"
    assert seen(house, lessons[2])["moves"] == seen(house, lessons[3])["moves"] == []


def test_a_wish_outlives_parking_and_lapses_when_the_session_moves_otherwise(
    house: ServedHouse, lessons: list[Row]
) -> None:
    wish(house, LENA, lessons[2])
    park(house, lessons[2])
    assert statuses(house, lessons[2]) == {"student": "pending"}
    answer(move(house, NADIA, lessons[2], NOON))
    assert statuses(house, lessons[2]) == {"student": "lapsed"}


def test_wishes_come_in_pages_oldest_first(house: ServedHouse, lessons: list[Row]) -> None:
    asked = [wish(house, LENA, lesson)["request"]["id"] for lesson in lessons[:5]]
    by_age = [each["id"] for each in wishes(house, NADIA)]
    assert sorted(by_age) == sorted(asked)
    pages: list[str] = []
    cursor = None
    while cursor or not pages:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = answer(house.sign_in(LENA).get("/reschedule-requests", params=query))
        pages += [each["id"] for each in page["requests"]]
        cursor = page["next_cursor"]
    assert pages == by_age


# --- a series -------------------------------------------------------------------------------------------

WEEKDAYS: Row = {"timezone": "Europe/London", "days": [3, 5], "time": "18:00"}
"""Wednesdays and Fridays at six, in place of Tuesdays and Thursdays at five."""


def preview(house: ServedHouse, **body: Any) -> Row:
    path = f"/matches/{ENGLISH.id}/reschedule/preview"
    return answer(house.sign_in(NADIA).post(path, json={"scope": "all"} | body))


def commit(house: ServedHouse, **body: Any) -> httpx.Response:
    return house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/reschedule", json={"scope": "all"} | body)


def starts(house: ServedHouse, sessions: list[Row]) -> list[str]:
    """Where they stand now, in their old order."""
    return [seen(house, each)["scheduled_start_utc"] for each in sessions]


@pytest.fixture
def english(house: ServedHouse) -> list[Row]:
    """The month of English: 3, 5, 10, 12, 19, 24, 26 and 31 March."""
    return generate(house, ENGLISH)


@pytest.mark.parametrize(
    ("scope", "moving"), [("one", [2]), ("following", [2, 3, 4, 5, 6, 7]), ("all", list(range(8)))]
)
def test_a_series_goes_where_its_preview_says(
    house: ServedHouse, english: list[Row], scope: str, moving: list[int]
) -> None:
    which: Row = {"scope": scope, "schedule_pattern": WEEKDAYS} | (
        {} if scope == "all" else {"session_id": english[2]["id"]}
    )
    before = [each["scheduled_start_utc"] for each in english]
    shown = preview(house, **which)
    assert starts(house, english) == before, "a preview writes nothing"
    assert [each["session_id"] for each in shown["moves"]] == [english[nth]["id"] for nth in moving]
    assert [each["from_start_utc"] for each in shown["moves"]] == [before[nth] for nth in moving]
    assert (shown["needed"], shown["fits"], shown["conflicts"]) == (len(moving), len(moving), [])

    done = answer(commit(house, **which, plan_hash=shown["plan_hash"], reason="New school"))
    assert done["moved"] == len(moving)
    assert [each["scheduled_start_utc"] for each in done["sessions"]] == [each["start_utc"] for each in shown["moves"]]
    expected = list(before)
    for nth, each in zip(moving, shown["moves"], strict=True):
        expected[nth] = each["start_utc"]
    assert starts(house, english) == expected
    assert [len(seen(house, each)["moves"]) for each in english] == [int(nth in moving) for nth in range(8)]
    assert {each["reason"] for each in seen(house, english[2], OLIVER)["moves"]} == {"New school"}
    # The weekly pattern of months to come is another matter.
    (match,) = house.rows(NADIA, "matches", "schedule_pattern", id=ENGLISH.id)
    assert match["schedule_pattern"]["days"] == [2, 4]


def test_a_series_keeps_its_wall_time_when_the_clocks_change(house: ServedHouse, english: list[Row]) -> None:
    shown = preview(house, schedule_pattern=WEEKDAYS)
    by_date = {each["date"]: each["start_utc"][11:16] for each in shown["moves"]}
    assert by_date == dict.fromkeys(
        [
            "2026-03-04",
            "2026-03-06",
            "2026-03-11",
            "2026-03-13",
            "2026-03-18",
            "2026-03-20",
            "2026-03-25",
            "2026-03-27",
        ],
        "18:00",
    )
    shown = preview(house, schedule_pattern=WEEKDAYS, from_date="2026-03-16")
    assert [(each["date"], each["start_utc"][11:16]) for each in shown["moves"]][3:6] == [
        ("2026-03-27", "18:00"),
        ("2026-04-01", "17:00"),
        ("2026-04-03", "17:00"),
    ]
    assert shown["moves"][4]["clock_changes"] == ["clocks changed in Europe/London: UTC+0 → UTC+1"]
    assert shown["after_package_end"] == 2, "8 and 10 April; the package ends on the fourth"
    answer(commit(house, schedule_pattern=WEEKDAYS, from_date="2026-03-16", plan_hash=shown["plan_hash"]))
    local = [seen(house, each, OLIVER)["start_local"][11:16] for each in english]
    assert local == ["18:00"] * 8


def test_a_series_moves_onto_its_own_old_times_and_back(house: ServedHouse, english: list[Row]) -> None:
    before = [each["scheduled_start_utc"] for each in english]
    answer(commit(house, from_date="2026-03-05"))
    assert starts(house, english) == [*before[1:], "2026-04-02T16:00:00Z"], "each one slot later"
    answer(commit(house, from_date="2026-03-03"))
    assert starts(house, english) == before, "and each one slot earlier"
    assert answer(commit(house, from_date="2026-03-03"))["moved"] == 0
    # Half an hour later: each new time overlaps the same session's old one.
    half_past: Row = {"timezone": "Europe/London", "days": [2, 4], "time": "17:30"}
    answer(commit(house, schedule_pattern=half_past))
    assert starts(house, english) == [later(each, minutes=30) for each in before]


def test_every_conflict_of_a_series_is_listed_or_walked_past(house: ServedHouse, english: list[Row]) -> None:
    # Weekdays at half past three, for three quarters of an hour; Saturdays are free.
    ielts = {each["scheduled_start_utc"][:10]: each["id"] for each in generate(house, IELTS)}
    pattern: Row = {"timezone": "Europe/London", "days": [2, 6], "time": "16:00"}
    shown = preview(house, schedule_pattern=pattern)
    met = [ielts[each["date"]] for each in shown["moves"] if each["date"] in ielts]
    assert len(met) >= 3
    assert [each["session_id"] for each in shown["conflicts"]] == met
    assert {each["of"] for each in shown["conflicts"]} == {"tutor"}
    refused = problem(commit(house, schedule_pattern=pattern, plan_hash=shown["plan_hash"]), 409, "slot_taken")
    assert [each["session_id"] for each in refused["conflicts"]] == met
    assert starts(house, english) == [each["scheduled_start_utc"] for each in english], "none has moved"

    around = preview(house, schedule_pattern=pattern, skip_conflicts=True)
    assert {each["date"] for each in around["skipped"] if each["reason"] == "conflict"} >= set(ielts) & {
        "2026-03-03",
        "2026-03-10",
    }
    answer(commit(house, schedule_pattern=pattern, skip_conflicts=True, plan_hash=around["plan_hash"]))
    assert starts(house, english) == [each["start_utc"] for each in around["moves"]]


def test_a_series_leaves_what_is_resolved_and_takes_what_is_parked(house: ServedHouse, english: list[Row]) -> None:
    done, cancelled, parked = english[:3]
    admin = house.sign_in(NADIA)
    answer(admin.post(f"/sessions/{done['id']}/status", json={"status": "done"}))
    answer(admin.post(f"/sessions/{cancelled['id']}/cancel", json={"reason": "Ill"}))
    park(house, parked)
    moved = answer(commit(house, schedule_pattern=WEEKDAYS))
    assert [each["id"] for each in moved["sessions"]] == [each["id"] for each in english[2:]]
    assert {each["status"] for each in moved["sessions"]} == {"scheduled"}
    assert [seen(house, each)["status"] for each in (done, cancelled)] == ["done", "cancelled"]
    which = {"scope": "one", "session_id": done["id"], "schedule_pattern": WEEKDAYS}
    problem(commit(house, **which), 409, "illegal_transition")


def test_a_series_may_change_the_pattern_of_months_to_come(house: ServedHouse, english: list[Row]) -> None:
    answer(commit(house, schedule_pattern=WEEKDAYS, set_schedule=True))
    (match,) = house.rows(NADIA, "matches", "schedule_pattern", id=ENGLISH.id)
    assert match["schedule_pattern"] == {**WEEKDAYS, "duration_mins": 60}
    assert len(english) == 8


@pytest.mark.parametrize("what", ["a session", "the pattern", "a holiday", "nothing, but the hash is made up"])
def test_what_changes_between_preview_and_commit_is_noticed(house: ServedHouse, english: list[Row], what: str) -> None:
    admin = house.sign_in(NADIA)
    plan_hash = preview(house, schedule_pattern=WEEKDAYS)["plan_hash"]
    if what == "a session":
        answer(move(house, NADIA, english[4], "2026-03-20T12:00:00Z"))
    elif what == "the pattern":
        pattern = {**WEEKDAYS, "duration_mins": 45}
        answer(admin.put(f"/matches/{ENGLISH.id}/schedule", json={"schedule_pattern": pattern}))
    elif what == "a holiday":
        answer(admin.post("/holidays", json={"on_date": "2026-03-20", "name": "Spring"}), 201)
    else:
        plan_hash = "0" * 64
    before = starts(house, english)
    problem(commit(house, schedule_pattern=WEEKDAYS, plan_hash=plan_hash), 409, "plan_changed")
    assert starts(house, english) == before


def test_only_an_admin_moves_a_series(house: ServedHouse, english: list[Row]) -> None:
    allow_tutors(house)
    for who in (HARRIET, OLIVER, ZARA):
        for path in ("reschedule/preview", "reschedule"):
            body = {"scope": "following", "session_id": english[2]["id"]}
            problem(house.sign_in(who).post(f"/matches/{ENGLISH.id}/{path}", json=body), 403, "not_allowed")
    body = {"scope": "one", "session_id": english[0]["id"]}
    problem(house.sign_in(NADIA).post(f"/matches/{MATHEMATICS.id}/reschedule", json=body), 404, "not_found")
