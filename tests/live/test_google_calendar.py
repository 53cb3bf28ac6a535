"""Google Calendar over the whole stack: from what people do to what a calendar shows, whatever becomes of Google."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import httpx
import pytest

from tests.google import StandIn
from tests.house import ENGLISH, EXAM_CLINIC, HARRIET, NADIA, NOW, OLIVER, ZARA
from tests.live.answers import answer, problem
from tests.live.calendaring import CalendarFunctions, synced
from tests.live.receiving import as_scheduler
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

START = datetime.fromisoformat(NOW)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def google() -> Iterator[StandIn]:
    with StandIn().listening() as google:
        yield google


@pytest.fixture
def functions(house: ServedHouse, google: StandIn) -> Iterator[CalendarFunctions]:
    with CalendarFunctions(house, google).running() as functions:
        yield functions


def turn_on(house: ServedHouse) -> None:
    answer(house.sign_in(NADIA).patch("/settings", json={"sync_google_calendar": True}))


def generate(house: ServedHouse) -> list[Row]:
    """The month of English."""
    return answer(house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={}), 201)["sessions"]


def without_link(house: ServedHouse) -> None:
    answer(house.sign_in(NADIA).patch(f"/matches/{ENGLISH.id}", json={"meet_link": ""}))


def event_id(session: Row) -> str:
    return f"lesson{UUID(session['id']).hex}"


def as_google_shows(sessions: list[Row]) -> dict[str, tuple[datetime, datetime]]:
    """What a calendar shows of them."""
    return {
        event_id(each): (
            datetime.fromisoformat(each["scheduled_start_utc"]),
            datetime.fromisoformat(each["scheduled_end_utc"]),
        )
        for each in sessions
        if each["status"] not in {"cancelled", "rescheduled"}
    }


def sessions_of(house: ServedHouse) -> list[Row]:
    return answer(house.sign_in(OLIVER).get("/sessions"))["sessions"]


def standing(house: ServedHouse, **query: str) -> list[Row]:
    return answer(house.sign_in(NADIA).get("/calendar-syncs", params=query))["syncs"]


def test_what_people_do_is_what_the_calendar_shows(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    turn_on(house)
    sessions = generate(house)
    assert google.calls == [], "nothing is sent in the action itself"
    assert functions.sync() == synced(synced=len(sessions))
    assert google.shown() == as_google_shows(sessions)
    event = google.events[event_id(sessions[0])]
    assert event["summary"] == "English: Oliver Finch with Harriet Cole"
    assert event["location"] == sessions[0]["meet_link"]
    assert {each["email"] for each in event["attendees"]} == {HARRIET.email, OLIVER.email}

    admin, (first, second, *_) = house.sign_in(NADIA), sessions
    moved_to = "2026-03-06T10:00:00Z"
    answer(admin.patch(f"/sessions/{first['id']}", json={"start_utc": moved_to}))
    answer(admin.post(f"/sessions/{second['id']}/cancel", json={"reason": "ill"}))
    google.calls.clear()
    assert functions.sync() == synced(synced=2)
    assert google.calls.count("PATCH event") == 2
    assert google.shown() == as_google_shows(sessions_of(house))
    assert google.shown()[event_id(first)][0] == datetime.fromisoformat(moved_to)
    assert google.events[event_id(second)]["status"] == "cancelled"

    answer(admin.post(f"/sessions/{second['id']}/status", json={"status": "scheduled", "reason": "well again"}))
    functions.sync()
    assert event_id(second) in google.shown()
    assert functions.sync() == synced()
    assert len(google.events) == len(sessions)


def test_a_lesson_that_was_booked_is_shown_too(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    turn_on(house)
    body = {"listing_id": str(EXAM_CLINIC.id), "start_utc": "2026-03-03T10:00:00Z"}
    booking = answer(house.sign_in(ZARA).post("/bookings", json=body), 201)["booking"]
    session = answer(house.sign_in(HARRIET).post(f"/bookings/{booking['id']}/accept"))["session"]
    assert functions.sync() == synced(synced=1)
    assert google.shown() == as_google_shows([session])
    assert google.events[event_id(session)]["location"] == EXAM_CLINIC.meet_link


def test_turning_it_on_brings_in_all_that_is_to_come(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    sessions = generate(house)
    assert functions.sync() == synced()
    turn_on(house)
    assert functions.sync() == synced(synced=len(sessions))
    assert google.shown() == as_google_shows(sessions)


def test_a_meet_link_is_made_once_and_everybody_sees_it(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    without_link(house)
    turn_on(house)
    sessions = generate(house)
    assert {each["meet_link"] for each in sessions} == {None}
    done = functions.sync()
    # The one that made the link is shown with it afterwards, as the others are.
    assert done == synced(synced=len(sessions) + 1)
    asked = [each for each in google.events.values() if "conferenceData" in each]
    assert len(asked) == 1
    link = asked[0]["hangoutLink"]
    assert {each["meet_link"] for each in sessions_of(house)} == {link}
    assert {each["location"] for each in google.events.values()} == {link}
    (match,) = house.rows(NADIA, "matches", id=str(ENGLISH.id))
    assert match["meet_link"] == link


def test_without_a_user_to_act_for_lessons_are_shown_without_guests_and_links(
    house: ServedHouse, google: StandIn
) -> None:
    without_link(house)
    turn_on(house)
    sessions = generate(house)
    with CalendarFunctions(house, google, delegated=False).running() as functions:
        assert functions.sync() == synced(synced=len(sessions))
    assert google.shown() == as_google_shows(sessions)
    assert not any(each.get("attendees") or "conferenceData" in each for each in google.events.values())


def test_while_google_is_down_lessons_go_on_and_are_caught_up_with(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    turn_on(house)
    google.fail("*", 503)
    sessions = generate(house)
    assert functions.sync() == synced(failed=len(sessions), more=True)
    failing = standing(house, status="failing")
    assert len(failing) == len(sessions)
    assert {(each["last_error"], each["attempts"]) for each in failing} == {("Google answered 503.", 1)}
    first = sessions[0]
    answer(house.sign_in(NADIA).patch(f"/sessions/{first['id']}", json={"start_utc": "2026-03-06T10:00:00Z"}))
    assert functions.sync()["failed"] == 1, "what has changed is tried at once, the others wait"

    google.recover()
    house.set_clock(START + 2 * MINUTE)
    assert functions.sync() == synced(synced=len(sessions))
    assert google.shown() == as_google_shows(sessions_of(house))
    assert {each["status"] for each in standing(house)} == {"synced"}


def test_what_google_refuses_is_seen_and_tried_again_when_an_admin_asks(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    turn_on(house)
    sessions = generate(house)
    google.fail("POST event", 400, "invalid")
    assert functions.sync()["given_up"] == len(sessions)
    house.set_clock(START + timedelta(days=1))
    assert functions.sync() == synced()
    (shown, *_) = standing(house, status="given_up", limit="1")
    assert shown["last_error"] == "Google refused it with 400: invalid."
    google.recover()
    admin = house.sign_in(NADIA)
    assert answer(admin.post(f"/calendar-syncs/{shown['session_id']}/retry"))["status"] == "pending"
    assert functions.sync() == synced(synced=1)
    assert len(google.shown()) == 1
    problem(house.sign_in(HARRIET).get("/calendar-syncs"), 403, "not_allowed")


def test_functions_that_do_not_speak_to_google_say_so(house: ServedHouse, functions: CalendarFunctions) -> None:
    missing = ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_CALENDAR_ID"]
    turn_on(house)
    generate(house)
    told = answer(house.anybody.get("/cron/sync-calendar", headers=as_scheduler(house)))
    assert told == synced() | {"is_on": False, "missing": missing}
    assert answer(house.sign_in(NADIA).get("/health"))["calendar"] == {"on": False, "missing": missing}
    assert functions.health()["calendar"] == {"on": True, "missing": []}
    assert {each["attempts"] for each in standing(house)} == {0}


def test_free_times_leave_out_what_google_says_and_outlive_it(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    def slots() -> tuple[list[str], str | None]:
        query = {"listing_id": str(EXAM_CLINIC.id), "from": "2026-03-02T00:00:00Z", "to": "2026-03-03T00:00:00Z"}
        shown = answer(house.sign_in(ZARA).get("/slots", params=query))
        return [each["start_utc"][11:16] for each in shown["slots"]], shown["calendar_as_of"]

    assert slots() == (["09:00", "10:00", "11:00"], None)
    google.busy = {"harriet@calendar.test": [("2026-03-02T09:30:00+00:00", "2026-03-02T10:15:00+00:00")]}
    body = {"google_calendar_id": "harriet@calendar.test"}
    answer(house.sign_in(NADIA).patch(f"/people/{HARRIET.id}", json=body))
    assert functions.sync() == synced(calendars_read=1)
    free, as_of = slots()
    assert free == ["11:00"]
    assert as_of is not None
    assert datetime.fromisoformat(as_of) == START

    google.fail("*", 503)
    house.set_clock(START + 10 * MINUTE)
    assert functions.sync() == synced(calendars_failed=1)
    assert slots() == (free, as_of)
    (read,) = answer(house.sign_in(NADIA).get("/calendar-syncs"))["busy_reads"]
    assert (read["error"], read["tutor"]["id"]) == ("Google answered 503.", str(HARRIET.id))


# --- whatever happens to the dispatcher -------------------------------------------------------------------


def test_a_dispatcher_killed_between_sending_and_saying_so_leaves_one_event(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    without_link(house)
    turn_on(house)
    sessions = generate(house)
    google.misbehave("POST event", "after")
    with ThreadPoolExecutor(1) as thread:
        dispatching = thread.submit(functions.sync)
        while not google.events:
            assert not dispatching.done()
            time.sleep(0.01)
        functions.kill()
        with pytest.raises(httpx.TransportError):
            dispatching.result()
    google.recover()
    functions.start()
    assert functions.sync() == synced(), "the lease holds"
    (made,) = google.events.values()
    house.set_clock(START + timedelta(seconds=61))
    functions.sync()
    assert google.shown() == as_google_shows(sessions)
    assert {each["meet_link"] for each in sessions_of(house)} == {made["hangoutLink"]}, "no second link was made"
    assert {each["status"] for each in standing(house)} == {"synced"}


def test_dispatchers_at_the_same_time_share_the_work_while_people_go_on(
    house: ServedHouse, google: StandIn, functions: CalendarFunctions
) -> None:
    turn_on(house)
    sessions = generate(house)
    admin = house.sign_in(NADIA)
    gate = threading.Barrier(5)

    def dispatch() -> Row:
        gate.wait()
        return functions.sync()

    def move() -> None:
        gate.wait()
        for number, each in enumerate(sessions[:4]):
            answer(admin.patch(f"/sessions/{each['id']}", json={"start_utc": f"2026-03-22T{8 + number:02d}:00:00Z"}))

    with ThreadPoolExecutor(5) as threads:
        running = [threads.submit(dispatch) for _ in range(4)]
        moving = threads.submit(move)
        done = [each.result() for each in running]
        moving.result()
    assert sum(each["stale"] + each["given_up"] for each in done) == 0
    while standing(house, status="pending") or standing(house, status="failing"):
        house.set_clock(datetime.fromisoformat(answer(admin.get("/health"))["clock"]["now"]) + 2 * MINUTE)
        functions.sync()
    assert google.shown() == as_google_shows(sessions_of(house))
    assert len(google.events) == len(sessions)
