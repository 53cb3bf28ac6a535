"""Chapter 8: a month is written as it was planned, all of it or none, and a date is never used twice."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from lib.recurrence import ScheduleInputs
from tests.database import Database, Refused
from tests.db.lessons import (
    DAY,
    HOUR,
    START,
    audit,
    booked,
    column,
    commit_of,
    events,
    generate,
    inputs_of,
    instant,
    lesson,
    move,
    package,
    update,
)
from tests.house import (
    BILAL,
    ENGLISH,
    EVERYBODY,
    HARRIET,
    IELTS,
    LENA,
    MARCUS,
    MATHEMATICS,
    NADIA,
    OLIVER,
    OPEN_REQUEST_ID,
    PHYSICS,
    ZARA,
    Match,
)

PATTERN = {"timezone": "America/New_York", "days": [3, 6], "time": "10:00", "duration_mins": 60}

# Wednesdays and Saturdays, 10:00 in New York, whose clocks go forward on 8 March. Bilal is away on the 11th.
MATHEMATICS_STARTS = [
    "2026-03-04T15:00:00+00:00",
    "2026-03-07T15:00:00+00:00",
    "2026-03-14T14:00:00+00:00",
    "2026-03-18T14:00:00+00:00",
    "2026-03-21T14:00:00+00:00",
    "2026-03-25T14:00:00+00:00",
    "2026-03-28T14:00:00+00:00",
    "2026-04-01T14:00:00+00:00",
]


def starts(answer: dict[str, Any]) -> list[str]:
    return [each["scheduled_start_utc"] for each in answer["sessions"]]


def sessions(db: Database) -> int:
    return db.value("select count(*) from public.sessions")


def refused_by(db: Database, **arguments: object) -> Refused:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, "generate_sessions", **arguments)
    return refused.value


# --- reading what a plan depends on -------------------------------------------------------------------


def test_the_inputs_are_what_planning_needs(db: Database) -> None:
    inputs = inputs_of(db, MATHEMATICS)
    assert (inputs.match_id, inputs.package_id, inputs.request_id) == (
        MATHEMATICS.id,
        MATHEMATICS.package_id,
        MATHEMATICS.request_id,
    )
    assert inputs.pattern is not None
    assert inputs.pattern.model_dump(mode="json") == PATTERN
    assert (inputs.tutor.timezone, inputs.student.timezone) == ("Asia/Karachi", "America/New_York")
    assert (str(inputs.window.start_date), str(inputs.window.end_date)) == ("2026-03-01", "2026-04-04")
    assert (inputs.tier_sessions, inputs.needed, inputs.counted, inputs.existing) == (8, 8, 0, 0)
    assert [str(each.date) for each in inputs.holidays] == ["2026-03-17"]
    assert [(each.of, str(each.starts_on)) for each in inputs.time_off] == [("tutor", "2026-03-11")]
    assert (inputs.busy, inputs.taken) == ((), frozenset())
    assert inputs.now == datetime(2026, 2, 26, 9, tzinfo=UTC)


def test_the_only_active_package_is_taken_when_none_is_named(db: Database) -> None:
    spent = package(db, MATHEMATICS)
    db.call(NADIA, "update_package", p_package_id=spent, p_status="cancelled")
    inputs = ScheduleInputs.model_validate(db.call(NADIA, "schedule_inputs", p_match_id=MATHEMATICS.id))
    assert inputs.package_id == MATHEMATICS.package_id


def test_everything_in_the_way_of_either_person_is_busy(db: Database) -> None:
    of_both = lesson(db, MATHEMATICS, START)
    of_tutor = booked(db, BILAL, OLIVER, START + 2 * HOUR)
    of_student = booked(db, HARRIET, LENA, START + 4 * HOUR)
    booked(db, MARCUS, ZARA, START)
    booked(db, BILAL, LENA, START + 6 * HOUR, status="done")
    busy = inputs_of(db, MATHEMATICS).busy
    assert [(each.session_id, each.of) for each in busy] == [
        (of_both, "both"),
        (of_tutor, "tutor"),
        (of_student, "student"),
    ]


def test_how_many_are_needed_follows_from_what_counts(db: Database) -> None:
    brought = package(db, MATHEMATICS, tier=20, used=4)
    for day, status in enumerate(
        ["scheduled", "in_progress", "done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled"]
    ):
        lesson(db, start=START + day * DAY, package_id=brought, status=status)
    inputs = inputs_of(db, MATHEMATICS, brought)
    assert (inputs.counted, inputs.existing, inputs.needed) == (5, 7, 20 - 4 - 5)
    assert len(inputs.taken) == 7


def test_more_sessions_than_the_tier_leave_nothing_to_need(db: Database) -> None:
    for day in range(9):
        lesson(db, start=START + day * DAY)
    assert inputs_of(db, MATHEMATICS).needed == 0


CHANGES: dict[str, Callable[[Database], object]] = {
    "pattern": lambda db: db.call(
        NADIA, "set_match_schedule", p_match_id=MATHEMATICS.id, p_schedule_pattern=PATTERN | {"time": "10:15"}
    ),
    "Meet link": lambda db: db.call(
        NADIA, "update_match", p_match_id=MATHEMATICS.id, p_meet_link="https://meet.google.com/zzz-zzzz-zzz"
    ),
    "window": lambda db: db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_end_date="2026-04-30"),
    "tier": lambda db: db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_tier_sessions=12),
    "holiday": lambda db: db.call(NADIA, "create_holiday", p_on_date="2026-03-18", p_name="Snow"),
    "holiday taken back": lambda db: db.run("delete from public.holidays"),
    "time off of the tutor": lambda db: db.call(
        NADIA, "create_time_off", p_user_id=BILAL.id, p_starts_on="2026-03-18", p_ends_on="2026-03-18"
    ),
    "time off of the student": lambda db: db.call(
        NADIA, "create_time_off", p_user_id=LENA.id, p_starts_at="2026-03-18T00:00Z", p_ends_at="2026-03-19T00:00Z"
    ),
    "time zone of the tutor": lambda db: db.call(BILAL, "update_me", p_timezone="Europe/Paris"),
    "a session of the package": lesson,
    "the tutor": lambda db: db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_tutor_id=HARRIET.id),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_changes_with_what_a_plan_depends_on(
    db: Database, change: Callable[[Database], object]
) -> None:
    before = inputs_of(db, MATHEMATICS).fingerprint
    change(db)
    assert inputs_of(db, MATHEMATICS).fingerprint != before


ELSEWHERE: dict[str, Callable[[Database], object]] = {
    "the time": lambda db: db.set_clock("2026-03-03T10:00:00Z"),
    "another session of the tutor": lambda db: booked(db, BILAL, OLIVER),
    "another session of the student": lambda db: booked(db, HARRIET, LENA),
    "a holiday outside the window": lambda db: db.call(
        NADIA, "create_holiday", p_on_date="2026-04-05", p_name="Easter"
    ),
    "time off long after": lambda db: db.call(
        NADIA, "create_time_off", p_user_id=BILAL.id, p_starts_on="2026-05-18", p_ends_on="2026-05-18"
    ),
    "time off of somebody else": lambda db: db.call(
        NADIA, "create_time_off", p_user_id=HARRIET.id, p_starts_on="2026-03-18", p_ends_on="2026-03-18"
    ),
    "another match's pattern": lambda db: db.call(
        NADIA, "set_match_schedule", p_match_id=PHYSICS.id, p_schedule_pattern=PATTERN
    ),
}


@pytest.mark.parametrize("change", ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_fingerprint_stays_when_something_else_changes(db: Database, change: Callable[[Database], object]) -> None:
    before = inputs_of(db, MATHEMATICS).fingerprint
    change(db)
    assert inputs_of(db, MATHEMATICS).fingerprint == before


def test_the_fingerprint_depends_on_the_date_asked_from(db: Database) -> None:
    assert inputs_of(db, MATHEMATICS).fingerprint != inputs_of(db, MATHEMATICS, p_from_date="2026-03-10").fingerprint


def test_what_cannot_be_planned_says_why(db: Database) -> None:
    def asked(**arguments: object) -> Refused:
        with pytest.raises(Refused) as refused:
            db.call(NADIA, "schedule_inputs", **arguments)
        return refused.value

    missing = asked(p_match_id=uuid4())
    assert (missing.status, missing.code) == (404, "not_found")
    foreign = asked(p_match_id=MATHEMATICS.id, p_package_id=PHYSICS.package_id)
    assert (foreign.status, foreign.code) == (404, "not_found")
    second = package(db, MATHEMATICS)
    several = asked(p_match_id=MATHEMATICS.id)
    assert (several.status, several.code) == (422, "package_required")
    assert set(several.extra["packages"]) == {str(MATHEMATICS.package_id), str(second)}
    db.run("update public.packages set status = 'cancelled'")
    without = asked(p_match_id=MATHEMATICS.id)
    assert (without.status, without.code) == (422, "no_active_package")
    db.run("update public.matches set schedule_pattern = null")
    unplanned = asked(p_match_id=MATHEMATICS.id)
    assert (unplanned.status, unplanned.code) == (422, "schedule_missing")


def test_only_admins_plan_generate_and_add(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    for who in EVERYBODY:
        if who == NADIA:
            continue
        for function, arguments in (
            ("schedule_inputs", {"p_match_id": MATHEMATICS.id}),
            ("generate_sessions", commit),
            ("add_extra_session", {"p_match_id": MATHEMATICS.id, "p_start_utc": START, "p_reason": "Mine."}),
        ):
            with pytest.raises(Refused, match="403 not_allowed"):
                db.call(who, function, **arguments)
    assert sessions(db) == 0


# --- writing it ---------------------------------------------------------------------------------------


def test_a_month_is_written_as_planned(db: Database) -> None:
    answer = generate(db, MATHEMATICS)
    assert (answer["created"], starts(answer)) == (8, MATHEMATICS_STARTS)
    assert (answer["match_id"], answer["package_id"]) == (str(MATHEMATICS.id), str(MATHEMATICS.package_id))
    assert answer["viewer_timezone"] == "Asia/Karachi"
    for number, session in enumerate(answer["sessions"], start=1):
        assert session["sequence_number"] == session["package"]["position"] == number
        assert session["occurrence_start_utc"] == session["scheduled_start_utc"]
        assert (session["status"], session["is_extra"], session["version"]) == ("scheduled", False, 1)
        assert instant(session["scheduled_end_utc"]) - instant(session["scheduled_start_utc"]) == HOUR
        assert session["updated_by_user_id"] == str(NADIA.id)


@pytest.mark.parametrize("match", [MATHEMATICS, ENGLISH, PHYSICS, IELTS], ids=lambda match: match.tier)
def test_every_seeded_package_gets_all_its_sessions(db: Database, match: Match) -> None:
    answer = generate(db, match)
    assert (answer["created"], len(answer["sessions"])) == (match.tier, match.tier)


def test_match_and_request_become_active(db: Database) -> None:
    generate(db, MATHEMATICS)
    assert db.value("select status::text from public.matches where id = %s", MATHEMATICS.id) == "active"
    assert db.value("select status::text from public.requests where id = %s", MATHEMATICS.request_id) == "active"
    assert db.value("select status::text from public.matches where id = %s", PHYSICS.id) == "proposed"


def test_one_audit_row_and_one_event_tell_of_a_whole_month(db: Database) -> None:
    answer = generate(db, MATHEMATICS)
    ((actor, role, details),) = db.rows(
        """select actor_user_id, actor_role::text, details from public.audit_logs
            where action = 'schedule_generated' and entity_type = 'match' and entity_id = %s""",
        MATHEMATICS.id,
    )
    assert (actor, role) == (NADIA.id, "admin")
    assert details == {"package_id": str(MATHEMATICS.package_id), "sessions": 8}
    assert events(db, MATHEMATICS.id) == ["schedule.generated"]
    payload = db.value("select payload from private.outbox_events where aggregate_id = %s", MATHEMATICS.id)
    assert [each["session_id"] for each in payload["sessions"]] == [each["id"] for each in answer["sessions"]]
    assert db.value("select count(*) from public.audit_logs where entity_type = 'session'") == 0


def test_asked_again_the_answer_is_the_same_sessions(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    first = db.call(NADIA, "generate_sessions", **commit)
    again = db.call(NADIA, "generate_sessions", **commit)
    assert again == first | {"created": 0}
    assert events(db, MATHEMATICS.id) == ["schedule.generated"]


def test_asked_again_is_answered_before_the_plan_is_looked_at(db: Database) -> None:
    first = generate(db, MATHEMATICS)
    db.run("update public.matches set status = 'ended' where id = %s", MATHEMATICS.id)
    db.set_clock("2026-06-01T00:00:00Z")
    again = db.call(
        NADIA, "generate_sessions", p_match_id=MATHEMATICS.id, p_package_id=MATHEMATICS.package_id,
        p_fingerprint="of long ago", p_expected_plan_hash="0", p_plan_hash="1",
    )  # fmt: skip
    assert [each.pop("actions")["join"]["code"] for each in again["sessions"]] == ["too_late"] * 8
    assert again == first | {
        "created": 0,
        "sessions": [{name: value for name, value in each.items() if name != "actions"} for each in first["sessions"]],
    }


def test_a_package_that_lacks_some_is_filled_only_when_told_to(db: Database) -> None:
    ids = [each["id"] for each in generate(db, MATHEMATICS)["sessions"]]
    for session_id in ids[:2]:
        update(db, NADIA, session_id, "cancelled", reason="Holiday of the family.")
    untold = generate(db, MATHEMATICS)
    assert (untold["created"], len(untold["sessions"])) == (0, 8)


def test_filling_never_uses_a_cancelled_or_moved_date_again(db: Database) -> None:
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_end_date="2026-04-30")
    ids = [each["id"] for each in generate(db, MATHEMATICS)["sessions"]]
    update(db, NADIA, ids[1], "cancelled", reason="Flu.")
    update(db, NADIA, ids[4], "no_show_tutor", reason="Tutor's flu.")
    move(db, ids[2], instant("2026-03-15 14:00"))
    filled = generate(db, MATHEMATICS, p_fill=True)
    assert (filled["created"], len(filled["sessions"])) == (2, 10)
    new = [each for each in filled["sessions"] if each["id"] not in ids]
    assert [each["scheduled_start_utc"] for each in new] == ["2026-04-04T14:00:00+00:00", "2026-04-08T14:00:00+00:00"]
    assert [each["sequence_number"] for each in new] == [9, 10], "numbers only grow"


def test_filling_a_full_package_creates_nothing(db: Database) -> None:
    first = generate(db, MATHEMATICS)
    assert generate(db, MATHEMATICS, p_fill=True) == first | {"created": 0}


def test_filling_an_empty_package_is_generating_it(db: Database) -> None:
    assert generate(db, MATHEMATICS, p_fill=True)["created"] == 8


def test_what_was_used_elsewhere_is_not_generated(db: Database) -> None:
    brought = package(db, MATHEMATICS, tier=8, used=5)
    answer = db.call(NADIA, "generate_sessions", **commit_of(inputs_of(db, MATHEMATICS, brought)))
    assert (answer["created"], starts(answer)) == (3, MATHEMATICS_STARTS[:3])
    assert [each["package"]["position"] for each in answer["sessions"]] == [6, 7, 8]


# --- plans that no longer hold ------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_plan_made_from_something_else_is_refused(db: Database, change: Callable[[Database], object]) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    change(db)
    before = sessions(db)
    refused = refused_by(db, **commit, p_fill=True)
    assert (refused.status, refused.code) == (409, "plan_changed")
    assert sessions(db) == before


def test_a_plan_without_a_fingerprint_is_refused(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    refused = refused_by(db, **commit | {"p_fingerprint": None})
    assert (refused.status, refused.code) == (409, "plan_changed")


@pytest.mark.parametrize("hash_sent", ["another", None])
def test_another_plan_than_the_one_previewed_is_refused(db: Database, hash_sent: str | None) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    previewed = commit["p_plan_hash"]
    refused = refused_by(db, **commit | {"p_plan_hash": hash_sent}, p_expected_plan_hash=previewed)
    assert (refused.status, refused.code) == (409, "plan_changed")
    assert db.call(NADIA, "generate_sessions", **commit, p_expected_plan_hash=previewed)["created"] == 8


def test_a_plan_whose_first_date_has_passed_meanwhile_is_refused(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    db.set_clock("2026-03-04T15:00:01Z")
    assert refused_by(db, **commit).code == "plan_changed"
    db.set_clock("2026-03-04T15:00:00Z")
    assert db.call(NADIA, "generate_sessions", **commit)["created"] == 8


def test_more_sessions_than_are_needed_are_refused(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    one_more = {"start_utc": "2026-04-04T14:00:00Z", "end_utc": "2026-04-04T15:00:00Z"}
    refused = refused_by(db, **commit | {"p_occurrences": [*commit["p_occurrences"], one_more]})
    assert (refused.status, refused.code) == (409, "plan_changed")


def test_a_date_twice_in_a_plan_is_refused(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    occurrences = commit["p_occurrences"]
    refused = refused_by(db, **commit | {"p_occurrences": [*occurrences[:7], occurrences[0]]})
    assert (refused.status, refused.code) == (422, "invalid")
    assert sessions(db) == 0


@pytest.mark.parametrize(
    "occurrences",
    [
        {},
        [{}],
        [{"start_utc": "2026-03-04T15:00:00Z"}],
        [{"start_utc": "soon", "end_utc": "later"}],
        [{"start_utc": "2026-03-04T15:00:00Z", "end_utc": "2026-03-04T14:00:00Z"}],
        [{"start_utc": "2026-03-04T15:00:00Z", "end_utc": "2026-03-04T16:30:00Z"}],
        [{"start_utc": "2026-03-04T15:00:00Z", "end_utc": "infinity"}],
        [
            {"start_utc": f"2026-03-{day:02}T15:00:00Z", "end_utc": f"2026-03-{day:02}T16:00:00Z"}
            for day in range(4, 25)
        ],
    ],
)
def test_a_plan_that_is_none_is_refused(db: Database, occurrences: object) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    refused = refused_by(db, **commit | {"p_occurrences": occurrences})
    assert (refused.status, refused.code) == (422, "invalid")
    assert refused.extra == {"field": "occurrences"}
    assert sessions(db) == 0


def test_a_taken_date_is_not_written_even_by_a_plan_that_names_it(db: Database) -> None:
    ids = [each["id"] for each in generate(db, MATHEMATICS)["sessions"]]
    update(db, NADIA, ids[0], "cancelled", reason="Flu.")
    commit = commit_of(inputs_of(db, MATHEMATICS), skip_conflicts=True)
    first = {"start_utc": MATHEMATICS_STARTS[0], "end_utc": "2026-03-04T16:00:00Z"}
    refused = refused_by(db, **commit | {"p_occurrences": [first], "p_fill": True})
    assert (refused.status, refused.code) == (409, "slot_taken")
    assert sessions(db) == 8


# --- windows ------------------------------------------------------------------------------------------


def test_a_window_with_too_few_dates_says_how_many_fit(db: Database) -> None:
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_end_date="2026-03-14")
    refused = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS)))
    assert (refused.status, refused.code) == (422, "window_too_short")
    assert refused.extra == {"needed": 8, "fits": 3}
    assert sessions(db) == 0


def test_a_part_of_a_month_is_written_when_that_is_allowed(db: Database) -> None:
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_end_date="2026-03-14")
    answer = generate(db, MATHEMATICS, p_allow_partial=True)
    assert (answer["created"], starts(answer)) == (3, MATHEMATICS_STARTS[:3])
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_end_date="2026-04-04")
    filled = generate(db, MATHEMATICS, p_fill=True)
    assert (filled["created"], starts(filled)) == (5, MATHEMATICS_STARTS)


def test_no_date_at_all_is_too_short_even_for_a_part(db: Database) -> None:
    db.call(
        NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_end_date="2026-03-06", p_start_date="2026-03-05"
    )
    refused = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS)), p_allow_partial=True)
    assert (refused.status, refused.code, refused.extra) == (422, "window_too_short", {"needed": 8, "fits": 0})


# --- conflicts ----------------------------------------------------------------------------------------


def test_every_conflict_is_listed_with_whose_it_is_and_nothing_is_written(db: Database) -> None:
    taken = {
        MATHEMATICS_STARTS[0]: (booked(db, BILAL, OLIVER, instant(MATHEMATICS_STARTS[0])), "tutor"),
        MATHEMATICS_STARTS[3]: (
            booked(db, HARRIET, LENA, instant(MATHEMATICS_STARTS[3]) + HOUR / 2),
            "student",
        ),
        MATHEMATICS_STARTS[7]: (
            booked(db, BILAL, LENA, instant(MATHEMATICS_STARTS[7]) - HOUR / 2),
            "both",
        ),
    }
    refused = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS)))
    assert (refused.status, refused.code) == (409, "slot_taken")
    conflicts = refused.extra["conflicts"]
    told = {each["start_utc"]: (UUID(each["session_id"]), each["of"]) for each in conflicts}
    assert (len(conflicts), told) == (3, taken)
    assert all(instant(each["end_utc"]) - instant(each["start_utc"]) == HOUR for each in conflicts)
    assert sessions(db) == 3
    assert events(db, MATHEMATICS.id) == []
    assert db.value("select status::text from public.matches where id = %s", MATHEMATICS.id) == "proposed"


def test_one_slot_may_meet_two_sessions(db: Database) -> None:
    first = instant(MATHEMATICS_STARTS[0])
    both = {str(booked(db, BILAL, OLIVER, first)), str(booked(db, HARRIET, LENA, first))}
    conflicts = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS))).extra["conflicts"]
    assert {each["session_id"] for each in conflicts} == both


def test_a_conflict_of_every_slot_is_told_too(db: Database) -> None:
    for start in MATHEMATICS_STARTS:
        booked(db, BILAL, OLIVER, instant(start))
    conflicts = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS))).extra["conflicts"]
    assert [each["start_utc"] for each in conflicts] == MATHEMATICS_STARTS
    assert all(each["session_id"] for each in conflicts)


def test_sessions_that_touch_or_are_settled_are_no_conflict(db: Database) -> None:
    first = instant(MATHEMATICS_STARTS[0])
    booked(db, BILAL, OLIVER, first - HOUR)
    booked(db, HARRIET, LENA, first + HOUR)
    booked(db, BILAL, LENA, first, status="cancelled")
    assert generate(db, MATHEMATICS)["created"] == 8


def test_a_conflict_that_arrives_after_the_plan_is_still_found(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    booked(db, BILAL, OLIVER, instant(MATHEMATICS_STARTS[5]))
    refused = refused_by(db, **commit)
    assert [each["start_utc"] for each in refused.extra["conflicts"]] == [MATHEMATICS_STARTS[5]]


def test_walking_past_conflicts_still_gives_the_whole_number(db: Database) -> None:
    booked(db, BILAL, OLIVER, instant(MATHEMATICS_STARTS[0]))
    commit = commit_of(inputs_of(db, MATHEMATICS), skip_conflicts=True)
    answer = db.call(NADIA, "generate_sessions", **commit)
    assert starts(answer) == [*MATHEMATICS_STARTS[1:], "2026-04-04T14:00:00+00:00"]


# --- other refusals -----------------------------------------------------------------------------------


def test_generating_for_what_is_not_there_is_refused(db: Database) -> None:
    assert refused_by(db, p_match_id=uuid4()).status == 404
    assert refused_by(db, p_match_id=MATHEMATICS.id, p_package_id=PHYSICS.package_id).status == 404
    assert refused_by(db, p_match_id=MATHEMATICS.id, p_package_id=uuid4()).status == 404


def test_several_packages_need_a_name_and_cancelled_ones_generate_nothing(db: Database) -> None:
    second = package(db, MATHEMATICS)
    commit = commit_of(inputs_of(db, MATHEMATICS))
    refused = refused_by(db, **commit | {"p_package_id": None})
    assert (refused.status, refused.code) == (422, "package_required")
    assert set(refused.extra["packages"]) == {str(MATHEMATICS.package_id), str(second)}
    db.run("update public.packages set status = 'cancelled' where request_id = %s", MATHEMATICS.request_id)
    assert refused_by(db, **commit).code == "no_active_package"
    assert refused_by(db, **commit | {"p_package_id": None}).code == "no_active_package"
    assert sessions(db) == 0


def test_an_expired_package_finds_no_date(db: Database) -> None:
    db.set_clock("2026-04-05T12:00:00Z")
    refused = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS)), p_allow_partial=True)
    assert (refused.code, refused.extra) == ("window_too_short", {"needed": 8, "fits": 0})


def test_an_ended_match_generates_nothing(db: Database) -> None:
    db.run("update public.matches set status = 'ended' where id = %s", MATHEMATICS.id)
    refused = refused_by(db, **commit_of(inputs_of(db, MATHEMATICS)))
    assert (refused.status, refused.code) == (409, "illegal_transition")


def test_a_match_without_a_pattern_generates_nothing(db: Database) -> None:
    commit = commit_of(inputs_of(db, MATHEMATICS))
    db.run("update public.matches set schedule_pattern = null where id = %s", MATHEMATICS.id)
    assert refused_by(db, **commit).code == "plan_changed"
    fingerprint = db.value(
        """select private.plan_inputs(m, p, null) ->> 'fingerprint' from public.matches m, public.packages p
            where m.id = %s and p.id = %s""",
        MATHEMATICS.id,
        MATHEMATICS.package_id,
    )
    assert refused_by(db, **commit | {"p_fingerprint": fingerprint}).status == 422
    assert sessions(db) == 0


@pytest.mark.parametrize("name", ["occurrence_start_utc", "sequence_number"])
def test_what_generation_wrote_stays(db: Database, name: LiteralString) -> None:
    generate(db, MATHEMATICS)
    with pytest.raises(Refused, match="409 use_function"):
        db.run(f"update public.sessions set {name} = null")


# --- one more session ---------------------------------------------------------------------------------


def add(db: Database, start: datetime | str | None = START, **options: object) -> dict[str, Any]:
    arguments = {"p_match_id": MATHEMATICS.id, "p_start_utc": start, "p_reason": "Make-up for Friday."} | options
    return db.call(NADIA, "add_extra_session", **arguments)


def test_an_extra_session_is_one_of_the_packages_n(db: Database) -> None:
    ids = [each["id"] for each in generate(db, MATHEMATICS)["sessions"]]
    update(db, NADIA, ids[7], "cancelled", reason="Flu.")
    answer = add(db)
    session = answer["session"]
    assert (session["is_extra"], session["occurrence_start_utc"], session["sequence_number"]) == (True, None, 9)
    assert (session["status_reason"], session["status"]) == ("Make-up for Friday.", "scheduled")
    assert session["package"]["position"] == 3, "by start"
    assert instant(session["scheduled_end_utc"]) == START + HOUR, "as long as the pattern says"
    assert audit(db, MATHEMATICS.id)[-1] == ("session_added", "admin", NADIA.id)
    assert db.value("select reason from public.audit_logs where action = 'session_added'") == "Make-up for Friday."
    assert events(db, MATHEMATICS.id) == ["schedule.generated", "session.added"]
    assert answer["viewer_timezone"] == "Asia/Karachi"


def test_an_extra_session_may_have_another_length(db: Database) -> None:
    assert instant(add(db, p_duration_mins=90)["session"]["scheduled_end_utc"]) == START + 1.5 * HOUR


def test_without_a_pattern_an_extra_session_lasts_an_hour(db: Database) -> None:
    db.run("update public.matches set schedule_pattern = null where id = %s", MATHEMATICS.id)
    assert instant(add(db)["session"]["scheduled_end_utc"]) == START + HOUR


def test_a_package_with_all_its_sessions_takes_no_extra_one(db: Database) -> None:
    generate(db, MATHEMATICS)
    with pytest.raises(Refused) as refused:
        add(db)
    assert (refused.value.status, refused.value.code) == (402, "package_exhausted")
    assert refused.value.extra == {"package_id": str(MATHEMATICS.package_id)}


@pytest.mark.parametrize(
    ("status", "code", "options"),
    [
        (404, "not_found", {"p_match_id": uuid4()}),
        (404, "not_found", {"p_package_id": PHYSICS.package_id}),
        (422, "reason_required", {"p_reason": None}),
        (422, "reason_required", {"p_reason": "  "}),
        (422, "invalid", {"p_duration_mins": 14}),
        (422, "invalid", {"p_duration_mins": 481}),
        (422, "invalid", {"p_start_utc": None}),
        (422, "invalid", {"p_start_utc": "infinity"}),
        (422, "start_in_past", {"p_start_utc": "2026-02-26T08:59:59Z"}),
    ],
)
def test_an_extra_session_that_cannot_be_is_refused(
    db: Database, status: int, code: str, options: dict[str, object]
) -> None:
    with pytest.raises(Refused) as refused:
        add(db, **options)  # pyright: ignore[reportArgumentType]
    assert (refused.value.status, refused.value.code) == (status, code)
    assert sessions(db) == 0


def test_an_extra_session_may_start_now(db: Database) -> None:
    assert add(db, "2026-02-26T09:00:00Z")["session"]["status"] == "scheduled"


def test_an_extra_session_meets_the_same_conflicts(db: Database) -> None:
    of_tutor = booked(db, BILAL, OLIVER, START + HOUR / 2)
    of_student = booked(db, HARRIET, LENA, START - HOUR / 2)
    with pytest.raises(Refused) as refused:
        add(db)
    assert (refused.value.status, refused.value.code) == (409, "slot_taken")
    told = {(each["session_id"], each["of"]) for each in refused.value.extra["conflicts"]}
    assert told == {(str(of_tutor), "tutor"), (str(of_student), "student")}
    assert add(db, START + 1.5 * HOUR)["session"]["is_extra"]


def test_an_extra_session_needs_a_named_package_among_several_and_an_active_one(db: Database) -> None:
    second = package(db, MATHEMATICS)
    with pytest.raises(Refused, match="422 package_required"):
        add(db)
    assert add(db, p_package_id=second)["session"]["package_id"] == str(second)
    db.run("update public.packages set status = 'cancelled'")
    with pytest.raises(Refused, match="422 no_active_package"):
        add(db, START + DAY, p_package_id=second)
    with pytest.raises(Refused, match="422 no_active_package"):
        add(db, START + DAY)


def test_an_ended_match_takes_no_extra_session(db: Database) -> None:
    db.run("update public.matches set status = 'ended' where id = %s", MATHEMATICS.id)
    with pytest.raises(Refused, match="409 illegal_transition"):
        add(db)


def test_a_match_with_an_extra_session_is_active_and_keeps_its_tutor(db: Database) -> None:
    add(db)
    assert db.value("select status::text from public.matches where id = %s", MATHEMATICS.id) == "active"
    assert db.value("select status::text from public.requests where id = %s", MATHEMATICS.request_id) == "active"
    with pytest.raises(Refused, match="409 in_use"):
        db.call(NADIA, "update_match", p_match_id=MATHEMATICS.id, p_tutor_id=HARRIET.id)


# --- the end of a match -------------------------------------------------------------------------------


def test_ending_a_match_cancels_what_is_to_come_and_leaves_what_was(db: Database) -> None:
    ids = [each["id"] for each in generate(db, MATHEMATICS)["sessions"]]
    db.set_clock("2026-03-14T14:00:00Z")
    update(db, BILAL, ids[0], "done")
    update(db, NADIA, ids[7], "rescheduled")
    other = str(booked(db, BILAL, LENA, instant("2026-03-30 10:00")))
    ended = db.call(NADIA, "end_match", p_match_id=MATHEMATICS.id, p_reason="Moving house.")
    assert ended["match"]["status"] == "ended"
    assert set(ended["cancelled"]) == set(ids[3:])
    statuses = [column(db, each, "status") for each in [*ids, other]]
    assert statuses == ["done", "scheduled", "scheduled", *["cancelled"] * 5, "scheduled"]
    assert events(db, ids[3]) == ["session.cancelled"]
    assert events(db, MATHEMATICS.id) == ["schedule.generated", "match.ended"]
    again = db.call(NADIA, "end_match", p_match_id=MATHEMATICS.id, p_reason=None)
    assert (again["cancelled"], again["match"]["status"]) == ([], "ended")


def test_ending_a_match_says_why_and_is_for_admins(db: Database) -> None:
    with pytest.raises(Refused, match="422 reason_required"):
        db.call(NADIA, "end_match", p_match_id=MATHEMATICS.id, p_reason=" ")
    with pytest.raises(Refused, match="404 not_found"):
        db.call(NADIA, "end_match", p_match_id=OPEN_REQUEST_ID, p_reason="x")
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(BILAL, "end_match", p_match_id=MATHEMATICS.id, p_reason="x")


def test_nobody_plans_without_signing_in(db: Database) -> None:
    for who in ("anon", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(who, "generate_sessions", p_match_id=MATHEMATICS.id)
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", "generate_sessions", p_match_id=MATHEMATICS.id)
