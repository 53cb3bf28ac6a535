"""Packages in real life over HTTP: filled up, moved between, renewed, accounted for; and a house brought along."""

import csv
import io

import pytest

from tests.house import BILAL, ENGLISH, HARRIET, LENA, NADIA, OLIVER, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

SESSIONS = f"/matches/{ENGLISH.id}/sessions"
STATEMENT = f"/packages/{ENGLISH.package_id}/statement"
AFTER_TWO = "2026-03-05T18:05:00+00:00"
"""Two English lessons are over."""


def post(house: ServedHouse, path: str, body: Row, status: int = 200, who: Person = NADIA) -> Row:
    return answer(house.sign_in(who).post(path, json=body), status)


def month(house: ServedHouse) -> list[Row]:
    """The English month, generated; two of its lessons are over."""
    sessions = post(house, SESSIONS, {}, 201)["sessions"]
    house.set_clock(AFTER_TWO)
    return sessions


def mark(house: ServedHouse, session: Row, status: str, who: Person = HARRIET, **more: str) -> Row:
    return post(house, f"/sessions/{session['id']}/status", {"status": status, **more}, who=who)


def test_a_package_is_filled_up_after_cancellations(house: ServedHouse) -> None:
    sessions = month(house)
    mark(house, sessions[-1], "cancelled", NADIA, reason="holiday")
    assert post(house, SESSIONS, {})["created"] == 0, "nothing is added unasked"
    preview = post(house, f"{SESSIONS}/preview", {})
    assert (preview["needed"], preview["fits"]) == (1, 1)
    filled = post(house, SESSIONS, {"fill": True, "plan_hash": preview["plan_hash"]}, 201)
    assert (filled["created"], len(filled["sessions"])) == (1, 9)
    (new,) = {each["id"] for each in filled["sessions"]} - {each["id"] for each in sessions}
    (added,) = [each for each in filled["sessions"] if each["id"] == new]
    assert added["occurrence_start_utc"] not in {each["occurrence_start_utc"] for each in sessions}
    assert added["sequence_number"] == 9
    assert post(house, SESSIONS, {"fill": True})["created"] == 0


def test_a_family_reads_what_became_of_its_package(house: ServedHouse) -> None:
    first, second, *_ = month(house)
    mark(house, first, "done")
    mark(house, second, "no_show_student")
    mark(house, second, "no_show_tutor", NADIA, reason="=Harriet was ill")
    statement = answer(house.sign_in(OLIVER).get(STATEMENT))
    assert [(each["amount"], each["sessions_left"]) for each in statement["entries"]] == [(1, 7), (1, 6), (-1, 7)]
    response = house.sign_in(OLIVER).get(STATEMENT, params={"format": "csv", "tz": "Asia/Karachi"})
    assert response.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"), newline="")))
    assert [(line["Lesson date"], line["Lesson time"]) for line in lines] == [
        ("2026-03-03", "22:00"),
        ("2026-03-05", "22:00"),
        ("2026-03-05", "22:00"),
    ]
    assert [line["What happened"] for line in lines] == [
        "Lesson took place",
        "Charged, given back later",
        "Given back: tutor did not come",
    ]
    assert [line["Credits used"] for line in lines] == ["+1", "+1", "-1"]
    assert (lines[-1]["Entered by"], lines[-1]["Reason"]) == ("The office", "'=Harriet was ill")


def test_a_statement_is_not_for_others(house: ServedHouse) -> None:
    for params in ({}, {"format": "csv"}):
        problem(house.sign_in(LENA).get(STATEMENT, params=params), 404, "not_found")
        problem(house.sign_in(HARRIET).get(STATEMENT, params=params), 403, "not_allowed")


def test_a_package_is_proposed_sold_once_and_takes_a_session_over(house: ServedHouse) -> None:
    first, *_ = month(house)
    mark(house, first, "done")
    path = f"/packages/{ENGLISH.package_id}/renew"
    proposal = post(house, path, {})["proposal"]
    assert (proposal["start_date"], proposal["schedule_pattern"]["days"]) == ("2026-04-05", [2, 4])
    sold = post(house, path, {"create": True, "tier_sessions": 12}, 201)["package"]
    assert (sold["start_date"], sold["tier_sessions"]) == ("2026-04-05", 12)
    again = problem(house.sign_in(NADIA).post(path, json={"create": True}), 409, "already_exists")
    assert again["package_id"] == sold["id"]
    moved = post(house, f"/sessions/{first['id']}/package", {"package_id": sold["id"], "reason": "paid twice"})
    assert (moved["changed"], moved["session"]["package"]["sessions_used"]) == (True, 1)
    amounts = [each["amount"] for each in answer(house.sign_in(OLIVER).get(STATEMENT))["entries"]]
    assert amounts == [1, -1]


def test_the_end_of_a_match_cancels_what_is_to_come(house: ServedHouse) -> None:
    sessions = month(house)
    mark(house, sessions[0], "done")
    ended = post(house, f"/matches/{ENGLISH.id}/end", {"reason": "moving away"})
    assert ended["match"]["status"] == "ended"
    assert set(ended["cancelled"]) == {each["id"] for each in sessions[2:]}, "the second has begun"
    assert post(house, f"/matches/{ENGLISH.id}/end", {"reason": "again"})["cancelled"] == []
    problem(house.sign_in(HARRIET).post(f"/matches/{ENGLISH.id}/end", json={"reason": "mine"}), 403, "not_allowed")


# --- a house brought from elsewhere --------------------------------------------------------------------

PEOPLE = """\
email,display_name,timezone,roles
ann@example.com,Ann,Europe/London,tutor
ben@example.com,Ben,UTC,student
"""
MATCHES = """\
student_email,tutor_email,subject,timezone,days,time
ben@example.com,ann@example.com,Maths,Europe/London,Mon Wed,9:00
"""
PACKAGES = """\
student_email,subject,tier_sessions,opening_used,start_date,end_date
ben@example.com,Maths,8,3,2026-03-01,2026-04-30
"""
SHEETS = {"people": PEOPLE, "matches": MATCHES, "packages": PACKAGES}


def test_a_house_is_brought_dry_and_then_in_earnest_and_teaches(house: ServedHouse) -> None:
    dry = post(house, "/import", SHEETS)
    assert (dry["imported"], dry["created"]) == (False, {"people": 2, "matches": 1, "packages": 1})
    report = post(house, "/import", SHEETS | {"dry_run": False})
    assert (report["imported"], report["created"]) == (True, dry["created"])
    assert post(house, "/import", SHEETS | {"dry_run": False})["known"] == dry["created"]
    match_id, package_id = house.database.rows(
        """
        select m.id, p.id from public.matches m join public.packages p using (request_id)
          join public.accounts a on a.profile_id = m.student_user_id where a.email = 'ben@example.com'
        """
    )[0]
    generated = post(house, f"/matches/{match_id}/sessions", {"package_id": str(package_id)}, 201)
    assert generated["created"] == 5, "three of eight were used elsewhere"


def test_bad_lines_bring_nothing(house: ServedHouse) -> None:
    unread = SHEETS | {"people": PEOPLE.replace("Europe/London", "London")}
    unknown = SHEETS | {"matches": MATCHES.replace("ann@", "eve@")}
    for sheets, expected in ((unread, [("people", 2, "timezone")]), (unknown, [("matches", 2, "tutor_email")])):
        dry = post(house, "/import", sheets)["errors"]
        refused = house.sign_in(NADIA).post("/import", json=sheets | {"dry_run": False})
        told = problem(refused, 422, "import_refused")["errors"]
        assert [(each["sheet"], each["line"], each["field"]) for each in told][: len(expected)] == expected
        assert [each["line"] for each in dry] == [each["line"] for each in told]
    assert house.database.value("select count(*) from public.accounts where email like '%%@example.com'") == 0
    problem(house.sign_in(BILAL).post("/import", json=SHEETS), 403, "not_allowed")
