"""Chapter 9: every step that anybody may take with a session, written out by hand from the rules of the house."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
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
    instant,
    ledger,
    lesson,
    move,
    package,
    update,
    used,
)
from tests.house import BILAL, ENGLISH, HARRIET, IELTS, LENA, MATHEMATICS, NADIA, NEWCOMER, OLIVER, ZARA, Person

END = START + HOUR
SECOND = timedelta(seconds=1)

# --- the rules ----------------------------------------------------------------------------------------

COSTS_A_CREDIT = {
    "scheduled": False,
    "in_progress": False,
    "done": True,
    "no_show_student": True,
    "no_show_tutor": False,
    "rescheduled": False,
    "cancelled": False,
}
STATUSES = list(COSTS_A_CREDIT)
"""Every status there is. One that is added needs its place in each table here."""

TUTORS_SAY = {"in_progress", "done", "no_show_student", "no_show_tutor"}
"""What a tutor may ever make of a session; for anything else they ask an admin."""


@dataclass(frozen=True)
class Terms:
    """From when on a tutor may take a step, until when, and whether only the clock's word is open to it."""

    opens: datetime
    closes: datetime | None = None
    only_after_the_clock: bool = False


WINDOW_OPENS = START - timedelta(minutes=15)
CORRECTION_CLOSES = END + timedelta(hours=24)  # where the clock completed it at its end
STARTING = Terms(WINDOW_OPENS, END)
RESOLVING = Terms(START)
CORRECTING_THE_CLOCK = Terms(START, CORRECTION_CLOSES, only_after_the_clock=True)

TUTOR: dict[tuple[str, str, str], Terms] = {
    ("match", "scheduled", "in_progress"): STARTING,
    ("match", "scheduled", "done"): RESOLVING,
    ("match", "scheduled", "no_show_student"): RESOLVING,
    ("match", "scheduled", "no_show_tutor"): RESOLVING,
    ("match", "in_progress", "done"): RESOLVING,
    ("match", "in_progress", "no_show_student"): RESOLVING,
    ("match", "in_progress", "no_show_tutor"): RESOLVING,
    ("match", "done", "no_show_student"): CORRECTING_THE_CLOCK,
    ("match", "done", "no_show_tutor"): CORRECTING_THE_CLOCK,
    ("booking", "scheduled", "in_progress"): STARTING,
    ("booking", "in_progress", "done"): RESOLVING,
}

ADMIN_WITHOUT_A_REASON = {
    ("match", "scheduled", "in_progress"),
    ("match", "scheduled", "done"),
    ("match", "scheduled", "no_show_student"),
    ("match", "scheduled", "no_show_tutor"),
    ("match", "scheduled", "rescheduled"),
    ("match", "in_progress", "done"),
    ("match", "in_progress", "no_show_student"),
    ("match", "in_progress", "no_show_tutor"),
    ("booking", "scheduled", "in_progress"),
    ("booking", "in_progress", "done"),
}
"""The ordinary steps. Everything else an admin does is a correction and says why."""

ADMIN_WITHOUT_A_REASON_WHEN_DELAYED = {("match", "in_progress", "rescheduled")}
ADMIN_WITHOUT_A_REASON_AFTER_THE_CLOCK = {
    ("match", "done", "no_show_student"),
    ("match", "done", "no_show_tutor"),
}

CLOCK = {
    # origin, from, to, only when is_delayed is …, from when on, until when
    ("match", "scheduled", "in_progress", None, "start", None),
    ("match", "in_progress", "done", False, "end", None),
    ("booking", "scheduled", "in_progress", None, "start", None),
    ("booking", "in_progress", "done", False, "end", None),
}
CONSENT = {
    # origin, from, to, only when is_delayed is …, from when on, until when; a guardian's, and the clock's after silence
    ("match", "scheduled", "cancelled", None, None, "start"),
    ("match", "rescheduled", "cancelled", None, None, None),
    ("booking", "scheduled", "cancelled", None, None, "start"),
}
STUDENT = {
    # origin, from, to, only when is_delayed is …, from when on, until when
    ("match", "scheduled", "in_progress", None, "start_window", "end"),
    ("booking", "scheduled", "in_progress", None, "start_window", "end"),
    ("match", "in_progress", "done", True, "start", None),
}
NEW_TIME_BY_AN_ADMIN = {
    # from, only when is_delayed is …, whether it needs a reason; of a match alone
    ("scheduled", None, False),
    ("rescheduled", None, False),
    ("in_progress", True, False),
    ("in_progress", False, True),
}
NEW_TIME_BY_A_TUTOR = {("scheduled", None), ("rescheduled", None), ("in_progress", True)}
"""Where `tutor_may_reschedule`; and what tutor and student may ask for."""
WISH_TO_CANCEL = {
    # origin, from, until when
    ("match", "scheduled", "start"),
    ("match", "rescheduled", None),
    ("booking", "scheduled", "start"),
}


@dataclass(frozen=True)
class Cell:
    """One question to the table: may this role, now, lead a session in this state to that status?"""

    origin: str
    status: str
    is_delayed: bool
    set_by: str
    has_come: bool
    """Whether a person has begun it: `started_by`."""
    to: str
    role: str
    now: datetime
    reason: str | None

    @property
    def step(self) -> tuple[str, str, str]:
        return self.origin, self.status, self.to


def expected(cell: Cell) -> str:
    """The answer by the rules: `changed`, `recorded` (who came after the clock), `unchanged`, or the refusal."""
    if cell.role == "student" or (cell.role == "tutor" and cell.to not in TUTORS_SAY):
        return "403 not_allowed"
    if cell.to == cell.status:
        return "recorded" if cell.to == "in_progress" and not cell.has_come else "unchanged"
    return _tutor(cell) if cell.role == "tutor" else _admin(cell)


def _tutor(cell: Cell) -> str:
    terms = TUTOR.get(cell.step)
    if terms is None or (terms.only_after_the_clock and cell.set_by != "clock"):
        return "409 illegal_transition"
    if cell.now < terms.opens:
        return "409 too_early"
    if terms.closes is not None and cell.now >= terms.closes:
        return "409 too_late"
    return "changed"


def _admin(cell: Cell) -> str:
    if cell.origin == "booking" and cell.to == "rescheduled":
        return "409 illegal_transition"
    if cell.to == "scheduled" and cell.now >= START:
        return "409 too_late"
    is_ordinary = (
        cell.step in ADMIN_WITHOUT_A_REASON
        or (cell.is_delayed and cell.step in ADMIN_WITHOUT_A_REASON_WHEN_DELAYED)
        or (cell.set_by == "clock" and cell.step in ADMIN_WITHOUT_A_REASON_AFTER_THE_CLOCK)
    )
    return "changed" if is_ordinary or cell.reason else "422 reason_required"


# --- the walk -----------------------------------------------------------------------------------------

MOMENTS = [
    START - HOUR,
    START - timedelta(minutes=10),
    START + timedelta(minutes=30),
    END + HOUR,
    CORRECTION_CLOSES + HOUR,
]
ROLES = {"tutor": BILAL, "student": LENA, "admin": NADIA}


def states(origin: str, status: str) -> Iterator[tuple[bool, str, bool]]:
    """The marks that a session of that status may carry: is_delayed, status_set_by, whether a person began it."""
    delays = [False] if status == "scheduled" else [False, True]
    begun = [False, True] if status == "in_progress" else [False]
    return product(delays, ["clock", "tutor" if origin == "match" else "student"], begun)


def questions(origin: str, status: str, marks: tuple[bool, str, bool]) -> Iterator[Cell]:
    for to, role, now in product(STATUSES, ROLES, MOMENTS):
        cell = Cell(origin, status, *marks, to, role, now, None)
        yield cell
        if role == "admin":
            yield replace(cell, reason="The family called.")


@dataclass(frozen=True)
class Trace:
    """What a change leaves behind."""

    status: str
    version: int
    audit_rows: int
    events: int
    ledger_net: int
    sessions_used: int


def trace(db: Database, session_id: UUID) -> Trace:
    ((*facts,),) = db.rows(
        """select s.status::text, s.version,
                  (select count(*) from public.audit_logs where entity_id = s.id),
                  (select count(*) from private.outbox_events where aggregate_id = s.id),
                  (select coalesce(sum(amount), 0) from public.credit_ledger where session_id = s.id),
                  (select sessions_used from public.packages where id = %s)
             from public.sessions s where id = %s""",
        MATHEMATICS.package_id,
        session_id,
    )
    return Trace(*facts)


def after(cell: Cell, before: Trace) -> Trace:
    """The trace that the rules want."""
    if expected(cell) == "recorded":
        return replace(before, version=before.version + 1, audit_rows=before.audit_rows + 1)
    if expected(cell) != "changed":
        return before
    net = int(cell.origin == "match" and COSTS_A_CREDIT[cell.to])
    return Trace(cell.to, before.version + 1, before.audit_rows + 1, before.events + 1, net, net)


def ask(db: Database, session_id: UUID, cell: Cell) -> str:
    """What the database answers, in the words of `expected`."""
    db.set_clock(cell.now)
    try:
        answer = update(db, ROLES[cell.role], session_id, cell.to, reason=cell.reason)
    except Refused as refused:
        return f"{refused.status} {refused.code}"
    assert answer["session"]["status"] == cell.to
    if not answer["changed"]:
        return "unchanged"
    return "recorded" if cell.to == cell.status else "changed"


PUT: dict[str, Callable[..., UUID]] = {"match": lesson, "booking": partial(booked, tutor=BILAL, student=LENA)}
"""How a session of either origin comes into the table."""


@pytest.mark.parametrize(
    ("origin", "status"),
    [pair for pair in product(["match", "booking"], STATUSES) if pair != ("booking", "rescheduled")],
)
def test_every_step_is_taken_or_refused_as_the_rules_say(db: Database, origin: str, status: str) -> None:
    wrong: list[str] = []
    for marks in states(origin, status):
        is_delayed, set_by, has_come = marks
        with db.connection.transaction(force_rollback=True):
            session_id = PUT[origin](
                db, status=status, is_delayed=is_delayed, status_set_by=set_by, status_changed_at=END,
                started_by=BILAL.id if has_come else None,
            )  # fmt: skip
            before = trace(db, session_id)
            for cell in questions(origin, status, marks):
                with db.connection.transaction(force_rollback=True):
                    answer, left = ask(db, session_id, cell), trace(db, session_id)
                if (answer, left) != (expected(cell), after(cell, before)):
                    wrong.append(f"{cell}: {answer} {left}, wanted {expected(cell)} {after(cell, before)}")
    assert wrong == []


def test_a_status_without_rules_here_is_noticed(db: Database) -> None:
    assert db.value("select enum_range(null::public.session_status_enum)::text[]") == STATUSES


def test_a_bookings_session_is_never_parked_whoever_writes_it(db: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="sessions_of_bookings_are_never_parked"):
        booked(db, BILAL, LENA, status="rescheduled")


@pytest.mark.parametrize(("role", "steps"), [("clock", CLOCK | CONSENT), ("guardian", CONSENT)])
def test_the_clock_and_guardians_may_take_these_steps_and_no_others(
    db: Database, role: str, steps: set[tuple[object, ...]]
) -> None:
    rows = db.rows(
        """select origin::text, from_status::text, to_status::text, is_delayed, opens, closes, set_by, needs_reason,
                  at_new_time, is_wish, policy
             from private.session_transitions where actor_role = %s""",
        role,
    )
    assert sorted(rows, key=str) == sorted(((*step, None, False, False, False, None) for step in steps), key=str)


def test_a_student_may_take_these_steps_and_no_others(db: Database) -> None:
    rows = db.rows(
        """select origin::text, from_status::text, to_status::text, is_delayed, opens, closes, set_by, needs_reason,
                  policy
             from private.session_transitions where actor_role = 'student' and not is_wish"""
    )
    assert sorted(rows, key=str) == sorted(((*step, None, False, None) for step in STUDENT), key=str)


def test_a_new_time_is_given_in_these_cases_and_no_others(db: Database) -> None:
    rows = db.rows(
        """select origin::text, from_status::text, to_status::text, actor_role::text, is_delayed, needs_reason, policy,
                  opens, closes, set_by, needs_future_start
             from private.session_transitions where at_new_time and not is_wish"""
    )
    wanted = [
        *(
            ("match", status, "scheduled", "admin", is_delayed, needs_reason, None)
            for status, is_delayed, needs_reason in NEW_TIME_BY_AN_ADMIN
        ),
        *(
            ("match", status, "scheduled", "tutor", is_delayed, False, "tutor_may_reschedule")
            for status, is_delayed in NEW_TIME_BY_A_TUTOR
        ),
    ]
    assert sorted(rows, key=str) == sorted(((*step, None, None, None, False) for step in wanted), key=str)


def test_tutor_and_student_may_ask_in_these_cases_and_no_others(db: Database) -> None:
    rows = db.rows(
        """select actor_role::text, origin::text, from_status::text, to_status::text, at_new_time, is_delayed, closes,
                  opens, set_by, needs_reason, needs_future_start, policy
             from private.session_transitions where is_wish"""
    )
    wanted = [
        step
        for role in ("tutor", "student")
        for step in (
            *((role, "match", status, "scheduled", True, delayed, None) for status, delayed in NEW_TIME_BY_A_TUTOR),
            *((role, origin, status, "cancelled", False, None, closes) for origin, status, closes in WISH_TO_CANCEL),
        )
    ]
    assert sorted(rows, key=str) == sorted(((*step, None, None, False, False, None) for step in wanted), key=str)


def test_no_policy_but_the_one_about_moves_is_in_a_step(db: Database) -> None:
    assert db.rows("select distinct at_new_time, policy from private.session_transitions where policy is not null") == [
        (True, "tutor_may_reschedule")
    ]


def test_only_tutors_students_guardians_admins_and_the_clock_take_steps(db: Database) -> None:
    roles = db.rows("select distinct actor_role::text from private.session_transitions order by 1")
    assert roles == [("admin",), ("clock",), ("guardian",), ("student",), ("tutor",)]


# --- to the second ------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_starting_opens_exactly_a_quarter_of_an_hour_before_the_start(db: Database, origin: str) -> None:
    session_id = PUT[origin](db)
    db.set_clock(WINDOW_OPENS - SECOND)
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, "in_progress")
    assert (refused.value.status, refused.value.code) == (409, "too_early")
    assert instant(refused.value.extra["opens_at"]) == WINDOW_OPENS
    assert refused.value.extra["policy"] == "start_window_mins"
    db.set_clock(WINDOW_OPENS)
    assert update(db, BILAL, session_id, "in_progress")["changed"]


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_starting_closes_exactly_at_the_end(db: Database, origin: str) -> None:
    session_id = PUT[origin](db)
    db.set_clock(END)
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, "in_progress")
    assert (refused.value.status, refused.value.code) == (409, "too_late")
    assert {name: instant(value) for name, value in refused.value.extra.items()} == {"closed_at": END}
    db.set_clock(END - SECOND)
    assert update(db, BILAL, session_id, "in_progress")["changed"]


def test_how_early_a_session_may_start_is_a_policy(db: Database) -> None:
    session_id = lesson(db)
    db.run("update public.settings set start_window_mins = 60")
    db.set_clock(START - HOUR)
    assert update(db, BILAL, session_id, "in_progress")["changed"]


@pytest.mark.parametrize("status", ["done", "no_show_student", "no_show_tutor"])
@pytest.mark.parametrize("present", ["scheduled", "in_progress"])
def test_a_tutor_resolves_from_the_very_start_on(db: Database, present: str, status: str) -> None:
    session_id = lesson(db, status=present)
    db.set_clock(START - SECOND)
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, status)
    assert (refused.value.status, refused.value.code) == (409, "too_early")
    assert {name: instant(value) for name, value in refused.value.extra.items()} == {"opens_at": START}
    db.set_clock(START)
    assert update(db, BILAL, session_id, status)["changed"]


def test_a_tutor_corrects_the_clock_up_to_the_last_second_of_the_window(db: Database) -> None:
    session_id = lesson(db, status="done", status_set_by="clock", status_changed_at=END)
    db.set_clock(CORRECTION_CLOSES)
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, "no_show_student")
    assert (refused.value.status, refused.value.code) == (409, "too_late")
    assert instant(refused.value.extra["closed_at"]) == CORRECTION_CLOSES
    assert refused.value.extra["policy"] == "tutor_correction_hours"
    db.set_clock(CORRECTION_CLOSES - SECOND)
    assert update(db, BILAL, session_id, "no_show_student")["changed"]


def test_how_long_a_tutor_may_correct_the_clock_is_a_policy(db: Database) -> None:
    session_id = lesson(db, status="done", status_set_by="clock", status_changed_at=END)
    db.run("update public.settings set tutor_correction_hours = 48")
    db.set_clock(CORRECTION_CLOSES)
    assert update(db, BILAL, session_id, "no_show_tutor")["changed"]


def test_a_tutor_does_not_correct_themselves(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    update(db, BILAL, session_id, "done")
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, "no_show_student")
    assert refused.value.code == "illegal_transition"
    assert refused.value.extra == {"from": "done", "to": "no_show_student"}


def test_an_admin_schedules_again_only_what_has_not_begun(db: Database) -> None:
    session_id = lesson(db, status="cancelled")
    db.set_clock(START)
    with pytest.raises(Refused) as refused:
        update(db, NADIA, session_id, "scheduled", reason="Back on.")
    assert (refused.value.status, refused.value.code) == (409, "too_late")
    db.set_clock(START - SECOND)
    assert update(db, NADIA, session_id, "scheduled", reason="Back on.")["changed"]


@pytest.mark.parametrize("reason", [None, "", "   "])
def test_a_correction_says_why(db: Database, reason: str | None) -> None:
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        update(db, NADIA, session_id, "cancelled", reason=reason)
    assert (refused.value.status, refused.value.code) == (422, "reason_required")
    assert refused.value.extra == {"field": "reason"}
    update(db, NADIA, session_id, "cancelled", reason="  Flu.  ")
    assert column(db, session_id, "status_reason") == "Flu."


# --- who ----------------------------------------------------------------------------------------------


def test_nobody_sets_a_status_without_signing_in(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        update(db, "anon", session_id, "done")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        update(db, "service_role", session_id, "done")
    assert column(db, session_id, "status") == "scheduled"


def test_a_null_caller_is_refused_even_with_the_right_to_call(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(Refused) as refused:
        update(db, "authenticated", session_id, "done")
    assert (refused.value.status, refused.value.code) == (401, "not_signed_in")
    db.run("grant execute on all functions in schema public, private to anon")
    db.run("grant usage on schema private to anon")
    with pytest.raises(Refused) as refused:
        update(db, "anon", session_id, "done")
    assert (refused.value.status, refused.value.code) == (401, "not_signed_in")
    assert column(db, session_id, "status") == "scheduled"


@pytest.mark.parametrize("who", [HARRIET, ZARA, NEWCOMER])
def test_a_strangers_session_and_a_missing_one_get_the_same_answer(db: Database, who: Person) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    refusals: list[tuple[int, str, str, dict[str, Any]]] = []
    for unseen in (session_id, uuid4()):
        with pytest.raises(Refused) as refused:
            update(db, who, unseen, "done")
        told = refused.value
        refusals.append((told.status, told.code, told.detail, told.extra))
    assert refusals[0][:2] == (404, "not_found")
    assert refusals[0] == refusals[1]


def test_an_admin_asking_for_a_missing_session_is_told_so(db: Database) -> None:
    with pytest.raises(Refused, match="404 not_found"):
        update(db, NADIA, uuid4(), "done")


def test_a_deactivated_tutor_is_refused_at_once(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=False)
    with pytest.raises(Refused, match="403 not_allowed"):
        update(db, BILAL, session_id, "done")


def test_a_tutor_who_lost_the_role_is_refused(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=["student"])
    with pytest.raises(Refused, match="403 not_allowed"):
        update(db, BILAL, session_id, "done")


def test_an_admin_who_is_also_the_tutor_has_an_admins_rights(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_roles=["tutor", "admin"])
    session_id = lesson(db)
    earlier = lesson(db, start=START - 2 * HOUR)
    db.set_clock(START - HOUR)
    assert update(db, BILAL, session_id, "done")["changed"], "before its start, and past an open one"
    assert column(db, earlier, "status") == "scheduled"
    assert audit(db, session_id)[-1] == ("session_status_updated", "admin", BILAL.id)


def test_a_tutor_who_also_learns_is_a_student_in_their_own_lessons(db: Database) -> None:
    db.call(NADIA, "update_person", p_person_id=OLIVER.id, p_roles=["student", "tutor"])
    session_id = lesson(db, ENGLISH)
    db.set_clock(START)
    with pytest.raises(Refused, match="403 not_allowed"):
        update(db, OLIVER, session_id, "done")
    assert update(db, HARRIET, session_id, "done")["changed"]


@pytest.mark.parametrize("who", [BILAL, NADIA])
def test_a_status_must_be_said(db: Database, who: Person) -> None:
    session_id = lesson(db)
    with pytest.raises(Refused) as refused:
        update(db, who, session_id, None)
    assert (refused.value.status, refused.value.code) == (422, "invalid")
    assert refused.value.extra == {"field": "status"}


def test_an_unknown_status_is_refused(db: Database) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        update(db, BILAL, lesson(db), "completed")


def test_there_is_one_function_and_no_overload(db: Database) -> None:
    schemas = db.rows("select pronamespace::regnamespace::text from pg_proc where proname = 'tutor_update_session'")
    assert sorted(schemas) == [("private",), ("public",)]


# --- asking again, versions, notes --------------------------------------------------------------------


def test_a_repeated_call_counts_once(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    first = update(db, BILAL, session_id, "done", notes="Fractions.")
    again = update(db, BILAL, session_id, "done", notes="Fractions.")
    assert (first["changed"], again["changed"]) == (True, False)
    assert again["session"] == first["session"]
    assert used(db, MATHEMATICS.package_id) == 1
    assert ledger(db, session_id) == [(1, 1, MATHEMATICS.package_id)]
    assert audit(db, session_id) == [("session_status_updated", "tutor", BILAL.id)]
    assert events(db, session_id) == ["session.completed"]


def test_asking_again_is_answered_before_version_time_and_order_are_looked_at(db: Database) -> None:
    session_id = lesson(db, status="done")
    lesson(db, start=START - 2 * HOUR)
    db.set_clock(START - HOUR)
    assert not update(db, BILAL, session_id, "done", expected_version=99)["changed"]


def test_asking_again_is_answered_only_to_whom_may_ask(db: Database) -> None:
    session_id = lesson(db, status="cancelled")
    with pytest.raises(Refused, match="403 not_allowed"):
        update(db, BILAL, session_id, "cancelled")
    with pytest.raises(Refused, match="403 not_allowed"):
        update(db, LENA, session_id, "cancelled")
    with pytest.raises(Refused, match="404 not_found"):
        update(db, HARRIET, session_id, "cancelled")


def test_a_stale_version_is_refused_and_names_the_present_one(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, "done", expected_version=2)
    assert (refused.value.status, refused.value.code) == (409, "stale_version")
    assert refused.value.extra == {"version": 1}
    answer = update(db, BILAL, session_id, "done", expected_version=1)
    assert answer["session"]["version"] == 2


def test_the_version_is_looked_at_before_legality(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START - HOUR)
    with pytest.raises(Refused, match="409 stale_version"):
        update(db, BILAL, session_id, "done", expected_version=7)


def test_other_notes_for_the_same_status_are_saved_and_audited_alone(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    update(db, BILAL, session_id, "done", notes="Fractions.")
    answer = update(db, BILAL, session_id, "done", notes="Fractions and decimals.", expected_version=1)
    assert answer["changed"]
    assert (answer["session"]["tutor_notes"], answer["session"]["version"]) == ("Fractions and decimals.", 3)
    assert audit(db, session_id) == [
        ("session_status_updated", "tutor", BILAL.id),
        ("session_notes_updated", "tutor", BILAL.id),
    ]
    assert events(db, session_id) == ["session.completed"]
    assert ledger(db, session_id) == [(1, 1, MATHEMATICS.package_id)]


def test_null_notes_keep_and_empty_notes_clear(db: Database) -> None:
    session_id = lesson(db, tutor_notes="Bring a compass.")
    db.set_clock(START)
    assert update(db, BILAL, session_id, "in_progress")["session"]["tutor_notes"] == "Bring a compass."
    assert update(db, BILAL, session_id, "done", notes="")["session"]["tutor_notes"] is None
    assert not update(db, BILAL, session_id, "done", notes="")["changed"]
    assert update(db, BILAL, session_id, "done", notes="Well done.")["session"]["tutor_notes"] == "Well done."
    assert not update(db, BILAL, session_id, "done")["changed"]
    cleared = update(db, BILAL, session_id, "done", notes="")
    assert (cleared["changed"], cleared["session"]["tutor_notes"]) == (True, None)


def test_notes_are_kept_out_of_audit_and_outbox(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    update(db, BILAL, session_id, "done", notes="canary-of-the-notes")
    update(db, BILAL, session_id, "done", notes="canary-of-other-notes")
    told = db.value("select string_agg(a::text, ' ') from public.audit_logs a")
    told += db.value("select string_agg(e::text, ' ') from private.outbox_events e")
    assert "canary" not in told


def test_notes_beyond_ten_thousand_characters_are_refused(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(psycopg.errors.CheckViolation, match="sessions_notes_are_bounded"):
        update(db, BILAL, session_id, "done", notes="x" * 10_001)
    assert update(db, BILAL, session_id, "done", notes="x" * 10_000)["changed"]


# --- what follows from a change -----------------------------------------------------------------------


def test_the_audit_says_from_what_to_what_why_and_in_which_request(db: Database) -> None:
    session_id = lesson(db)
    db.run("select set_config('request.headers', '{\"x-request-id\": \"req-7\"}', true)")
    update(db, NADIA, session_id, "cancelled", reason="Flu.")
    ((role, actor, reason, request, details),) = db.rows(
        "select actor_role::text, actor_user_id, reason, request_id, details from public.audit_logs"
        " where entity_id = %s",
        session_id,
    )
    assert (role, actor, reason, request) == ("admin", NADIA.id, "Flu.", "req-7")
    assert details == {"status": {"from": "scheduled", "to": "cancelled"}}


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("in_progress", "session.started"),
        ("done", "session.completed"),
        ("no_show_student", "session.no_show"),
        ("no_show_tutor", "session.no_show"),
        ("rescheduled", "session.parked"),
        ("cancelled", "session.cancelled"),
    ],
)
def test_each_status_has_its_event(db: Database, status: str, event: str) -> None:
    session_id = lesson(db)
    update(db, NADIA, session_id, status, reason="As the tutor told us.")
    ((told, payload, occurred_at),) = db.rows(
        "select event_type, payload, occurred_at from private.outbox_events where aggregate_id = %s", session_id
    )
    assert (told, payload["status"], payload["previous_status"]) == (event, status, "scheduled")
    assert payload["version"] == 2
    assert occurred_at == db.value("select private.now()")


def test_a_reopened_session_tells_so(db: Database) -> None:
    session_id = lesson(db, status="cancelled")
    update(db, NADIA, session_id, "scheduled", reason="Back on.")
    assert events(db, session_id) == ["session.reopened"]


def test_a_start_by_its_tutor_is_marked_and_not_delayed(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    session = update(db, BILAL, session_id, "in_progress")["session"]
    assert (instant(session["started_at"]), session["started_by"]) == (START, str(BILAL.id))
    assert not session["is_delayed"]


def test_a_session_reopened_after_its_end_is_delayed_and_one_before_is_not(db: Database) -> None:
    session_id = lesson(db, status="done")
    db.set_clock(END - SECOND)
    assert not update(db, NADIA, session_id, "in_progress", reason="Not over.")["session"]["is_delayed"]
    db.set_clock(END)
    update(db, NADIA, session_id, "done")
    assert update(db, NADIA, session_id, "in_progress", reason="Not sure.")["session"]["is_delayed"]


def test_a_session_scheduled_again_has_lost_its_start(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START - timedelta(minutes=5))
    update(db, BILAL, session_id, "in_progress")
    session = update(db, NADIA, session_id, "scheduled", reason="Pressed by mistake.")["session"]
    assert (session["started_at"], session["started_by"], session["is_delayed"]) == (None, None, False)


# --- credits ------------------------------------------------------------------------------------------


def test_corrections_give_back(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    counts: list[int] = []
    update(db, BILAL, session_id, "done")
    counts.append(used(db, MATHEMATICS.package_id))
    for status in ("no_show_tutor", "no_show_student", "done", "cancelled"):
        update(db, NADIA, session_id, status, reason="Heard from both.")
        counts.append(used(db, MATHEMATICS.package_id))
    assert counts == [1, 0, 1, 1, 0]
    assert [amount for _, amount, _ in ledger(db, session_id)] == [1, -1, 1, -1]


def test_only_the_sessions_own_package_is_charged(db: Database) -> None:
    """The request has three active packages, and the session's is neither the oldest nor the newest."""
    own = package(db, MATHEMATICS, tier=12)
    newest = package(db, MATHEMATICS, tier=20)
    session_id = lesson(db, package_id=own)
    db.set_clock(START)
    update(db, BILAL, session_id, "done")
    assert [used(db, each) for each in (MATHEMATICS.package_id, own, newest)] == [0, 1, 0]
    assert ledger(db, session_id) == [(1, 1, own)]


def test_without_a_credit_left_the_session_stays_as_it_is(db: Database) -> None:
    full = package(db, MATHEMATICS, tier=8, used=8)
    session_id = lesson(db, package_id=full)
    db.set_clock(START)
    for who in (BILAL, NADIA):
        for status in ("done", "no_show_student"):
            with pytest.raises(Refused) as refused:
                update(db, who, session_id, status, notes="Not to be kept.")
            assert (refused.value.status, refused.value.code) == (402, "package_exhausted")
            assert refused.value.extra == {"package_id": str(full)}
    assert (column(db, session_id, "status"), column(db, session_id, "tutor_notes")) == ("scheduled", None)
    assert (column(db, session_id, "version"), audit(db, session_id), events(db, session_id)) == (1, [], [])
    assert update(db, BILAL, session_id, "no_show_tutor")["changed"], "which costs none"


def test_the_last_credit_goes_to_one_session(db: Database) -> None:
    nearly = package(db, MATHEMATICS, tier=8, used=7)
    first, second = (lesson(db, start=START + hours * HOUR, package_id=nearly) for hours in (0, 2))
    db.set_clock(START + 3 * HOUR)
    update(db, BILAL, first, "done")
    with pytest.raises(Refused, match="402 package_exhausted"):
        update(db, BILAL, second, "done")
    update(db, NADIA, first, "no_show_tutor", reason="The tutor was ill.")
    assert update(db, BILAL, second, "done")["changed"], "with the credit that came back"
    assert used(db, nearly) == 8


def test_an_expired_or_cancelled_package_is_still_charged(db: Database) -> None:
    session_id = lesson(db)
    db.call(NADIA, "update_package", p_package_id=MATHEMATICS.package_id, p_status="cancelled")
    db.set_clock("2026-06-01T00:00:00Z")
    update(db, BILAL, session_id, "done")
    assert used(db, MATHEMATICS.package_id) == 1


def test_a_bookings_session_touches_no_ledger(db: Database) -> None:
    session_id = booked(db, BILAL, LENA)
    db.set_clock(START)
    update(db, BILAL, session_id, "in_progress")
    update(db, BILAL, session_id, "done")
    assert (ledger(db, session_id), used(db, MATHEMATICS.package_id)) == ([], 0)
    assert events(db, session_id) == ["session.booked", "session.started", "session.completed"]


# --- the order of a package's sessions ----------------------------------------------------------------


@pytest.mark.parametrize("status", ["done", "no_show_student", "no_show_tutor"])
@pytest.mark.parametrize("open_status", ["scheduled", "in_progress"])
def test_a_tutor_resolves_in_order_and_is_told_what_is_open(db: Database, open_status: str, status: str) -> None:
    second = lesson(db, start=START - 2 * HOUR, status=open_status)
    first = lesson(db, start=START - 24 * HOUR)
    session_id = lesson(db)
    db.set_clock(END)
    with pytest.raises(Refused) as refused:
        update(db, BILAL, session_id, status)
    assert (refused.value.status, refused.value.code) == (409, "out_of_order")
    assert refused.value.extra["policy"] == "sequence_lock"
    named = [(each["session_id"], each["sequence_number"]) for each in refused.value.extra["blockers"]]
    assert named == [(str(first), 2), (str(second), 1)], "by start, not by number"
    starts = [instant(each["scheduled_start_utc"]) for each in refused.value.extra["blockers"]]
    assert starts == [START - 24 * HOUR, START - 2 * HOUR]
    update(db, BILAL, first, "done")
    update(db, BILAL, second, "done")
    assert update(db, BILAL, session_id, status)["changed"]


@pytest.mark.parametrize("settled", ["done", "no_show_student", "no_show_tutor", "rescheduled", "cancelled"])
def test_what_is_not_live_blocks_nothing(db: Database, settled: str) -> None:
    lesson(db, start=START - 2 * HOUR, status=settled)
    session_id = lesson(db)
    db.set_clock(END)
    assert update(db, BILAL, session_id, "done")["changed"]


def test_later_sessions_and_other_packages_block_nothing(db: Database) -> None:
    session_id = lesson(db)
    lesson(db, start=START + 2 * HOUR)
    lesson(db, start=START - 2 * HOUR, package_id=package(db, MATHEMATICS))
    booked(db, BILAL, LENA, START - 4 * HOUR)
    db.set_clock(END)
    assert update(db, BILAL, session_id, "done")["changed"]


def test_correcting_the_clock_is_no_resolving_and_never_locked(db: Database) -> None:
    lesson(db, start=START - 2 * HOUR)
    session_id = lesson(db, status="done", status_set_by="clock", status_changed_at=END)
    db.set_clock(END)
    assert update(db, BILAL, session_id, "no_show_student")["changed"]


def test_starting_is_never_locked(db: Database) -> None:
    lesson(db, start=START - 2 * HOUR)
    session_id = lesson(db)
    db.set_clock(START)
    assert update(db, BILAL, session_id, "in_progress")["changed"]


def test_admins_are_exempt_from_the_order(db: Database) -> None:
    lesson(db, start=START - 2 * HOUR)
    session_id = lesson(db)
    assert update(db, NADIA, session_id, "done")["changed"]


def test_the_order_is_a_policy(db: Database) -> None:
    lesson(db, start=START - 2 * HOUR)
    session_id = lesson(db)
    db.set_clock(END)
    db.run("update public.settings set sequence_lock = false")
    assert update(db, BILAL, session_id, "done")["changed"]


def test_the_order_follows_the_present_start_of_a_moved_session(db: Database) -> None:
    moved = lesson(db, start=START - 2 * HOUR)
    session_id = lesson(db)
    move(db, moved, START + 4 * HOUR)
    db.set_clock(END)
    assert update(db, BILAL, session_id, "done")["changed"]


# --- reopening takes the time again -------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_reopening_onto_taken_time_names_who_is_in_the_way(db: Database, origin: str) -> None:
    session_id = PUT[origin](db, status="cancelled")
    of_the_tutor = booked(db, BILAL, OLIVER, START + timedelta(minutes=30))
    of_the_student = booked(db, HARRIET, LENA, START - timedelta(minutes=30))
    with pytest.raises(Refused) as refused:
        update(db, NADIA, session_id, "scheduled", reason="Back on.")
    assert (refused.value.status, refused.value.code) == (409, "slot_taken")
    conflicts = refused.value.extra["conflicts"]
    assert {(each["session_id"], each["of"]) for each in conflicts} == {
        (str(of_the_tutor), "tutor"),
        (str(of_the_student), "student"),
    }
    assert {(instant(each["start_utc"]), instant(each["end_utc"])) for each in conflicts} == {(START, END)}
    assert column(db, session_id, "status") == "cancelled"


def test_a_correction_into_a_settled_status_never_meets_taken_time(db: Database) -> None:
    session_id = lesson(db, status="cancelled")
    booked(db, BILAL, OLIVER)
    assert update(db, NADIA, session_id, "no_show_tutor", reason="It was not cancelled.")["changed"]


def test_between_live_statuses_a_session_does_not_meet_itself(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    assert update(db, BILAL, session_id, "in_progress")["changed"]


# --- the clock's health -------------------------------------------------------------------------------


def test_admins_see_whether_the_clock_is_real(db: Database) -> None:
    assert db.call(NADIA, "health")["clock"]["is_real"] is False
    db.set_clock(None)
    assert db.call(NADIA, "health")["clock"]["is_real"] is True
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(BILAL, "health")


def test_the_pair_of_another_match_may_not_touch_it(db: Database) -> None:
    session_id = lesson(db, IELTS)
    db.set_clock(START)
    for stranger in (BILAL, LENA, OLIVER):
        with pytest.raises(Refused, match="404 not_found"):
            update(db, stranger, session_id, "in_progress")
