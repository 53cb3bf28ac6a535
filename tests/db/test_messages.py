"""Chapter 22: who is told what; each once, none that is not so any more."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database, Refused
from tests.db.lessons import DAY, HOUR, START, audit, booked, booking, generate, instant, lesson, move, update
from tests.db.letters import (
    GRACE,
    IMRAN,
    ROSA,
    claim,
    forget,
    message,
    plan,
    reminders,
    result,
    settle,
    told,
    write,
)
from tests.house import BILAL, ENGLISH, HARRIET, LENA, MATHEMATICS, NADIA, NOW, OLIVER, ZARA, Person

END = START + HOUR
BEGAN = instant(NOW)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
EVERYBODY = ["guardian", "student", "tutor"]


def at(db: Database, now: datetime, who: Person | str, function: str, **options: object) -> Any:
    db.set_clock(now)
    return db.call(who, function, **{f"p_{name}": value for name, value in options.items()})


def clock(db: Database, now: datetime) -> None:
    at(db, now, "service_role", "sweep_session_statuses")


@pytest.fixture
def session_id(db: Database) -> UUID:
    """A lesson of Bilal's and Lena's, of which nobody has been told anything."""
    made = lesson(db)
    forget(db)
    return made


# --- who is told what -----------------------------------------------------------------------------------


def parked(db: Database, session_id: UUID) -> None:
    update(db, NADIA, session_id, "rescheduled")
    forget(db)


def cancelled(db: Database, session_id: UUID) -> None:
    update(db, NADIA, session_id, "cancelled", reason="Flu.")
    forget(db)


def wish(db: Database, session_id: UUID, kind: str) -> str:
    """Lena's, to cancel or for another time."""
    function = {"cancel": "request_cancellation", "move": "request_reschedule"}[kind]
    more: dict[str, object] = {"p_proposed_starts_utc": [START + DAY]} if kind == "move" else {}
    request_id = db.call(LENA, function, p_session_id=session_id, p_reason="Exam.", **more)["request"]["id"]
    forget(db)
    return request_id


def moved_by_tutor(db: Database, session_id: UUID) -> None:
    db.call(NADIA, "update_settings", p_tutor_may_reschedule=True)
    db.call(BILAL, "reschedule_session", p_session_id=session_id, p_start_utc=START + DAY)


def disputed(db: Database, session_id: UUID) -> None:
    db.run("update public.sessions set status = 'in_progress' where id = %s", session_id)
    db.set_clock(END)
    by_clock = (
        "update public.sessions set status = 'done', version = version + 1, updated_by_role = 'clock' where id = %s"
    )
    db.run(by_clock, session_id)
    forget(db)
    db.call(LENA, "dispute_session", p_session_id=session_id, p_reason="Nobody came.")


TOLD: dict[str, tuple[Callable[[Database, UUID], object], list[tuple[str, str]]]] = {
    "its tutor starts it": (
        lambda db, session: at(db, START, BILAL, "start_session", session_id=session),
        [("session_started", "guardian")],
    ),
    "the clock starts it": (lambda db, _: clock(db, START), []),
    "its tutor completes it": (
        lambda db, session: at(db, END, BILAL, "complete_session", session_id=session),
        [("session_completed", "guardian"), ("session_completed", "student")],
    ),
    "an admin parks it": (
        lambda db, session: update(db, NADIA, session, "rescheduled"),
        [("session_parked", reader) for reader in EVERYBODY],
    ),
    "an admin cancels it": (
        lambda db, session: at(db, BEGAN, NADIA, "cancel_session", session_id=session, reason="Flu."),
        [("session_cancelled", reader) for reader in EVERYBODY],
    ),
    "somebody cancels it in Studio": (
        lambda db, session: db.run("update public.sessions set status = 'cancelled' where id = %s", session),
        [("session_cancelled", reader) for reader in EVERYBODY],
    ),
    "an admin moves it": (
        lambda db, session: at(db, BEGAN, NADIA, "reschedule_session", session_id=session, start_utc=START + DAY),
        [("session_moved", reader) for reader in EVERYBODY],
    ),
    "its tutor moves it": (moved_by_tutor, [("session_moved", "guardian"), ("session_moved", "student")]),
    "a parked one gets a time": (
        lambda db, session: (
            parked(db, session),
            at(db, BEGAN, NADIA, "reschedule_session", session_id=session, start_utc=START + DAY),
        ),
        [("session_moved", reader) for reader in EVERYBODY],
    ),
    "a cancelled one takes place after all": (
        lambda db, session: (cancelled(db, session), update(db, NADIA, session, "scheduled", reason="Well again.")),
        [("session_reopened", reader) for reader in EVERYBODY],
    ),
    "its student misses it": (
        lambda db, session: at(db, END, BILAL, "mark_missed", session_id=session, by="student"),
        [],
    ),
    "its student misses it, and the guardian is to know": (
        lambda db, session: at(db, END, BILAL, "mark_missed", session_id=session, by="student", notify_guardian=True),
        [("P23_session_noshow", "guardian")],
    ),
    "its tutor misses it": (
        lambda db, session: at(db, END, NADIA, "mark_missed", session_id=session, by="tutor", notify_guardian=True),
        [],
    ),
    "its student disputes it": (disputed, [("session_disputed", "admin")]),
    "its student wishes another time": (
        lambda db, session: at(db, BEGAN, LENA, "request_reschedule", session_id=session, reason="Exam."),
        [("reschedule_requested", "admin")],
    ),
    "an admin rejects that wish": (
        lambda db, session: db.call(NADIA, "reject_reschedule_request", p_request_id=wish(db, session, "move")),
        [("reschedule_decided", "student")],
    ),
    "an admin accepts that wish": (
        lambda db, session: db.call(
            NADIA, "accept_reschedule_request", p_request_id=wish(db, session, "move"), p_start_utc=START + DAY
        ),
        [("session_moved", reader) for reader in EVERYBODY],
    ),
    "its student wishes to cancel it": (
        lambda db, session: at(db, BEGAN, LENA, "request_cancellation", session_id=session, reason="Exam."),
        [("P26_cancellation_request", "guardian")],
    ),
    "an admin rejects that wish too": (
        lambda db, session: db.call(NADIA, "reject_cancellation", p_request_id=wish(db, session, "cancel")),
        [("cancellation_decided", "student")],
    ),
    "an admin approves that wish": (
        lambda db, session: db.call(NADIA, "approve_cancellation", p_request_id=wish(db, session, "cancel")),
        [("session_cancelled", reader) for reader in EVERYBODY],
    ),
    "its student withdraws that wish": (
        lambda db, session: db.call(LENA, "withdraw_cancellation", p_request_id=wish(db, session, "cancel")),
        [],
    ),
    "somebody takes notes": (lambda db, session: update(db, NADIA, session, "scheduled", notes="Sines."), []),
}


@pytest.mark.parametrize("deed", TOLD)
def test_who_is_told_of_what(db: Database, session_id: UUID, deed: str) -> None:
    act, expected = TOLD[deed]
    act(db, session_id)
    assert told(db) == expected
    assert db.rows("select reaction, sqlstate from private.reaction_failures") == []


def test_everybody_is_told_of_a_plan_once_however_many_lessons_it_has(db: Database) -> None:
    answer = generate(db, MATHEMATICS)
    assert told(db) == [("schedule_generated", reader) for reader in EVERYBODY]
    ids = [each["id"] for each in answer["sessions"]]
    for claimed in claim(db):
        assert [each["id"] for each in claimed["sessions"]] == ids
        assert claimed["session"] is None


def test_one_lesson_more_is_told_of_as_a_plan_of_one(db: Database) -> None:
    generate(db, MATHEMATICS)
    forget(db)
    more = {"p_match_id": MATHEMATICS.id, "p_package_id": MATHEMATICS.package_id, "p_reason": "A make-up."}
    db.run("update public.packages set tier_sessions = 12 where id = %s", MATHEMATICS.package_id)
    db.call(NADIA, "add_extra_session", p_start_utc=START, p_duration_mins=60, **more)
    assert told(db) == [("schedule_generated", reader) for reader in EVERYBODY]
    assert [len(each["sessions"]) for each in claim(db)] == [1, 1, 1]


BOOKED: dict[str, tuple[Person, str, list[tuple[str, str]]]] = {
    "accepted by its tutor": (
        BILAL,
        "accept_booking",
        [("booking_accepted", "guardian"), ("booking_accepted", "student")],
    ),
    "accepted by an admin": (NADIA, "accept_booking", [("booking_accepted", reader) for reader in EVERYBODY]),
    "declined by its tutor": (BILAL, "decline_booking", [("booking_declined", "student")]),
    "declined by an admin": (
        NADIA,
        "decline_booking",
        [("booking_declined", "student"), ("booking_declined", "tutor")],
    ),
    "taken back by its student": (LENA, "cancel_booking", [("booking_cancelled", "tutor")]),
}


@pytest.mark.parametrize("deed", BOOKED)
def test_who_is_told_of_a_booking(db: Database, deed: str) -> None:
    who, function, expected = BOOKED[deed]
    booking_id = booking(db, BILAL, LENA, note="Fractions, please.")
    assert told(db) == [("booking_requested", "tutor")]
    forget(db)
    db.call(who, function, p_booking_id=booking_id)
    assert told(db) == expected
    claimed = claim(db)[0]
    assert claimed["booking"]["note"] == "Fractions, please."
    assert (instant(claimed["booking"]["start_utc"]), claimed["booking"]["title"]) == (START, "Mathematics help")
    assert (claimed["session"] is not None) == (function == "accept_booking"), "its lesson, once there is one"


def test_a_lesson_that_had_begun_before_has_not_begun_again(db: Database, session_id: UUID) -> None:
    update(db, NADIA, session_id, "done", reason="Early.")
    forget(db)
    update(db, NADIA, session_id, "in_progress", reason="Still going on.")
    assert told(db) == []


def test_whoever_may_not_act_is_told_nothing(db: Database, session_id: UUID) -> None:
    db.call(NADIA, "update_person", p_person_id=LENA.id, p_is_active=False)
    update(db, NADIA, session_id, "cancelled", reason="Flu.")
    assert told(db) == [("session_cancelled", "guardian"), ("session_cancelled", "tutor")]


def test_the_primary_guardian_alone_is_told(db: Database, session_id: UUID) -> None:
    db.run("update public.guardians set is_primary = false where id = %s", ROSA)
    update(db, NADIA, session_id, "cancelled", reason="Flu.")
    assert told(db) == [("session_cancelled", "student"), ("session_cancelled", "tutor")]


def test_an_absence_is_told_of_once(db: Database, session_id: UUID) -> None:
    db.set_clock(END)
    for _ in range(2):
        db.call(BILAL, "mark_missed", p_session_id=session_id, p_by="student", p_notify_guardian=True)
    assert told(db) == [("P23_session_noshow", "guardian")]


def test_a_message_that_could_not_be_put_down_comes_with_the_repair_and_once(db: Database, session_id: UUID) -> None:
    db.run("alter table public.messages add constraint nothing check (template <> 'session_cancelled') not valid")
    update(db, NADIA, session_id, "cancelled", reason="Flu.")
    assert db.rows("select reaction, sqlstate from private.reaction_failures") == [("notices", "23514")]
    assert told(db) == []
    db.run("alter table public.messages drop constraint nothing")
    db.set_clock(BEGAN + HOUR)
    assert db.call("service_role", "clean_up")["repaired"] == 1
    assert told(db) == [("session_cancelled", reader) for reader in EVERYBODY]
    db.run("select private.tell_of_event(e) from private.outbox_events e where event_type = 'session.cancelled'")
    assert len(told(db)) == 3, "run again, it puts down nothing twice"


def test_what_a_message_says_besides(db: Database, session_id: UUID) -> None:
    db.call(NADIA, "reschedule_session", p_session_id=session_id, p_start_utc=START + DAY, p_reason="Exam.")
    facts = claim(db)[0]["facts"]
    assert (instant(facts["from_start_utc"]), instant(facts["from_end_utc"])) == (START, END)
    assert (facts["reason"], facts["by_role"]) == ("Exam.", "admin")
    forget(db)
    request_id = wish(db, lesson(db, start=START + 3 * DAY), "move")
    db.call(NADIA, "reject_reschedule_request", p_request_id=request_id, p_reason="No room.")
    (said,) = (each["facts"] for each in claim(db) if each["template"] == "reschedule_decided")
    assert (said["reason"], said["status"], said["asked_by"]) == ("No room.", "rejected", "student")


def test_every_template_is_somebodys_or_written_by_a_function(db: Database) -> None:
    by_function = {
        "P21_session_summary",
        "P23_session_noshow",
        "P26_cancellation_request",
        "consent_reply",
        "session_reminder",
    }
    names = {name for (name,) in db.rows("select name from private.templates")}
    assert names == by_function | {name for (name,) in db.rows("select distinct template from private.notices")}


def test_a_notice_of_a_later_chapter_needs_nothing_but_its_row(db: Database, session_id: UUID) -> None:
    db.run("insert into private.notices values ('session.delayed', 'admins', 'session_disputed')")
    clock(db, END)
    forget(db)
    db.run(
        "select private.record_event('session.delayed', 'session', %s, private.session_payload(s), private.now())"
        " from public.sessions s where id = %s",
        session_id,
        session_id,
    )
    assert told(db) == [("session_disputed", "admin")]


# --- reminders ----------------------------------------------------------------------------------------------

IN_A_DAY = [(reader, "24h", START) for reader in EVERYBODY]
IN_AN_HOUR = [(reader, "1h", START) for reader in EVERYBODY]


@pytest.mark.parametrize(
    ("before", "kinds"),
    [
        (DAY + SECOND, []),
        (DAY, IN_A_DAY),
        (2 * HOUR + SECOND, IN_A_DAY),
        (2 * HOUR, []),
        (HOUR + SECOND, []),
        (HOUR, IN_AN_HOUR),
        (SECOND, IN_AN_HOUR),
        (timedelta(0), []),
        (-SECOND, []),
    ],
)
def test_a_lesson_is_reminded_of_a_day_and_an_hour_before(
    db: Database, session_id: UUID, before: timedelta, kinds: list[tuple[str, str, datetime]]
) -> None:
    assert plan(db, START - before) == len(kinds)
    assert reminders(db, session_id) == sorted(kinds)
    assert plan(db) == 0, "once"


def test_a_reminder_is_worth_sending_until_the_next_one_or_the_lesson(db: Database, session_id: UUID) -> None:
    plan(db, START - DAY)
    plan(db, START - HOUR)
    rows = db.rows("select distinct kind, expires_at from public.messages where kind is not null order by 1")
    assert rows == [("1h", START), ("24h", START - HOUR)]
    assert [each["kind"] for each in claim(db, only="reminders")] == ["1h"] * 3
    assert reminders(db, session_id, "dropped") == IN_A_DAY, "it would be stale beside the other"


@pytest.mark.usefixtures("session_id")
def test_after_an_outage_what_is_still_true_is_caught_up_and_nothing_stale_goes_out(db: Database) -> None:
    plan(db, START - DAY)
    assert plan(db, START - HOUR / 2) == 3
    assert sorted(each["kind"] for each in claim(db)) == ["1h"] * 3
    db.set_clock(START + MINUTE)
    assert claim(db, only="reminders") == []
    assert plan(db) == 0


@pytest.mark.parametrize("status", ["in_progress", "done", "no_show_student", "rescheduled", "cancelled"])
def test_only_a_scheduled_lesson_is_reminded_of(db: Database, status: str) -> None:
    lesson(db, status=status)
    assert plan(db, START - HOUR) == 0


@pytest.mark.parametrize("status", ["in_progress", "done", "no_show_student", "rescheduled", "cancelled"])
def test_a_lesson_takes_its_reminders_along(db: Database, session_id: UUID, status: str) -> None:
    plan(db, START - DAY)
    update(db, NADIA, session_id, status, reason="Flu.")
    assert reminders(db, session_id) == []
    assert reminders(db, session_id, "dropped") == IN_A_DAY
    assert plan(db) == 0


def test_a_moved_lesson_is_reminded_of_at_its_new_time(db: Database, session_id: UUID) -> None:
    plan(db, START - DAY)
    move(db, session_id, START + 2 * HOUR)
    assert reminders(db, session_id) == []
    assert plan(db, START + 2 * HOUR - DAY) == 3
    assert {start for _, _, start in reminders(db, session_id)} == {START + 2 * HOUR}


def test_a_lesson_that_comes_back_to_its_time_is_reminded_of_again(db: Database, session_id: UUID) -> None:
    plan(db, START - DAY)
    move(db, session_id, START + 7 * DAY)
    move(db, session_id, START)
    assert plan(db) == 3
    assert reminders(db, session_id) == IN_A_DAY
    assert len(claim(db, only="reminders")) == 3


def test_what_was_sent_is_not_said_again_when_a_lesson_comes_back_to_its_time(db: Database, session_id: UUID) -> None:
    plan(db, START - DAY)
    settle(db, *(result(each) for each in claim(db, only="reminders")))
    move(db, session_id, START + 7 * DAY)
    move(db, session_id, START)
    assert plan(db) == 0
    assert reminders(db, session_id, "sent") == IN_A_DAY


def test_a_reminder_that_waits_for_its_turn_is_asked_again_whether_it_is_so(db: Database, session_id: UUID) -> None:
    plan(db, START - DAY)
    db.run("delete from private.reactions where name = 'reminders'")
    move(db, session_id, START + HOUR)
    assert reminders(db, session_id) == IN_A_DAY
    assert claim(db, only="reminders") == []
    assert reminders(db, session_id, "dropped") == IN_A_DAY


def test_what_a_dispatcher_has_already_is_left_to_it(db: Database, session_id: UUID) -> None:
    plan(db, START - DAY)
    claimed = claim(db, only="reminders")
    move(db, session_id, START + HOUR)
    assert reminders(db, session_id) == IN_A_DAY
    assert settle(db, *(result(each) for each in claimed)) == {"sent": 3}


def test_those_who_may_not_act_and_other_guardians_are_not_reminded(db: Database, session_id: UUID) -> None:
    db.call(NADIA, "update_person", p_person_id=BILAL.id, p_is_active=False)
    assert plan(db, START - DAY) == 2
    assert [reader for reader, _, _ in reminders(db, session_id)] == ["guardian", "student"]


def test_planning_stops_at_its_limit_and_goes_on_from_there(db: Database) -> None:
    for match in (MATHEMATICS, ENGLISH):
        lesson(db, match)
    db.set_clock(START - DAY)
    answers = [db.call("service_role", "plan_reminders", p_limit=4) for _ in range(3)]
    assert answers == [
        {"planned": 4, "more": True},
        {"planned": 2, "more": False},
        {"planned": 0, "more": False},
    ]


def test_a_single_lesson_is_reminded_of_too(db: Database) -> None:
    session_id = booked(db, BILAL, LENA)
    plan(db, START - HOUR)
    assert reminders(db, session_id) == IN_AN_HOUR


# --- claiming -----------------------------------------------------------------------------------------------


def test_a_dispatcher_is_given_all_that_sending_takes(db: Database, session_id: UUID) -> None:
    db.call(NADIA, "cancel_session", p_session_id=session_id, p_reason="Flu.")
    by_reader = {each["reader"]["kind"]: each for each in claim(db)}
    rosa, lena, bilal = (by_reader[kind] for kind in EVERYBODY)
    assert rosa["reader"] == {
        "kind": "guardian",
        "name": "Rosa Ortiz",
        "timezone": "America/New_York",
        "language": "es",
        "quiet_from": "20:00",
        "quiet_until": "08:00",
        "phone": "+12025550103",
        "email": "rosa.ortiz@lessonkeeper.test",
        "whatsapp_opt_in": True,
    }
    assert bilal["reader"]["quiet_from"] == "21:00", "the house's"
    assert bilal["reader"]["language"] == "en", "the house's"
    assert (lena["reader"]["language"], lena["reader"]["email"]) == ("es", LENA.email)
    assert (lena["template"], lena["channels"], lena["can_wait"], lena["attempt"]) == (
        "session_cancelled",
        ["email", "whatsapp"],
        True,
        1,
    )
    assert instant(lena["send_by"]) == BEGAN + 3 * DAY
    session = lena["session"]
    assert session.pop("updated_at")
    assert session == {
        "id": str(session_id),
        "subject": "Mathematics",
        "status": "cancelled",
        "version": 2,
        "scheduled_start_utc": START.isoformat(),
        "scheduled_end_utc": END.isoformat(),
        "meet_link": "https://meet.google.com/abc-defg-hij",
        "tutor": {"name": "Bilal Siddiqi", "timezone": "Asia/Karachi"},
        "student": {"name": "Lena Ortiz", "timezone": "America/New_York"},
    }
    assert (lena["booking"], lena["sessions"], lena["consent_token"], lena["kind"]) == (None, [], None, None)


def test_the_house_speaks_its_language_to_who_has_chosen_none(db: Database) -> None:
    db.call(NADIA, "update_settings", p_language="de", p_quiet_from="20:30", p_quiet_until="20:30")
    write(db, GRACE)
    (claimed,) = claim(db)
    reader = claimed["reader"]
    assert (reader["language"], reader["quiet_from"], reader["quiet_until"]) == ("de", "20:30", "20:30")
    assert (reader["phone"], reader["whatsapp_opt_in"]) == (None, False)


@pytest.mark.parametrize(
    ("template", "before", "can_wait"),
    [
        ("session_cancelled", 13 * HOUR, True),
        ("session_cancelled", 12 * HOUR, False),
        ("session_cancelled", -HOUR, True),
        ("schedule_generated", HOUR, True),
        ("P23_session_noshow", 13 * HOUR, False),
        ("session_reminder", 2 * HOUR, True),
        ("session_reminder", HOUR, False),
    ],
)
def test_what_is_near_does_not_wait_for_the_morning(
    db: Database,
    template: str,
    before: timedelta,
    can_wait: bool,  # noqa: FBT001
) -> None:
    write(db, template=template, about_start=BEGAN + before)
    assert [each["can_wait"] for each in claim(db)] == [can_wait]


def test_a_move_from_a_near_time_does_not_wait_either(db: Database, session_id: UUID) -> None:
    db.set_clock(START - 3 * HOUR)
    move(db, session_id, START + 7 * DAY)
    assert {each["can_wait"] for each in claim(db)} == {False}


def test_the_oldest_come_first_and_none_twice(db: Database) -> None:
    late, early, middle = (write(db, send_after=BEGAN - minutes * MINUTE) for minutes in (1, 3, 2))
    first = db.call("service_role", "claim_messages", p_limit=2)
    assert [each["message_id"] for each in first["messages"]] == [str(early), str(middle)]
    assert first["more"] is True
    assert instant(first["now"]) == BEGAN
    second = db.call("service_role", "claim_messages", p_limit=2)
    assert ([each["message_id"] for each in second["messages"]], second["more"]) == ([str(late)], False)
    assert claim(db) == []


def test_what_is_not_due_yet_waits(db: Database) -> None:
    write(db, send_after=BEGAN + SECOND)
    assert claim(db) == []
    db.set_clock(BEGAN + SECOND)
    assert len(claim(db)) == 1


@pytest.mark.usefixtures("session_id")
def test_reminders_and_notices_are_claimed_apart_or_together(db: Database) -> None:
    plan(db, START - HOUR)
    write(db, HARRIET)
    with db.connection.transaction(force_rollback=True):
        assert len(claim(db)) == 4
    assert {each["template"] for each in claim(db, only="notices")} == {"session_disputed"}
    assert {each["template"] for each in claim(db, only="reminders")} == {"session_reminder"}


def outdated(db: Database, case: str) -> UUID:
    """A message that was true when it was put down."""
    session_id = lesson(db)
    forget(db)
    match case:
        case "too late":
            return write(db, expires_at=BEGAN)
        case "its reader was deactivated":
            message_id = write(db)
            db.call(NADIA, "update_person", p_person_id=LENA.id, p_is_active=False)
            return message_id
        case "the booking was answered":
            booking_id = booking(db, BILAL, LENA, START + DAY)
            db.call(BILAL, "decline_booking", p_booking_id=booking_id)
            return db.value("select id from public.messages where template = 'booking_requested'")
        case "the guardian need not be asked any more":
            asked = db.call(LENA, "request_cancellation", p_session_id=session_id, p_reason="Flu.")
            db.call(LENA, "withdraw_cancellation", p_request_id=asked["request"]["id"])
            return db.value("select id from public.messages where template = 'P26_cancellation_request'")
        case "an admin has decided about cancelling":
            db.run("update public.guardians set is_primary = false where id = %s", ROSA)
            asked = db.call(LENA, "request_cancellation", p_session_id=session_id, p_reason="Flu.")
            message_id = db.value("select id from public.messages where template = 'cancellation_to_decide'")
            db.call(NADIA, "reject_cancellation", p_request_id=asked["request"]["id"])
            return message_id
        case _:
            asked = db.call(LENA, "request_reschedule", p_session_id=session_id, p_reason="Flu.")
            message_id = db.value("select id from public.messages where template = 'reschedule_requested'")
            db.call(NADIA, "reject_reschedule_request", p_request_id=asked["request"]["id"])
            return message_id


@pytest.mark.parametrize(
    "case",
    [
        "too late",
        "its reader was deactivated",
        "the booking was answered",
        "the guardian need not be asked any more",
        "an admin has decided about cancelling",
        "an admin has decided about another time",
    ],
)
def test_what_is_not_so_any_more_is_dropped_when_its_turn_comes(db: Database, case: str) -> None:
    message_id = outdated(db, case)
    assert str(message_id) not in {each["message_id"] for each in claim(db)}
    assert message(db, message_id) == "dropped"


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"limit": 501}, {"limit": None}, {"lease_seconds": 4}, {"lease_seconds": None}, {"only": "letters"}],
)
def test_a_claim_asks_for_something_sensible(db: Database, options: dict[str, object]) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        claim(db, **options)


@pytest.mark.parametrize("limit", [0, 5001, None])
def test_planning_asks_for_something_sensible(db: Database, limit: int | None) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        plan(db, limit=limit)


# --- settling -----------------------------------------------------------------------------------------------


@pytest.fixture
def claimed(db: Database) -> dict[str, Any]:
    """One message to Lena, leased."""
    write(db)
    (each,) = claim(db)
    return each


def test_what_was_sent_says_by_whom_and_under_what_name(db: Database, claimed: dict[str, Any]) -> None:
    assert settle(db, result(claimed, provider_message_id="re_1")) == {"sent": 1}
    columns = "status::text, channel, provider, provider_message_id, sent_at, last_error, attempts"
    assert db.rows(f"select {columns} from public.messages") == [("sent", "email", "resend", "re_1", BEGAN, None, 1)]
    assert claim(db) == []


@pytest.mark.parametrize(
    ("outcome", "word", "status"),
    [
        ("failed", "retrying", "pending"),
        ("refused", "failed", "failed"),
        ("unknown", "unknown", "unknown"),
        ("unreachable", "unreachable", "unreachable"),
    ],
)
def test_what_was_not_sent_says_why(
    db: Database, claimed: dict[str, Any], outcome: str, word: str, status: str
) -> None:
    assert settle(db, result(claimed, outcome, error="x" * 600)) == {word: 1}
    row = db.rows("select status::text, last_error, sent_at, leased_until from public.messages")
    assert row == [(status, "x" * 500, None, None)]
    assert claim(db) == []


def test_what_fails_is_tried_six_times_ever_later(db: Database) -> None:
    message_id = write(db, expires_at=None)
    now = BEGAN
    for attempt, minutes in enumerate((1, 5, 30, 120, 300), start=1):
        (each,) = claim(db)
        assert each["attempt"] == attempt
        assert settle(db, result(each, "failed", error="503")) == {"retrying": 1}
        wait = message(db, message_id, "send_after") - now
        assert minutes * MINUTE * 0.8 <= wait <= minutes * MINUTE * 1.2
        now += wait
        db.set_clock(now - SECOND)
        assert claim(db) == []
        db.set_clock(now)
    (each,) = claim(db)
    assert settle(db, result(each, "failed", error="503")) == {"failed": 1}
    assert message(db, message_id) == "failed"


def test_a_provider_that_takes_no_more_at_once_costs_no_attempt(db: Database) -> None:
    message_id = write(db, expires_at=None)
    for number in range(10):
        db.set_clock(BEGAN + number * HOUR)
        (each,) = claim(db)
        assert each["attempt"] == 1
        assert settle(db, result(each, "failed", status_code=429)) == {"retrying": 1}
        assert message(db, message_id, "send_after") <= BEGAN + number * HOUR + 72 * SECOND


def test_a_provider_that_names_its_time_is_given_it_up_to_a_day(db: Database, claimed: dict[str, Any]) -> None:
    settle(db, result(claimed, "failed", retry_after_seconds=3600))
    assert message(db, claimed["message_id"], "send_after") == BEGAN + HOUR
    db.set_clock(BEGAN + HOUR)
    (again,) = claim(db)
    settle(db, result(again, "failed", retry_after_seconds=10**8))
    assert message(db, claimed["message_id"], "send_after") == BEGAN + HOUR + DAY


def test_a_message_that_waits_for_the_morning_has_used_no_attempt(db: Database, claimed: dict[str, Any]) -> None:
    morning = BEGAN + 8 * HOUR
    assert settle(db, result(claimed, "deferred", send_after=morning.isoformat())) == {"deferred": 1}
    assert claim(db) == []
    db.set_clock(morning)
    assert [each["attempt"] for each in claim(db)] == [1]


def test_a_report_under_a_lease_that_is_another_s_changes_nothing(db: Database, claimed: dict[str, Any]) -> None:
    assert settle(db, result(claimed | {"lease_id": str(uuid4())})) == {"stale": 1}
    assert settle(db, result(claimed | {"message_id": str(uuid4())})) == {"stale": 1}
    assert settle(db, result(claimed), result(claimed, "refused")) == {"sent": 1, "stale": 1}
    assert settle(db, result(claimed, "failed")) == {"stale": 1}
    assert message(db, claimed["message_id"]) == "sent"


@pytest.mark.parametrize(
    "report",
    [
        {"outcome": None},
        {"outcome": "deferred"},
        {"channel": "pigeon"},
        {"provider": "inbox"},
        {"provider": "inbox", "inbox": {"channel": "email", "sent_to": "x@y.test"}},
    ],
)
def test_a_report_that_says_too_little_is_refused(
    db: Database, claimed: dict[str, Any], report: dict[str, object]
) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        settle(db, result(claimed) | report)


def test_a_report_is_a_list(db: Database) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        db.call("service_role", "settle_messages", p_results='{"outcome": "sent"}')
    assert settle(db) == {}


# --- leases that run out ------------------------------------------------------------------------------------


def test_a_dispatcher_that_never_comes_back_leaves_a_message_nobody_sends_again(
    db: Database, claimed: dict[str, Any]
) -> None:
    db.set_clock(BEGAN + 2 * MINUTE - SECOND)
    assert claim(db) == []
    assert message(db, claimed["message_id"]) == "pending"
    db.set_clock(BEGAN + 2 * MINUTE)
    assert claim(db) == []
    assert message(db, claimed["message_id"]) == "unknown"
    assert message(db, claimed["message_id"], "last_error") == "The dispatcher did not come back."
    db.set_clock(BEGAN + DAY)
    assert claim(db) == []


def test_whoever_comes_back_late_is_believed_that_it_was_sent_and_nothing_else(
    db: Database, claimed: dict[str, Any]
) -> None:
    db.set_clock(BEGAN + HOUR)
    claim(db)
    assert settle(db, result(claimed, "failed")) == {"stale": 1}
    assert message(db, claimed["message_id"]) == "unknown"
    assert settle(db, result(claimed, provider_message_id="re_1")) == {"sent": 1}
    assert message(db, claimed["message_id"]) == "sent"


def test_whoever_comes_back_after_their_time_but_before_anybody_noticed_is_believed(
    db: Database, claimed: dict[str, Any]
) -> None:
    db.set_clock(BEGAN + HOUR)
    assert settle(db, result(claimed, "failed")) == {"retrying": 1}


# --- an admin has it sent again -----------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["refused", "unknown", "unreachable"])
def test_an_admin_has_a_message_sent_again(db: Database, claimed: dict[str, Any], outcome: str) -> None:
    settle(db, result(claimed, outcome))
    answer = db.call(NADIA, "retry_message", p_message_id=claimed["message_id"])
    assert (answer["status"], answer["attempts"]) == ("pending", 0)
    assert audit(db, claimed["message_id"]) == [("message_retried", "admin", NADIA.id)]
    assert [each["message_id"] for each in claim(db)] == [claimed["message_id"]]


def test_a_message_that_was_sent_after_all_is_not_sent_again(db: Database, claimed: dict[str, Any]) -> None:
    settle(db, result(claimed, "unknown"))
    db.call(NADIA, "retry_message", p_message_id=claimed["message_id"])
    assert settle(db, result(claimed)) == {"sent": 1}
    assert claim(db) == []


@pytest.mark.parametrize("status", ["pending", "sent", "delivered", "dropped"])
def test_what_went_out_or_is_over_is_not_sent_again(db: Database, status: str) -> None:
    message_id = write(db, status=status)
    with pytest.raises(Refused, match="409 illegal_transition"):
        db.call(NADIA, "retry_message", p_message_id=message_id)


def test_what_is_not_so_any_more_is_not_sent_again(db: Database) -> None:
    message_id = write(db, status="failed", expires_at=BEGAN)
    with pytest.raises(Refused, match="409 too_late") as refused:
        db.call(NADIA, "retry_message", p_message_id=message_id)
    assert instant(refused.value.extra["closed_at"]) == BEGAN


def test_only_an_admin_has_a_message_sent_again(db: Database) -> None:
    message_id = write(db, status="failed")
    with pytest.raises(Refused, match="403 not_allowed"):
        db.call(LENA, "retry_message", p_message_id=message_id)
    with pytest.raises(Refused, match="404 not_found"):
        db.call(NADIA, "retry_message", p_message_id=uuid4())


# --- what providers say afterwards --------------------------------------------------------------------------


def note(db: Database, status: str, name: str = "wamid.1", provider: str = "meta", reply: str | None = None) -> int:
    report = {"provider": provider, "provider_message_id": name, "reply_id": reply, "status": status}
    return db.call("service_role", "note_message_statuses", p_statuses=[report])["noted"]


def send(db: Database, claimed: dict[str, Any], name: str = "wamid.1") -> None:
    settle(db, result(claimed, channel="whatsapp", provider="meta", provider_message_id=name))


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (["sent"], "sent"),
        (["delivered"], "delivered"),
        (["read"], "delivered"),
        (["failed"], "failed"),
        (["delivered", "sent", "failed"], "delivered"),
        (["failed", "delivered"], "failed"),
    ],
)
def test_what_a_provider_says_afterwards_never_goes_backwards(
    db: Database, claimed: dict[str, Any], said: list[str], status: str
) -> None:
    send(db, claimed)
    assert [note(db, each) for each in said] == [1] * len(said)
    assert message(db, claimed["message_id"]) == status
    assert (message(db, claimed["message_id"], "delivered_at") is None) == (status != "delivered")


def test_another_providers_or_an_unknown_name_changes_nothing(db: Database, claimed: dict[str, Any]) -> None:
    send(db, claimed)
    assert note(db, "delivered", "wamid.2") == 0
    assert note(db, "delivered", provider="aisensy") == 0
    assert message(db, claimed["message_id"]) == "sent"


def test_a_provider_that_is_quicker_than_the_dispatcher_is_remembered(db: Database, claimed: dict[str, Any]) -> None:
    assert note(db, "failed", reply="wamid.answer") == 0
    assert note(db, "delivered") == 0, "the worst is remembered"
    send(db, claimed)
    assert message(db, claimed["message_id"]) == "failed"
    assert message(db, claimed["message_id"], "provider_reply_id") == "wamid.answer"


def test_the_name_that_answers_refer_to_is_kept(db: Database, claimed: dict[str, Any]) -> None:
    send(db, claimed)
    note(db, "sent", reply="wamid.answer")
    note(db, "delivered")
    assert message(db, claimed["message_id"], "provider_reply_id") == "wamid.answer"


@pytest.mark.parametrize(
    "statuses",
    [
        '{"status": "read"}',
        [{"provider": "meta", "provider_message_id": "1", "status": "eaten"}],
        [{"provider": "meta", "status": "read"}],
        [{"provider_message_id": "1", "status": "read"}],
        [{"provider": "meta", "provider_message_id": "1", "status": "read"}] * 1001,
    ],
)
def test_what_no_provider_says_is_refused(db: Database, statuses: object) -> None:
    with pytest.raises(Refused, match="422 invalid"):
        db.call("service_role", "note_message_statuses", p_statuses=statuses)


# --- a guardian is asked ------------------------------------------------------------------------------------


@pytest.fixture
def asked(db: Database, session_id: UUID) -> dict[str, Any]:
    """The question that goes to Rosa, leased."""
    db.call(LENA, "request_cancellation", p_session_id=session_id, p_reason="Flu.")
    (each,) = claim(db)
    return each


def request(db: Database) -> tuple[Any, ...]:
    """When Rosa was asked, until when she may answer, and why she was not asked."""
    ((row),) = db.rows("select asked_at, expires_at, unasked_reason from public.cancellation_requests")
    return row


def test_the_question_holds_a_token_of_its_own_each_time(db: Database, asked: dict[str, Any]) -> None:
    assert (asked["template"], asked["channels"]) == ("P26_cancellation_request", ["whatsapp"])
    assert len(asked["consent_token"]) >= 41
    assert asked["facts"]["asked_by"] == "student"
    settle(db, result(asked, "failed"))
    db.set_clock(BEGAN + HOUR)
    (again,) = claim(db)
    assert again["consent_token"] != asked["consent_token"]
    kept = db.value("select jsonb_agg(to_jsonb(m))::text from public.messages m")
    assert asked["consent_token"] not in kept


def test_her_time_runs_from_when_a_provider_took_the_question(db: Database, asked: dict[str, Any]) -> None:
    assert request(db) == (None, None, None)
    send(db, asked)
    assert request(db) == (BEGAN, BEGAN + 48 * HOUR, None)


@pytest.mark.parametrize("outcome", ["refused", "unknown", "unreachable"])
def test_a_question_that_did_not_arrive_lets_no_time_run(db: Database, asked: dict[str, Any], outcome: str) -> None:
    word = "failed" if outcome == "refused" else outcome
    settle(db, result(asked, outcome))
    assert request(db) == (None, None, word)
    assert ("cancellation_to_decide", "admin") in told(db)


def test_a_lost_dispatcher_lets_no_time_run_until_it_comes_back(db: Database, asked: dict[str, Any]) -> None:
    db.set_clock(BEGAN + HOUR)
    claim(db)
    assert request(db) == (None, None, "unknown")
    send(db, asked)
    assert request(db) == (BEGAN + HOUR, BEGAN + 49 * HOUR, None)


def test_a_question_that_fails_afterwards_stops_her_time(db: Database, asked: dict[str, Any]) -> None:
    send(db, asked)
    note(db, "failed")
    assert request(db) == (None, None, "failed")


def test_a_question_that_arrived_lets_her_time_run_on(db: Database, asked: dict[str, Any]) -> None:
    send(db, asked)
    note(db, "read")
    assert request(db) == (BEGAN, BEGAN + 48 * HOUR, None)


# --- looking at them ----------------------------------------------------------------------------------------


def listed(db: Database, who: Person, **options: object) -> dict[str, Any]:
    return db.call(who, "list_messages", **{f"p_{name}": value for name, value in options.items()})


def test_people_see_what_they_were_told_and_admins_everything(db: Database, session_id: UUID) -> None:
    db.call(NADIA, "cancel_session", p_session_id=session_id, p_reason="Flu.")
    (mine,) = listed(db, LENA)["messages"]
    assert (mine["template"], mine["status"], mine["session_id"]) == ("session_cancelled", "pending", str(session_id))
    assert mine["reader"] == {"kind": "student", "id": str(LENA.id), "name": "Lena Ortiz"}
    assert listed(db, OLIVER)["messages"] == []
    readers = {each["reader"]["name"] for each in listed(db, NADIA)["messages"]}
    assert readers == {"Lena Ortiz", "Bilal Siddiqi", "Rosa Ortiz"}


def test_messages_are_listed_oldest_first_a_page_at_a_time(db: Database) -> None:
    ids = [str(write(db, created_at=BEGAN + n * MINUTE)) for n in range(5)]
    page = listed(db, LENA, limit=2)
    assert ([each["id"] for each in page["messages"]], page["has_more"]) == (ids[:2], True)
    last = page["messages"][-1]
    rest = listed(db, LENA, limit=3, after_created=last["created_at"], after_id=last["id"])
    assert ([each["id"] for each in rest["messages"]], rest["has_more"]) == (ids[2:], False)
    assert rest["viewer_timezone"] == "America/New_York"


def test_messages_are_listed_by_session_and_by_state(db: Database, session_id: UUID) -> None:
    other = write(db, status="unknown")
    db.call(NADIA, "cancel_session", p_session_id=session_id, p_reason="Flu.")
    assert len(listed(db, NADIA, session_id=session_id)["messages"]) == 3
    assert [each["id"] for each in listed(db, NADIA, status="unknown")["messages"]] == [str(other)]
    with pytest.raises(Refused, match="422 invalid"):
        listed(db, NADIA, limit=201)


INBOX = {
    "channel": "email",
    "sent_to": LENA.email,
    "subject": "Cancelled",
    "body": "The lesson is off.",
    "attachment_name": "lesson.ics",
    "attachment": "BEGIN:VCALENDAR",
}


def test_the_inbox_shows_word_for_word_what_would_have_been_sent(db: Database, claimed: dict[str, Any]) -> None:
    assert settle(db, result(claimed, provider="inbox", inbox=INBOX)) == {"sent": 1}
    (shown,) = db.call(NADIA, "list_inbox")["messages"]
    assert {name: shown[name] for name in INBOX} == INBOX
    assert (shown["message_id"], shown["template"], shown["buttons"]) == (
        claimed["message_id"],
        "session_disputed",
        [],
    )


def test_the_inbox_stays_empty_when_a_real_provider_took_it(db: Database, claimed: dict[str, Any]) -> None:
    settle(db, result(claimed, inbox=INBOX))
    assert db.call(NADIA, "list_inbox")["messages"] == []


def test_the_inbox_is_shown_newest_first_a_page_at_a_time_and_to_admins_alone(db: Database) -> None:
    for number in range(3):
        db.set_clock(BEGAN + number * MINUTE)
        write(db)
        (each,) = claim(db)
        settle(db, result(each, provider="inbox", inbox=INBOX | {"body": str(number)}))
    page = db.call(NADIA, "list_inbox", p_limit=2)
    assert ([each["body"] for each in page["messages"]], page["has_more"]) == (["2", "1"], True)
    last = page["messages"][-1]
    rest = db.call(NADIA, "list_inbox", p_after_created=last["created_at"], p_after_id=last["id"])
    assert ([each["body"] for each in rest["messages"]], rest["has_more"]) == (["0"], False)
    for refused in (LENA, BILAL):
        with pytest.raises(Refused, match="403 not_allowed"):
            db.call(refused, "list_inbox")
    with pytest.raises(Refused, match="422 invalid"):
        db.call(NADIA, "list_inbox", p_limit=0)


# --- forgetting ---------------------------------------------------------------------------------------------


def test_messages_that_are_over_and_old_are_forgotten_with_their_words(db: Database, claimed: dict[str, Any]) -> None:
    settle(db, result(claimed, provider="inbox", inbox=INBOX))
    db.set_clock(BEGAN + 90 * DAY)
    assert db.call("service_role", "clean_up")["messages"] == 0
    waiting = write(db, created_at=BEGAN, expires_at=None)
    write(db, created_at=BEGAN, expires_at=BEGAN)
    db.set_clock(BEGAN + 90 * DAY + SECOND)
    assert db.call("service_role", "clean_up")["messages"] == 2
    assert db.rows("select id from public.messages") == [(waiting,)]
    assert db.value("select count(*) from public.inbox_messages") == 0


def test_what_providers_said_of_strangers_is_forgotten_after_a_day(db: Database) -> None:
    note(db, "read")
    db.set_clock(BEGAN + DAY + SECOND)
    db.call("service_role", "clean_up")
    assert db.value("select count(*) from private.early_reports") == 0


def test_a_guardian_who_is_deleted_takes_their_messages_along(db: Database) -> None:
    write(db, IMRAN)
    kept = write(db, ZARA)
    db.run("delete from public.guardians where id = %s", IMRAN)
    assert db.rows("select id from public.messages") == [(kept,)]
