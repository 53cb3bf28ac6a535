"""A business is set up over HTTP alone: no SQL, and nobody is there before they confirm who they are."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from supabase import AuthApiError

from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, OLIVER, PHYSICS, ZARA, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

ADA: Row = {
    "email": "ada@lessonkeeper.test",
    "display_name": "Ada Okafor",
    "timezone": "Africa/Lagos",
    "roles": ["tutor"],
    "phone": "+2348030000001",
}
BEN: Row = {
    "email": "ben@lessonkeeper.test",
    "display_name": "Ben Haddad",
    "timezone": "Africa/Casablanca",
    "roles": ["student"],
}
CHESS: Row = {"timezone": "Africa/Casablanca", "days": [1, 3, 5], "time": "18:00", "duration_mins": 45}


def enter(house: ServedHouse, path: str, body: Row) -> Row:
    """What the admin enters."""
    return answer(house.sign_in(NADIA).post(path, json=body), 201)


# --- a business from nothing ----------------------------------------------------------------------------


def test_people_are_entered_matched_and_planned_before_they_sign_up_and_find_it_all(house: ServedHouse) -> None:
    ada, ben = enter(house, "/people", ADA), enter(house, "/people", BEN)
    assert (ada["has_account"], ada["is_active"], ada["roles"]) == (False, True, ["tutor"])
    guardian = {
        "student_id": ben["id"],
        "name": "Mona Haddad",
        "timezone": "Africa/Casablanca",
        "phone": "+212600000001",
    }
    assert enter(house, "/guardians", guardian)["is_primary"]
    request = enter(house, "/requests", {"subject": "Chess", "level": "Club", "student_id": ben["id"]})
    assert (request["status"], request["student"]["display_name"]) == ("open", "Ben Haddad")
    meet = "https://meet.google.com/aaa-bbbb-ccc"
    match = {"request_id": request["id"], "tutor_id": ada["id"], "schedule_pattern": CHESS, "meet_link": meet}
    match = enter(house, "/matches", match)
    assert match["status"] == "proposed"
    package = {"tier_sessions": 12, "start_date": "2026-03-02", "end_date": "2026-03-31"}
    enter(house, "/packages", package | {"request_id": request["id"]})
    enter(house, "/holidays", {"on_date": "2026-03-20", "name": "Eid"})
    away = {"user_id": ada["id"], "starts_on": "2026-03-04", "ends_on": "2026-03-04"}
    assert enter(house, "/time-off", away)["sessions_hit"] == []

    generated = enter(house, f"/matches/{match['id']}/sessions", {"allow_partial": True})
    # 13 Mondays, Wednesdays and Fridays, less a day off and two holidays: the seed's 17th is a Tuesday.
    assert generated["created"] == 11
    assert house.database.rows(
        "select m.status::text, r.status::text from matches m join requests r on r.id = request_id where m.id = %s",
        match["id"],
    ) == [("active", "active")]

    for person, entered in ((BEN, ben), (ADA, ada)):
        house.sign_up(person["email"], display_name="Somebody else", timezone="UTC")
        with pytest.raises(AuthApiError, match="Email not confirmed"):
            house.sign_in(person["email"])
        house.confirm(person["email"])
        client = house.sign_in(person["email"])
        assert answer(client.get("/me")) == entered | {"has_account": True}
        page = answer(client.get("/sessions", params={"limit": 200}))
        assert (len(page["sessions"]), page["timezone"]) == (11, person["timezone"])
        # Morocco's clocks go back for Ramadan, which ends on 22 March 2026: the wall time stays.
        casablanca = answer(client.get("/sessions", params={"tz": "Africa/Casablanca"}))["sessions"]
        assert {each["start_local"][11:16] for each in casablanca} == {"18:00"}
        assert {each["scheduled_start_utc"][11:16] for each in casablanca} == {"17:00", "18:00"}
        assert {each["meet_link"] for each in casablanca} == {meet}


def test_who_signs_up_unasked_sees_nothing_until_an_admin_enters_them(house: ServedHouse) -> None:
    auth_id = house.sign_up("Ben@Lessonkeeper.test", display_name="Benny", timezone="Africa/Casablanca", role="admin")
    house.confirm("ben@lessonkeeper.test")
    ben = house.visit("ben@lessonkeeper.test")
    me = answer(ben.functions.get("/me"))
    assert (me["id"], me["display_name"], me["timezone"], me["roles"]) == (auth_id, "Benny", "Africa/Casablanca", [])
    assert answer(ben.functions.get("/sessions"))["sessions"] == []
    problem(ben.functions.post("/requests", json={"subject": "Chess"}), 403, "not_allowed")
    assert [each["id"] for each in house.rows(BEN["email"], "profiles")] == [auth_id]

    entered = enter(house, "/people", BEN)
    assert (entered["id"], entered["has_account"], entered["roles"]) == (auth_id, True, ["student"])
    # The same token, now of a student.
    request = answer(ben.functions.post("/requests", json={"subject": "Chess"}), 201)
    assert request["student"] == {"id": auth_id, "display_name": BEN["display_name"], "timezone": BEN["timezone"]}
    problem(house.sign_in(NADIA).post("/people", json=BEN), 409, "already_exists")


def test_an_address_that_is_only_claimed_opens_nothing(house: ServedHouse) -> None:
    expected = enter(house, "/people", BEN)
    house.sign_up(BEN["email"])
    with pytest.raises(AuthApiError, match="Email not confirmed"):
        house.sign_in(BEN["email"])
    (account,) = house.rows(NADIA, "accounts", profile_id=expected["id"])
    assert account["auth_user_id"] is None


def test_roles_count_from_the_moment_they_are_given_and_taken(house: ServedHouse) -> None:
    admin, newcomer = house.sign_in(NADIA), house.sign_in(NEWCOMER)
    problem(newcomer.post("/requests", json={"subject": "Chess"}), 403, "not_allowed")
    given = answer(admin.patch(f"/people/{NEWCOMER.id}", json={"roles": ["student", "tutor"]}))
    assert sorted(given["roles"]) == ["student", "tutor"]
    answer(newcomer.post("/requests", json={"subject": "Chess"}), 201)
    answer(admin.patch(f"/people/{NEWCOMER.id}", json={"roles": []}))
    problem(newcomer.post("/requests", json={"subject": "Go"}), 403, "not_allowed")
    problem(admin.patch(f"/people/{NADIA.id}", json={"roles": ["tutor"]}), 409, "last_admin")


# --- who answers for whom, who learns what --------------------------------------------------------------


def test_a_student_has_one_primary_guardian_and_reads_only_their_own(house: ServedHouse) -> None:
    admin = house.sign_in(NADIA)
    first, second = house.rows(LENA, "guardians")
    assert (first["is_primary"], second["is_primary"]) == (True, False)
    changed = answer(admin.patch(f"/guardians/{second['id']}", json={"is_primary": True, "whatsapp_opt_in": True}))
    assert (changed["is_primary"], changed["whatsapp_opt_in"]) == (True, True)
    assert [each["is_primary"] for each in house.rows(LENA, "guardians")] == [False, True]
    cleared = admin.patch(f"/guardians/{second['id']}", json={"phone": ""})
    problem(cleared, 422, "invalid")
    assert house.rows(BILAL, "guardians") == []
    assert [each["student_user_id"] for each in house.rows(OLIVER, "guardians")] == [str(OLIVER.id)]


def test_a_request_becomes_a_match_and_back(house: ServedHouse) -> None:
    admin = house.sign_in(NADIA)
    request = answer(house.sign_in(LENA).post("/requests", json={"subject": "Physics", "level": "Grade 8"}), 201)
    problem(
        house.sign_in(LENA).post("/requests", json={"subject": "Art", "student_id": str(ZARA.id)}), 403, "not_allowed"
    )
    problem(house.sign_in(BILAL).post("/requests", json={"subject": "Art"}), 403, "not_allowed")
    no_tutor = admin.post("/matches", json={"request_id": request["id"], "tutor_id": str(ZARA.id)})
    assert problem(no_tutor, 422, "invalid")["field"] == "tutor_id"
    match = enter(house, "/matches", {"request_id": request["id"], "tutor_id": str(BILAL.id)})
    second = admin.post("/matches", json={"request_id": request["id"], "tutor_id": str(HARRIET.id)})
    problem(second, 409, "already_exists")
    package = {"request_id": request["id"], "tier_sessions": 8, "start_date": "2026-03-01", "end_date": "2026-03-31"}
    package = enter(house, "/packages", package)
    problem(admin.post(f"/matches/{match['id']}/sessions/preview", json={}), 422, "schedule_missing")
    moved = answer(admin.patch(f"/matches/{match['id']}", json={"tutor_id": str(HARRIET.id)}))
    assert moved["tutor"]["id"] == str(HARRIET.id)

    grown = answer(admin.patch(f"/packages/{package['id']}", json={"tier_sessions": 12}))
    assert (grown["tier_sessions"], grown["sessions_left"], grown["standing"]) == (12, 12, "active")
    cancelled = answer(admin.patch(f"/packages/{package['id']}", json={"status": "cancelled"}))
    assert cancelled["standing"] == "cancelled"
    pattern = {"timezone": "UTC", "days": [1], "time": "06:00", "duration_mins": 30}
    answer(admin.put(f"/matches/{match['id']}/schedule", json={"schedule_pattern": pattern}))
    problem(admin.post(f"/matches/{match['id']}/sessions/preview", json={}), 422, "no_active_package")
    assert {each["id"] for each in house.rows(HARRIET, "packages", request_id=request["id"])} == {package["id"]}
    assert house.rows(BILAL, "packages", request_id=request["id"]) == []


# --- days off -------------------------------------------------------------------------------------------


def test_holidays_are_entered_read_by_all_changed_and_taken_back(house: ServedHouse) -> None:
    admin = house.sign_in(NADIA)
    holiday = enter(house, "/holidays", {"on_date": "2026-03-23", "name": "Republic Day"})
    problem(admin.post("/holidays", json={"on_date": "2026-03-23", "name": "Again"}), 409, "already_exists")
    assert [each["name"] for each in house.rows(LENA, "holidays", on_date="2026-03-23")] == ["Republic Day"]
    assert house.rows(NEWCOMER, "holidays") == []
    renamed = answer(admin.patch(f"/holidays/{holiday['id']}", json={"name": "Pakistan Day"}))
    assert (renamed["name"], renamed["on_date"]) == ("Pakistan Day", "2026-03-23")
    assert answer(admin.delete(f"/holidays/{holiday['id']}")) == renamed
    problem(admin.delete(f"/holidays/{holiday['id']}"), 404, "not_found")
    for person in (BILAL, LENA):
        problem(
            house.sign_in(person).post("/holidays", json={"on_date": "2026-03-24", "name": "Mine"}), 403, "not_allowed"
        )


KARACHI_DAY: Row = {"user_id": str(BILAL.id), "starts_on": "2026-03-17", "ends_on": "2026-03-17"}
"""16T19:00Z to 17T19:00Z."""
NEW_YORK_DAYS: Row = {"user_id": str(LENA.id), "starts_on": "2026-03-07", "ends_on": "2026-03-08"}
"""07T05:00Z to 09T04:00Z: the second of the two has 23 hours."""
RANGE: Row = {"user_id": str(LENA.id), "starts_at": "2026-03-17T12:00:00Z", "ends_at": "2026-03-17T16:00:00+01:00"}
"""17T12:00Z to 17T15:00Z."""


@pytest.mark.parametrize(
    ("away", "start", "is_hit"),
    [
        (KARACHI_DAY, "2026-03-16T18:00:00Z", False),
        (KARACHI_DAY, "2026-03-16T18:00:01Z", True),
        (KARACHI_DAY, "2026-03-17T18:59:59Z", True),
        (KARACHI_DAY, "2026-03-17T19:00:00Z", False),
        (NEW_YORK_DAYS, "2026-03-07T04:00:00Z", False),
        (NEW_YORK_DAYS, "2026-03-07T04:00:01Z", True),
        (NEW_YORK_DAYS, "2026-03-09T03:59:59Z", True),
        (NEW_YORK_DAYS, "2026-03-09T04:00:00Z", False),
        (RANGE, "2026-03-17T11:00:00Z", False),
        (RANGE, "2026-03-17T11:00:01Z", True),
        (RANGE, "2026-03-17T14:59:59Z", True),
        (RANGE, "2026-03-17T15:00:00Z", False),
    ],
)
def test_time_off_lists_exactly_the_lessons_it_hits(house: ServedHouse, away: Row, start: str, is_hit: bool) -> None:  # noqa: FBT001
    lesson = a_lesson_at(house, start)
    entered = enter(house, "/time-off", away)
    assert [each["session_id"] for each in entered["sessions_hit"]] == ([lesson] if is_hit else [])
    kept = answer(house.sign_in(NADIA).get(f"/sessions/{lesson}"))
    assert kept["scheduled_start_utc"] == start, "time off moves nothing"


def a_lesson_at(house: ServedHouse, start: str) -> str:
    """Bilal's and Lena's only live lesson, of an hour."""
    generated = enter(house, f"/matches/{MATHEMATICS.id}/sessions", {})["sessions"]
    house.database.run(
        "update public.sessions set status = 'cancelled', status_reason = 'Only one is wanted' where id <> %s",
        generated[0]["id"],
    )
    end = datetime.fromisoformat(start) + timedelta(hours=1)
    house.database.run(
        "update public.sessions set scheduled_start_utc = %s, scheduled_end_utc = %s where id = %s",
        start,
        end,
        generated[0]["id"],
    )
    return generated[0]["id"]


def test_time_off_that_changes_lists_what_it_hits_now(house: ServedHouse) -> None:
    admin = house.sign_in(NADIA)
    lessons = enter(house, f"/matches/{PHYSICS.id}/sessions", {})["sessions"]
    lessons = {each["scheduled_start_utc"][:10]: each["id"] for each in lessons}
    entered = enter(house, "/time-off", {"user_id": str(ZARA.id), "starts_on": "2026-03-09", "ends_on": "2026-03-11"})
    assert [each["session_id"] for each in entered["sessions_hit"]] == [lessons["2026-03-09"], lessons["2026-03-11"]]
    assert all(a["scheduled_start_utc"] < b["scheduled_start_utc"] for a, b in pairwise(entered["sessions_hit"]))

    path = f"/time-off/{entered['time_off']['id']}"
    longer = answer(admin.patch(path, json={"starts_on": "2026-03-10", "ends_on": "2026-03-14"}))
    assert [each["session_id"] for each in longer["sessions_hit"]] == [lessons["2026-03-11"], lessons["2026-03-13"]]
    answer(admin.post(f"/sessions/{lessons['2026-03-13']}/status", json={"status": "cancelled", "reason": "Away"}))
    noted = answer(admin.patch(path, json={"note": "By train"}))
    assert [each["session_id"] for each in noted["sessions_hit"]] == [lessons["2026-03-11"]]
    assert noted["time_off"]["note"] == "By train"
    assert [each["id"] for each in house.rows(ZARA, "time_off")] == [entered["time_off"]["id"]]
    assert house.rows(HARRIET, "time_off") == []
    taken_back = answer(admin.delete(path))
    assert taken_back["time_off"] == noted["time_off"]
    problem(admin.patch(path, json={"note": "Gone"}), 404, "not_found")


# --- leaving --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", [LENA, BILAL])
def test_a_deactivated_person_is_out_at_once_whatever_token_they_hold(house: ServedHouse, person: Person) -> None:
    enter(house, f"/matches/{MATHEMATICS.id}/sessions", {})
    admin, client = house.sign_in(NADIA), house.sign_in(person)
    (lesson, *_) = answer(client.get("/sessions"))["sessions"]
    assert house.rows(person, "sessions")
    assert not answer(admin.patch(f"/people/{person.id}", json={"is_active": False}))["is_active"]

    for method, path, body in (
        ("GET", "/me", None),
        ("PATCH", "/me", {"display_name": "Still here"}),
        ("GET", "/sessions", None),
        ("GET", f"/sessions/{lesson['id']}", None),
        ("POST", f"/sessions/{lesson['id']}/status", {"status": "done"}),
        ("POST", "/requests", {"subject": "Art"}),
    ):
        problem(client.request(method, path, json=body), 403, "not_allowed")
    for table in ("profiles", "accounts", "user_roles", "matches", "packages", "sessions", "holidays"):
        assert house.rows(person, table) == [], table

    answer(admin.patch(f"/people/{person.id}", json={"is_active": True}))
    assert answer(client.get("/sessions"))["sessions"][0] == lesson


def test_the_last_admin_cannot_leave(house: ServedHouse) -> None:
    admin = house.sign_in(NADIA)
    problem(admin.patch(f"/people/{NADIA.id}", json={"is_active": False}), 409, "last_admin")
    answer(admin.patch(f"/people/{HARRIET.id}", json={"roles": ["tutor", "admin"]}))
    answer(house.sign_in(HARRIET).patch(f"/people/{NADIA.id}", json={"is_active": False}))
    problem(admin.get("/me"), 403, "not_allowed")
