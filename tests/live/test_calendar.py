"""A calendar at its secret address, over HTTP, read by another library than the one that writes it."""

from typing import Any

import pytest
import vobject  # pyright: ignore[reportMissingTypeStubs]

from tests.house import BILAL, ENGLISH, LENA, MATHEMATICS, NADIA, OLIVER, Match, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

EVENING = "2026-03-15T23:00:00Z"
"""Nobody of mathematics has anything to do then."""


def address(house: ServedHouse, who: Person) -> str:
    """Below `/api`, where the client already is."""
    made = answer(house.sign_in(who).post("/me/calendar-token"), 201)
    assert made["path"] == f"/api/calendar/{made['token']}.ics"
    return made["path"].removeprefix("/api")


def events(house: ServedHouse, path: str) -> dict[str, Any]:
    """Every event of the calendar by its uid."""
    response = house.anybody.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
    return {event.uid.value: event for event in read(response.text).contents.get("vevent", [])}


def read(text: str) -> Any:
    return vobject.readOne(text)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def generate(house: ServedHouse, match: Match) -> list[Row]:
    return answer(house.sign_in(NADIA).post(f"/matches/{match.id}/sessions", json={}), 201)["sessions"]


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """The month of mathematics; there is one of English too."""
    generate(house, ENGLISH)
    return generate(house, MATHEMATICS)


def test_both_sides_see_their_own_lessons_without_a_sign_in_and_nobody_elses(
    house: ServedHouse, lessons: list[Row]
) -> None:
    uids = {f"{each['id']}@lessonkeeper" for each in lessons}
    for who, other in ((LENA, lessons[0]["tutor"]), (BILAL, lessons[0]["student"])):
        found = events(house, address(house, who))
        assert found.keys() == uids
        summaries = {event.summary.value for event in found.values()}
        assert summaries == {f"{lessons[0]['subject']} with {other['display_name']}"}
    assert not events(house, address(house, OLIVER)).keys() & uids
    assert events(house, address(house, NADIA)) == {}


def test_a_lesson_stands_at_its_time_with_its_link(house: ServedHouse, lessons: list[Row]) -> None:
    event = events(house, address(house, LENA))[f"{lessons[0]['id']}@lessonkeeper"]
    assert (
        f"{event.dtstart.value:%Y-%m-%dT%H:%M:%S}"
        == answer(house.sign_in(LENA).get(f"/sessions/{lessons[0]['id']}"))["start_local"].rpartition("-")[0]
    )
    assert event.dtstart.params["X-VOBJ-ORIGINAL-TZID"] == ["America/New_York"]
    assert event.url.value == lessons[0]["meet_link"]
    assert event.status.value == "CONFIRMED"


def test_a_moved_lesson_is_the_same_event_and_a_cancelled_one_stays_and_says_so(
    house: ServedHouse, lessons: list[Row]
) -> None:
    path, uid = address(house, LENA), f"{lessons[2]['id']}@lessonkeeper"
    before = events(house, path)
    answer(house.sign_in(NADIA).patch(f"/sessions/{lessons[2]['id']}", json={"start_utc": EVENING}))
    moved = events(house, path)
    assert moved.keys() == before.keys()
    assert int(moved[uid].sequence.value) > int(before[uid].sequence.value)
    assert moved[uid].dtstart.value != before[uid].dtstart.value
    answer(house.sign_in(NADIA).post(f"/sessions/{lessons[2]['id']}/cancel", json={"reason": "ill"}))
    cancelled = events(house, path)
    assert cancelled.keys() == before.keys()
    assert cancelled[uid].status.value == "CANCELLED"
    assert int(cancelled[uid].sequence.value) > int(moved[uid].sequence.value)
    assert [event.status.value for each, event in cancelled.items() if each != uid] == ["CONFIRMED"] * 7


def test_who_asks_again_gets_it_only_when_it_has_changed(house: ServedHouse, lessons: list[Row]) -> None:
    path = address(house, LENA)
    first = house.anybody.get(path)
    assert first.headers["Cache-Control"] == "private, max-age=300"
    known = {"If-None-Match": first.headers["ETag"]}
    assert house.anybody.get(path, headers=known).status_code == 304
    answer(house.sign_in(NADIA).post(f"/sessions/{lessons[2]['id']}/cancel", json={"reason": "ill"}))
    assert house.anybody.get(path, headers=known).status_code == 200


@pytest.mark.usefixtures("lessons")
def test_an_old_address_and_that_of_somebody_deactivated_are_as_if_they_never_were(house: ServedHouse) -> None:
    old, theirs = address(house, LENA), address(house, BILAL)
    new = address(house, LENA)
    answer(house.sign_in(NADIA).patch(f"/people/{BILAL.id}", json={"is_active": False}))
    refusals = [
        problem(house.anybody.get(path), 404, "not_found") | {"request_id": None}
        for path in (old, theirs, f"/calendar/{'x' * 43}.ics", "/calendar/x.ics", "/calendar/%00.ics")
    ]
    assert refusals[1:] == refusals[:-1]
    assert len(events(house, new)) == 8


def test_only_who_may_act_gets_an_address_and_not_without_end(house: ServedHouse) -> None:
    problem(house.anybody.post("/me/calendar-token"), 401, "not_signed_in")
    for _ in range(10):
        address(house, LENA)
    problem(house.sign_in(LENA).post("/me/calendar-token"), 429, "too_many_requests")


def test_the_data_api_reads_nobodys_calendar(house: ServedHouse) -> None:
    token = address(house, LENA).removeprefix("/calendar/").removesuffix(".ics")
    for who in (LENA, NADIA):
        with pytest.raises(Exception, match="permission denied"):
            house.supabase(who).rpc("read_calendar_feed", {"p_token": token}).execute()
