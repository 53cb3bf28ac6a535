"""Lessons that will not take place, over HTTP with real sign-ins: cancelled at once, or asked for and decided."""

from datetime import datetime, timedelta

import httpx
import pytest

from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, OLIVER, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """The month of mathematics."""
    return answer(house.sign_in(NADIA).post(f"/matches/{MATHEMATICS.id}/sessions", json={}), 201)["sessions"]


def cancel(house: ServedHouse, who: Person, session: Row, how: str, **said: str | int) -> httpx.Response:
    client, path = house.sign_in(who), f"/sessions/{session['id']}"
    return client.post(f"{path}/cancel", json=said) if how == "POST" else client.delete(path, params=said)


def seen(house: ServedHouse, session: Row) -> Row:
    return answer(house.sign_in(NADIA).get(f"/sessions/{session['id']}"))


def from_start(house: ServedHouse, session: Row, **by: int) -> None:
    """Set the clock to that long after the session's start."""
    house.set_clock(datetime.fromisoformat(session["scheduled_start_utc"]) + timedelta(**by))


# --- at once --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["POST", "DELETE"])
def test_an_admin_cancels_and_the_time_is_free_again(house: ServedHouse, lessons: list[Row], how: str) -> None:
    lesson, other = lessons[2:4]
    if how == "DELETE":
        assert problem(cancel(house, NADIA, lesson, how), 422, "invalid")["errors"][0]["field"] == "reason"
    problem(cancel(house, NADIA, lesson, how, reason="Ill", expected_version=7), 409, "stale_version")
    cancelled = answer(cancel(house, NADIA, lesson, how, reason="Ill with a cold", expected_version=1))
    assert (cancelled["changed"], cancelled["session"]["status"]) == (True, "cancelled")
    assert cancelled["session"]["status_reason"] == "Ill with a cold"
    assert not answer(cancel(house, NADIA, lesson, how, reason="Ill with a cold", expected_version=1))["changed"]
    assert seen(house, lesson)["package"]["position"] is None

    admin = house.sign_in(NADIA)
    answer(admin.patch(f"/sessions/{other['id']}", json={"start_utc": lesson["scheduled_start_utc"]}))
    extra = {"start_utc": other["scheduled_start_utc"], "reason": "In its place"}
    answer(admin.post(f"/matches/{MATHEMATICS.id}/sessions/extra", json=extra), 201)


@pytest.mark.parametrize("how", ["POST", "DELETE"])
def test_cancelling_at_once_is_for_admins(house: ServedHouse, lessons: list[Row], how: str) -> None:
    for who in (BILAL, LENA):
        problem(cancel(house, who, lessons[2], how, reason="Ill"), 403, "not_allowed")
    for stranger in (HARRIET, OLIVER):
        problem(cancel(house, stranger, lessons[2], how, reason="Ill"), 404, "not_found")
    assert seen(house, lessons[2])["status"] == "scheduled"


def test_cancelling_what_was_charged_gives_the_credit_back(house: ServedHouse, lessons: list[Row]) -> None:
    from_start(house, lessons[0], minutes=30)
    done = answer(house.sign_in(BILAL).post(f"/sessions/{lessons[0]['id']}/complete"))["session"]
    assert done["package"]["sessions_used"] == 1
    cancelled = answer(cancel(house, NADIA, lessons[0], "DELETE", reason="The wrong lesson"))["session"]
    assert cancelled["package"]["sessions_used"] == 0


# --- asked for ------------------------------------------------------------------------------------------


def ask(house: ServedHouse, who: Person, session: Row, reason: str = "Down with the flu") -> httpx.Response:
    return house.sign_in(who).post(f"/sessions/{session['id']}/request-cancel", json={"reason": reason})


def asked(house: ServedHouse, who: Person, session: Row) -> Row:
    return answer(ask(house, who, session), 202)["request"]


def decide(house: ServedHouse, who: Person, request: Row, decision: str, **body: object) -> httpx.Response:
    return house.sign_in(who).post(f"/cancellation-requests/{request['id']}/{decision}", json=body or None)


def read(house: ServedHouse, who: Person, request: Row) -> Row:
    return answer(house.sign_in(who).get(f"/cancellation-requests/{request['id']}"))


def listed(house: ServedHouse, who: Person, **query: str) -> list[str]:
    page = answer(house.sign_in(who).get("/cancellation-requests", params=query))
    return [each["id"] for each in page["requests"]]


def test_an_admin_approves_what_a_student_asks(house: ServedHouse, lessons: list[Row]) -> None:
    first = answer(ask(house, LENA, lessons[2]), 202)
    request = first["request"]
    assert (first["changed"], request["status"], request["requested_by_role"]) == (True, "pending", "student")
    assert request["session"]["status"] == "scheduled", "asking alone changes nothing"
    again = answer(ask(house, LENA, lessons[2], "Still down"), 202)
    assert (again["changed"], again["request"]["reason"]) == (False, "Down with the flu")
    problem(ask(house, BILAL, lessons[2]), 409, "already_requested")
    problem(ask(house, NADIA, lessons[2]), 403, "not_allowed")
    problem(ask(house, OLIVER, lessons[2]), 404, "not_found")

    assert listed(house, NADIA, status="pending") == listed(house, LENA) == [request["id"]]
    assert listed(house, BILAL) == listed(house, OLIVER) == []
    for stranger in (BILAL, HARRIET, OLIVER):
        problem(house.sign_in(stranger).get(f"/cancellation-requests/{request['id']}"), 404, "not_found")

    problem(decide(house, LENA, request, "approve"), 403, "not_allowed")
    approved = answer(decide(house, NADIA, request, "approve", reason="Get well soon"))
    assert (approved["changed"], approved["request"]["status"]) == (True, "approved")
    assert approved["request"]["session"]["status"] == "cancelled"
    assert not answer(decide(house, NADIA, request, "approve"))["changed"]
    told = read(house, LENA, request)
    assert (told["status"], told["decision_reason"]) == ("approved", "Get well soon")
    session = seen(house, lessons[2])
    assert (session["status"], session["status_reason"]) == ("cancelled", "Down with the flu")
    problem(decide(house, NADIA, request, "reject"), 409, "already_decided")


def test_a_wish_is_rejected_or_withdrawn_and_may_be_made_again(house: ServedHouse, lessons: list[Row]) -> None:
    request = asked(house, BILAL, lessons[2])
    assert (
        answer(decide(house, NADIA, request, "reject", reason="Find a substitute"))["request"]["status"] == "rejected"
    )
    assert not answer(decide(house, NADIA, request, "reject"))["changed"]

    again = asked(house, BILAL, lessons[2])
    assert again["id"] != request["id"]
    problem(decide(house, NADIA, again, "withdraw"), 403, "not_allowed")
    problem(decide(house, LENA, again, "withdraw"), 404, "not_found")
    assert answer(decide(house, BILAL, again, "withdraw"))["request"]["status"] == "withdrawn"
    assert not answer(decide(house, BILAL, again, "withdraw"))["changed"]
    problem(decide(house, NADIA, again, "approve"), 409, "already_decided")
    assert seen(house, lessons[2])["status"] == "scheduled"
    assert sorted(listed(house, BILAL, session_id=lessons[2]["id"])) == sorted([request["id"], again["id"]])


@pytest.mark.parametrize("what", ["moved", "parked", "started", "cancelled"])
def test_a_wish_lapses_when_the_session_changes_otherwise(house: ServedHouse, lessons: list[Row], what: str) -> None:
    request, path = asked(house, LENA, lessons[2]), f"/sessions/{lessons[2]['id']}"
    admin = house.sign_in(NADIA)
    if what == "moved":
        answer(admin.patch(path, json={"start_utc": "2026-03-15T23:00:00Z"}))
    elif what == "parked":
        answer(admin.post(f"{path}/status", json={"status": "rescheduled"}))
    elif what == "cancelled":
        answer(admin.delete(path, params={"reason": "Ill"}))
    else:
        from_start(house, lessons[2])
        answer(house.sign_in(BILAL).post(f"{path}/start"))
    assert read(house, LENA, request)["status"] == "lapsed"
    problem(decide(house, NADIA, request, "approve"), 409, "already_decided")


def test_what_has_begun_cannot_be_asked_away(house: ServedHouse, lessons: list[Row]) -> None:
    from_start(house, lessons[2], seconds=-1)
    answer(ask(house, LENA, lessons[2]), 202)
    from_start(house, lessons[3])
    closed = problem(ask(house, LENA, lessons[3]), 409, "too_late")["closed_at"]
    assert datetime.fromisoformat(closed) == datetime.fromisoformat(lessons[3]["scheduled_start_utc"])


def test_wishes_to_cancel_come_in_pages(house: ServedHouse, lessons: list[Row]) -> None:
    wanted = [asked(house, LENA, lesson)["id"] for lesson in lessons[:5]]
    pages: list[str] = []
    cursor = None
    while cursor or not pages:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = answer(house.sign_in(LENA).get("/cancellation-requests", params=query))
        pages += [each["id"] for each in page["requests"]]
        cursor = page["next_cursor"]
    assert sorted(pages) == sorted(wanted)
    assert pages == listed(house, NADIA)
