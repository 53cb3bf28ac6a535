"""Sessions in Google Calendar: marked when they change, leased, put there, reported; and tutors' busy times."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database, Refused
from tests.db.calendars import (
    LINK,
    claim,
    claim_reads,
    enter_calendar,
    result,
    settle,
    settle_read,
    sync_all,
    syncs,
    told,
    turn,
    without_link,
)
from tests.db.lessons import DAY, HOUR, START, audit, booked, column, instant, lesson, move, update
from tests.house import ENGLISH, EXAM_CLINIC, HARRIET, LENA, MATHEMATICS, NADIA, NOW, OLIVER, PHYSICS, ZARA

BEGAN = instant(NOW)
SECOND = timedelta(seconds=1)
CLINIC = instant("2026-03-02 09:00")


def sync(db: Database, session_id: UUID, name: str = "status") -> Any:
    """One column of a session's row."""
    return db.value(f"select {name} from public.calendar_syncs where session_id = %s", session_id)


def only(claimed: list[dict[str, Any]]) -> dict[str, Any]:
    (each,) = claimed
    return each


# --- what is marked ---------------------------------------------------------------------------------------


def test_while_the_switch_is_off_nothing_is_marked_and_nothing_claimed(db: Database) -> None:
    session_id = lesson(db)
    move(db, session_id, START + DAY)
    db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_meet_link=LINK)
    assert syncs(db) == {}
    assert claim(db) == []


def test_turning_it_on_marks_every_session_that_has_not_ended(db: Database) -> None:
    coming, running = lesson(db), lesson(db, start=BEGAN - HOUR / 2, status="in_progress")
    lesson(db, start=BEGAN - HOUR, status="done")
    lesson(db, start=START + DAY, status="cancelled")
    lesson(db, start=START + 2 * DAY, status="rescheduled")
    single = booked(db, HARRIET, LENA, START + 3 * DAY)
    turn(db, on=True)
    assert syncs(db) == dict.fromkeys((coming, running, single), ("pending", 1, 0))
    turn(db, on=True)
    assert syncs(db)[coming] == ("pending", 1, 0), "it was on already"


def test_turning_it_on_again_has_all_of_them_put_there_anew_and_finds_what_changed_meanwhile(db: Database) -> None:
    session_id, other = lesson(db), lesson(db, start=START + DAY)
    turn(db, on=True)
    assert sync_all(db) == 2
    turn(db, on=False)
    update(db, NADIA, session_id, "cancelled", reason="ill")
    assert syncs(db)[session_id] == ("synced", 1, 1)
    assert claim(db) == []
    turn(db, on=True)
    assert syncs(db) == dict.fromkeys((session_id, other), ("pending", 2, 1))
    assert {each["session_id"]: each["is_cancelled"] for each in claim(db)} == {
        str(session_id): True,
        str(other): False,
    }


def test_a_session_is_marked_when_it_is_made_unless_it_is_over(db: Database) -> None:
    turn(db, on=True)
    coming = lesson(db)
    lesson(db, start=BEGAN - DAY, status="done")
    single = booked(db, HARRIET, LENA, START + DAY)
    assert syncs(db) == dict.fromkeys((coming, single), ("pending", 1, 0))


def test_a_session_that_was_made_while_the_switch_was_being_turned_is_found_by_the_next_claim(db: Database) -> None:
    turn(db, on=True)
    db.run("alter table public.sessions disable trigger sessions_mark_new_for_calendar")
    session_id = lesson(db)
    assert syncs(db) == {}
    assert only(claim(db))["session_id"] == str(session_id)


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("in_progress", 1),
        ("done", 1),
        ("no_show_student", 1),
        ("no_show_tutor", 1),
        ("rescheduled", 2),
        ("cancelled", 2),
    ],
)
def test_a_new_status_is_marked_when_the_calendar_is_to_show_it(db: Database, status: str, wanted: int) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    sync_all(db)
    update(db, NADIA, session_id, status, reason="so")
    assert sync(db, session_id, "wanted_version") == wanted


def test_changes_of_what_a_calendar_shows_are_marked_and_others_are_not(db: Database) -> None:
    turn(db, on=True)
    session_id, other = lesson(db), lesson(db, ENGLISH, START + DAY)
    single = booked(db, HARRIET, LENA, START + 2 * DAY)
    sync_all(db)

    def marked() -> set[UUID]:
        return {session for session, (status, _, _) in syncs(db).items() if status == "pending"}

    def after(statement: str, *parameters: object) -> set[UUID]:
        db.run(statement, *parameters)
        found = marked()
        sync_all(db)
        return found

    move(db, session_id, START + HOUR)
    assert marked() == {session_id}
    sync_all(db)
    assert after("update public.sessions set tutor_notes = 'x'") == set()
    assert after("update public.sessions set meet_link = %s where id = %s", LINK, single) == {single}
    assert after("update public.matches set meet_link = %s where id = %s", LINK, ENGLISH.id) == {other}
    assert after("update public.matches set status = 'active'") == set()
    assert after("update public.requests set subject = 'Latin' where id = %s", MATHEMATICS.request_id) == {session_id}
    assert after("update public.requests set level = 'A' where id = %s", MATHEMATICS.request_id) == set()
    assert after("update public.listings set title = 'Clinic' where id = %s", EXAM_CLINIC.id) == {single}
    assert after("update public.profiles set display_name = 'Lena' where id = %s", LENA.id) == {session_id, single}
    assert after("update public.profiles set timezone = 'UTC' where id = %s", LENA.id) == set()
    assert after("update public.accounts set email = 'o@x.test' where profile_id = %s", OLIVER.id) == {other}
    assert after("update public.accounts set phone = null where profile_id = %s", OLIVER.id) == set()


def test_what_is_over_stays_as_google_shows_it_unless_the_session_itself_is_corrected(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    sync_all(db)
    db.set_clock(START + 2 * HOUR)
    db.run("update public.requests set subject = 'Latin'")
    assert syncs(db)[session_id] == ("synced", 1, 1)
    update(db, NADIA, session_id, "cancelled", reason="it was not held")
    assert only(claim(db))["is_cancelled"]


# --- claiming ---------------------------------------------------------------------------------------------


def test_a_claim_tells_all_that_an_event_says(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    claimed = only(claim(db))
    assert claimed == {
        "session_id": str(session_id), "lease_id": claimed["lease_id"], "event_id": f"lesson{session_id.hex}",
        "version": 1, "is_known": False, "is_cancelled": False, "subject": "Mathematics",
        "tutor": {"name": "Bilal Siddiqi", "email": "tutor.karachi@lessonkeeper.test"},
        "student": {"name": "Lena Ortiz", "email": "student.newyork@lessonkeeper.test"},
        "starts_at": "2026-03-10T15:00:00+00:00", "ends_at": "2026-03-10T16:00:00+00:00",
        "meet_link": claimed["meet_link"], "wants_meet": False,
    }  # fmt: skip
    assert claimed["meet_link"].startswith("https://meet.google.com/")
    assert set(claimed["event_id"]) <= set("0123456789abcdefghijklmnopqrstuv"), "base32hex, as Google wants it"


def test_a_claim_tells_of_a_booking_by_its_listing_and_leaves_out_the_address_of_who_has_left(db: Database) -> None:
    turn(db, on=True)
    booked(db, HARRIET, LENA)
    db.call(NADIA, "update_person", p_person_id=LENA.id, p_is_active=False)
    claimed = only(claim(db))
    assert claimed["subject"] == db.value("select title from public.listings where id = %s", EXAM_CLINIC.id)
    assert claimed["student"]["email"] is None
    assert claimed["tutor"]["email"] == HARRIET.email


def test_what_is_leased_is_nobody_elses_until_the_lease_is_over(db: Database) -> None:
    turn(db, on=True)
    lesson(db)
    first = only(claim(db, lease_seconds=60))
    assert claim(db) == []
    db.set_clock(BEGAN + 60 * SECOND)
    second = only(claim(db))
    before = syncs(db)
    assert settle(db, [first]) == told(stale=1)
    assert syncs(db) == before
    assert settle(db, [second]) == told(synced=1)
    assert settle(db, [second]) == told(stale=1)


def test_the_oldest_are_claimed_first_and_as_many_as_asked_for(db: Database) -> None:
    turn(db, on=True)
    ids: list[str] = []
    for hours in range(5):
        db.set_clock(BEGAN + hours * HOUR)
        ids.append(str(lesson(db, start=START + hours * DAY)))
    answer = db.call("service_role", "claim_calendar_syncs", p_limit=3)
    assert [each["session_id"] for each in answer["syncs"]] == ids[:3]
    assert answer["more"]
    assert [each["session_id"] for each in claim(db)] == ids[3:]
    assert db.call("service_role", "claim_calendar_syncs") == {"syncs": [], "more": False}


@pytest.mark.parametrize(
    "arguments",
    [{"p_limit": 0}, {"p_limit": 501}, {"p_limit": None}, {"p_lease_seconds": 4}, {"p_lease_seconds": None}],
)
def test_a_claim_asks_for_something_sensible(db: Database, arguments: dict[str, int | None]) -> None:
    for function in ("claim_calendar_syncs", "claim_busy_reads"):
        with pytest.raises(Refused) as refused:
            db.call("service_role", function, **arguments)
        (field,) = arguments
        assert (refused.value.status, refused.value.extra) == (422, {"field": field.removeprefix("p_")})


# --- settling ---------------------------------------------------------------------------------------------


def test_what_is_synced_rests_until_it_changes(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    assert settle(db, claim(db)) == told(synced=1)
    assert syncs(db) == {session_id: ("synced", 1, 1)}
    assert sync(db, session_id, "synced_at") == BEGAN
    assert claim(db) == []
    move(db, session_id, START + HOUR)
    move(db, session_id, START + 2 * HOUR)
    claimed = only(claim(db))
    assert (claimed["version"], claimed["is_known"]) == (3, True)
    assert claimed["starts_at"] == "2026-03-10T17:00:00+00:00"
    settle(db, [claimed])
    assert syncs(db) == {session_id: ("synced", 3, 3)}


@pytest.mark.parametrize("outcome", ["synced", "failed", "refused", "postponed"])
def test_what_changes_while_it_is_being_put_there_is_put_there_again(db: Database, outcome: str) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    claimed = claim(db)
    move(db, session_id, START + HOUR)
    settle(db, claimed, outcome, error="no")
    assert syncs(db) == {session_id: ("pending", 2, int(outcome == "synced"))}
    db.set_clock(BEGAN + 2 * HOUR)
    assert only(claim(db))["version"] == 2


def test_a_failure_is_tried_again_later_and_later_and_given_up_after_eight_times(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db, start=START + 7 * DAY)
    at = BEGAN
    waits: list[timedelta] = []
    for _ in range(7):
        assert settle(db, claim(db), "failed", error="Google is away.") == told(failed=1)
        assert (sync(db, session_id), sync(db, session_id, "last_error")) == ("failing", "Google is away.")
        due = sync(db, session_id, "next_attempt_at")
        waits.append(due - at)
        db.set_clock(due - SECOND)
        assert claim(db) == []
        db.set_clock(at := due)
    for wait, meant in zip(waits, (1, 5, 15, 60, 180, 360, 360), strict=True):
        assert 0.8 * meant <= wait / timedelta(minutes=1) <= 1.2 * meant
    assert settle(db, claim(db), "failed", error="Google is away.") == told(given_up=1)
    assert sync(db, session_id) == "given_up"
    db.set_clock(at + 3 * DAY)
    assert claim(db) == []
    move(db, session_id, START + 8 * DAY)
    assert settle(db, claim(db)) == told(synced=1)


def test_a_dispatcher_that_never_comes_back_costs_an_attempt(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    for attempt in range(1, 9):
        claim(db, lease_seconds=60)
        assert sync(db, session_id, "attempts") == attempt
        db.set_clock(BEGAN + attempt * timedelta(minutes=1))
    assert claim(db) == []
    assert (sync(db, session_id), sync(db, session_id, "last_error")) == (
        "given_up",
        "The dispatcher did not come back.",
    )


def test_google_may_say_how_long_to_wait_and_what_it_refuses_is_not_tried_again(db: Database) -> None:
    turn(db, on=True)
    waiting, refused = lesson(db), lesson(db, start=START + DAY)
    by_id = {each["session_id"]: each for each in claim(db)}
    settle(db, [by_id[str(waiting)]], "failed", retry_after_seconds=7200)
    assert sync(db, waiting, "next_attempt_at") == BEGAN + 2 * HOUR
    assert settle(db, [by_id[str(refused)]], "refused", error="No.") == told(given_up=1)
    assert (sync(db, refused), sync(db, refused, "last_error")) == ("given_up", "No.")


def test_being_asked_to_slow_down_does_not_count_as_an_attempt(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    for minutes in range(20):
        db.set_clock(BEGAN + 2 * minutes * timedelta(minutes=1))
        assert settle(db, claim(db), "postponed", error="Slower.") == told(postponed=1)
    assert (sync(db, session_id), sync(db, session_id, "attempts")) == ("pending", 0)


@pytest.mark.parametrize("results", ["{}", "null", '[{"session_id": null}]', '[{"outcome": null}]'])
def test_a_report_needs_outcomes(db: Database, results: str) -> None:
    with pytest.raises(Refused, match="422 invalid: Every result needs an outcome"):
        db.call("service_role", "settle_calendar_syncs", p_results=results)


# --- Meet links -------------------------------------------------------------------------------------------


def test_of_a_match_without_a_link_one_session_is_claimed_and_the_others_wait_for_it(db: Database) -> None:
    without_link(db, MATHEMATICS)
    turn(db, on=True)
    sessions = [lesson(db, start=START + days * DAY) for days in range(3)]
    other = lesson(db, ENGLISH)
    claimed = {each["session_id"]: each for each in claim(db)}
    maker = claimed.pop(str(sessions[0])) if str(sessions[0]) in claimed else None
    assert str(other) in claimed
    makers = [each for each in ([maker] if maker else []) + list(claimed.values()) if each["wants_meet"]]
    assert len(makers) == 1
    assert makers[0]["session_id"] in {str(each) for each in sessions}
    assert claim(db) == []

    assert settle(db, makers, meet_link=LINK) == told(synced=1)
    assert db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id) == LINK
    claimed = {each["session_id"]: each for each in claim(db)}
    assert claimed.keys() == {str(each) for each in sessions}, "the first one too shows it where the others do"
    assert {(each["meet_link"], each["wants_meet"]) for each in claimed.values()} == {(LINK, False)}
    assert audit(db, MATHEMATICS.id)[-1] == ("match_updated", "service", None)


def test_when_the_first_fails_to_bring_the_link_another_tries(db: Database) -> None:
    without_link(db, MATHEMATICS)
    turn(db, on=True)
    lesson(db)
    lesson(db, start=START + DAY)
    first = only(claim(db))
    settle(db, [first], "failed")
    second = only(claim(db))
    assert second["session_id"] != first["session_id"]
    assert second["wants_meet"]
    assert settle(db, [second]) == told(synced=1), "Google made no link"
    assert claim(db) == []
    db.set_clock(BEGAN + HOUR)
    again = only(claim(db))
    assert (again["session_id"], again["wants_meet"]) == (first["session_id"], True)


def test_a_lost_maker_of_a_link_holds_the_others_up_no_longer_than_its_lease(db: Database) -> None:
    without_link(db, MATHEMATICS)
    turn(db, on=True)
    lesson(db)
    lesson(db, start=START + DAY)
    claim(db, lease_seconds=60)
    assert claim(db) == []
    db.set_clock(BEGAN + 60 * SECOND)
    assert only(claim(db))["wants_meet"]


def test_nobody_waits_for_a_link_where_nobody_can_make_one_nor_for_what_is_cancelled_or_over(db: Database) -> None:
    without_link(db, MATHEMATICS)
    turn(db, on=True)
    first, second = lesson(db), lesson(db, start=START + DAY)
    claimed = claim(db, makes_meet=False)
    assert {each["session_id"]: each["wants_meet"] for each in claimed} == {str(first): False, str(second): False}
    settle(db, claimed)
    for session_id in (first, second):
        update(db, NADIA, session_id, "cancelled", reason="ill")
    assert [each["wants_meet"] for each in claim(db)] == [False, False]


def test_a_link_is_kept_where_there_is_none_and_only_if_it_is_one(db: Database) -> None:
    turn(db, on=True)
    lesson(db)
    had = db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id)
    settle(db, claim(db), meet_link=LINK)
    assert db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id) == had
    without_link(db, MATHEMATICS)
    settle(db, claim(db), meet_link="https://elsewhere.test/x")
    assert db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id) is None


def test_a_bookings_session_gets_a_link_of_its_own(db: Database) -> None:
    turn(db, on=True)
    db.run("update public.listings set meet_link = null")
    one, other = booked(db, HARRIET, LENA), booked(db, HARRIET, LENA, START + DAY)
    claimed = {each["session_id"]: each for each in claim(db)}
    assert claimed.keys() == {str(one), str(other)}, "nobody waits for anybody"
    assert claimed[str(one)]["wants_meet"]
    settle(db, [claimed[str(one)]], meet_link=LINK)
    assert (column(db, one, "meet_link"), column(db, other, "meet_link")) == (LINK, None)
    again = only(claim(db))
    assert (again["session_id"], again["meet_link"]) == (str(one), LINK)


def test_a_report_under_a_lost_lease_brings_no_link(db: Database) -> None:
    without_link(db, MATHEMATICS)
    turn(db, on=True)
    lesson(db)
    lost = claim(db, lease_seconds=60)
    db.set_clock(BEGAN + 60 * SECOND)
    claim(db)
    assert settle(db, lost, meet_link=LINK) == told(stale=1)
    assert db.value("select meet_link from public.matches where id = %s", MATHEMATICS.id) is None


# --- for admins -------------------------------------------------------------------------------------------


def test_admins_see_how_sessions_stand_page_by_page(db: Database) -> None:
    turn(db, on=True)
    ids = [str(lesson(db, PHYSICS, START + days * DAY)) for days in range(3)]
    by_id = {each["session_id"]: each for each in claim(db)}
    settle(db, [by_id[ids[0]]])
    settle(db, [by_id[ids[1]]], "failed", error="Google is away.")
    page = db.call(NADIA, "list_calendar_syncs", p_limit=2)
    assert ([each["session_id"] for each in page["syncs"]], page["has_more"], page["is_on"]) == (ids[:2], True, True)
    shown = page["syncs"][1]
    assert (shown["status"], shown["attempts"], shown["last_error"]) == ("failing", 1, "Google is away.")
    assert shown["next_attempt_at"] is not None
    assert page["syncs"][0]["next_attempt_at"] is None
    last = page["syncs"][-1]
    page = db.call(
        NADIA,
        "list_calendar_syncs",
        p_after_start=last["scheduled_start_utc"],
        p_after_id=last["session_id"],
        p_limit=2,
    )
    assert ([each["session_id"] for each in page["syncs"]], page["has_more"]) == (ids[2:], False)
    page = db.call(NADIA, "list_calendar_syncs", p_status=["failing", "given_up"])
    assert [each["session_id"] for each in page["syncs"]] == [ids[1]]
    with pytest.raises(Refused, match="422 invalid: limit"):
        db.call(NADIA, "list_calendar_syncs", p_limit=201)


def test_an_admin_has_a_session_put_there_anew_whatever_became_of_it(db: Database) -> None:
    turn(db, on=True)
    session_id = lesson(db)
    for outcome in ("refused", "synced", "failed"):
        settle(db, claim(db), outcome)
        retried = db.call(NADIA, "retry_calendar_sync", p_session_id=session_id)
        assert (retried["session_id"], retried["status"], retried["attempts"]) == (str(session_id), "pending", 0)
    assert audit(db, session_id)[-1] == ("calendar_sync_retried", "admin", NADIA.id)
    assert settle(db, claim(db)) == told(synced=1)


def test_what_is_not_kept_there_cannot_be_tried_again(db: Database) -> None:
    turn(db, on=True)
    for session_id in (uuid4(), lesson(db, start=BEGAN - DAY, status="done")):
        with pytest.raises(Refused, match="404 not_found: That session is not kept"):
            db.call(NADIA, "retry_calendar_sync", p_session_id=session_id)


# --- busy times -------------------------------------------------------------------------------------------


def inputs(db: Database, start: str = "2026-03-02T00:00Z", end: str = "2026-03-03T00:00Z") -> dict[str, Any]:
    return db.call(ZARA, "slot_inputs", p_listing_id=EXAM_CLINIC.id, p_from=start, p_to=end)


def google_times(db: Database, **window: str) -> list[tuple[str, str]]:
    return [(each["start"], each["end"]) for each in inputs(db, **window)["busy"] if each["of"] == "tutor"]


NINE = ("2026-03-02T09:00:00+00:00", "2026-03-02T10:30:00+00:00")


def test_a_calendar_is_read_when_its_tutor_offers_something(db: Database) -> None:
    assert claim_reads(db) == []
    enter_calendar(db)
    answer = db.call("service_role", "claim_busy_reads")
    claimed = only(answer["reads"])
    assert (claimed["tutor_id"], claimed["calendar_id"]) == (str(HARRIET.id), "harriet@calendar.test")
    assert (instant(answer["from"]), instant(answer["until"])) == (BEGAN, BEGAN + 62 * DAY)
    assert claim_reads(db) == [], "it is being read"

    db.set_clock(BEGAN + HOUR)
    db.call(NADIA, "update_listing", p_listing_id=EXAM_CLINIC.id, p_is_active=False)
    assert claim_reads(db) == [], "nothing is offered"
    db.call(NADIA, "update_listing", p_listing_id=EXAM_CLINIC.id, p_is_active=True)
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_is_active=False)
    assert claim_reads(db) == [], "nobody is there to teach"


def test_what_was_read_is_busy_time_in_the_inputs_of_slots_and_part_of_the_fingerprint(db: Database) -> None:
    enter_calendar(db)
    before = inputs(db)
    assert before["calendar_as_of"] is None
    read = only(claim_reads(db))
    far = ("2026-03-20T09:00:00+00:00", "2026-03-20T10:00:00+00:00")
    assert settle_read(db, read, NINE, NINE, far, (NINE[1], NINE[0])) == {"read": 1, "failed": 0, "stale": 0}
    after = inputs(db)
    assert instant(after["calendar_as_of"]) == BEGAN
    assert google_times(db) == [NINE], "once, and none of another day"
    assert after["fingerprint"] != before["fingerprint"]
    assert google_times(db, start="2026-03-20T00:00Z", end="2026-03-21T00:00Z") == [far]
    long = ("2026-03-01T00:00:00+00:00", "2026-03-10T00:00:00+00:00")
    db.set_clock(BEGAN + HOUR)
    settle_read(db, only(claim_reads(db)), long)
    assert google_times(db) == [long], "what was known before is replaced, and a long one is in every day of it"


def test_a_calendar_that_cannot_be_read_leaves_what_was_known(db: Database) -> None:
    enter_calendar(db)
    settle_read(db, only(claim_reads(db)), NINE)
    known = inputs(db)
    assert claim_reads(db) == []
    db.set_clock(BEGAN + timedelta(minutes=5))
    assert settle_read(db, only(claim_reads(db)), error="Google is away.") == {"read": 0, "failed": 1, "stale": 0}
    after = inputs(db)
    assert {**after, "now": None} == {**known, "now": None}
    (shown,) = db.call(NADIA, "list_calendar_syncs")["busy_reads"]
    assert (shown["tutor"]["id"], shown["error"], instant(shown["as_of"])) == (
        str(HARRIET.id),
        "Google is away.",
        BEGAN,
    )


def test_the_fingerprint_stays_while_google_says_the_same(db: Database) -> None:
    enter_calendar(db)
    settle_read(db, only(claim_reads(db)), NINE)
    fingerprint = inputs(db)["fingerprint"]
    db.set_clock(BEGAN + HOUR)
    settle_read(db, only(claim_reads(db)), NINE)
    assert inputs(db)["fingerprint"] == fingerprint
    assert instant(inputs(db)["calendar_as_of"]) == BEGAN + HOUR


def test_another_calendar_makes_forget_the_one_before_also_what_is_being_read_of_it(db: Database) -> None:
    enter_calendar(db)
    settle_read(db, only(claim_reads(db)), NINE)
    db.set_clock(BEGAN + HOUR)
    reading = only(claim_reads(db))
    enter_calendar(db, calendar_id="another@calendar.test")
    assert google_times(db) == []
    assert settle_read(db, reading, NINE) == {"read": 0, "failed": 0, "stale": 1}
    assert google_times(db) == []
    assert only(claim_reads(db))["calendar_id"] == "another@calendar.test"
    enter_calendar(db, calendar_id="")
    assert claim_reads(db) == []
    assert inputs(db)["calendar_as_of"] is None


def test_googles_busy_times_refuse_no_request_and_no_acceptance(db: Database) -> None:
    enter_calendar(db)
    settle_read(db, only(claim_reads(db)), NINE)
    asked = db.call(
        ZARA,
        "request_booking",
        p_listing_id=EXAM_CLINIC.id,
        p_start_utc=CLINIC,
        p_fingerprint=inputs(db)["fingerprint"],
    )
    accepted = db.call(HARRIET, "accept_booking", p_booking_id=asked["booking"]["id"])
    assert accepted["booking"]["status"] == "accepted"


@pytest.mark.parametrize("results", ["{}", "null", '[{"busy": {}}]', '[{"busy": null}]'])
def test_a_report_of_busy_times_has_some_or_an_error(db: Database, results: str) -> None:
    with pytest.raises(Refused, match="422 invalid: Every result needs busy times or an error"):
        db.call("service_role", "settle_busy_reads", p_results=results)


def test_a_calendar_id_is_a_contact_and_no_audit_quotes_it(db: Database) -> None:
    enter_calendar(db)
    person = db.call(HARRIET, "get_me")
    assert person["google_calendar_id"] == "harriet@calendar.test"
    assert db.value("select count(*) from public.audit_logs a where a::text like '%%calendar.test%%'") == 0


def test_the_report_of_one_is_the_shape_that_is_promised(db: Database) -> None:
    turn(db, on=True)
    lesson(db)
    claimed = only(claim(db))
    assert db.call("service_role", "settle_calendar_syncs", p_results=[result(claimed)]) == told(synced=1)
