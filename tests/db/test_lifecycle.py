"""Chapters 6, 9 and 13: the buttons of both sides, what a student may object to, the policies and the figures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.database import Database, Refused
from tests.db.lessons import (
    BORN,
    DAY,
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
    update,
    used,
)
from tests.house import BILAL, ENGLISH, HARRIET, LENA, MARCUS, MATHEMATICS, NADIA, OLIVER, PHYSICS, Person

END = START + HOUR
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WINDOW_OPENS = START - 15 * MINUTE
CORRECTION_CLOSES = END + 24 * HOUR  # where the clock completed it at its end
ORIGINS = ("match", "booking")
PUT: dict[str, Callable[..., UUID]] = {"match": lesson, "booking": partial(booked, tutor=BILAL, student=LENA)}
"""How a session of either origin, of BILAL and LENA, comes into the table."""


def press(db: Database, who: Person | str, button: str, session_id: UUID, **options: object) -> dict[str, Any]:
    """`start_session`, `complete_session` or `dispute_session`; `missed` by its side."""
    arguments: dict[str, Any] = {"p_session_id": session_id} | {f"p_{name}": each for name, each in options.items()}
    if button in ("student", "tutor"):
        return db.call(who, "mark_missed", p_by=button, **arguments)
    return db.call(who, f"{button}_session", **arguments)


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """The session without its buttons, which differ by reader."""
    return {name: value for name, value in answer["session"].items() if name != "actions"}


def refused(db: Database, who: Person | str, button: str, session_id: UUID, **options: object) -> Refused:
    with pytest.raises(Refused) as refusal:
        press(db, who, button, session_id, **options)
    return refusal.value


def sweep(db: Database, now: datetime) -> dict[str, Any]:
    db.set_clock(now)
    return db.call("service_role", "sweep_session_statuses")


def by_the_clock(db: Database, session_id: UUID) -> UUID:
    """The session, begun in time by its tutor and completed at its end by the clock."""
    db.set_clock(START)
    press(db, BILAL, "start", session_id)
    sweep(db, END)
    assert (column(db, session_id, "status"), column(db, session_id, "status_set_by")) == ("done", "clock")
    return session_id


# --- every cell of the table, through the buttons ---------------------------------------------------------

LIVE, SETTLED = ("scheduled", "in_progress"), ("done", "no_show_student", "no_show_tutor")
STATUSES = (*LIVE, *SETTLED, "rescheduled", "cancelled")
BUTTONS = {"start": "in_progress", "complete": "done", "student": "no_show_student", "tutor": "no_show_tutor"}
MOMENTS = {
    "before the window": START - HOUR,
    "in the window": START - 10 * MINUTE,
    "during": START + 30 * MINUTE,
    "within the correction window": END + HOUR,
    "long after": CORRECTION_CLOSES + HOUR,
}
PEOPLE = {"tutor": BILAL, "student": LENA, "admin": NADIA}


@dataclass(frozen=True)
class Cell:
    origin: str
    status: str
    is_delayed: bool
    set_by: str
    role: str
    button: str
    moment: str


def expected(cell: Cell) -> str:
    """What domain §2 says, by hand."""
    to = BUTTONS[cell.button]
    students_may = {"in_progress", "done"} if cell.origin == "match" else {"in_progress"}
    if cell.role == "student" and to not in students_may:
        return "not_allowed"
    if to == cell.status:
        return "unchanged"
    if cell.role == "admin":
        return admin(cell, to)
    if (cell.status, to) == ("scheduled", "in_progress"):
        return STARTING[cell.moment]
    return RESOLVING[cell.moment] if cell.role == "student" and is_left_to_students(cell, to) else tutor(cell, to)


STARTING = dict(zip(MOMENTS, ("too_early", "changed", "changed", "too_late", "too_late"), strict=True))
RESOLVING = dict(zip(MOMENTS, ("too_early", "too_early", "changed", "changed", "changed"), strict=True))
CORRECTING = dict(zip(MOMENTS, ("too_early", "too_early", "changed", "changed", "too_late"), strict=True))


def is_left_to_students(cell: Cell, to: str) -> bool:
    return (cell.origin, cell.status, to, cell.is_delayed) == ("match", "in_progress", "done", True)


def tutor(cell: Cell, to: str) -> str:
    if cell.role != "tutor":
        return "illegal_transition"
    if (cell.status, to) == ("in_progress", "done") or (cell.origin == "match" and cell.status in LIVE):
        return RESOLVING[cell.moment] if to in SETTLED else "illegal_transition"
    is_the_clocks = cell.origin == "match" and (cell.status, cell.set_by) == ("done", "clock")
    return CORRECTING[cell.moment] if is_the_clocks and to.startswith("no_show") else "illegal_transition"


def admin(cell: Cell, to: str) -> str:
    """Admins take every step; what is no ordinary one wants a reason, and these buttons send none."""
    if cell.origin == "booking":
        is_ordinary = (cell.status, to) in {("scheduled", "in_progress"), ("in_progress", "done")}
    else:
        is_ordinary = cell.status in LIVE or (
            cell.status == "done" and cell.set_by == "clock" and to.startswith("no_show")
        )
    return "changed" if is_ordinary else "reason_required"


def states(origin: str, status: str) -> Iterator[tuple[bool, str]]:
    """The marks that such a session may carry: is_delayed, status_set_by."""
    delays = [False] if status == "scheduled" else [False, True]
    return product(delays, ["clock", "tutor" if origin == "match" else "student"])


def answer_of(db: Database, session_id: UUID, cell: Cell) -> str:
    db.set_clock(MOMENTS[cell.moment])
    before = db.rows("select status::text, version from public.sessions where id = %s", session_id)
    try:
        answer = press(db, PEOPLE[cell.role], cell.button, session_id)
    except Refused as refusal:
        assert db.rows("select status::text, version from public.sessions where id = %s", session_id) == before
        return refusal.code
    assert answer["session"]["status"] == column(db, session_id, "status") == BUTTONS[cell.button]
    return "changed" if answer["changed"] else "unchanged"


@pytest.mark.parametrize(
    ("origin", "status"), [pair for pair in product(ORIGINS, STATUSES) if pair != ("booking", "rescheduled")]
)
def test_every_button_does_what_the_rules_say_for_everybody(db: Database, origin: str, status: str) -> None:
    wrong: list[str] = []
    for is_delayed, set_by in states(origin, status):
        with db.connection.transaction(force_rollback=True):
            session_id = PUT[origin](
                db, status=status, is_delayed=is_delayed, status_set_by=set_by, status_changed_at=END,
                started_by=None if status == "scheduled" else BILAL.id,
            )  # fmt: skip
            for role, button, moment in product(PEOPLE, BUTTONS, MOMENTS):
                cell = Cell(origin, status, is_delayed, set_by, role, button, moment)
                with db.connection.transaction(force_rollback=True):
                    answer = answer_of(db, session_id, cell)
                if answer != expected(cell):
                    wrong.append(f"{cell}: {answer}, not {expected(cell)}")
    assert wrong == []


@pytest.mark.parametrize(
    ("origin", "status"), [pair for pair in product(ORIGINS, STATUSES) if pair != ("booking", "rescheduled")]
)
def test_the_clock_takes_its_two_steps_and_no_others(db: Database, origin: str, status: str) -> None:
    wrong: list[tuple[bool, datetime, str]] = []
    for (is_delayed, set_by), now in product(
        states(origin, status), (START - SECOND, START, END - SECOND, END, CORRECTION_CLOSES)
    ):
        wanted = status
        if status == "scheduled" and now >= START:
            wanted = "in_progress"
        if status == "in_progress" and not is_delayed and now >= END:
            wanted = "done"
        with db.connection.transaction(force_rollback=True):
            session_id = PUT[origin](db, status=status, is_delayed=is_delayed, status_set_by=set_by)
            told = sweep(db, now)["updates"]
            if (column(db, session_id, "status"), len(told)) != (wanted, int(wanted != status)):
                wrong.append((is_delayed, now, wanted))
    assert wrong == []


# --- starting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("origin", "who"), list(product(ORIGINS, (BILAL, LENA))))
def test_either_side_starts_from_a_quarter_of_an_hour_before_to_the_end(db: Database, origin: str, who: Person) -> None:
    session_id = PUT[origin](db)
    db.set_clock(WINDOW_OPENS - SECOND)
    refusal = refused(db, who, "start", session_id)
    assert (refusal.status, refusal.code, refusal.extra["policy"]) == (409, "too_early", "start_window_mins")
    assert instant(refusal.extra["opens_at"]) == WINDOW_OPENS
    db.set_clock(END)
    refusal = refused(db, who, "start", session_id)
    assert (refusal.status, refusal.code) == (409, "too_late")
    assert {name: instant(value) for name, value in refusal.extra.items()} == {"closed_at": END}
    for now in (WINDOW_OPENS, END - SECOND):
        with db.connection.transaction(force_rollback=True):
            db.set_clock(now)
            assert press(db, who, "start", session_id)["changed"]
            assert (column(db, session_id, "started_at"), column(db, session_id, "started_by")) == (now, who.id)
            assert column(db, session_id, "is_delayed") is False


def test_an_admin_starts_whenever_there_is_need(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START - 2 * DAY)
    assert press(db, NADIA, "start", session_id)["changed"]
    assert audit(db, session_id) == [("session_status_updated", "admin", NADIA.id)]


def test_an_admin_who_starts_after_the_end_starts_it_delayed(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(END)
    assert press(db, NADIA, "start", session_id)["session"]["is_delayed"] is True


def test_a_second_start_changes_nothing(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    first = press(db, LENA, "start", session_id)
    for who in (BILAL, LENA, NADIA):
        again = press(db, who, "start", session_id, expected_version=99)
        assert (again["changed"], told(again)) == (False, told(first))
    assert audit(db, session_id) == [("session_status_updated", "student", LENA.id)]
    assert events(db, session_id) == ["session.started"]


@pytest.mark.parametrize(("origin", "who"), list(product(ORIGINS, PEOPLE)))
def test_a_start_after_the_clocks_says_who_came_and_leaves_it_delayed(db: Database, origin: str, who: str) -> None:
    session_id = PUT[origin](db)
    sweep(db, START)
    db.set_clock(START + 5 * MINUTE)
    answer = press(db, PEOPLE[who], "start", session_id)
    assert answer["changed"] is True
    assert answer["session"]["started_by"] == str(PEOPLE[who].id)
    assert answer["session"]["is_delayed"] is True
    assert instant(answer["session"]["started_at"]) == START
    assert audit(db, session_id) == [
        ("session_status_updated", "clock", None),
        ("session_start_recorded", who, PEOPLE[who].id),
    ]
    assert events(db, session_id) == [*BORN[origin], "session.started"]
    other = LENA if who != "student" else BILAL
    assert press(db, other, "start", session_id)["changed"] is False
    assert column(db, session_id, "started_by") == PEOPLE[who].id


def test_starting_is_never_locked_by_an_earlier_session(db: Database) -> None:
    lesson(db, start=START - 2 * HOUR)
    session_id = lesson(db)
    db.set_clock(START)
    assert press(db, BILAL, "start", session_id)["changed"]


def test_a_start_of_what_has_changed_since_is_refused(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    refusal = refused(db, BILAL, "start", session_id, expected_version=7)
    assert (refusal.status, refusal.code, refusal.extra) == (409, "stale_version", {"version": 1})
    assert press(db, BILAL, "start", session_id, expected_version=1)["changed"]


@pytest.mark.parametrize("button", ["start", "complete", "student", "tutor", "dispute"])
def test_a_strangers_session_and_a_missing_one_look_the_same(db: Database, button: str) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    options = {"reason": "Nobody came."} if button == "dispute" else {}
    for who in (HARRIET, OLIVER, MARCUS):
        unseen, missing = (refused(db, who, button, each, **options) for each in (session_id, UUID(int=0)))
        assert (unseen.status, unseen.code) == (404, "not_found")
        assert str(unseen) == str(missing)


@pytest.mark.parametrize(("who", "roles"), [(BILAL, ["student"]), (LENA, ["tutor"])])
def test_whoever_lost_the_role_presses_nothing(db: Database, who: Person, roles: list[str]) -> None:
    session_id = lesson(db)
    sweep(db, START)
    db.call(NADIA, "update_person", p_person_id=who.id, p_roles=roles)
    for button in ("start", "complete"):
        assert refused(db, who, button, session_id).code == "not_allowed"
    assert column(db, session_id, "started_by") is None


# --- completing -------------------------------------------------------------------------------------------


def test_a_tutor_completes_from_the_start_on_with_notes(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START - SECOND)
    refusal = refused(db, BILAL, "complete", session_id)
    assert (refusal.code, instant(refusal.extra["opens_at"]), "policy" in refusal.extra) == ("too_early", START, False)
    db.set_clock(START)
    answer = press(db, BILAL, "complete", session_id, notes="Fractions.")
    assert (answer["changed"], answer["session"]["tutor_notes"]) == (True, "Fractions.")
    assert ledger(db, session_id) == [(1, 1, MATHEMATICS.package_id)]
    assert audit(db, session_id) == [("session_status_updated", "tutor", BILAL.id)]
    assert events(db, session_id) == ["session.completed"]
    assert press(db, BILAL, "complete", session_id, expected_version=99)["changed"] is False
    assert press(db, BILAL, "complete", session_id, notes="Fractions, decimals.")["changed"] is True
    assert (used(db, MATHEMATICS.package_id), events(db, session_id)) == (1, ["session.completed"])


def test_a_student_completes_only_what_the_clock_began(db: Database) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    assert refused(db, LENA, "complete", session_id).code == "illegal_transition"
    with db.connection.transaction(force_rollback=True):
        press(db, LENA, "start", session_id)
        assert refused(db, LENA, "complete", session_id).code == "illegal_transition"
    sweep(db, START)
    assert press(db, LENA, "complete", session_id)["changed"]
    assert column(db, session_id, "status_set_by") == "student"
    assert ledger(db, session_id) == [(1, 1, MATHEMATICS.package_id)]
    assert audit(db, session_id)[-1] == ("session_status_updated", "student", LENA.id)


@pytest.mark.parametrize("status", ["in_progress", "done"])
@pytest.mark.parametrize("notes", ["I liked it.", ""])
def test_a_student_writes_no_notes(db: Database, status: str, notes: str) -> None:
    session_id = lesson(db, status=status, is_delayed=True, tutor_notes="Fractions.")
    db.set_clock(START)
    assert refused(db, LENA, "complete", session_id, notes=notes).code == "not_allowed"
    assert column(db, session_id, "tutor_notes") == "Fractions."


def test_a_delayed_booking_is_completed_by_its_tutor_not_by_its_student(db: Database) -> None:
    session_id = PUT["booking"](db)
    db.set_clock(START)
    assert refused(db, BILAL, "complete", session_id).code == "illegal_transition", "never without a start"
    sweep(db, START)
    assert refused(db, LENA, "complete", session_id).code == "not_allowed"
    assert press(db, BILAL, "complete", session_id)["changed"]
    assert ledger(db, session_id) == []


def test_the_sequence_lock_names_who_blocks_and_the_policy_and_binds_tutors_alone(db: Database) -> None:
    earlier, session_id = lesson(db, start=START - 2 * HOUR), lesson(db)
    sweep(db, START)
    for button in ("complete", "student", "tutor"):
        refusal = refused(db, BILAL, button, session_id)
        assert (refusal.status, refusal.code, refusal.extra["policy"]) == (409, "out_of_order", "sequence_lock")
        assert [each["session_id"] for each in refusal.extra["blockers"]] == [str(earlier)]
    for who in (LENA, NADIA):
        with db.connection.transaction(force_rollback=True):
            assert press(db, who, "complete", session_id)["changed"]
    db.call(NADIA, "update_settings", p_sequence_lock=False)
    assert press(db, BILAL, "complete", session_id)["changed"]


# --- who was not there --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("by", "cost"), [("student", 1), ("tutor", 0)])
@pytest.mark.parametrize("who", ["tutor", "admin"])
def test_a_missed_session_costs_a_credit_only_when_the_student_stayed_away(
    db: Database, who: str, by: str, cost: int
) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    answer = press(db, PEOPLE[who], by, session_id, notes="Waited twenty minutes.", reason="no answer")
    assert answer["session"]["status"] == f"no_show_{by}"
    assert answer["session"]["tutor_notes"] == "Waited twenty minutes."
    assert column(db, session_id, "status_reason") == "no answer"
    assert used(db, MATHEMATICS.package_id) == cost
    assert audit(db, session_id) == [("session_status_updated", who, PEOPLE[who].id)]
    assert events(db, session_id) == ["session.no_show"]
    assert press(db, PEOPLE[who], by, session_id)["changed"] is False


@pytest.mark.parametrize("by", ["student", "tutor"])
def test_a_tutor_says_so_only_from_the_start_on(db: Database, by: str) -> None:
    session_id = lesson(db)
    db.set_clock(START - SECOND)
    assert refused(db, BILAL, by, session_id).code == "too_early"
    db.set_clock(START)
    assert press(db, BILAL, by, session_id)["changed"]


@pytest.mark.parametrize(("by", "entries"), [("student", 1), ("tutor", 2)])
def test_a_tutor_corrects_the_clock_within_the_window(db: Database, by: str, entries: int) -> None:
    session_id = by_the_clock(db, lesson(db))
    db.set_clock(CORRECTION_CLOSES)
    refusal = refused(db, BILAL, by, session_id)
    assert (refusal.status, refusal.code, refusal.extra["policy"]) == (409, "too_late", "tutor_correction_hours")
    assert instant(refusal.extra["closed_at"]) == CORRECTION_CLOSES
    db.set_clock(CORRECTION_CLOSES - SECOND)
    assert press(db, BILAL, by, session_id)["changed"]
    assert len(ledger(db, session_id)) == entries
    assert used(db, MATHEMATICS.package_id) == entries % 2


@pytest.mark.parametrize("by", [None, "admin"])
def test_it_must_be_said_who_was_not_there(db: Database, by: str | None) -> None:
    session_id = lesson(db)
    db.set_clock(START)
    with pytest.raises(Refused) as refusal:
        db.call(BILAL, "mark_missed", p_session_id=session_id, p_by=by)
    assert (refusal.value.status, refusal.value.code, refusal.value.extra) == (422, "invalid", {"field": "by"})


@pytest.mark.parametrize("by", ["student", "tutor"])
def test_a_booking_is_missed_only_by_an_admins_word_with_a_reason(db: Database, by: str) -> None:
    session_id = PUT["booking"](db)
    db.set_clock(START)
    assert refused(db, BILAL, by, session_id).code == "illegal_transition"
    assert refused(db, NADIA, by, session_id).code == "reason_required"
    assert press(db, NADIA, by, session_id, reason="The tutor called.")["changed"]
    assert ledger(db, session_id) == []


# --- objecting ----------------------------------------------------------------------------------------------


def test_a_student_objects_to_what_the_clock_completed_and_admins_are_told(db: Database) -> None:
    session_id = by_the_clock(db, lesson(db))
    before = db.rows("select * from public.sessions where id = %s", session_id)
    db.set_clock(CORRECTION_CLOSES - SECOND)
    answer = press(db, LENA, "dispute", session_id, reason="  The tutor never came.  ")
    assert (answer["changed"], answer["session"]["status"]) == (True, "done")
    assert db.rows("select * from public.sessions where id = %s", session_id) == before
    assert db.rows("select session_id, reason, disputed_by_user_id, created_at from public.disputes") == [
        (session_id, "The tutor never came.", LENA.id, CORRECTION_CLOSES - SECOND)
    ]
    assert audit(db, session_id)[-1] == ("session_disputed", "student", LENA.id)
    assert events(db, session_id)[-1] == "session.disputed"
    assert used(db, MATHEMATICS.package_id) == 1, "until an admin corrects it"


def test_a_second_objection_changes_nothing_even_when_it_comes_late(db: Database) -> None:
    session_id = by_the_clock(db, lesson(db))
    press(db, LENA, "dispute", session_id, reason="Nobody came.")
    db.set_clock(CORRECTION_CLOSES + DAY)
    assert press(db, LENA, "dispute", session_id, reason="Really.")["changed"] is False
    assert db.value("select reason from public.disputes") == "Nobody came."
    assert events(db, session_id).count("session.disputed") == 1
    assert [action for action, *_ in audit(db, session_id)].count("session_disputed") == 1


def test_the_window_to_object_closes_to_the_second_and_is_a_policy(db: Database) -> None:
    session_id = by_the_clock(db, lesson(db))
    db.set_clock(CORRECTION_CLOSES)
    refusal = refused(db, LENA, "dispute", session_id, reason="Nobody came.")
    assert (refusal.status, refusal.code, refusal.extra["policy"]) == (409, "too_late", "tutor_correction_hours")
    assert instant(refusal.extra["closed_at"]) == CORRECTION_CLOSES
    db.call(NADIA, "update_settings", p_tutor_correction_hours=25)
    assert press(db, LENA, "dispute", session_id, reason="Nobody came.")["changed"]


@pytest.mark.parametrize("who", [BILAL, NADIA])
def test_only_its_student_objects(db: Database, who: Person) -> None:
    session_id = by_the_clock(db, lesson(db))
    assert refused(db, who, "dispute", session_id, reason="Nobody came.").code == "not_allowed"


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_an_objection_says_what_happened(db: Database, reason: str | None) -> None:
    session_id = by_the_clock(db, lesson(db))
    refusal = refused(db, LENA, "dispute", session_id, reason=reason)
    assert (refusal.status, refusal.code, refusal.extra) == (422, "reason_required", {"field": "reason"})


@pytest.mark.parametrize(("status", "set_by"), [*product(STATUSES, ["tutor"]), ("no_show_student", "clock")])
def test_nothing_but_the_clocks_word_is_open_to_objection(db: Database, status: str, set_by: str) -> None:
    session_id = lesson(db, status=status, status_set_by=set_by, status_changed_at=END)
    db.set_clock(END)
    assert refused(db, LENA, "dispute", session_id, reason="Nobody came.").code == "illegal_transition"
    assert db.rows("select * from public.disputes") == []


def test_a_booking_is_not_open_to_objection(db: Database) -> None:
    session_id = by_the_clock(db, PUT["booking"](db))
    assert refused(db, LENA, "dispute", session_id, reason="Nobody came.").code == "illegal_transition"


@pytest.mark.parametrize("statement", ["update public.disputes set reason = 'x'", "delete from public.disputes"])
def test_an_objection_stays(db: Database, statement: str) -> None:
    press(db, LENA, "dispute", by_the_clock(db, lesson(db)), reason="Nobody came.")
    with pytest.raises(Refused, match="use_function"):
        db.run(statement)


def test_an_admin_corrects_what_was_objected_to_and_the_credit_comes_back(db: Database) -> None:
    session_id = by_the_clock(db, lesson(db))
    press(db, LENA, "dispute", session_id, reason="Nobody came.")
    db.set_clock(CORRECTION_CLOSES + DAY)
    update(db, NADIA, session_id, "no_show_tutor", reason="The tutor agrees.")
    assert used(db, MATHEMATICS.package_id) == 0
    assert [amount for _, amount, _ in ledger(db, session_id)] == [1, -1]


# --- the policies -------------------------------------------------------------------------------------------

FACTORY = {
    "start_window_mins": 15, "delay_grace_mins": 0, "tutor_correction_hours": 24, "sequence_lock": True,
    "tutor_may_reschedule": False, "consent_hours": 48,
    "events_kept_days": 90,
    "review_window_days": 14,
    "language": "en", "quiet_from": "21:00", "quiet_until": "07:00",
    "sync_google_calendar": False,
    "model_calls_a_day": 500,
}  # fmt: skip


def test_admins_change_policies_one_by_one_and_the_rest_stays(db: Database) -> None:
    settings = db.call(NADIA, "get_settings")
    assert {name: settings[name] for name in FACTORY} == FACTORY
    assert settings.keys() - FACTORY.keys() == {"updated_at"}
    wanted = FACTORY
    for change in (
        {"start_window_mins": 30}, {"delay_grace_mins": 5}, {"tutor_correction_hours": 48}, {"sequence_lock": False},
        {"tutor_may_reschedule": True}, {"consent_hours": 24},
        {"events_kept_days": 30},
        {"review_window_days": 7},
        {"language": "de"}, {"quiet_from": "22:30"}, {"quiet_until": "06:15"},
        {"sync_google_calendar": True},
        {"model_calls_a_day": 0},
    ):  # fmt: skip
        wanted = wanted | change
        answer = db.call(NADIA, "update_settings", **{f"p_{name}": value for name, value in change.items()})
        assert {name: answer[name] for name in FACTORY} == wanted
        assert db.call(NADIA, "get_settings") == answer


def test_a_changed_policy_is_audited_with_what_it_was(db: Database) -> None:
    db.call(NADIA, "update_settings", p_start_window_mins=30)
    db.call(NADIA, "update_settings", p_start_window_mins=30)
    db.run("update public.settings set sequence_lock = false")
    assert db.rows(
        "select actor_role::text, actor_user_id, details from public.audit_logs where action = 'settings_updated'"
        " order by id"
    ) == [
        ("admin", NADIA.id, {"start_window_mins": {"from": 15, "to": 30}}),
        ("studio", None, {"sequence_lock": {"from": True, "to": False}}),
    ]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("start_window_mins", 0, 1440),
        ("delay_grace_mins", 0, 240),
        ("tutor_correction_hours", 0, 720),
        ("consent_hours", 1, 720),
        ("events_kept_days", 7, 3650),
        ("review_window_days", 1, 365),
    ],
)
def test_a_policy_has_bounds_and_says_them(db: Database, name: str, least: int, most: int) -> None:
    for value in (least, most):
        assert db.call(NADIA, "update_settings", **{f"p_{name}": value})[name] == value
    for value in (least - 1, most + 1):
        with pytest.raises(Refused) as refusal:
            db.call(NADIA, "update_settings", **{f"p_{name}": value})
        assert (refusal.value.status, refusal.value.code) == (422, "invalid")
        assert refusal.value.detail == f"{name} is {least} to {most}."
    assert db.call(NADIA, "get_settings")[name] == most


@pytest.mark.parametrize("who", [BILAL, LENA])
def test_policies_are_the_admins_affair(db: Database, who: Person) -> None:
    for function in ("get_settings", "update_settings"):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(who, function)


# --- the figures --------------------------------------------------------------------------------------------

ZERO = dict.fromkeys(
    ("sessions", "done", "no_show_student", "no_show_tutor", "cancelled", "open", "parked", "delayed", "moved"), 0
)
NO_RATES = dict.fromkeys(("completion_rate", "no_show_student_rate", "no_show_tutor_rate"))


def metrics(db: Database, start: datetime = START, end: datetime = START + 10 * DAY, **options: object) -> Any:
    return db.call(
        NADIA, "get_metrics", p_from=start, p_to=end, **{f"p_{name}": value for name, value in options.items()}
    )


def lived(db: Database) -> None:
    """Seven sessions of BILAL's (one moved there twice, one booked), four of HARRIET's, none of MARCUS's."""
    for number, status in enumerate(("done", "done", "no_show_student", "no_show_tutor", "cancelled")):
        lesson(db, start=START + number * DAY, status=status)
    moved = lesson(db, start=START + 20 * DAY)
    move(db, moved, START + 5 * DAY)
    move(db, moved, START + 6 * DAY)
    booked(db, BILAL, OLIVER, START + 7 * DAY, status="in_progress", is_delayed=True)
    for number, status in enumerate(("done", "rescheduled", "scheduled", "in_progress")):
        lesson(db, ENGLISH, START + number * DAY, status=status, is_delayed=status == "in_progress")


def test_the_figures_are_those_counted_by_hand(db: Database) -> None:
    lived(db)
    told = metrics(db)
    bilal = ZERO | {
        "sessions": 7, "done": 2, "no_show_student": 1, "no_show_tutor": 1, "cancelled": 1, "open": 2, "delayed": 1,
        "moved": 1, "completion_rate": 0.5, "no_show_student_rate": 0.25, "no_show_tutor_rate": 0.25,
    }  # fmt: skip
    harriet = ZERO | {
        "sessions": 4, "done": 1, "open": 2, "parked": 1, "delayed": 1,
        "completion_rate": 1, "no_show_student_rate": 0, "no_show_tutor_rate": 0,
    }  # fmt: skip
    by_tutor = {each.pop("tutor")["id"]: each for each in told["by_tutor"]}
    assert by_tutor == {str(BILAL.id): bilal, str(HARRIET.id): harriet}
    assert told["total"] == ZERO | {
        "sessions": 11, "done": 3, "no_show_student": 1, "no_show_tutor": 1, "cancelled": 1, "open": 4, "parked": 1,
        "delayed": 2, "moved": 1, "completion_rate": 0.6, "no_show_student_rate": 0.2, "no_show_tutor_rate": 0.2,
    }  # fmt: skip
    assert (instant(told["from"]), instant(told["to"])) == (START, START + 10 * DAY)


def test_the_total_is_the_sum_of_the_tutors(db: Database) -> None:
    lived(db)
    told = metrics(db)
    assert {name: sum(each[name] for each in told["by_tutor"]) for name in ZERO} == {
        name: told["total"][name] for name in ZERO
    }


def test_the_figures_of_one_tutor_are_theirs_alone(db: Database) -> None:
    lived(db)
    whole, alone = metrics(db), metrics(db, tutor_id=HARRIET.id)
    assert alone["by_tutor"] == [each for each in whole["by_tutor"] if each["tutor"]["id"] == str(HARRIET.id)]
    (figures,) = alone["by_tutor"]
    assert figures.pop("tutor").keys() == {"id", "display_name", "timezone"}
    assert alone["total"] == figures


def test_without_anything_resolved_there_are_no_rates(db: Database) -> None:
    lesson(db, PHYSICS)
    lesson(db, PHYSICS, START + DAY, status="cancelled")
    assert metrics(db)["total"] == ZERO | NO_RATES | {"sessions": 2, "open": 1, "cancelled": 1}
    assert metrics(db, START - DAY, START) | {"from": None, "to": None, "hours": None} == {
        "from": None, "to": None, "total": ZERO | NO_RATES, "by_tutor": [], "hours": None,
    }  # fmt: skip


def test_hours_are_offered_by_the_week_and_booked_by_what_is_not_called_off(db: Database) -> None:
    db.run("delete from public.availability")
    hours = [
        {"weekday": 1, "starts_at": "09:00", "ends_at": "10:30"},
        {"weekday": 5, "starts_at": "22:00", "ends_at": "24:00"},
    ]
    db.call(NADIA, "set_availability", p_timezone="Asia/Karachi", p_hours=hours, p_tutor_id=BILAL.id)
    lesson(db, start=instant("2026-03-03 10:00"), length=HOUR / 2)
    lesson(db, start=instant("2026-03-04 10:00"), status="done")
    lesson(db, start=instant("2026-03-05 10:00"), status="cancelled")
    lesson(db, PHYSICS, instant("2026-03-06 10:00"))
    told = metrics(db, instant("2026-03-01 00:00"), instant("2026-03-15 00:00"))["hours"]
    assert (told["offered"], told["booked"]) == (7, 2.5)
    by_tutor = {each["tutor"]["id"]: (each["offered"], each["booked"]) for each in told["by_tutor"]}
    assert by_tutor == {str(BILAL.id): (7, 1.5), str(PHYSICS.tutor.id): (0, 1)}
    for start, end, offered in (
        ("2026-03-02 00:00", "2026-03-03 00:00", 1.5),
        ("2026-03-03 00:00", "2026-03-06 00:00", 0),
        ("2026-03-06 00:00", "2026-03-07 00:00", 2),
        ("2026-03-02 10:00", "2026-03-02 11:00", 0),
    ):
        alone = metrics(db, instant(start), instant(end), tutor_id=BILAL.id)["hours"]
        assert (alone["offered"], len(alone["by_tutor"])) == (offered, 1), (start, end)


def test_a_period_begins_with_its_first_second_and_ends_before_its_last(db: Database) -> None:
    lesson(db)
    counted = [
        metrics(db, start, end)["total"]["sessions"]
        for start, end in ((START, START + SECOND), (START - SECOND, START), (START - DAY, START + DAY))
    ]
    assert counted == [1, 0, 1]


@pytest.mark.parametrize(("start", "end"), [(START, START), (END, START), (None, START), (START, None)])
def test_a_period_has_a_beginning_and_a_later_end(db: Database, start: Any, end: Any) -> None:
    with pytest.raises(Refused) as refusal:
        metrics(db, start, end)
    assert (refusal.value.status, refusal.value.code, refusal.value.extra) == (422, "invalid", {"field": "from"})


@pytest.mark.parametrize("who", [BILAL, LENA, "authenticated"])
def test_the_figures_are_the_admins_affair(db: Database, who: Person | str) -> None:
    with pytest.raises(Refused, match=r"40[13] not_"):
        db.call(who, "get_metrics", p_from=START, p_to=END)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.call("anon", "get_metrics", p_from=START, p_to=END)
