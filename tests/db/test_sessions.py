"""Chapter 6: what a session can never be, what an edit by hand brings along, and who reads which."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import (
    HOUR,
    START,
    audit,
    booked,
    column,
    events,
    generate,
    instant,
    ledger,
    lesson,
    move,
    package,
    update,
    used,
)
from tests.house import (
    BILAL,
    ENGLISH,
    HARRIET,
    IELTS,
    LENA,
    MARCUS,
    MATHEMATICS,
    NADIA,
    NEWCOMER,
    NOW,
    OLIVER,
    PHYSICS,
    ZARA,
    Person,
)

END = START + HOUR
MINUTE = timedelta(minutes=1)

# --- what a session can never be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "columns"),
    [
        ("sessions_have_one_origin", {"match_id": None, "package_id": None, "sequence_number": None, "occurrence_start_utc": None}),  # noqa: E501
        ("sessions_have_one_origin", {"booking_id": uuid4()}),
        ("sessions_of_a_match_are_charged", {"match_id": None, "booking_id": uuid4(), "occurrence_start_utc": None}),
        ("sessions_of_a_match_are_charged", {"sequence_number": None}),
        ("sessions_delay_has_begun", {"is_delayed": True}),
        ("sessions_end_after_start", {"scheduled_end_utc": START}),
        ("sessions_end_after_start", {"scheduled_end_utc": START + 8 * HOUR + MINUTE}),
        ("sessions_in_this_century", {"scheduled_start_utc": "1999-12-31 23:30+00", "scheduled_end_utc": "2000-01-01 00:30+00"}),  # noqa: E501
        ("sessions_in_this_century", {"scheduled_start_utc": "2101-01-01 23:30+00", "scheduled_end_utc": "2101-01-02 00:30+00"}),  # noqa: E501
        ("sessions_notes_are_bounded", {"tutor_notes": "x" * 10_001}),
        ("sessions_reason_is_bounded", {"status_reason": "x" * 1_001}),
    ],
)  # fmt: skip
def test_a_session_that_cannot_be_is_refused(db: Database, constraint: str, columns: dict[str, object]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        lesson(db, **columns)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("columns", [{"package_id": MATHEMATICS.package_id}, {"occurrence_start_utc": START}])
def test_a_bookings_session_has_neither_package_nor_date_of_a_pattern(db: Database, columns: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="sessions_of_a_match_are_charged"):
        booked(db, BILAL, LENA, **columns)


def test_a_booking_has_one_session(db: Database) -> None:
    booking_id = uuid4()
    booked(db, BILAL, LENA, booking_id=booking_id, status="done")
    with pytest.raises(psycopg.errors.UniqueViolation, match="sessions_one_for_each_booking"):
        db.run(
            "insert into public.sessions (booking_id, tutor_user_id, student_user_id, scheduled_start_utc,"
            " scheduled_end_utc, status) select booking_id, tutor_user_id, student_user_id, scheduled_start_utc,"
            " scheduled_end_utc, status from public.sessions where booking_id = %s",
            booking_id,
        )


@pytest.mark.parametrize(
    ("constraint", "columns"),
    [
        ("sessions_people_are_the_matches", {"tutor_user_id": HARRIET.id}),
        ("sessions_people_are_the_matches", {"student_user_id": ZARA.id}),
        ("sessions_package_is_the_students", {"package_id": PHYSICS.package_id}),
    ],
)
def test_the_people_and_the_package_are_those_of_the_match(
    db: Database, constraint: str, columns: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match=constraint):
        lesson(db, **columns)


def test_a_number_and_a_date_of_the_pattern_are_used_once_in_a_package(db: Database) -> None:
    lesson(db, status="cancelled")
    with pytest.raises(psycopg.errors.UniqueViolation, match="sessions_number_once"):
        lesson(db, sequence_number=1, occurrence_start_utc=None)
    with pytest.raises(psycopg.errors.UniqueViolation, match="sessions_occurrence_once"):
        lesson(db, start=START + 24 * HOUR, occurrence_start_utc=START)
    lesson(db, package_id=package(db, MATHEMATICS))


# --- one place at a time ------------------------------------------------------------------------------

OVERLAPPING = {
    "the same hour": (START, HOUR),
    "its last minute": (END - MINUTE, HOUR),
    "its first minute": (START - HOUR + MINUTE, HOUR),
    "inside": (START + 20 * MINUTE, 20 * MINUTE),
    "around": (START - HOUR, 3 * HOUR),
}
TOUCHING = {"just before": START - HOUR, "just after": END}


@pytest.mark.parametrize("live", ["scheduled", "in_progress"])
@pytest.mark.parametrize(("start", "length"), OVERLAPPING.values(), ids=OVERLAPPING)
def test_a_tutor_is_in_one_live_session_at_a_time(db: Database, start: datetime, length: timedelta, live: str) -> None:
    lesson(db, ENGLISH, status=live)
    with pytest.raises(psycopg.errors.ExclusionViolation, match="sessions_tutor_in_one_place"):
        lesson(db, IELTS, start, length=length)
    with pytest.raises(psycopg.errors.ExclusionViolation, match="sessions_tutor_in_one_place"):
        booked(db, HARRIET, LENA, start, length=length)


@pytest.mark.parametrize("live", ["scheduled", "in_progress"])
@pytest.mark.parametrize(("start", "length"), OVERLAPPING.values(), ids=OVERLAPPING)
def test_a_student_is_in_one_live_session_at_a_time(
    db: Database, start: datetime, length: timedelta, live: str
) -> None:
    lesson(db, PHYSICS, status=live)
    with pytest.raises(psycopg.errors.ExclusionViolation, match="sessions_student_in_one_place"):
        lesson(db, IELTS, start, length=length)
    with pytest.raises(psycopg.errors.ExclusionViolation, match="sessions_student_in_one_place"):
        booked(db, BILAL, ZARA, start, length=length)


@pytest.mark.parametrize("start", TOUCHING.values(), ids=TOUCHING)
def test_sessions_may_touch(db: Database, start: datetime) -> None:
    lesson(db)
    lesson(db, start=start)
    assert db.value("select count(*) from public.sessions") == 2


@pytest.mark.parametrize("settled", ["done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled"])
def test_a_session_that_is_not_live_leaves_its_time_free(db: Database, settled: str) -> None:
    lesson(db, status=settled)
    lesson(db, occurrence_start_utc=None)
    assert db.value("select count(*) from public.sessions") == 2


def test_an_edit_cannot_put_two_live_sessions_into_one_place(db: Database) -> None:
    first = lesson(db)
    second = lesson(db, start=START + 2 * HOUR)
    parked = lesson(db, occurrence_start_utc=None, status="rescheduled")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        move(db, second, START)
    with pytest.raises(psycopg.errors.ExclusionViolation):
        db.run("update public.sessions set status = 'scheduled' where id = %s", parked)
    move(db, first, START + HOUR)
    db.run("update public.sessions set status = 'scheduled' where id = %s", parked)


# --- what stays ---------------------------------------------------------------------------------------

IMMUTABLE: dict[LiteralString, tuple[object, str]] = {
    "match_id": (PHYSICS.id, "add_extra_session"),
    "booking_id": (uuid4(), "add_extra_session"),
    "tutor_user_id": (HARRIET.id, "add_extra_session"),
    "student_user_id": (OLIVER.id, "add_extra_session"),
    "occurrence_start_utc": (START + HOUR, "add_extra_session"),
    "package_id": (PHYSICS.package_id, "move_session_to_package"),
    "sequence_number": (7, "move_session_to_package"),
}


@pytest.mark.parametrize("name", IMMUTABLE)
def test_origin_people_package_and_number_stay_and_the_refusal_names_the_way(db: Database, name: LiteralString) -> None:
    value, way = IMMUTABLE[name]
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        db.run(f"update public.sessions set {name} = %s where id = %s", value, session_id)
    assert (refused.value.status, refused.value.code) == (409, "use_function")
    assert way in refused.value.detail
    assert column(db, session_id, "version") == 1


def test_the_time_of_a_bookings_session_stays(db: Database) -> None:
    session_id = booked(db, BILAL, LENA)
    with pytest.raises(Refused, match="409 use_function"):
        move(db, session_id, START + HOUR)
    with pytest.raises(Refused, match="409 use_function"):
        move(db, session_id, START, length=2 * HOUR)


@pytest.mark.parametrize(
    "statement",
    [
        "delete from public.sessions",
        "delete from public.sessions where false",
        "truncate public.sessions",
        "truncate public.sessions cascade",
    ],
)
def test_sessions_are_never_deleted(db: Database, statement: LiteralString) -> None:
    lesson(db)
    with pytest.raises((Refused, psycopg.errors.FeatureNotSupported)) as refused:
        db.run(statement)
    if isinstance(refused.value, Refused):
        assert (refused.value.status, refused.value.code) == (409, "use_function")
        assert "tutor_update_session" in refused.value.detail or "append-only" in refused.value.detail
    assert db.value("select count(*) from public.sessions") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "update public.session_moves set reason = 'x'",
        "delete from public.session_moves",
        "truncate public.session_moves",
    ],
)
def test_the_history_of_moves_is_append_only(db: Database, statement: LiteralString) -> None:
    move(db, lesson(db), START + HOUR)
    with pytest.raises(Refused, match="409 use_function"):
        db.run(statement)


@pytest.mark.parametrize(
    "statement",
    ["delete from public.settings", "truncate public.settings"],
)
def test_the_settings_row_stays(db: Database, statement: LiteralString) -> None:
    with pytest.raises(Refused, match="409 use_function"):
        db.run(statement)


@pytest.mark.parametrize(
    "change",
    [
        "start_window_mins = -1",
        "start_window_mins = 1441",
        "tutor_correction_hours = -1",
        "tutor_correction_hours = 721",
        "quiet_from = '24:00'",
        "model_calls_a_day = -1",
    ],
)
def test_settings_stay_sane(db: Database, change: LiteralString) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        db.run(f"update public.settings set {change}")


def test_there_is_one_settings_row(db: Database) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        db.run("insert into public.settings default values")
    with pytest.raises(psycopg.errors.CheckViolation):
        db.run("insert into public.settings (only_row) values (false)")


def test_a_changed_setting_is_audited_and_only_admins_read_them(db: Database) -> None:
    db.run("update public.settings set sequence_lock = false")
    details = db.value("select details from public.audit_logs where action = 'settings_updated'")
    assert details == {"sequence_lock": {"from": True, "to": False}}
    assert db.rows("select sequence_lock from public.settings", who=NADIA) == [(False,)]
    assert db.rows("select sequence_lock from public.settings", who=BILAL) == []


# --- edits in Studio ----------------------------------------------------------------------------------


def test_a_status_edited_in_studio_keeps_credits_audit_and_events_right(db: Database) -> None:
    session_id = lesson(db)
    db.run("update public.sessions set status = 'done' where id = %s", session_id)
    assert (used(db, MATHEMATICS.package_id), ledger(db, session_id)) == (1, [(1, 1, MATHEMATICS.package_id)])
    assert audit(db, session_id) == [("session_status_updated", "studio", None)]
    assert events(db, session_id) == ["session.completed"]
    ((version, role, person, set_by, at),) = db.rows(
        """select version, updated_by_role::text, updated_by_user_id, status_set_by::text, status_changed_at
             from public.sessions where id = %s""",
        session_id,
    )
    assert (version, role, person, set_by, at) == (2, "studio", None, "studio", instant(NOW))


def test_a_time_edited_in_studio_writes_history_audit_and_event(db: Database) -> None:
    session_id = lesson(db)
    db.run(
        """update public.sessions set scheduled_start_utc = %s, scheduled_end_utc = %s, status_reason = 'Dentist.'
            where id = %s""",
        START + 2 * HOUR,
        START + 4 * HOUR,
        session_id,
    )
    moves = db.rows(
        """select from_start_utc, from_end_utc, to_start_utc, to_end_utc, reason, moved_by_user_id, moved_by_role::text
             from public.session_moves where session_id = %s""",
        session_id,
    )
    assert moves == [(START, END, START + 2 * HOUR, START + 4 * HOUR, "Dentist.", None, "studio")]
    assert audit(db, session_id) == [("session_rescheduled", "studio", None)]
    ((reason, details),) = db.rows("select reason, details from public.audit_logs where entity_id = %s", session_id)
    assert (reason, instant(details["from"]), instant(details["to"])) == ("Dentist.", START, START + 2 * HOUR)
    ((event, payload),) = db.rows(
        "select event_type, payload from private.outbox_events where aggregate_id = %s", session_id
    )
    assert event == "session.rescheduled"
    assert instant(payload["previous_start_utc"]) == START
    assert instant(payload["scheduled_start_utc"]) == START + 2 * HOUR
    assert column(db, session_id, "occurrence_start_utc") == START, "the pattern's date stays"


def test_an_edit_without_a_reason_of_its_own_does_not_repeat_the_last_one(db: Database) -> None:
    session_id = lesson(db)
    update(db, NADIA, session_id, "rescheduled", reason="Flu.")
    move(db, session_id, START + 24 * HOUR)
    assert db.value("select reason from public.session_moves where session_id = %s", session_id) is None
    db.run("update public.sessions set status = 'done', status_reason = 'Well again.' where id = %s", session_id)
    db.run("update public.sessions set status = 'cancelled' where id = %s", session_id)
    reasons = db.rows("select reason from public.audit_logs where entity_id = %s order by id", session_id)
    assert reasons == [("Flu.",), (None,), ("Well again.",), (None,)]


def test_a_parked_session_given_a_time_and_scheduled_at_once_is_one_move(db: Database) -> None:
    session_id = lesson(db, status="rescheduled")
    db.run(
        """update public.sessions set status = 'scheduled', scheduled_start_utc = %s, scheduled_end_utc = %s
            where id = %s""",
        START + HOUR,
        END + HOUR,
        session_id,
    )
    assert audit(db, session_id) == [("session_rescheduled", "studio", None)]
    assert events(db, session_id) == ["session.rescheduled"]


def test_a_parked_session_given_only_a_time_is_scheduled_again(db: Database) -> None:
    session_id = lesson(db, status="rescheduled")
    move(db, session_id, START + HOUR)
    assert column(db, session_id, "status") == "scheduled"
    assert events(db, session_id) == ["session.rescheduled"]


def test_a_session_begun_is_scheduled_again_by_a_time_to_come_and_goes_on_by_a_later_end(db: Database) -> None:
    session_id = lesson(db, status="in_progress")
    db.set_clock(START + timedelta(minutes=10))
    move(db, session_id, START, length=2 * HOUR)
    assert column(db, session_id, "status") == "in_progress"
    move(db, session_id, START + 24 * HOUR)
    assert column(db, session_id, "status") == "scheduled"


def test_an_edit_of_time_and_outcome_tells_of_both(db: Database) -> None:
    session_id = lesson(db)
    db.run(
        "update public.sessions set status = 'done', scheduled_start_utc = %s, scheduled_end_utc = %s where id = %s",
        START - 2 * HOUR,
        START - HOUR,
        session_id,
    )
    assert [action for action, *_ in audit(db, session_id)] == ["session_rescheduled", "session_status_updated"]
    assert events(db, session_id) == ["session.rescheduled", "session.completed"]
    assert used(db, MATHEMATICS.package_id) == 1


def test_notes_edited_in_studio_are_audited_without_an_event(db: Database) -> None:
    session_id = lesson(db)
    db.run("update public.sessions set tutor_notes = 'Bring a ruler.' where id = %s", session_id)
    assert audit(db, session_id) == [("session_notes_updated", "studio", None)]
    assert (events(db, session_id), column(db, session_id, "version")) == ([], 2)


def test_an_edit_of_many_sessions_tells_of_each(db: Database) -> None:
    sessions = [lesson(db, start=START + day * 24 * HOUR) for day in range(3)]
    db.run("update public.sessions set status = 'cancelled'")
    assert [(len(audit(db, each)), events(db, each)) for each in sessions] == [(1, ["session.cancelled"])] * 3


def test_an_edit_that_changes_nothing_tells_nothing(db: Database) -> None:
    session_id = lesson(db)
    db.run("update public.sessions set status = status, tutor_notes = tutor_notes where id = %s", session_id)
    assert (audit(db, session_id), events(db, session_id)) == ([], [])


def test_a_sessions_events_are_numbered_from_one(db: Database) -> None:
    session_id = lesson(db)
    for status in ("in_progress", "done", "cancelled"):
        db.run("update public.sessions set status = %s where id = %s", status, session_id)
    numbers = db.rows(
        "select aggregate_sequence from private.outbox_events where aggregate_id = %s order by id", session_id
    )
    assert numbers == [(1,), (2,), (3,)]


def test_a_session_entered_in_studio_is_told_of_as_added(db: Database) -> None:
    lesson(db, occurrence_start_utc=None, status_reason="Make-up.")
    assert audit(db, MATHEMATICS.id)[-1] == ("session_added", "studio", None)
    assert events(db, MATHEMATICS.id) == ["session.added"]


# --- the marks ----------------------------------------------------------------------------------------


def as_the_clock(db: Database, session_id: UUID, status: str) -> None:
    """A change of status in the way of the sweep of a later chapter."""
    db.run(
        """update public.sessions set status = %s, version = version + 1, updated_by_role = 'clock',
                                      updated_by_user_id = null where id = %s""",
        status,
        session_id,
    )


def marks(db: Database, session_id: UUID) -> tuple[bool, datetime | None, UUID | None]:
    ((*found,),) = db.rows("select is_delayed, started_at, started_by from public.sessions where id = %s", session_id)
    is_delayed, started_at, started_by = found
    return is_delayed, started_at, started_by


def test_what_the_clock_starts_is_delayed_and_started_by_nobody(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    as_the_clock(db, session_id, "in_progress")
    assert marks(db, session_id) == (True, START, None)
    assert column(db, session_id, "status_set_by") == "clock"


def test_completing_keeps_the_marks(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    as_the_clock(db, session_id, "in_progress")
    db.set_clock(END)
    update(db, BILAL, session_id, "done")
    assert marks(db, session_id) == (True, START, None)


def test_a_new_time_clears_delay_and_start(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    as_the_clock(db, session_id, "in_progress")
    move(db, session_id, START + 24 * HOUR)
    assert marks(db, session_id) == (False, None, None)


def test_scheduled_again_clears_delay_and_start(db: Database) -> None:
    session_id = lesson(db, status="in_progress", is_delayed=True, started_at=START, started_by=BILAL.id)
    db.run("update public.sessions set status = 'scheduled' where id = %s", session_id)
    assert marks(db, session_id) == (False, None, None)


def test_a_correction_to_in_progress_after_the_end_is_delayed_and_keeps_who_started(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    update(db, BILAL, session_id, "in_progress")
    db.set_clock(END)
    update(db, BILAL, session_id, "done")
    update(db, NADIA, session_id, "in_progress", reason="Not over after all.")
    assert marks(db, session_id) == (True, START, BILAL.id)


# --- reading one --------------------------------------------------------------------------------------


def test_both_people_and_admins_read_a_session_and_nobody_else(db: Database) -> None:
    session_id = lesson(db)
    for who in (BILAL, LENA, NADIA):
        assert db.call(who, "get_session", p_session_id=session_id)["session"]["id"] == str(session_id)
    for stranger in (HARRIET, MARCUS, OLIVER, ZARA, NEWCOMER):
        with pytest.raises(Refused) as foreign:
            db.call(stranger, "get_session", p_session_id=session_id)
        with pytest.raises(Refused) as missing:
            db.call(stranger, "get_session", p_session_id=uuid4())
        assert (foreign.value.status, foreign.value.code) == (404, "not_found")
        assert str(foreign.value) == str(missing.value)


def test_the_tables_show_each_person_the_same_as_the_functions(db: Database) -> None:
    ours = {str(lesson(db)), str(booked(db, BILAL, OLIVER, START + 24 * HOUR))}
    theirs = {str(lesson(db, PHYSICS))}
    for who, seen in (
        (BILAL, ours),
        (MARCUS, theirs),
        (NADIA, ours | theirs),
        (NEWCOMER, set[str]()),
        (HARRIET, set[str]()),
    ):
        rows = db.rows("select id::text from public.sessions", who=who)
        assert {row for (row,) in rows} == seen
        listed = db.call(who, "list_sessions")["sessions"]
        assert {each["id"] for each in listed} == seen


def test_who_reads_a_session_reads_its_moves(db: Database) -> None:
    move(db, lesson(db), START + HOUR)
    for who, count in ((BILAL, 1), (LENA, 1), (NADIA, 1), (HARRIET, 0), (ZARA, 0), (NEWCOMER, 0)):
        assert len(db.rows("select * from public.session_moves", who=who)) == count


def test_a_session_is_shown_whole(db: Database) -> None:
    session_id = lesson(db, tutor_notes="Bring a ruler.")
    answer = db.call(LENA, "get_session", p_session_id=session_id)
    assert answer["viewer_timezone"] == "America/New_York"
    session = answer["session"]
    assert instant(session.pop("created_at")) == instant(session.pop("updated_at")) == instant(NOW)
    assert session.pop("package") == {
        "id": str(MATHEMATICS.package_id),
        "tier_sessions": 8,
        "sessions_used": 0,
        "sessions_left": 8,
        "position": 1,
    }
    assert session == {
        "id": str(session_id),
        "origin": "match",
        "match_id": str(MATHEMATICS.id),
        "booking_id": None,
        "package_id": str(MATHEMATICS.package_id),
        "sequence_number": 1,
        "occurrence_start_utc": "2026-03-10T15:00:00+00:00",
        "is_extra": False,
        "status": "scheduled",
        "status_reason": None,
        "is_delayed": False,
        "started_at": None,
        "started_by": None,
        "scheduled_start_utc": "2026-03-10T15:00:00+00:00",
        "scheduled_end_utc": "2026-03-10T16:00:00+00:00",
        "tutor": {"id": str(BILAL.id), "display_name": "Bilal Siddiqi", "timezone": "Asia/Karachi"},
        "student": {"id": str(LENA.id), "display_name": "Lena Ortiz", "timezone": "America/New_York"},
        "subject": "Mathematics",
        "level": "Grade 8",
        "meet_link": "https://meet.google.com/abc-defg-hij",
        "tutor_notes": "Bring a ruler.",
        "actions": {
            "join": {
                "allowed": False, "operation": None, "needs_reason": False, "code": "too_early",
                "detail": "It is too early for this.", "opens_at": "2026-03-10T14:45:00+00:00",
                "policy": "start_window_mins",
            },
            "start": {
                "allowed": False, "operation": "start_session", "needs_reason": False, "code": "too_early",
                "detail": "It is too early for this.", "opens_at": "2026-03-10T14:45:00+00:00",
                "policy": "start_window_mins",
            },
            "complete": {
                "allowed": False, "operation": "complete_session", "needs_reason": False,
                "code": "illegal_transition", "detail": "A session that is scheduled cannot become done this way.",
                "from": "scheduled", "to": "done",
            },
            "missed": {
                "allowed": False, "operation": "dispute_session", "needs_reason": False,
                "code": "illegal_transition", "detail": "Only what the clock completed can be disputed.",
                "from": "scheduled",
            },
            "reschedule": {"allowed": True, "operation": "request_reschedule", "needs_reason": True},
            "cancel": {"allowed": True, "operation": "request_cancellation", "needs_reason": True},
            "prep": {
                "allowed": False, "operation": "prepare_session", "needs_reason": False, "code": "not_allowed",
                "detail": "Only its tutor or an admin may do this.",
            },
        },
        "version": 1,
        "updated_by_user_id": None,
    }  # fmt: skip


def test_a_bookings_session_shows_no_match_and_no_package(db: Database) -> None:
    session = db.call(LENA, "get_session", p_session_id=booked(db, BILAL, LENA))["session"]
    assert (session["origin"], session["is_extra"]) == ("booking", False)
    assert [session[name] for name in ("match_id", "package_id", "package", "sequence_number")] == [None] * 4


# --- the k of "k of N" --------------------------------------------------------------------------------


def positions(db: Database, package_id: UUID) -> list[int | None]:
    sessions = db.call(NADIA, "list_sessions")["sessions"]
    return [each["package"]["position"] for each in sessions if each["package_id"] == str(package_id)]


def test_the_position_is_the_rank_by_start_among_what_counts(db: Database) -> None:
    statuses = ["done", "cancelled", "no_show_student", "no_show_tutor", "rescheduled", "in_progress", "scheduled"]
    for day, status in enumerate(statuses):
        lesson(db, start=START + day * 24 * HOUR, status=status)
    assert positions(db, MATHEMATICS.package_id) == [1, None, 2, None, 3, 4, 5]


def test_the_position_follows_the_start_and_not_the_number(db: Database) -> None:
    late = lesson(db, start=START + 24 * HOUR)
    lesson(db, start=START)
    lesson(db, start=START + 48 * HOUR)
    assert db.call(BILAL, "get_session", p_session_id=late)["session"]["package"]["position"] == 2
    move(db, late, START + 72 * HOUR)
    assert db.call(BILAL, "get_session", p_session_id=late)["session"]["package"]["position"] == 3


def test_what_was_used_elsewhere_comes_first(db: Database) -> None:
    brought = package(db, MATHEMATICS, tier=12, used=5)
    for day in range(2):
        lesson(db, start=START + day * 24 * HOUR, package_id=brought)
    lesson(db, start=START - 24 * HOUR)
    assert positions(db, brought) == [6, 7]
    assert positions(db, MATHEMATICS.package_id) == [1]


# --- reading many -------------------------------------------------------------------------------------


@pytest.fixture
def house(db: Database) -> dict[str, str]:
    """A few sessions by name: of every match, of a booking, in several states."""
    made = {
        "maths, done": lesson(db, MATHEMATICS, START, status="done"),
        "maths, next": lesson(db, MATHEMATICS, START + 24 * HOUR),
        "english": lesson(db, ENGLISH, START + 2 * HOUR, status="cancelled"),
        "physics": lesson(db, PHYSICS, START + 3 * HOUR, status="in_progress"),
        "ielts": lesson(db, IELTS, START + 4 * HOUR),
        "booking": booked(db, HARRIET, LENA, START + 6 * HOUR),
    }
    return {name: str(session_id) for name, session_id in made.items()}


def seen(db: Database, house: dict[str, str], who: Person, **filters: object) -> set[str]:
    answer = db.call(who, "list_sessions", **filters)
    assert not answer["has_more"]
    names = {session_id: name for name, session_id in house.items()}
    return {names[each["id"]] for each in answer["sessions"]}


ALL = {"maths, done", "maths, next", "english", "physics", "ielts", "booking"}
MATHS = {"maths, done", "maths, next"}


@pytest.mark.parametrize(
    ("who", "filters", "names"),
    [
        (NADIA, {}, ALL),
        (BILAL, {}, MATHS),
        (LENA, {}, {*MATHS, "booking"}),
        (HARRIET, {}, {"english", "ielts", "booking"}),
        (ZARA, {}, {"physics", "ielts"}),
        (NEWCOMER, {}, set[str]()),
        (NADIA, {"p_role": "admin"}, ALL),
        (NADIA, {"p_role": "tutor"}, set[str]()),
        (NADIA, {"p_role": "student"}, set[str]()),
        (BILAL, {"p_role": "tutor"}, MATHS),
        (BILAL, {"p_role": "student"}, set[str]()),
        (LENA, {"p_role": "student"}, {*MATHS, "booking"}),
        (LENA, {"p_role": "tutor"}, set[str]()),
        (NADIA, {"p_student_id": ZARA.id}, {"physics", "ielts"}),
        (NADIA, {"p_tutor_id": HARRIET.id}, {"english", "ielts", "booking"}),
        (NADIA, {"p_tutor_id": HARRIET.id, "p_student_id": ZARA.id}, {"ielts"}),
        (HARRIET, {"p_student_id": LENA.id}, {"booking"}),
        (NADIA, {"p_match_id": MATHEMATICS.id}, MATHS),
        (NADIA, {"p_match_id": uuid4()}, set[str]()),
        (NADIA, {"p_status": ["scheduled"]}, {"maths, next", "ielts", "booking"}),
        (NADIA, {"p_status": ["done", "cancelled"]}, {"maths, done", "english"}),
        (NADIA, {"p_status": []}, set[str]()),
        (NADIA, {"p_origin": "booking"}, {"booking"}),
        (NADIA, {"p_origin": "match"}, ALL - {"booking"}),
        (NADIA, {"p_from": START + 3 * HOUR}, {"physics", "ielts", "booking", "maths, next"}),
        (NADIA, {"p_to": START + 3 * HOUR}, {"maths, done", "english"}),
        (NADIA, {"p_from": START, "p_to": START + HOUR}, {"maths, done"}),
        (NADIA, {"p_from": START + MINUTE, "p_to": START + 2 * HOUR}, set[str]()),
        # What is somebody else's does not come into view by naming it.
        (BILAL, {"p_match_id": PHYSICS.id}, set[str]()),
        (BILAL, {"p_tutor_id": HARRIET.id}, set[str]()),
        (LENA, {"p_student_id": ZARA.id}, set[str]()),
        (LENA, {"p_tutor_id": HARRIET.id}, {"booking"}),
    ],
)
def test_a_list_shows_ones_own_and_filters_it(
    db: Database, house: dict[str, str], who: Person, filters: dict[str, Any], names: set[str]
) -> None:
    assert seen(db, house, who, **filters) == names


def test_only_admins_list_as_admin(db: Database) -> None:
    for who in (BILAL, LENA, NEWCOMER):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(who, "list_sessions", p_role="admin")


def test_a_person_of_two_sides_sees_both_and_can_choose(db: Database) -> None:
    taught = str(lesson(db, ENGLISH))
    learnt = str(booked(db, MARCUS, HARRIET, START + 24 * HOUR))
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["tutor", "student"])

    def ids(**filters: object) -> list[str]:
        return [each["id"] for each in db.call(HARRIET, "list_sessions", **filters)["sessions"]]

    assert ids() == [taught, learnt]
    assert (ids(p_role="tutor"), ids(p_role="student")) == ([taught], [learnt])


def test_an_admin_who_also_teaches_may_look_as_a_tutor(db: Database) -> None:
    mine, other = str(lesson(db)), str(lesson(db, PHYSICS))
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=["tutor", "admin"])
    listed = [each["id"] for each in db.call(BILAL, "list_sessions", p_role="tutor")["sessions"]]
    assert listed == [mine]
    assert {each["id"] for each in db.call(BILAL, "list_sessions")["sessions"]} == {mine, other}


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_has_one_to_two_hundred_rows(db: Database, limit: int) -> None:
    with pytest.raises(Refused) as refused:
        db.call(NADIA, "list_sessions", p_limit=limit)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert refused.value.extra == {"field": "limit"}


def pages(db: Database, who: Person, limit: int, **filters: object) -> Iterator[list[str]]:
    """Every page in turn, each from the last row of the one before."""
    cursor: dict[str, object] = {}
    while True:
        answer = db.call(who, "list_sessions", p_limit=limit, **filters, **cursor)
        sessions = answer["sessions"]
        yield [each["id"] for each in sessions]
        if not answer["has_more"]:
            return
        cursor = {"p_after_start": sessions[-1]["scheduled_start_utc"], "p_after_id": sessions[-1]["id"]}


@pytest.fixture
def crowd(db: Database) -> list[str]:
    """Sessions of all four matches, most of them at the same few starts; in the order of a list."""
    for match, slot in product((MATHEMATICS, ENGLISH, PHYSICS), range(7)):
        lesson(db, match, START + (slot // 3) * HOUR, occurrence_start_utc=None, status="cancelled")
    rows = db.rows("select id::text from public.sessions order by scheduled_start_utc, id")
    return [row for (row,) in rows]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 20, 21, 22])
def test_pages_walk_every_row_once_where_starts_are_equal(db: Database, crowd: list[str], limit: int) -> None:
    walked = list(pages(db, NADIA, limit))
    assert [each for page in walked for each in page] == crowd
    assert {len(page) for page in walked[:-1]} <= {limit}
    assert walked[-1] != []


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_pages_of_a_person_of_two_sides_walk_every_row_once(db: Database, limit: int) -> None:
    expected = [str(lesson(db, ENGLISH, START + day * 48 * HOUR)) for day in range(3)]
    expected += [str(booked(db, MARCUS, HARRIET, START + (2 * day + 1) * 24 * HOUR)) for day in range(3)]
    walked = [each for page in pages(db, HARRIET, limit) for each in page]
    assert (len(walked), set(walked)) == (6, set(expected))


def test_pages_keep_to_their_filter(db: Database, crowd: list[str]) -> None:
    walked = [each for page in pages(db, NADIA, 2, p_match_id=PHYSICS.id) for each in page]
    of_physics = db.rows("select id::text from public.sessions where match_id = %s", PHYSICS.id)
    assert walked == [each for each in crowd if (each,) in of_physics]


def test_fifty_rows_are_a_page_unless_said_otherwise(db: Database) -> None:
    for slot in range(51):
        lesson(db, MATHEMATICS, START, occurrence_start_utc=None, status="cancelled", sequence_number=slot + 1)
    answer = db.call(BILAL, "list_sessions")
    assert (len(answer["sessions"]), answer["has_more"]) == (50, True)
    answer = db.call(BILAL, "list_sessions", p_limit=None)
    assert (len(answer["sessions"]), answer["has_more"]) == (50, True)
    answer = db.call(BILAL, "list_sessions", p_limit=51)
    assert (len(answer["sessions"]), answer["has_more"]) == (51, False)


def test_an_empty_list_is_a_list(db: Database) -> None:
    answer = db.call(OLIVER, "list_sessions")
    assert answer == {"sessions": [], "has_more": False, "viewer_timezone": "Europe/London"}


def test_lists_and_single_answers_show_a_session_alike(db: Database) -> None:
    generate(db, MATHEMATICS)
    for listed in db.call(LENA, "list_sessions")["sessions"]:
        assert db.call(LENA, "get_session", p_session_id=listed["id"])["session"] == listed


def test_nobody_reads_sessions_without_signing_in(db: Database) -> None:
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", "list_sessions")
    with pytest.raises(Refused, match="401 not_signed_in"):
        db.call("authenticated", "get_session", p_session_id=lesson(db))
    for who in ("anon", "service_role"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.call(who, "list_sessions")
