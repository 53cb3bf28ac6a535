"""Chapter 23: a guardian is asked, answers or keeps silent, and one decision is made."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database import Database, Refused
from tests.db.consents import ANSWERS, ROSA, asked, read, reply, request, silence, token_for, wish
from tests.db.lessons import BORN, DAY, HOUR, START, audit, booked, column, events, instant, lesson
from tests.house import BILAL, ENGLISH, LENA, NADIA, NOW, OLIVER, Person

SECOND = timedelta(seconds=1)
ASKED = datetime.fromisoformat(NOW)
OVER = ASKED + 48 * HOUR
"""When silence becomes consent."""
PUT: dict[str, Callable[..., UUID]] = {"match": lesson, "booking": partial(booked, tutor=BILAL, student=LENA)}
CLOSED = {
    "approve_cancellation": ("approved", NADIA),
    "reject_cancellation": ("rejected", NADIA),
    "withdraw_cancellation": ("withdrawn", LENA),
}


def messages(db: Database, request_id: object, template: str) -> list[tuple[UUID, dict[str, Any]]]:
    """What is to be said about a request: to whom, and with which facts."""
    return db.rows(
        "select reader_id, facts from public.messages where cancellation_request_id = %s and template = %s"
        " order by reader_id",
        request_id,
        template,
    )  # pyright: ignore[reportReturnType]


def refused(act: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as refusal:
        act()
    return refusal.value


def wishes_for_another_time(db: Database, session_id: object) -> list[tuple[Any, ...]]:
    return db.rows(
        "select requested_by_user_id, requested_by_role::text, status::text, reason from public.reschedule_requests"
        " where session_id = %s order by reschedule_requests.requested_by_role, created_at",
        session_id,
    )


# --- who is asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("who", "side"), [(LENA, "student"), (BILAL, "tutor")])
def test_the_primary_guardian_is_asked_by_a_message(db: Database, who: Person, side: str) -> None:
    session_id = lesson(db)
    request_id = wish(db, session_id, who)
    assert request(db, request_id)["asked_guardian_id"] == str(ROSA)
    assert messages(db, request_id, "P26_cancellation_request") == [
        (ROSA, {"reason": "Flu.", "asked_by": side, "consent_hours": 48, "silence_cancels": True})
    ]
    assert events(db, session_id) == ["cancellation.requested"]


@pytest.mark.parametrize(
    "change", ["whatsapp_opt_in = false", "phone = null, whatsapp_opt_in = false", "is_primary = false"]
)
def test_where_nobody_can_be_asked_admins_are_told(db: Database, change: str) -> None:
    db.run(f"update public.guardians set {change} where id = %s", ROSA)
    session_id = lesson(db)
    request_id = wish(db, session_id)
    assert (request(db, request_id)["asked_guardian_id"], request(db, request_id)["unasked_reason"]) == (
        None, "no_guardian",
    )  # fmt: skip
    assert messages(db, request_id, "P26_cancellation_request") == []
    assert events(db, session_id) == ["cancellation.requested", "cancellation.unasked"]
    ((reader, facts),) = messages(db, request_id, "cancellation_to_decide")
    assert (reader, facts["why"]) == (NADIA.id, "no_guardian")


def test_a_wish_without_a_guardian_is_decided_by_an_admin(db: Database) -> None:
    session_id = lesson(db, ENGLISH)
    request_id = wish(db, session_id, OLIVER)
    db.set_clock(START - HOUR)
    assert silence(db) == {"approved": 0, "failed": 0, "more": False}
    db.call(NADIA, "approve_cancellation", p_request_id=request_id)
    assert column(db, session_id, "status") == "cancelled"


def test_the_question_says_when_silence_will_keep_the_lesson(db: Database) -> None:
    request_id = wish(db, lesson(db, start=OVER))
    ((_, facts),) = messages(db, request_id, "P26_cancellation_request")
    assert facts["silence_cancels"] is False
    parked = wish(db, lesson(db, start=ASKED - DAY, status="rescheduled"))
    ((_, facts),) = messages(db, parked, "P26_cancellation_request")
    assert facts["silence_cancels"] is True


def test_a_question_that_could_not_be_written_is_written_by_the_repair(db: Database) -> None:
    written = "select function_name from private.reactions where name = 'consent'"
    assert db.value(written) == "ask_guardian"
    db.run("alter table public.messages add constraint never check (template <> 'P26_cancellation_request')")
    request_id, decided = wish(db, lesson(db)), wish(db, lesson(db, start=START + DAY))
    assert messages(db, request_id, "P26_cancellation_request") == []
    db.call(NADIA, "reject_cancellation", p_request_id=decided)
    db.run("alter table public.messages drop constraint never")
    db.set_clock(ASKED + HOUR)
    assert db.call("service_role", "clean_up")["repaired"] == 2
    assert len(messages(db, request_id, "P26_cancellation_request")) == 1
    assert messages(db, decided, "P26_cancellation_request") == []


# --- from the message to the answer -----------------------------------------------------------------------


def claim(db: Database) -> dict[str, Any]:
    """The question, leased as a dispatcher does."""
    told = db.call("service_role", "claim_messages", p_limit=50, p_lease_seconds=60)["messages"]
    (question,) = [each for each in told if each["template"] == "P26_cancellation_request"]
    return question


def settle(db: Database, question: dict[str, Any], outcome: str, **more: object) -> None:
    result = {"message_id": question["message_id"], "lease_id": question["lease_id"], "outcome": outcome} | more
    db.call("service_role", "settle_messages", p_results=[result])


def test_the_time_runs_from_the_providers_taking_the_question(db: Database) -> None:
    session_id = lesson(db)
    request_id = wish(db, session_id)
    question = claim(db)
    assert read(db, question["consent_token"])["expires_at"] is None
    db.set_clock(ASKED + HOUR)
    settle(db, question, "sent", channel="whatsapp", provider="meta", provider_message_id="wamid.1")
    row = request(db, request_id)
    assert (instant(row["asked_at"]), instant(row["expires_at"])) == (ASKED + HOUR, OVER + HOUR)
    assert reply(db, question["consent_token"], "approve")["outcome"] == "decided"
    assert column(db, session_id, "status") == "cancelled"


@pytest.mark.parametrize("outcome", ["refused", "unknown", "unreachable"])
def test_a_question_that_did_not_arrive_is_an_admins_to_decide(db: Database, outcome: str) -> None:
    session_id = lesson(db)
    request_id = wish(db, session_id)
    settle(db, claim(db), outcome, channel="whatsapp", provider="meta")
    row = request(db, request_id)
    assert (row["status"], row["asked_at"], row["expires_at"]) == ("pending", None, None)
    assert row["unasked_reason"] is not None
    assert events(db, session_id)[-1] == "cancellation.unasked"
    ((reader, facts),) = messages(db, request_id, "cancellation_to_decide")
    assert (reader, facts["why"]) == (NADIA.id, "not_reached")
    db.set_clock(START - HOUR)
    assert silence(db)["approved"] == 0


def test_a_question_that_was_decided_before_it_was_sent_is_not_sent(db: Database) -> None:
    request_id = wish(db, lesson(db))
    db.call(LENA, "withdraw_cancellation", p_request_id=request_id)
    told = db.call("service_role", "claim_messages", p_limit=50, p_lease_seconds=60)["messages"]
    assert "P26_cancellation_request" not in {each["template"] for each in told}


# --- answering ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["match", "booking"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_decides_once_and_is_audited_as_the_guardians(db: Database, origin: str, answer: str) -> None:
    session_id = PUT[origin](db)
    request_id, token = asked(db, session_id)
    status = ANSWERS[answer]
    if (origin, answer) == ("booking", "reschedule"):  # whose times never change
        status = "call_requested"
    db.set_clock(ASKED + HOUR)
    told = reply(db, token, answer)
    assert (told["outcome"], told["status"], told["answer_open"], told["answers"]) == ("decided", status, False, [])
    row = request(db, request_id)
    assert (row["status"], row["answered_by_guardian_id"], row["decided_by_user_id"]) == (status, str(ROSA), None)
    assert (row["decided_at"] is None, row["expires_at"]) == (status == "call_requested", None)
    assert audit(db, request_id)[-1] == ("cancellation_request_updated", "guardian", None)
    details = db.value(
        "select details from public.audit_logs where entity_id = %s order by id desc limit 1", request_id
    )
    assert details["answered_by_guardian_id"] == {"from": None, "to": str(ROSA)}
    assert details["status"] == {"from": "pending", "to": status}

    is_cancelled = answer == "approve"
    assert column(db, session_id, "status") == ("cancelled" if is_cancelled else "scheduled")
    if is_cancelled:
        assert (column(db, session_id, "status_reason"), column(db, session_id, "status_effective_at")) == (
            "Flu.", ASKED + HOUR,
        )  # fmt: skip
        assert audit(db, session_id) == [("session_status_updated", "guardian", None)]
    told_world = [*BORN[origin], "cancellation.requested", f"cancellation.{status}"]
    extra = {"approved": ["session.cancelled"], "reschedule_requested": ["reschedule.requested"]}.get(status, [])
    assert events(db, session_id) == told_world + extra
    assert wishes_for_another_time(db, session_id) == (
        [(LENA.id, "guardian", "pending", "Flu.")] if status == "reschedule_requested" else []
    )
    assert reply(db, token, answer)["outcome"] == "already"
    for other in ANSWERS.keys() - {answer} - ({"call"} if status == "call_requested" else set()):
        if (origin, status, other) != ("booking", "call_requested", "reschedule"):
            assert reply(db, token, other)["outcome"] == "too_late"
    assert (request(db, request_id), events(db, session_id)) == (row, told_world + extra)


def test_what_is_done_after_an_answer_is_put_down_to_whoever_does_it(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    reply(db, token, "call")
    db.call(NADIA, "reject_cancellation", p_request_id=request_id)
    assert audit(db, request_id)[-2:] == [
        ("cancellation_request_updated", "guardian", None),
        ("cancellation_request_updated", "admin", NADIA.id),
    ]
    db.run("update public.settings set consent_hours = 24")
    role = "select actor_role::text from public.audit_logs where action = 'settings_updated'"
    assert db.value(role) == "studio"


@pytest.mark.parametrize("function", CLOSED)
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_decision_of_others_stands(db: Database, function: str, answer: str) -> None:
    session_id = lesson(db)
    request_id, token = asked(db, session_id)
    status, who = CLOSED[function]
    db.call(who, function, p_request_id=request_id)
    row = request(db, request_id)
    assert row["expires_at"] is None
    told = reply(db, token, answer)
    assert (told["outcome"], told["status"]) == ("already" if ANSWERS[answer] == status else "too_late", status)
    assert told["decided"]["status"] == status
    assert request(db, request_id) == row
    db.set_clock(OVER)
    assert silence(db)["approved"] == 0


def test_a_session_that_changed_takes_the_question_along(db: Database) -> None:
    session_id = lesson(db)
    request_id, token = asked(db, session_id)
    db.call(NADIA, "reschedule_session", p_session_id=session_id, p_start_utc=START + DAY)
    told = reply(db, token, "approve")
    assert (told["outcome"], told["status"]) == ("too_late", "lapsed")
    assert (request(db, request_id)["expires_at"], column(db, session_id, "status")) == (None, "scheduled")


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_lesson_that_has_begun_is_not_decided_about_even_if_the_clock_has_not_been_by(
    db: Database, answer: str
) -> None:
    session_id = lesson(db, start=ASKED + HOUR)
    request_id, token = asked(db, session_id)
    db.set_clock(ASKED + HOUR - SECOND)
    assert read(db, token)["answer_open"] is True
    db.set_clock(ASKED + HOUR)
    row = request(db, request_id)
    assert (read(db, token)["answer_open"], read(db, token)["answers"]) == (False, [])
    assert reply(db, token, answer)["outcome"] == "too_late"
    assert request(db, request_id) == row


def test_after_a_call_an_admin_decides_and_is_told(db: Database) -> None:
    session_id = lesson(db)
    request_id, token = asked(db, session_id)
    reply(db, token, "call")
    ((reader, facts),) = messages(db, request_id, "cancellation_to_decide")
    assert (reader, facts["why"]) == (NADIA.id, "call_requested")
    db.set_clock(OVER)
    assert silence(db)["approved"] == 0
    assert reply(db, token, "approve")["outcome"] == "too_late"
    db.call(NADIA, "approve_cancellation", p_request_id=request_id)
    assert column(db, session_id, "status") == "cancelled"


@pytest.mark.parametrize("answer", ["maybe", "", "APPROVE", None])
def test_what_is_no_answer_is_refused(db: Database, answer: str | None) -> None:
    request_id, token = asked(db, lesson(db))
    refusal = refused(lambda: reply(db, token, answer))  # pyright: ignore[reportArgumentType]
    assert (refusal.status, refusal.code, refusal.extra) == (422, "invalid", {"field": "answer"})
    assert request(db, request_id)["status"] == "pending"


# --- another time in the student's name -------------------------------------------------------------------


def test_a_guardians_wish_for_another_time_stands_beside_the_students_own(db: Database) -> None:
    session_id = lesson(db)
    wish_for = partial(db.call, LENA, "request_reschedule", p_session_id=session_id)
    wish_for(p_reason="Rather later.")
    _, token = asked(db, session_id)
    assert reply(db, token, "reschedule")["outcome"] == "decided"
    both = [(LENA.id, "student", "pending", "Rather later."), (LENA.id, "guardian", "pending", "Flu.")]
    assert wishes_for_another_time(db, session_id) == both
    wish_for(p_reason="Later still.")
    assert ("guardian", "pending") in {each[1:3] for each in wishes_for_another_time(db, session_id)}

    _, again = asked(db, session_id)
    assert reply(db, again, "reschedule")["outcome"] == "decided", "one wish of the guardian is enough"
    guardians = [each for each in wishes_for_another_time(db, session_id) if each[1] == "guardian"]
    assert [each[2] for each in guardians] == ["pending"]


def test_an_admin_gives_the_other_time_and_the_student_sees_the_wish(db: Database) -> None:
    session_id = lesson(db)
    _, token = asked(db, session_id)
    reply(db, token, "reschedule")
    (seen,) = db.call(LENA, "list_reschedule_requests")["requests"]
    assert (seen["requested_by"]["id"], seen["requested_by_role"]) == (str(LENA.id), "guardian")
    db.call(NADIA, "accept_reschedule_request", p_request_id=seen["id"], p_start_utc=START + DAY)
    assert column(db, session_id, "scheduled_start_utc") == START + DAY


# --- the link ---------------------------------------------------------------------------------------------


def test_the_link_shows_what_is_asked_and_decides_nothing(db: Database) -> None:
    session_id = lesson(db)
    request_id, token = asked(db, session_id)
    row = request(db, request_id)
    db.run("update public.guardians set language = null where id = %s", ROSA)
    db.run("update public.settings set language = 'de'")
    shown = read(db, token)
    assert {name: shown[name] for name in ("status", "answer_open", "decided", "reason", "asked_by")} == {
        "status": "pending", "answer_open": True, "decided": None, "reason": "Flu.", "asked_by": "student",
    }  # fmt: skip
    assert (shown["guardian_name"], shown["language"], shown["timezone"]) == ("Rosa Ortiz", "de", "America/New_York")
    assert (shown["student_timezone"], shown["tutor_timezone"]) == ("America/New_York", "Asia/Karachi")
    assert shown["subject"] == "Mathematics"
    assert (shown["student_name"], shown["tutor_name"]) == tuple(
        db.value("select display_name from public.profiles where id = %s", who.id) for who in (LENA, BILAL)
    )
    assert instant(shown["scheduled_start_utc"]) == START
    assert (instant(shown["expires_at"]), shown["silence_cancels"]) == (OVER, True)
    assert shown["answers"] == ["approve", "reschedule", "call", "keep"]
    db.run("update public.guardians set language = 'es' where id = %s", ROSA)
    assert read(db, token)["language"] == "es"
    assert request(db, request_id) == row


def test_the_link_about_a_booking_offers_no_other_time(db: Database) -> None:
    _, token = asked(db, booked(db, BILAL, LENA))
    assert read(db, token)["answers"] == ["approve", "call", "keep"]


def test_before_the_question_is_sent_no_silence_is_spoken_of(db: Database) -> None:
    shown = read(db, token_for(db, wish(db, lesson(db))))
    assert (shown["expires_at"], shown["silence_cancels"], shown["answer_open"]) == (None, False, True)


def test_unknown_old_and_orphaned_tokens_are_answered_alike(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    _, orphaned = asked(db, lesson(db, start=START + DAY))
    old = token_for(db, request_id)
    db.run(
        "update private.consent_tokens set created_at = now() - interval '60 days' - interval '1 minute'"
        " where token_hash = private.token_hash(%s)",
        old,
    )
    db.run(
        "update public.cancellation_requests set asked_guardian_id = null where id ="
        " (select cancellation_request_id from private.consent_tokens"
        "   where token_hash = private.token_hash(%s))",
        orphaned,
    )
    told = {
        str(refused(lambda act=act, unseen=unseen: act(unseen)))
        for unseen in (old, orphaned, "x" * 43, "", token.swapcase(), token[:-1], str(request_id))
        for act in (partial(read, db), partial(reply, db, answer="approve"), partial(reply, db, answer="maybe"))
    }
    assert told == {"404 not_found: There is no such question. {}"}
    assert read(db, token)["status"] == "pending"


def test_a_token_grows_old_by_the_real_clock(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    db.set_clock(ASKED + 3650 * DAY)
    assert read(db, token)["status"] == "pending"
    db.run("update private.consent_tokens set created_at = now() - interval '60 days' + interval '1 minute'")
    assert read(db, token)["status"] == "pending"
    db.run("update private.consent_tokens set created_at = now() - interval '60 days 1 minute'")
    assert refused(lambda: read(db, token)).status == 404
    assert read(db, token_for(db, request_id))["status"] == "pending"


def test_every_question_that_was_sent_may_be_answered_by_its_own_token(db: Database) -> None:
    request_id, first = asked(db, lesson(db))
    second = token_for(db, request_id)
    assert first != second
    assert len(first) == len(second) == 43
    assert reply(db, first, "keep")["outcome"] == "decided"
    assert reply(db, second, "keep")["outcome"] == "already"


def test_the_database_keeps_no_token(db: Database) -> None:
    _, token = asked(db, lesson(db))
    kept = db.rows("select t::text from private.consent_tokens t union all select m::text from public.messages m")
    assert kept
    assert not any(token in row for (row,) in kept)


# --- silence ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["match", "booking"])
def test_silence_cancels_to_the_second_and_by_the_clock(db: Database, origin: str) -> None:
    session_id = PUT[origin](db)
    request_id, token = asked(db, session_id)
    db.set_clock(OVER - SECOND)
    assert silence(db) == {"approved": 0, "failed": 0, "more": False}
    assert read(db, token)["answer_open"] is True
    db.set_clock(OVER)
    assert silence(db) == {"approved": 1, "failed": 0, "more": False}
    assert silence(db) == {"approved": 0, "failed": 0, "more": False}
    row = request(db, request_id)
    assert (row["status"], row["answered_by_guardian_id"], row["expires_at"]) == ("auto_approved", None, None)
    assert (column(db, session_id, "status"), column(db, session_id, "status_reason")) == ("cancelled", "Flu.")
    assert column(db, session_id, "status_effective_at") == OVER
    assert audit(db, request_id)[-1] == ("cancellation_request_updated", "clock", None)
    assert audit(db, session_id) == [("session_status_updated", "clock", None)]
    assert events(db, session_id)[-2:] == ["cancellation.auto_approved", "session.cancelled"]
    told = reply(db, token, "keep")
    assert (told["outcome"], told["decided"]["status"]) == ("too_late", "auto_approved")
    assert reply(db, token, "approve")["outcome"] == "already"


@pytest.mark.parametrize(("answer", "outcome"), [("keep", "too_late"), ("call", "too_late"), ("approve", "already")])
def test_a_late_answer_changes_nothing_even_before_the_scheduler_has_come(
    db: Database, answer: str, outcome: str
) -> None:
    session_id = lesson(db)
    request_id, token = asked(db, session_id)
    db.set_clock(OVER)
    assert (read(db, token)["answer_open"], read(db, token)["answers"]) == (False, [])
    told = reply(db, token, answer)
    assert (told["outcome"], told["status"]) == (outcome, "auto_approved")
    assert audit(db, request_id)[-1] == ("cancellation_request_updated", "clock", None)
    assert column(db, session_id, "status_set_by") == "clock"
    assert silence(db)["approved"] == 0


def test_silence_keeps_a_lesson_that_begins_before_the_time_is_over(db: Database) -> None:
    session_id = lesson(db, start=ASKED + 10 * HOUR)
    request_id, token = asked(db, session_id)
    assert read(db, token)["silence_cancels"] is False
    db.set_clock(OVER)
    assert silence(db) == {"approved": 0, "failed": 0, "more": False}
    assert (request(db, request_id)["status"], column(db, session_id, "status")) == ("pending", "scheduled")
    db.call("service_role", "sweep_session_statuses")
    assert request(db, request_id)["status"] == "lapsed"


def test_silence_cancels_a_parked_lesson_whenever_it_was_to_be(db: Database) -> None:
    session_id = lesson(db, start=ASKED - DAY, status="rescheduled")
    _, token = asked(db, session_id)
    assert read(db, token)["silence_cancels"] is True
    db.set_clock(OVER)
    assert silence(db)["approved"] == 1
    assert column(db, session_id, "status") == "cancelled"


def test_the_time_starts_once_and_is_as_long_as_the_house_says(db: Database) -> None:
    db.call(NADIA, "update_settings", p_consent_hours=2)
    request_id, _ = asked(db, lesson(db))
    db.call(NADIA, "update_settings", p_consent_hours=100)
    db.set_clock(ASKED + HOUR)
    db.run("select private.start_consent_timer(%s)", request_id)
    row = request(db, request_id)
    assert (instant(row["asked_at"]), instant(row["expires_at"])) == (ASKED, ASKED + 2 * HOUR)


def test_no_time_runs_for_what_is_decided_or_asks_nobody(db: Database) -> None:
    decided, unasked = wish(db, lesson(db)), wish(db, lesson(db, ENGLISH), OLIVER)
    db.call(LENA, "withdraw_cancellation", p_request_id=decided)
    for request_id in (decided, unasked):
        db.run("select private.start_consent_timer(%s)", request_id)
        row = request(db, request_id)
        assert (row["asked_at"], row["expires_at"]) == (None, None)
    db.run("select private.note_consent_unasked(%s, 'failed')", decided)
    assert request(db, decided)["unasked_reason"] is None


def test_a_question_that_turns_out_lost_stops_the_time_and_another_one_starts_it_anew(db: Database) -> None:
    session_id = lesson(db)
    request_id, token = asked(db, session_id)
    for _ in range(2):
        db.run("select private.note_consent_unasked(%s, 'failed')", request_id)
    row = request(db, request_id)
    assert (row["asked_at"], row["expires_at"], row["unasked_reason"]) == (None, None, "failed")
    assert events(db, session_id) == ["cancellation.requested", "cancellation.unasked"]
    db.set_clock(OVER)
    assert silence(db)["approved"] == 0
    assert read(db, token)["answer_open"] is True
    db.run("select private.start_consent_timer(%s)", request_id)
    row = request(db, request_id)
    assert (instant(row["expires_at"]), row["unasked_reason"]) == (OVER + 48 * HOUR, None)


def test_a_guardian_who_is_gone_leaves_the_decision_to_an_admin(db: Database) -> None:
    request_id, _ = asked(db, lesson(db))
    db.run("update public.cancellation_requests set asked_guardian_id = null where id = %s", request_id)
    assert request(db, request_id)["expires_at"] is None


def test_the_scheduler_takes_some_at_a_time_the_oldest_first(db: Database) -> None:
    requests: list[UUID] = []
    for number in range(3):
        db.set_clock(ASKED + number * SECOND)
        requests.append(asked(db, lesson(db, start=START + number * DAY))[0])
    db.set_clock(OVER + HOUR)
    for left in (2, 1, 0):
        assert silence(db, p_limit=1) == {"approved": 1, "failed": 0, "more": True}
        statuses = [request(db, each)["status"] for each in requests]
        assert statuses == ["auto_approved"] * (3 - left) + ["pending"] * left
    assert silence(db, p_limit=1) == {"approved": 0, "failed": 0, "more": False}
    for limit in (None, 0, 5001):
        assert refused(lambda limit=limit: silence(db, p_limit=limit)).extra == {"field": "limit"}


def test_one_that_fails_stops_nobody_and_is_tried_again_later(db: Database) -> None:
    poisoned, fine = lesson(db), lesson(db, start=START + DAY)
    (bad, token), (good, _) = asked(db, poisoned), asked(db, fine)
    db.run("create function private.poison() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$")
    db.run(
        "create trigger a_poison before update on public.sessions for each row"
        f" when (old.id = '{poisoned}') execute function private.poison()"
    )
    db.set_clock(OVER)
    assert silence(db) == {"approved": 1, "failed": 1, "more": False}
    assert [request(db, each)["status"] for each in (bad, good)] == ["pending", "auto_approved"]
    assert silence(db)["failed"] == 0, "not before its time"
    db.set_clock(OVER + 61 * SECOND)
    assert silence(db)["failed"] == 1
    assert db.rows("select failures, sqlstate from private.consent_failures") == [(2, "P0001")]
    db.run("drop trigger a_poison on public.sessions")
    db.set_clock(OVER + HOUR)
    assert silence(db) == {"approved": 1, "failed": 0, "more": False}
    assert db.rows("select from private.consent_failures") == []
    assert reply(db, token, "approve")["outcome"] == "already"
    roles = db.rows(
        "select distinct actor_role::text from public.audit_logs where entity_id in (%s, %s)", bad, poisoned
    )
    assert ("service",) not in roles, "the failed attempts left nothing behind"


# --- answers as messages --------------------------------------------------------------------------------------


def tell(db: Database, *answers: dict[str, Any]) -> list[str]:
    told = db.call("service_role", "answer_consent_messages", p_answers=json.dumps(answers))
    return [each["outcome"] for each in told["results"]]


def tap(answer: str | None, **how: object) -> dict[str, Any]:
    """A tap of a button, with an event id of its own unless one is given."""
    return {"provider": "meta", "provider_event_id": str(uuid4()), "answer": answer} | how


def sent(db: Database, request_id: object, wamid: str, reply_id: str | None = None) -> None:
    """The question, with the names that the provider gave it."""
    db.run(
        "update public.messages set provider = 'meta', provider_message_id = %s, provider_reply_id = %s"
        " where cancellation_request_id = %s and template = 'P26_cancellation_request'",
        wamid,
        reply_id,
        request_id,
    )


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("how", ["token", "replied_to", "by the other name", "both"])
def test_a_tap_is_matched_by_its_token_or_by_what_it_replies_to(db: Database, answer: str, how: str) -> None:
    request_id, token = asked(db, lesson(db))
    sent(db, request_id, "wamid.1", "wamid.reply")
    by = {
        "token": {"token": token},
        "replied_to": {"replied_to": "wamid.1"},
        "by the other name": {"replied_to": "wamid.reply"},
        "both": {"token": token, "replied_to": "wamid.1"},
    }[how]
    assert tell(db, tap(answer, **by)) == ["decided"]
    assert request(db, request_id)["status"] == ANSWERS[answer]
    assert audit(db, request_id)[-1][1] == "guardian"


def test_what_nobody_was_asked_is_unknown_and_changes_nothing(db: Database) -> None:
    (one, token), (other, _) = asked(db, lesson(db)), asked(db, lesson(db, start=START + DAY))
    sent(db, one, "wamid.1")
    sent(db, other, "wamid.2")
    before = (request(db, one), request(db, other))
    forged = [
        tap("approve"),
        tap("approve", token="x" * 43),
        tap("approve", replied_to="wamid.3"),
        tap("approve", token="x" * 43, replied_to="wamid.1"),
        tap("approve", token=token, replied_to="wamid.2"),
        tap("approve", replied_to="wamid.1", provider="aisensy"),
    ]
    assert tell(db, *forged) == ["unknown"] * len(forged)
    phone = db.value("select phone from public.guardians where id = %s", ROSA)
    assert tell(db, tap("approve", replied_to=phone), tap("approve", token=phone)) == ["unknown"] * 2
    assert (request(db, one), request(db, other)) == before


def test_a_reply_to_something_else_that_was_said_is_no_answer(db: Database) -> None:
    request_id, _ = asked(db, lesson(db))
    db.run(
        "update public.messages set template = 'consent_reply', provider = 'meta', provider_message_id = 'wamid.1'"
        " where cancellation_request_id = %s",
        request_id,
    )
    assert tell(db, tap("approve", replied_to="wamid.1")) == ["unknown"]


def test_an_old_token_in_a_button_is_worth_nothing(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    db.run("update private.consent_tokens set created_at = now() - interval '61 days'")
    assert tell(db, tap("approve", token=token)) == ["unknown"]
    assert request(db, request_id)["status"] == "pending"


def test_the_same_event_again_is_ignored(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    first = tap("call", token=token)
    assert tell(db, first, first, tap("call", token=token)) == ["decided", "ignored", "already"]
    row = request(db, request_id)
    assert tell(db, first | {"answer": "approve"}) == ["ignored"]
    assert tell(db, first | {"provider": "aisensy"}) == ["already"], "another provider's event of that name"
    assert request(db, request_id) == row


@pytest.mark.parametrize("answer", [None, "", "thanks", "Approve"])
def test_what_is_no_answer_is_ignored(db: Database, answer: str | None) -> None:
    request_id, token = asked(db, lesson(db))
    assert tell(db, tap(answer, token=token)) == ["ignored"]
    assert request(db, request_id)["status"] == "pending"


def test_who_answers_too_late_is_told_so_once(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    db.set_clock(OVER)
    assert tell(db, tap("keep", token=token), tap("call", token=token)) == ["too_late", "too_late"]
    assert messages(db, request_id, "consent_reply") == [(ROSA, {"outcome": "too_late", "status": "auto_approved"})]
    assert tell(db, tap("approve", token=token)) == ["already"]
    assert len(messages(db, request_id, "consent_reply")) == 1


def test_one_that_fails_is_undone_and_may_be_told_again(db: Database) -> None:
    (bad, token), (good, other) = asked(db, lesson(db)), asked(db, lesson(db, start=START + DAY))
    db.run(f"alter table public.cancellation_requests add constraint no check (id <> '{bad}' or status = 'pending')")
    taps = [tap("keep", token=token), tap("keep", token=other)]
    assert tell(db, *taps) == ["failed", "decided"]
    assert [request(db, each)["status"] for each in (bad, good)] == ["pending", "rejected"]
    db.run("alter table public.cancellation_requests drop constraint no")
    assert tell(db, *taps) == ["decided", "ignored"]


@pytest.mark.parametrize(
    "answers",
    [
        None, {}, "approve", ["approve"], [None], [{"provider": "meta"}], [{"provider_event_id": "1"}],
        [{"provider": "meta", "provider_event_id": None}],
        [{"provider": "meta", "provider_event_id": str(number)} for number in range(501)],
    ],
)  # fmt: skip
def test_what_is_no_list_of_answers_is_refused(db: Database, answers: object) -> None:
    refusal = refused(lambda: db.call("service_role", "answer_consent_messages", p_answers=json.dumps(answers)))
    assert (refusal.status, refusal.code, refusal.extra) == (422, "invalid", {"field": "answers"})


def test_no_answers_have_no_outcomes(db: Database) -> None:
    assert tell(db) == []


# --- what who asked sees --------------------------------------------------------------------------------------


def test_who_asked_sees_every_step_and_no_names(db: Database) -> None:
    request_id, token = asked(db, lesson(db), BILAL)
    db.run("select private.note_consent_unasked(%s, 'failed')", request_id)
    db.set_clock(ASKED + HOUR)
    db.run("select private.start_consent_timer(%s)", request_id)
    shown = db.call(BILAL, "get_cancellation_request", p_request_id=request_id)["request"]
    assert (shown["asks_guardian"], shown["answered_by_guardian"], shown["unasked_reason"]) == (True, False, None)
    assert (instant(shown["asked_at"]), instant(shown["expires_at"])) == (ASKED + HOUR, OVER + HOUR)
    reply(db, token, "call")
    db.call(NADIA, "reject_cancellation", p_request_id=request_id)
    shown = db.call(BILAL, "get_cancellation_request", p_request_id=request_id)["request"]
    assert [(each["step"], each["by_role"]) for each in shown["history"]] == [
        ("requested", "tutor"),
        ("guardian_asked", "studio"),
        ("guardian_not_asked", "studio"),
        ("guardian_asked", "studio"),
        ("call_requested", "guardian"),
        ("rejected", "admin"),
    ]
    assert (shown["answered_by_guardian"], shown["expires_at"]) == (True, None)
    assert all(each.keys() == {"step", "by_role", "at"} for each in shown["history"])
    (listed,) = db.call(BILAL, "list_cancellation_requests")["requests"]
    assert listed == shown
    for secret in (str(ROSA), "Rosa", "+1202"):
        assert secret not in json.dumps(shown)


# --- forgetting -----------------------------------------------------------------------------------------------


def test_old_tokens_and_what_providers_said_are_forgotten(db: Database) -> None:
    request_id, token = asked(db, lesson(db))
    old = token_for(db, request_id)
    db.run(
        "update private.consent_tokens set created_at = now() - interval '61 days'"
        " where token_hash = private.token_hash(%s)",
        old,
    )
    first = tap("call", token=token)
    tell(db, first)
    db.set_clock(ASKED + 30 * DAY)
    cleaned = db.call("service_role", "clean_up")
    assert (cleaned["consent_tokens"], cleaned["provider_events"]) == (1, 0)
    assert read(db, token)["status"] == "call_requested"
    db.set_clock(ASKED + 30 * DAY + SECOND)
    assert db.call("service_role", "clean_up")["provider_events"] == 1
