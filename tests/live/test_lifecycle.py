"""A session's day over HTTP, with real sign-ins: people and the clock move it, and the figures tell how it went."""

from datetime import datetime, timedelta

import httpx
import pytest

from tests.house import BILAL, ENGLISH, HARRIET, LENA, MATHEMATICS, NADIA, NEWCOMER, OLIVER, Person
from tests.live.answers import answer, problem
from tests.live.served import Row, ServedHouse
from tests.live.test_day import credits_used, generate

pytestmark = pytest.mark.live

NOTHING: Row = {"started": 0, "completed": 0, "failed": 0, "more": False, "updates": []}


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """The month of mathematics: Bilal teaches Lena."""
    return generate(house, MATHEMATICS)


def start_of(lesson: Row) -> datetime:
    return datetime.fromisoformat(lesson["scheduled_start_utc"])


def end_of(lesson: Row) -> datetime:
    return datetime.fromisoformat(lesson["scheduled_end_utc"])


def from_start(house: ServedHouse, lesson: Row, **by: int) -> None:
    """Move the clock so far from the lesson's start."""
    house.set_clock(start_of(lesson) + timedelta(**by))


def press(house: ServedHouse, who: Person, lesson: Row, action: str, **body: object) -> httpx.Response:
    """The button of that name; without anything to say, without a body."""
    path = f"/sessions/{lesson['id']}/{action}"
    client = house.sign_in(who)
    return client.post(path, json=body) if body else client.post(path)


def patch(house: ServedHouse, who: Person, lesson: Row, action: str) -> httpx.Response:
    """The same button, the other method."""
    return house.sign_in(who).patch(f"/sessions/{lesson['id']}/{action}")


def cron(house: ServedHouse, secret: str | None = None) -> httpx.Response:
    """What the scheduler calls."""
    secret = house.env["CRON_SECRET"] if secret is None else secret
    return house.anybody.get("/cron/complete-sessions", headers={"Authorization": f"Bearer {secret}"})


def sweep(house: ServedHouse) -> tuple[int, int]:
    """The scheduler's call: how many it began and completed."""
    swept = answer(cron(house))
    assert (swept["failed"], swept["more"], swept["sweeps"]) == (0, False, 1)
    return swept["started"], swept["completed"]


def seen(house: ServedHouse, who: Person, lesson: Row) -> Row:
    return answer(house.sign_in(who).get(f"/sessions/{lesson['id']}"))


def refresh(house: ServedHouse, who: Person) -> Row:
    return answer(house.sign_in(who).post("/sessions/refresh-status"))


def set_policy(house: ServedHouse, **changes: object) -> Row:
    return answer(house.sign_in(NADIA).patch("/settings", json=changes))


# --- people press buttons -------------------------------------------------------------------------------


def test_a_student_starts_within_the_window_and_the_tutor_completes(house: ServedHouse, lessons: list[Row]) -> None:
    lesson = lessons[0]
    from_start(house, lesson, minutes=-15, seconds=-1)
    for who in (LENA, BILAL):
        early = problem(press(house, who, lesson, "start"), 409, "too_early")
        assert datetime.fromisoformat(early["opens_at"]) == start_of(lesson) - timedelta(minutes=15)
        assert early["policy"] == "start_window_mins"
    for stranger in (OLIVER, HARRIET):
        problem(press(house, stranger, lesson, "start"), 404, "not_found")

    from_start(house, lesson, minutes=-15)
    stale = problem(press(house, LENA, lesson, "start", expected_version=lesson["version"] - 1), 409, "stale_version")
    assert stale["version"] == lesson["version"]
    started = answer(press(house, LENA, lesson, "start", expected_version=lesson["version"]))
    assert started["changed"]
    begun = started["session"]
    assert (begun["status"], begun["is_delayed"], begun["started_by"]) == ("in_progress", False, str(LENA.id))
    assert begun["timezone"] == "America/New_York"
    again = answer(patch(house, BILAL, lesson, "start"))
    assert (again["changed"], again["session"]["started_by"]) == (False, str(LENA.id))

    problem(press(house, BILAL, lesson, "complete"), 409, "too_early")
    from_start(house, lesson, minutes=50)
    problem(press(house, LENA, lesson, "complete"), 409, "illegal_transition")
    completed = answer(press(house, BILAL, lesson, "complete", notes="Fractions"))
    assert (completed["session"]["status"], completed["session"]["tutor_notes"]) == ("done", "Fractions")
    assert seen(house, LENA, lesson)["status"] == "done"
    assert credits_used(house, MATHEMATICS) == 1
    assert answer(patch(house, BILAL, lesson, "complete"))["changed"] is False
    assert credits_used(house, MATHEMATICS) == 1


def test_a_session_that_is_over_cannot_be_started(house: ServedHouse, lessons: list[Row]) -> None:
    house.set_clock(end_of(lessons[0]))
    for who in (LENA, BILAL):
        problem(press(house, who, lessons[0], "start"), 409, "too_late")


def test_a_tutor_says_who_was_not_there(house: ServedHouse, lessons: list[Row]) -> None:
    from_start(house, lessons[0], seconds=-1)
    problem(press(house, BILAL, lessons[0], "missed", by="student"), 409, "too_early")
    for lesson, by, used in zip(lessons, ("student", "tutor"), (1, 1), strict=False):
        from_start(house, lesson, minutes=20)
        problem(press(house, LENA, lesson, "missed", by=by), 403, "not_allowed")
        missed = answer(press(house, BILAL, lesson, "missed", by=by, notes="No answer"))["session"]
        assert (missed["status"], missed["tutor_notes"]) == (f"no_show_{by}", "No answer")
        assert credits_used(house, MATHEMATICS) == used
    blocked = problem(press(house, BILAL, lessons[3], "missed", by="student"), 409, "too_early")
    assert "blockers" not in blocked
    from_start(house, lessons[3], minutes=20)
    blocked = problem(press(house, BILAL, lessons[3], "missed", by="student"), 409, "out_of_order")
    assert [each["session_id"] for each in blocked["blockers"]] == [lessons[2]["id"]]
    corrected = answer(press(house, NADIA, lessons[0], "missed", by="tutor", reason="The tutor was ill"))["session"]
    assert (corrected["status"], corrected["status_reason"]) == ("no_show_tutor", "The tutor was ill")
    assert credits_used(house, MATHEMATICS) == 0


# --- the clock moves what nobody has --------------------------------------------------------------------


def test_the_clock_begins_what_nobody_began_and_a_person_completes_it(house: ServedHouse, lessons: list[Row]) -> None:
    lesson = lessons[0]
    from_start(house, lesson, seconds=-1)
    assert sweep(house) == (0, 0)
    from_start(house, lesson, minutes=7)
    assert seen(house, BILAL, lesson)["status"] == "scheduled", "reading moves nothing"
    assert sweep(house) == (1, 0)
    assert sweep(house) == (0, 0)
    delayed = seen(house, LENA, lesson)
    assert (delayed["status"], delayed["is_delayed"], delayed["started_by"]) == ("in_progress", True, None)
    assert delayed["started_at"] == lesson["scheduled_start_utc"], "however late the clock came by"

    late = answer(press(house, BILAL, lesson, "start"))
    assert late["changed"]
    assert (late["session"]["is_delayed"], late["session"]["started_by"]) == (True, str(BILAL.id))
    house.set_clock(end_of(lesson) + timedelta(hours=5))
    assert sweep(house) == (0, 0), "a delayed session waits for a person"
    assert credits_used(house, MATHEMATICS) == 0

    problem(press(house, LENA, lesson, "complete", notes="We had fun"), 403, "not_allowed")
    completed = answer(patch(house, LENA, lesson, "complete"))
    assert (completed["changed"], completed["session"]["status"]) == (True, "done")
    assert credits_used(house, MATHEMATICS) == 1
    problem(press(house, LENA, lesson, "dispute", reason="Too short"), 409, "illegal_transition")


def complete_by_clock(house: ServedHouse, lesson: Row) -> datetime:
    """Started in time and then left to the clock, which comes by ten minutes late; returns when."""
    from_start(house, lesson)
    answer(press(house, BILAL, lesson, "start"))
    house.set_clock(end_of(lesson) - timedelta(seconds=1))
    assert sweep(house) == (0, 0)
    house.set_clock(end_of(lesson) + timedelta(minutes=10))
    assert sweep(house) == (0, 1)
    return end_of(lesson) + timedelta(minutes=10)


def test_a_student_disputes_what_the_clock_completed_and_the_tutor_corrects_it(
    house: ServedHouse, lessons: list[Row]
) -> None:
    lesson = lessons[0]
    came_by = complete_by_clock(house, lesson)
    assert (seen(house, LENA, lesson)["status"], credits_used(house, MATHEMATICS)) == ("done", 1)

    problem(press(house, BILAL, lesson, "dispute", reason="I was not there"), 403, "not_allowed")
    problem(press(house, OLIVER, lesson, "dispute", reason="I was not there"), 404, "not_found")
    disputed = answer(press(house, LENA, lesson, "dispute", reason="Nobody came"))
    assert (disputed["changed"], disputed["session"]["status"]) == (True, "done")
    assert answer(press(house, LENA, lesson, "dispute", reason="Nobody came, really"))["changed"] is False
    for who in (NADIA, BILAL, LENA):
        assert [each["reason"] for each in house.rows(who, "disputes")] == ["Nobody came"]
    assert house.rows(OLIVER, "disputes") == []

    house.set_clock(came_by + timedelta(hours=24))
    closed = problem(press(house, BILAL, lesson, "missed", by="tutor"), 409, "too_late")
    assert closed["policy"] == "tutor_correction_hours"
    house.set_clock(came_by + timedelta(hours=23, minutes=59))
    corrected = answer(press(house, BILAL, lesson, "missed", by="tutor"))["session"]
    assert (corrected["status"], credits_used(house, MATHEMATICS)) == ("no_show_tutor", 0)


def test_a_dispute_comes_within_the_correction_window(house: ServedHouse, lessons: list[Row]) -> None:
    came_by = complete_by_clock(house, lessons[0])
    house.set_clock(came_by + timedelta(hours=24))
    late = problem(press(house, LENA, lessons[0], "dispute", reason="Nobody came"), 409, "too_late")
    assert (late["policy"], datetime.fromisoformat(late["closed_at"])) == (
        "tutor_correction_hours",
        came_by + timedelta(hours=24),
    )
    assert house.rows(NADIA, "disputes") == []


def test_the_scheduler_needs_its_secret(house: ServedHouse, lessons: list[Row]) -> None:
    from_start(house, lessons[0])
    problem(house.anybody.get("/cron/complete-sessions"), 401, "not_signed_in")
    for secret in ("wrong", house.env["SUPABASE_SECRET_KEY"], house.visit(NADIA).token):
        problem(cron(house, secret), 401, "not_signed_in")
    problem(house.sign_in(NADIA).get("/cron/complete-sessions"), 401, "not_signed_in")
    assert seen(house, NADIA, lessons[0])["status"] == "scheduled"


def test_a_refresh_moves_the_callers_own_sessions_and_rests_for_15_seconds(house: ServedHouse) -> None:
    english, mathematics = generate(house, ENGLISH)[0], generate(house, MATHEMATICS)[0]
    assert start_of(english) < start_of(mathematics)
    from_start(house, mathematics, seconds=-14)
    assert refresh(house, LENA) == NOTHING
    from_start(house, mathematics)
    assert refresh(house, LENA) == NOTHING
    assert seen(house, LENA, mathematics)["status"] == "scheduled", "it is due, and she asked 14 seconds ago"

    from_start(house, mathematics, seconds=1)
    moved = refresh(house, LENA)
    step = {"session_id": mathematics["id"], "from": "scheduled", "to": "in_progress", "is_delayed": True}
    assert moved == NOTHING | {"started": 1, "updates": [step]}
    assert seen(house, NADIA, english)["status"] == "scheduled", "somebody else's"
    assert refresh(house, BILAL) == NOTHING, "his is moved already"
    assert [each["session_id"] for each in refresh(house, HARRIET)["updates"]] == [english["id"]]


def test_a_refresh_is_for_people_who_are_signed_in(house: ServedHouse) -> None:
    problem(house.anybody.post("/sessions/refresh-status"), 401, "not_signed_in")
    assert refresh(house, NEWCOMER) == NOTHING


# --- the house decides and looks back -------------------------------------------------------------------


def test_an_admin_sets_the_policies_and_they_hold_at_once(house: ServedHouse, lessons: list[Row]) -> None:
    lesson, admin = lessons[0], house.sign_in(NADIA)
    before = answer(admin.get("/settings"))
    assert {name: before[name] for name in before.keys() - {"updated_at"}} == {
        "start_window_mins": 15,
        "delay_grace_mins": 0,
        "tutor_correction_hours": 24,
        "sequence_lock": True,
        "tutor_may_reschedule": False,
        "consent_hours": 48,
        "events_kept_days": 90,
        "review_window_days": 14,
        "language": "en",
        "quiet_from": "21:00",
        "quiet_until": "07:00",
        "sync_google_calendar": False,
        "model_calls_a_day": 500,
    }
    for who in (BILAL, LENA):
        problem(house.sign_in(who).get("/settings"), 403, "not_allowed")
        problem(house.sign_in(who).patch("/settings", json={"start_window_mins": 60}), 403, "not_allowed")

    from_start(house, lesson, minutes=-60)
    problem(press(house, LENA, lesson, "start"), 409, "too_early")
    after = set_policy(house, start_window_mins=60, delay_grace_mins=10)
    assert (after["start_window_mins"], after["delay_grace_mins"]) == (60, 10)
    assert answer(admin.get("/settings")) == after
    answer(press(house, LENA, lesson, "start"))

    from_start(house, lessons[1], minutes=9, seconds=59)
    assert sweep(house) == (0, 1), "the first one ended meanwhile, the second one has its grace"
    from_start(house, lessons[1], minutes=10)
    assert sweep(house) == (1, 0)

    set_policy(house, tutor_correction_hours=0)
    problem(press(house, BILAL, lessons[0], "missed", by="tutor"), 409, "too_late")
    from_start(house, lessons[2], minutes=5)
    problem(press(house, BILAL, lessons[2], "complete"), 409, "out_of_order")
    set_policy(house, sequence_lock=False)
    answer(press(house, BILAL, lessons[2], "complete"))
    (audited, *_) = house.rows(NADIA, "audit_logs", action="settings_updated")
    assert (audited["actor_user_id"], audited["actor_role"]) == (str(NADIA.id), "admin")
    assert house.rows(LENA, "audit_logs") == []


def test_the_figures_of_a_period_add_up(house: ServedHouse) -> None:
    mathematics, english = generate(house, MATHEMATICS), generate(house, ENGLISH)
    outcomes = {
        "done": [*mathematics[:3], english[0]],
        "no_show_student": [english[1]],
        "no_show_tutor": [mathematics[3]],
        "cancelled": [english[2]],
        "rescheduled": [english[3]],
    }
    for status, of_them in outcomes.items():
        for lesson in of_them:
            body = {"status": status, "reason": "As it was"}
            answer(house.sign_in(NADIA).post(f"/sessions/{lesson['id']}/status", json=body))
    from_start(house, mathematics[4])
    started, _ = sweep(house)
    assert started >= 1
    delayed = house.database.value("select count(*) from public.sessions where is_delayed")

    def figures(start: str, end: str, **more: str) -> Row:
        return answer(house.sign_in(NADIA).get("/admin/metrics", params={"from": start, "to": end} | more))

    march = figures("2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z")
    total = march["total"]
    assert {name: total[name] for name in ("sessions", "done", "no_show_student", "no_show_tutor", "cancelled")} == {
        "sessions": 16,
        "done": 4,
        "no_show_student": 1,
        "no_show_tutor": 1,
        "cancelled": 1,
    }
    assert (total["parked"], total["open"], total["delayed"], total["moved"]) == (1, 8, delayed, 0)
    assert (total["completion_rate"], total["no_show_student_rate"]) == (0.6667, 0.1667)
    counts = [name for name in total if not name.endswith("_rate")]
    assert {name: sum(each[name] for each in march["by_tutor"]) for name in counts} == {
        name: total[name] for name in counts
    }
    assert {each["tutor"]["id"]: each["sessions"] for each in march["by_tutor"]} == {
        str(BILAL.id): 8,
        str(HARRIET.id): 8,
    }

    of_bilal = figures("2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z", tutor_id=str(BILAL.id))
    (alone,) = of_bilal["by_tutor"]
    assert of_bilal["total"] == {name: alone[name] for name in total}
    assert (alone["done"], alone["no_show_tutor"], alone["completion_rate"]) == (3, 1, 0.75)

    first, second = (each["scheduled_start_utc"] for each in mathematics[:2])
    assert figures(first, second, tutor_id=str(BILAL.id))["total"]["sessions"] == 1, "the end is not included"
    nothing = figures("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z")
    assert (nothing["total"]["sessions"], nothing["total"]["completion_rate"], nothing["by_tutor"]) == (0, None, [])


def test_the_figures_are_for_admins_and_for_periods(house: ServedHouse) -> None:
    period = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}
    for who in (BILAL, LENA):
        problem(house.sign_in(who).get("/admin/metrics", params=period), 403, "not_allowed")
    backwards = {"from": period["to"], "to": period["from"]}
    assert problem(house.sign_in(NADIA).get("/admin/metrics", params=backwards), 422, "invalid")["field"] == "from"
