"""The main job over HTTP, with real sign-ins: a month is generated, seen, held, corrected."""

from datetime import datetime, timedelta
from uuid import uuid4

import httpx
import pytest

from tests.house import BILAL, ENGLISH, HARRIET, IELTS, LENA, MATHEMATICS, NADIA, OLIVER, PHYSICS, ZARA, Match, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

PATTERN: Row = {"timezone": "America/New_York", "days": [3, 6], "time": "10:00", "duration_mins": 60}
"""Of the mathematics match, as seeded."""
# New York's clocks change on 8 March; the tutor is away on the 11th.
MATHEMATICS_STARTS = [f"2026-{day}T15:00:00Z" for day in ("03-04", "03-07")] + [
    f"2026-{day}T14:00:00Z" for day in ("03-14", "03-18", "03-21", "03-25", "03-28", "04-01")
]


def moved(instant: str, **by: int) -> str:
    return f"{datetime.fromisoformat(instant) + timedelta(**by):%Y-%m-%dT%H:%M:%SZ}"


def generate(house: ServedHouse, match: Match) -> list[Row]:
    """The match's month."""
    return answer(house.sign_in(NADIA).post(f"/matches/{match.id}/sessions", json={}), 201)["sessions"]


def lessons_of(house: ServedHouse, who: Person, query: Row | None = None) -> list[Row]:
    """All that one page shows."""
    page = answer(house.sign_in(who).get("/sessions", params={"limit": 200} | (query or {})))
    assert page["next_cursor"] is None
    return page["sessions"]


def ids(sessions: list[Row]) -> list[str]:
    return [each["id"] for each in sessions]


def after(house: ServedHouse, session: Row) -> None:
    """Five minutes after the end."""
    house.set_clock(datetime.fromisoformat(session["scheduled_end_utc"]) + timedelta(minutes=5))


def mark(house: ServedHouse, who: Person, session: Row, status: str, **more: object) -> httpx.Response:
    """What is answered to that status."""
    return house.sign_in(who).post(f"/sessions/{session['id']}/status", json={"status": status} | more)


def credits_used(house: ServedHouse, match: Match) -> int:
    """As the student's own page sees it, through the Data API; cache and ledger must agree."""
    (package,) = house.rows(match.student, "packages", "sessions_used", id=match.package_id)
    entries = house.rows(match.student, "credit_ledger", "amount", package_id=match.package_id)
    assert package["sessions_used"] == sum(each["amount"] for each in entries)
    return package["sessions_used"]


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """The month of mathematics."""
    return generate(house, MATHEMATICS)


# --- from the pattern to the sessions -------------------------------------------------------------------


def test_an_admin_sets_a_pattern_previews_it_and_gets_exactly_that(house: ServedHouse) -> None:
    admin, match = house.sign_in(NADIA), f"/matches/{MATHEMATICS.id}"
    later = PATTERN | {"time": "09:30"}
    meet = "https://meet.google.com/xyz-xyzx-xyz"
    body = {"schedule_pattern": later, "meet_link": meet}
    set_ = answer(admin.put(f"{match}/schedule", json=body))
    assert (set_["schedule_pattern"], set_["meet_link"]) == (later, meet)

    preview = answer(admin.post(f"{match}/sessions/preview", json={}))
    planned = [each["start_utc"] for each in preview["occurrences"]]
    assert (preview["needed"], preview["fits"], preview["conflicts"]) == (8, 8, [])
    half_an_hour_earlier = [moved(start, minutes=-30) for start in MATHEMATICS_STARTS]
    assert planned == half_an_hour_earlier
    assert [(each["date"], each["reason"]) for each in preview["skipped"]] == [("2026-03-11", "tutor_time_off")]
    assert house.database.value("select count(*) from public.sessions") == 0

    commit = answer(admin.post(f"{match}/sessions", json={"plan_hash": preview["plan_hash"]}), 201)
    assert commit["created"] == 8
    assert [each["scheduled_start_utc"] for each in commit["sessions"]] == planned
    assert {each["meet_link"] for each in commit["sessions"]} == {meet}

    again = answer(admin.post(f"{match}/sessions", json={"plan_hash": preview["plan_hash"]}))
    assert (again["created"], ids(again["sessions"])) == (0, ids(commit["sessions"]))
    assert house.database.value("select count(*) from public.sessions") == 8


@pytest.mark.parametrize("what_changed", ["nothing, but the hash is made up", "the pattern", "a holiday"])
def test_a_plan_that_no_longer_holds_is_refused_and_nothing_is_written(house: ServedHouse, what_changed: str) -> None:
    admin, match = house.sign_in(NADIA), f"/matches/{MATHEMATICS.id}"
    plan_hash = answer(admin.post(f"{match}/sessions/preview", json={}))["plan_hash"]
    if what_changed == "the pattern":
        answer(admin.put(f"{match}/schedule", json={"schedule_pattern": PATTERN | {"days": [1, 3]}}))
    elif what_changed == "a holiday":
        answer(admin.post("/holidays", json={"on_date": "2026-03-21", "name": "Spring"}), 201)
    else:
        plan_hash = "0" * 64
    problem(admin.post(f"{match}/sessions", json={"plan_hash": plan_hash}), 409, "plan_changed")
    assert house.database.value("select count(*) from public.sessions") == 0


def test_only_an_admin_plans_and_commits(house: ServedHouse) -> None:
    for person in (BILAL, LENA):
        for path in ("sessions/preview", "sessions"):
            problem(house.sign_in(person).post(f"/matches/{MATHEMATICS.id}/{path}", json={}), 403, "not_allowed")
    assert house.database.value("select count(*) from public.sessions") == 0


# --- seeing them ----------------------------------------------------------------------------------------


def test_student_and_tutor_see_the_same_lessons_on_their_own_clocks(house: ServedHouse, lessons: list[Row]) -> None:
    starts = [each["scheduled_start_utc"] for each in lessons]
    assert starts == MATHEMATICS_STARTS
    for who, zone, clock in (
        (LENA, "America/New_York", ["T10:00:00-05:00"] * 2 + ["T10:00:00-04:00"] * 6),
        (BILAL, "Asia/Karachi", ["T20:00:00+05:00"] * 2 + ["T19:00:00+05:00"] * 6),
    ):
        seen = lessons_of(house, who)
        assert [each["scheduled_start_utc"] for each in seen] == starts
        assert [each["start_local"] for each in seen] == [
            start[:10] + local for start, local in zip(starts, clock, strict=True)
        ]
        assert {each["timezone"] for each in seen} == {zone}
        assert {each["meet_link"] for each in seen} == {"https://meet.google.com/abc-defg-hij"}
        assert [(each["package"]["position"], each["package"]["tier_sessions"]) for each in seen] == [
            (k, 8) for k in range(1, 9)
        ]
        assert {each["duration_mins"] for each in seen} == {60}
    for stranger in (HARRIET, OLIVER, ZARA):
        assert lessons_of(house, stranger) == []


def test_times_are_shown_in_another_zone_on_request(house: ServedHouse, lessons: list[Row]) -> None:
    student = house.sign_in(LENA)
    page = answer(student.get("/sessions", params={"tz": "Asia/Kolkata"}))
    assert page["timezone"] == "Asia/Kolkata"
    assert page["sessions"][0]["start_local"] == "2026-03-04T20:30:00+05:30"
    one = answer(student.get(f"/sessions/{lessons[0]['id']}", params={"tz": "Europe/London"}))
    assert (one["timezone"], one["start_local"]) == ("Europe/London", "2026-03-04T15:00:00Z")
    in_kolkata = page["sessions"][0]
    assert one.pop("moves") == []
    assert {name for name in one if one[name] != in_kolkata[name]} == {"timezone", "start_local", "end_local"}


def test_filters_narrow_the_list_to_what_they_say(house: ServedHouse) -> None:
    for match in (MATHEMATICS, ENGLISH, PHYSICS, IELTS):
        generate(house, match)
    everything = lessons_of(house, NADIA)
    assert len(everything) == 8 + 8 + 12 + 20
    march_10, march_20 = "2026-03-10T15:30:00Z", "2026-03-20T15:30:00Z"
    cancelled = everything[5]
    answer(mark(house, NADIA, cancelled, "cancelled", reason="Ill"))
    for query, wanted in (
        ({"student_id": ZARA.id}, [each for each in everything if each["student"]["id"] == str(ZARA.id)]),
        ({"tutor_id": HARRIET.id}, [each for each in everything if each["tutor"]["id"] == str(HARRIET.id)]),
        ({"match_id": IELTS.id}, [each for each in everything if each["match_id"] == str(IELTS.id)]),
        ({"origin": "booking"}, []),
        ({"origin": "match"}, everything),
        ({"status": "cancelled"}, [cancelled]),
        ({"status": ["cancelled", "scheduled"]}, everything),
        ({"from": march_10}, [each for each in everything if each["scheduled_start_utc"] >= march_10]),
        ({"to": march_20}, [each for each in everything if each["scheduled_start_utc"] < march_20]),
        (
            {"from": "2026-03-10T20:30:00+05:00", "to": "2026-03-20T15:30:00Z", "student_id": ZARA.id},
            [
                each
                for each in everything
                if march_10 <= each["scheduled_start_utc"] < march_20 and each["student"]["id"] == str(ZARA.id)
            ],
        ),
        ({"role": "tutor"}, []),
    ):
        assert ids(lessons_of(house, NADIA, query)) == ids(wanted), query
    for query, wanted in (
        ({}, [each for each in everything if each["tutor"]["id"] == str(HARRIET.id)]),
        ({"role": "tutor"}, [each for each in everything if each["tutor"]["id"] == str(HARRIET.id)]),
        ({"role": "student"}, []),
        ({"student_id": OLIVER.id}, [each for each in everything if each["student"]["id"] == str(OLIVER.id)]),
        ({"student_id": LENA.id}, []),
    ):
        assert ids(lessons_of(house, HARRIET, query)) == ids(wanted), query


def test_pages_show_each_lesson_exactly_once_in_order(house: ServedHouse) -> None:
    for match in (ENGLISH, PHYSICS, IELTS):
        generate(house, match)
    whole = ids(lessons_of(house, HARRIET))
    assert len(whole) == 28
    pages: list[list[str]] = []
    cursor = None
    while cursor or not pages:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = answer(house.sign_in(HARRIET).get("/sessions", params=query))
        pages.append(ids(page["sessions"]))
        cursor = page["next_cursor"]
    assert [id_ for page in pages for id_ in page] == whole
    assert [len(page) for page in pages] == [3] * 9 + [1]


def test_a_page_that_ends_between_two_lessons_at_one_time_loses_neither(house: ServedHouse) -> None:
    generate(house, MATHEMATICS)
    generate(house, PHYSICS)
    house.database.run(
        "update public.sessions set scheduled_start_utc = other.scheduled_start_utc, scheduled_end_utc = "
        "other.scheduled_end_utc from (select * from public.sessions where match_id = %s and sequence_number = 3) "
        "as other where sessions.match_id = %s and sessions.sequence_number = 3",
        MATHEMATICS.id,
        PHYSICS.id,
    )
    whole = lessons_of(house, NADIA)
    at_once = [each["scheduled_start_utc"] for each in whole].index(MATHEMATICS_STARTS[2])
    assert whole[at_once + 1]["scheduled_start_utc"] == MATHEMATICS_STARTS[2]
    admin = house.sign_in(NADIA)
    first = answer(admin.get("/sessions", params={"limit": at_once + 1}))
    rest = answer(admin.get("/sessions", params={"cursor": first["next_cursor"]}))
    assert ids(first["sessions"]) + ids(rest["sessions"]) == ids(whole)


# --- attendance and credits -----------------------------------------------------------------------------


def test_a_tutor_marks_what_happened_and_credits_follow_exactly(house: ServedHouse, lessons: list[Row]) -> None:
    for k, (lesson, status, used) in enumerate(
        zip(lessons, ["done", "no_show_student", "no_show_tutor", "done"], [1, 2, 2, 3], strict=False)
    ):
        after(house, lesson)
        notes = f"Lesson {k}: fractions — کسور"
        marked = answer(mark(house, BILAL, lesson, status, notes=notes))
        assert marked["changed"]
        assert (marked["session"]["status"], marked["session"]["tutor_notes"]) == (status, notes)
        package = marked["session"]["package"]
        assert (package["sessions_used"], package["sessions_left"]) == (used, 8 - used)
        assert credits_used(house, MATHEMATICS) == used
        seen = answer(house.sign_in(LENA).get(f"/sessions/{lesson['id']}"))
        assert (seen["status"], seen["tutor_notes"], seen["package"]) == (status, notes, package)
    positions = [each["package"]["position"] for each in lessons_of(house, LENA)]
    assert positions == [1, 2, None, 3, 4, 5, 6, 7], "a lesson that the tutor missed is not one of the eight"


def test_an_admin_corrects_with_a_reason_and_the_credit_comes_back(house: ServedHouse, lessons: list[Row]) -> None:
    after(house, lessons[0])
    answer(mark(house, BILAL, lessons[0], "done"))
    problem(mark(house, BILAL, lessons[0], "no_show_tutor"), 409, "illegal_transition")
    problem(mark(house, NADIA, lessons[0], "no_show_tutor"), 422, "reason_required")
    assert credits_used(house, MATHEMATICS) == 1

    corrected = answer(mark(house, NADIA, lessons[0], "no_show_tutor", reason="The tutor's train was late"))
    assert (corrected["session"]["status"], corrected["session"]["package"]["sessions_used"]) == ("no_show_tutor", 0)
    assert corrected["session"]["status_reason"] == "The tutor's train was late"
    assert credits_used(house, MATHEMATICS) == 0
    assert house.database.rows(
        "select amount from public.credit_ledger where package_id = %s order by entry_no", MATHEMATICS.package_id
    ) == [(1,), (-1,)]


def test_a_session_that_moved_on_meanwhile_is_not_overwritten(house: ServedHouse, lessons: list[Row]) -> None:
    lesson = lessons[0]
    after(house, lesson)
    marked = answer(mark(house, BILAL, lesson, "done", expected_version=lesson["version"]))["session"]
    assert marked["version"] == lesson["version"] + 1
    stale = mark(house, NADIA, lesson, "no_show_student", reason="Seen", expected_version=lesson["version"])
    assert problem(stale, 409, "stale_version")["version"] == marked["version"]
    answer(mark(house, NADIA, lesson, "no_show_student", reason="Seen", expected_version=marked["version"]))
    assert credits_used(house, MATHEMATICS) == 1


def test_the_same_call_again_changes_nothing(house: ServedHouse, lessons: list[Row]) -> None:
    after(house, lessons[0])
    first = answer(mark(house, BILAL, lessons[0], "done", notes="Well done"))
    traces = house.database.value("select count(*) from public.audit_logs")
    for _ in range(3):
        again = answer(mark(house, BILAL, lessons[0], "done", notes="Well done", expected_version=1))
        assert again == first | {"changed": False}
    assert credits_used(house, MATHEMATICS) == 1
    assert house.database.value("select count(*) from public.audit_logs") == traces


def test_a_tutor_marks_neither_early_nor_out_of_order(house: ServedHouse, lessons: list[Row]) -> None:
    first, second = lessons[:2]
    early = problem(mark(house, BILAL, first, "done"), 409, "too_early")
    assert datetime.fromisoformat(early["opens_at"]) == datetime.fromisoformat(first["scheduled_start_utc"])
    house.set_clock(datetime.fromisoformat(first["scheduled_start_utc"]) - timedelta(minutes=16))
    assert problem(mark(house, BILAL, first, "in_progress"), 409, "too_early")["policy"] == "start_window_mins"
    house.set_clock(datetime.fromisoformat(first["scheduled_start_utc"]) - timedelta(minutes=15))
    started = answer(mark(house, BILAL, first, "in_progress"))["session"]
    assert (started["status"], started["started_by"]) == ("in_progress", str(BILAL.id))

    after(house, second)
    refused = problem(mark(house, BILAL, second, "done"), 409, "out_of_order")
    assert [each["session_id"] for each in refused["blockers"]] == [first["id"]]
    assert refused["policy"] == "sequence_lock"
    assert credits_used(house, MATHEMATICS) == 0
    answer(mark(house, BILAL, first, "done"))
    answer(mark(house, BILAL, second, "done"))
    assert credits_used(house, MATHEMATICS) == 2


def test_a_tutor_corrects_what_the_clock_completed_for_a_day_and_no_longer(
    house: ServedHouse, lessons: list[Row]
) -> None:
    for lesson in lessons[:2]:
        after(house, lesson)
        complete_by_clock(house, lesson)
    done_at = house.database.value("select private.now()")
    assert credits_used(house, MATHEMATICS) == 2

    house.set_clock(done_at + timedelta(hours=24))
    closed = problem(mark(house, BILAL, lessons[1], "no_show_tutor"), 409, "too_late")
    assert closed["policy"] == "tutor_correction_hours"
    assert datetime.fromisoformat(closed["closed_at"]) == done_at + timedelta(hours=24)
    house.set_clock(done_at + timedelta(hours=23, minutes=59))
    answer(mark(house, BILAL, lessons[1], "no_show_tutor"))
    problem(mark(house, BILAL, lessons[0], "no_show_tutor"), 409, "too_late")
    assert credits_used(house, MATHEMATICS) == 1


def complete_by_clock(house: ServedHouse, session: Row) -> None:
    """As the sweep does it."""
    house.database.run(
        "update public.sessions set status = 'done', version = version + 1, updated_by_user_id = null, "
        "updated_by_role = 'clock' where id = %s",
        session["id"],
    )


def test_a_student_marks_nothing(house: ServedHouse, lessons: list[Row]) -> None:
    after(house, lessons[0])
    problem(mark(house, LENA, lessons[0], "done"), 403, "not_allowed")
    assert credits_used(house, MATHEMATICS) == 0


def test_a_missed_lesson_is_made_up_by_an_extra_one(house: ServedHouse, lessons: list[Row]) -> None:
    admin, path = house.sign_in(NADIA), f"/matches/{MATHEMATICS.id}/sessions/extra"
    extra = {"start_utc": "2026-03-09T16:30:00-04:00", "reason": "Make-up for the 4th"}
    refused = admin.post(path, json=extra)
    problem(refused, 402, "package_exhausted")

    after(house, lessons[0])
    answer(mark(house, BILAL, lessons[0], "no_show_tutor"))
    problem(house.sign_in(BILAL).post(path, json=extra), 403, "not_allowed")
    taken = admin.post(path, json=extra | {"start_utc": "2026-03-07T15:30:00Z"})
    assert problem(taken, 409, "slot_taken")["conflicts"][0]["session_id"] == lessons[1]["id"]
    made_up = answer(admin.post(path, json=extra), 201)
    assert (made_up["is_extra"], made_up["scheduled_start_utc"]) == (True, "2026-03-09T20:30:00Z")
    assert made_up["sequence_number"] == 9
    assert ids(lessons_of(house, LENA))[:3] == [lessons[0]["id"], lessons[1]["id"], made_up["id"]]
    problem(admin.post(path, json=extra | {"start_utc": "2026-03-10T20:30:00Z"}), 402, "package_exhausted")


# --- traces ---------------------------------------------------------------------------------------------


def test_the_audit_tells_an_admin_who_did_what_in_which_request(house: ServedHouse, lessons: list[Row]) -> None:
    request_id = str(uuid4())
    after(house, lessons[0])
    body = {"status": "done", "notes": "Private words"}
    headers = {"X-Request-Id": request_id}
    done = house.sign_in(BILAL).post(f"/sessions/{lessons[0]['id']}/status", json=body, headers=headers)
    assert (answer(done)["changed"], done.headers["X-Request-Id"]) == (True, request_id)
    answer(mark(house, NADIA, lessons[0], "no_show_student", reason="Says the guardian"))

    def audit(who: Person) -> list[Row]:
        return house.rows(who, "audit_logs", entity_id=lessons[0]["id"], action="session_status_updated")

    first, second = audit(NADIA)
    assert (first["actor_user_id"], first["actor_role"]) == (str(BILAL.id), "tutor")
    assert first["details"]["status"] == {"from": "scheduled", "to": "done"}
    assert "Private words" not in str(first)
    assert (second["actor_user_id"], second["actor_role"], second["reason"]) == (
        str(NADIA.id),
        "admin",
        "Says the guardian",
    )
    assert second["details"]["status"] == {"from": "done", "to": "no_show_student"}
    assert first["request_id"] == request_id
    assert audit(BILAL) == audit(LENA) == []
