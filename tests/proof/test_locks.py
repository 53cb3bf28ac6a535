"""No two writing functions wait for each other, wherever one of them is stopped half-way.

Two calls deadlock only when each holds what the other still needs. So every call is stopped at every row it locks: a
gate holds that row, the call waits there with all it took before, another call is let in behind it until it waits too
or is done, and then the gate opens. A pair that locks in two orders meets itself at some gate. Nothing sleeps: a call
waits when `pg_blocking_pids` says so. Everything is rolled back, so each pair begins in the same house.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import combinations_with_replacement
from random import Random
from typing import Any, LiteralString, NamedTuple, TypeAlias
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.database import Database, Refused, clone
from tests.db import calendars, letters
from tests.db.consents import token_for, wish
from tests.db.dispatch import claim, endpoint, happen, result, settle
from tests.house import (
    ENGLISH,
    EXAM_CLINIC,
    HARRIET,
    IELTS,
    NADIA,
    NEWCOMER,
    OLIVER,
    OPEN_REQUEST_ID,
    ZARA,
    Match,
    Person,
)
from tests.plans import commit, generate, planned, sell

Deed: TypeAlias = Callable[[Database], dict[str, Any]]
Gate: TypeAlias = tuple[LiteralString, object]

MIDWAY = "2026-03-11T09:00:00+00:00"
FREE = "2026-03-21T07:00:00Z"
"""A time at which Harriet, Oliver and Zara have no lesson."""
PATTERN = {"timezone": "Europe/London", "days": [2, 4], "time": "17:00", "duration_mins": 45}
NO_BRIEF: dict[str, object] = {
    "fingerprint": "f", "source": "rules", "model": None,
    "brief": {"challenges": [], "motivators": [], "recommended_activities": [], "session_focus": []},
}  # fmt: skip
NINE = ("2026-03-20T09:00:00Z", "2026-03-20T10:00:00Z")
SUNDAYS = {"weekday": 7, "starts_at": "09:00", "ends_at": "10:00"}
WITHOUT_A_LOCK_TO_MEET = {
    "create_holiday", "create_person (new)", "create_webhook_endpoint", "sweep_session_statuses", "claim_deliveries",
    "clean_up", "update_settings",
    "claim_calendar_syncs", "claim_busy_reads",
}  # fmt: skip
"""What inserts rows that nothing refers to yet, passes over what others hold, or changes a row of its own."""


class House(NamedTuple):
    """English and IELTS have the same tutor and a month of lessons each; both have a package more, empty."""

    url: str
    sessions: tuple[UUID, ...]
    """Of English: done, to be resolved, done by the clock, cancelled and to come, and to come."""
    beside: UUID
    """A package of English with one extra session."""
    extra: UUID
    empty: Mapping[UUID, UUID]
    """The package in May, by match."""
    guardian: UUID
    progress_link: UUID
    holiday: UUID
    time_off: UUID
    drafts: tuple[UUID, UUID]
    """On the exam clinic: O's and Z's, both for the time of the extra session that could be added."""
    offered: str
    """The fingerprint of the exam clinic's free times."""
    endpoint: UUID
    delivered: UUID
    leased: tuple[dict[str, Any], ...]
    """Two deliveries that a dispatcher has."""
    wishes: Mapping[str, UUID]
    """What is asked about the session to come: another time by either side, and O to cancel it.

    O also asks to cancel two later sessions: the guardian may answer about one, and kept silent about the other.
    """
    tokens: tuple[str, str]
    """With which the guardian may answer about the session to come and about the later one."""
    posted: tuple[dict[str, Any], dict[str, Any]]
    """Two messages that a dispatcher has: the guardian's question, whose lease has run out, and another."""
    refused: UUID
    """A message that was refused."""
    homework: Mapping[str, UUID]
    """H's for O: given, and handed in."""
    contents: tuple[str, ...]
    """The hashes of two contents that an embedding job has."""
    syncing: tuple[dict[str, Any], ...]
    """Two English sessions, and one of IELTS, which has no Meet link, on their way to Google Calendar."""
    reading: dict[str, Any]
    """The tutor's calendar, being read."""


@pytest.fixture(scope="session")
def house(server: str) -> Iterator[House]:
    url = clone(server, "locks", "pristine")
    db = Database.open(url)
    with db.connection:
        yield _lived_in(db, url)


def _lived_in(db: Database, url: str) -> House:
    for match in (ENGLISH, IELTS):
        generate(db, match.id, match.package_id)
    (window,) = db.rows("select start_date, end_date from public.packages where id = %s", ENGLISH.package_id)
    may = {"p_start_date": "2026-05-01", "p_end_date": "2026-05-31"}
    empty = {match.id: sell(db, match.request_id, *window, **may) for match in (ENGLISH, IELTS)}
    beside = sell(db, ENGLISH.request_id, *window)
    extra = db.call(
        NADIA,
        "add_extra_session",
        p_match_id=ENGLISH.id,
        p_start_utc="2026-03-20T07:00:00Z",
        p_reason="make-up",
        p_package_id=beside,
    )
    rows = db.rows("select id from public.sessions where package_id = %s order by sequence_number", ENGLISH.package_id)
    done, begun, last_night, to_come, later, silent, *_, cancelled = (session_id for (session_id,) in rows)
    db.set_clock(MIDWAY)
    db.call(NADIA, "tutor_update_session", p_session_id=done, p_status="done")
    db.run(
        "update public.sessions set status = 'done', version = version + 1, updated_by_role = 'clock' where id = %s",
        last_night,
    )
    db.call(NADIA, "tutor_update_session", p_session_id=cancelled, p_status="cancelled", p_reason="ill")
    ask = {"p_session_id": to_come, "p_reason": "ill"}
    reached = "update public.guardians set phone = '+447700900188', whatsapp_opt_in = true where student_user_id = %s"
    db.run(reached, OLIVER.id)
    wishes = {
        "another time": db.call(OLIVER, "request_reschedule", **ask),
        "the tutor's": db.call(HARRIET, "request_reschedule", **ask),
        "to cancel": db.call(OLIVER, "request_cancellation", **ask),
    }
    asked = {name: UUID(answer["request"]["id"]) for name, answer in wishes.items()}
    asked |= {"later": wish(db, later, OLIVER), "silence": wish(db, silent, OLIVER)}
    guardian = db.value("select id from public.guardians where student_user_id = %s", OLIVER.id)
    db.run("update public.cancellation_requests set asked_guardian_id = %s", guardian)
    over = "update public.cancellation_requests set asked_at = private.now(), expires_at = private.now() where id = %s"
    db.run(over, asked["silence"])
    db.call(NADIA, "update_person", p_person_id=HARRIET.id, p_roles=["tutor", "admin"])
    time_off = db.call(NADIA, "create_time_off", p_user_id=HARRIET.id, p_starts_on="2026-06-01", p_ends_on="2026-06-02")
    clinic = {"p_listing_id": EXAM_CLINIC.id}
    offered = db.call(OLIVER, "slot_inputs", p_from=FREE, p_to="2026-03-22T07:00:00Z", **clinic)["fingerprint"]
    drafts = [
        db.call(who, "request_booking", p_start_utc=FREE, p_fingerprint=offered, **clinic) for who in (OLIVER, ZARA)
    ]
    guardian = db.value("select id from public.guardians where student_user_id = %s", OLIVER.id)
    hook = endpoint(db)
    for _ in range(3):
        happen(db)
    delivered, *leased = claim(db)
    settle(db, delivered)
    given, handed_in = (
        UUID(db.call(HARRIET, "assign_homework", p_student_id=OLIVER.id, p_title=title)["homework"]["id"])
        for title in ("Page 12", "Page 13")
    )
    db.call(OLIVER, "submit_homework", p_homework_id=handed_in)
    db.call(HARRIET, "store_summary_draft", p_session_id=done, p_source="rules", p_text="Verbs.")
    brief = {f"p_{name}": value for name, value in NO_BRIEF.items()}
    db.call(HARRIET, "store_brief", p_session_id=begun, **brief)
    db.call(HARRIET, "take_model_call", p_kind="brief")
    contents = db.call("service_role", "claim_embeddings", p_model="m", p_dimension=1, p_limit=2)["contents"]
    question, other, refused = _post(db, asked)
    calendars.without_link(db, IELTS)
    calendars.turn(db, on=True)
    on_their_way = calendars.claim(db, limit=500)
    english = [each for each in on_their_way if not each["wants_meet"]]
    calendars.settle(db, english[2:])
    db.call(NADIA, "retry_calendar_sync", p_session_id=english[2]["session_id"])
    calendars.enter_calendar(db)
    (reading,) = calendars.claim_reads(db)
    return House(
        syncing=(*english[:2], *(each for each in on_their_way if each["wants_meet"])),
        reading=reading,
        url=url,
        posted=(question, other),
        refused=UUID(refused["message_id"]),
        homework={"given": given, "handed in": handed_in},
        contents=tuple(each["content_hash"] for each in contents),
        drafts=(UUID(drafts[0]["booking"]["id"]), UUID(drafts[1]["booking"]["id"])),
        offered=offered,
        sessions=(done, begun, last_night, cancelled, to_come),
        beside=beside,
        extra=UUID(extra["session"]["id"]),
        empty=empty,
        guardian=guardian,
        progress_link=UUID(db.call(NADIA, "create_progress_link", p_guardian_id=guardian)["id"]),
        holiday=db.value("select id from public.holidays limit 1"),
        time_off=UUID(time_off["time_off"]["id"]),
        endpoint=hook,
        delivered=UUID(delivered["delivery_id"]),
        leased=tuple(leased),
        wishes=asked,
        tokens=(token_for(db, asked["to cancel"]), token_for(db, asked["later"])),
    )


def _post(db: Database, asked: Mapping[str, UUID]) -> list[dict[str, Any]]:
    """The guardian's question about the session to come and another message, leased, and one that was refused.

    The question about the silent one was sent, that about the later one waits, as all the others do.
    """
    claimed = letters.claim(db, limit=500)
    query = "select cancellation_request_id, id::text from public.messages where template = 'P26_cancellation_request'"
    number_of = dict(db.rows(query))
    letter_of = {each["message_id"]: each for each in claimed}
    question, later, silent = (letter_of.pop(number_of[asked[name]]) for name in ("to cancel", "later", "silence"))
    other, refused, *others = letter_of.values()
    named = {"channel": "whatsapp", "provider": "meta", "provider_message_id": "wamid.1"}
    letters.settle(
        db,
        letters.result(silent, **named),
        letters.result(refused, "refused"),
        *(letters.result(each, "deferred", send_after=MIDWAY) for each in (later, *others)),
    )
    db.run("update public.messages set leased_until = private.now() where id = %s", question["message_id"])
    return [question, other, refused]


# --- what is done, and where it may be stopped ------------------------------------------------------------


def deeds(house: House) -> dict[str, Deed]:  # noqa: C901  # a small function for each kind of call
    """A call that succeeds, or several, for every writing function; its name is the first word."""
    done, begun, last_night, cancelled, to_come = house.sessions
    then = "2026-06-10T10:00:00Z"

    def call(function: str, who: Person | str = NADIA, /, **arguments: object) -> Deed:
        parameters = {f"p_{name}": value for name, value in arguments.items()}
        return lambda db: db.call(who, function, **parameters)

    def plan(match: Match, package_id: UUID, **options: object) -> Deed:
        db = Database.open(house.url)
        with db.connection:
            inputs, dates = planned(db, match.id, package_id)
        return lambda db: commit(db, inputs, dates, **options)

    def month(*matches: Match) -> Deed:
        db = Database.open(house.url)
        with db.connection:
            plans = [planned(db, match.id, house.empty[match.id]) for match in matches]
        return call(
            "generate_month",
            plans=[
                {
                    "match_id": str(inputs.match_id),
                    "package_id": str(inputs.package_id),
                    "fingerprint": inputs.fingerprint,
                    "occurrences": [
                        {"start_utc": each.start_utc.isoformat(), "end_utc": each.end_utc.isoformat()}
                        for each in dates.occurrences
                    ],
                }
                for inputs, dates in plans
            ],
        )

    def imported(order: int) -> Deed:
        db = Database.open(house.url)
        with db.connection:
            sold = db.rows(
                "select email, subject from public.requests join public.accounts on profile_id = student_user_id"
                " where requests.id = any (%s)",
                [ENGLISH.request_id, IELTS.request_id],
            )
        dates = {"tier_sessions": 8, "start_date": "2026-07-01", "end_date": "2026-07-31"}
        person = {"display_name": "New", "timezone": "UTC", "roles": ["student"]}
        latin = {"tutor_email": HARRIET.email, "subject": "Latin"}
        return call(
            "import_house",
            people=[{"email": email} | person for email in (NEWCOMER.email, "new@lessonkeeper.test")][::order],
            matches=[{"student_email": who.email} | latin for who in (OLIVER, ZARA)][::order],
            packages=[{"student_email": email, "subject": subject} | dates for email, subject in sold][::order],
            dry_run=False,
        )

    def settled(outcome: str, order: int) -> Deed:
        results = [result(each, outcome) for each in house.leased]
        return call("settle_deliveries", "service_role", results=results[::order])

    def reported(outcome: str, order: int) -> Deed:
        results = [letters.result(each, outcome) for each in house.posted]
        return call("settle_messages", "service_role", results=results[::order])

    def tapped(answer: str, order: int) -> Deed:
        answers = [
            {"provider": "meta", "provider_event_id": token[:9], "token": token, "answer": answer}
            for token in house.tokens
        ]
        return call("answer_consent_messages", "service_role", answers=answers[::order])

    def embedded(order: int) -> Deed:
        vectors = [{"content_hash": each, "embedding": [1]} for each in house.contents]
        return call("settle_embeddings", "service_role", model="m", dimension=1, vectors=vectors[::order])

    def synced(outcome: str, order: int) -> Deed:
        results = [calendars.result(each, outcome, meet_link=calendars.LINK) for each in house.syncing]
        return call("settle_calendar_syncs", "service_role", results=results[::order])

    def series(minutes: int) -> Deed:
        """English, a little later or earlier."""
        db = Database.open(house.url)
        scope = {"p_match_id": ENGLISH.id, "p_scope": "following", "p_session_id": to_come}
        with db.connection:
            inputs = db.call(NADIA, "series_inputs", **scope)
        distance = timedelta(minutes=minutes)
        moves = [
            {
                "session_id": each["session_id"],
                "start_utc": (datetime.fromisoformat(each["scheduled_start_utc"]) + distance).isoformat(),
            }
            for each in inputs["moving"]
        ]
        return lambda db: db.call(
            NADIA, "reschedule_series", **scope, p_fingerprint=inputs["fingerprint"], p_moves=Jsonb(moves),
            p_schedule_pattern=Jsonb(PATTERN),
        )  # fmt: skip

    def status(session_id: UUID, status: str, who: Person = NADIA, **more: object) -> Deed:
        return call("tutor_update_session", who, session_id=session_id, status=status, **more)

    return {
        "update_me": call("update_me", HARRIET, display_name="Harriet"),
        "create_person (new)": call(
            "create_person",
            email="new@lessonkeeper.test",
            display_name="New",
            timezone="UTC",
            roles=["student"],
        ),
        "create_person (taken in)": call(
            "create_person",
            email=NEWCOMER.email,
            display_name="New",
            timezone="UTC",
            roles=["student"],
            phone="+12025550111",
        ),
        "update_person (newcomer)": call(
            "update_person", person_id=NEWCOMER.id, display_name="N", phone="+12025550112", roles=["tutor"]
        ),
        "update_person (no admin any more)": call(
            "update_person", person_id=HARRIET.id, display_name="H", roles=["tutor"]
        ),
        "update_person (nor the other)": call("update_person", HARRIET, person_id=NADIA.id, is_active=False),
        "update_person (student)": call(
            "update_person", person_id=OLIVER.id, timezone="UTC", roles=["student", "tutor"]
        ),
        "create_guardian": call(
            "create_guardian",
            student_id=OLIVER.id,
            name="Aunt",
            timezone="UTC",
            phone="+12025550113",
            is_primary=True,
        ),
        "update_guardian": call("update_guardian", guardian_id=house.guardian, name="Uncle", is_primary=True),
        "create_request": call("create_request", OLIVER, subject="Greek"),
        "update_request": call("update_request", request_id=ENGLISH.request_id, level="A"),
        "create_match": call("create_match", request_id=OPEN_REQUEST_ID, tutor_id=HARRIET.id, schedule_pattern=PATTERN),
        "update_match": call("update_match", match_id=ENGLISH.id, meet_link=""),
        "set_match_schedule": call("set_match_schedule", match_id=ENGLISH.id, schedule_pattern=PATTERN),
        "end_match (English)": call("end_match", match_id=ENGLISH.id, reason="moving away"),
        "end_match (IELTS)": call("end_match", match_id=IELTS.id, reason="moving away"),
        "create_package": call(
            "create_package",
            request_id=ENGLISH.request_id,
            tier_sessions=8,
            start_date="2026-06-01",
            end_date="2026-06-30",
        ),
        "update_package": call("update_package", package_id=ENGLISH.package_id, tier_sessions=12),
        "renew_package": call("renew_package", package_id=house.empty[ENGLISH.id], create=True),
        "create_holiday": call("create_holiday", on_date="2026-12-25", name="Christmas"),
        "update_holiday": call("update_holiday", holiday_id=house.holiday, name="Feast"),
        "delete_holiday": call("delete_holiday", holiday_id=house.holiday),
        "create_time_off": call("create_time_off", user_id=HARRIET.id, starts_on="2026-07-01", ends_on="2026-07-02"),
        "update_time_off": call("update_time_off", time_off_id=house.time_off, note="sea"),
        "delete_time_off": call("delete_time_off", time_off_id=house.time_off),
        "generate_sessions (new)": plan(ENGLISH, house.empty[ENGLISH.id]),
        "generate_sessions (fill)": plan(ENGLISH, ENGLISH.package_id, p_fill=True),
        "generate_month (one way)": month(ENGLISH, IELTS),
        "generate_month (the other)": month(IELTS, ENGLISH),
        "add_extra_session": call(
            "add_extra_session",
            match_id=ENGLISH.id,
            start_utc=FREE,
            reason="make-up",
            package_id=house.beside,
        ),
        "import_house (one way)": imported(1),
        "import_house (the other)": imported(-1),
        "tutor_update_session (done)": status(begun, "done", HARRIET),
        "tutor_update_session (given back)": status(done, "no_show_tutor", reason="ill"),
        "tutor_update_session (reopened)": status(cancelled, "scheduled", reason="well again"),
        "reschedule_session": call("reschedule_session", session_id=to_come, start_utc=then),
        "request_reschedule": call("request_reschedule", OLIVER, session_id=to_come, reason="worse"),
        "accept_reschedule_request": call(
            "accept_reschedule_request", request_id=house.wishes["another time"], start_utc=then
        ),
        "reject_reschedule_request": call("reject_reschedule_request", request_id=house.wishes["the tutor's"]),
        "withdraw_reschedule_request": call(
            "withdraw_reschedule_request", OLIVER, request_id=house.wishes["another time"]
        ),
        "reschedule_series (later)": series(30),
        "reschedule_series (earlier)": series(-30),
        "cancel_session": call("cancel_session", session_id=to_come, reason="ill"),
        "request_cancellation": call("request_cancellation", OLIVER, session_id=house.extra, reason="ill"),
        "approve_cancellation": call("approve_cancellation", request_id=house.wishes["to cancel"]),
        "reject_cancellation": call("reject_cancellation", request_id=house.wishes["to cancel"]),
        "withdraw_cancellation": call("withdraw_cancellation", OLIVER, request_id=house.wishes["to cancel"]),
        "answer_consent (approve)": call("answer_consent", "service_role", token=house.tokens[0], answer="approve"),
        "answer_consent (reschedule)": call(
            "answer_consent", "service_role", token=house.tokens[0], answer="reschedule"
        ),
        "answer_consent_messages (one way)": tapped("approve", 1),
        "answer_consent_messages (the other)": tapped("reschedule", -1),
        "auto_approve_cancellations": call("auto_approve_cancellations", "service_role"),
        "start_session": call("start_session", session_id=begun),
        "complete_session": call("complete_session", HARRIET, session_id=begun),
        "mark_missed": call("mark_missed", session_id=begun, by="student"),
        "dispute_session": call("dispute_session", OLIVER, session_id=last_night, reason="Nobody came."),
        "review_session": call("review_session", OLIVER, session_id=last_night, rating=5),
        "sweep_session_statuses": call("sweep_session_statuses", "service_role"),
        "refresh_session_statuses": call("refresh_session_statuses", HARRIET),
        "update_settings": call("update_settings", start_window_mins=20),
        "update_settings (the calendar)": _turned_on_again,
        "claim_calendar_syncs": call("claim_calendar_syncs", "service_role"),
        "settle_calendar_syncs (one way)": synced("synced", 1),
        "settle_calendar_syncs (the other)": synced("failed", -1),
        "retry_calendar_sync": call("retry_calendar_sync", session_id=house.syncing[0]["session_id"]),
        "claim_busy_reads": call("claim_busy_reads", "service_role"),
        "settle_busy_reads": lambda db: calendars.settle_read(db, house.reading, NINE),
        "update_match (the link)": call("update_match", match_id=IELTS.id, meet_link=calendars.LINK),
        "update_request (the subject)": call("update_request", request_id=ENGLISH.request_id, subject="Essays"),
        "update_person (the calendar)": call(
            "update_person", person_id=HARRIET.id, google_calendar_id="another@calendar.test"
        ),
        "create_listing": call("create_listing", HARRIET, title="Essays"),
        "update_listing": call("update_listing", HARRIET, listing_id=EXAM_CLINIC.id, title="Essays"),
        "set_availability": call("set_availability", HARRIET, timezone="UTC", hours=[SUNDAYS]),
        "request_booking": call(
            "request_booking",
            OLIVER,
            listing_id=EXAM_CLINIC.id,
            start_utc="2026-03-28T07:00:00Z",
            fingerprint=house.offered,
        ),
        "accept_booking": call("accept_booking", HARRIET, booking_id=house.drafts[0]),
        "accept_booking (the other)": call("accept_booking", booking_id=house.drafts[1]),
        "decline_booking": call("decline_booking", HARRIET, booking_id=house.drafts[0]),
        "cancel_booking": call("cancel_booking", OLIVER, booking_id=house.drafts[0]),
        "create_webhook_endpoint": call("create_webhook_endpoint", url="https://receiver.test"),
        "update_webhook_endpoint": call("update_webhook_endpoint", endpoint_id=house.endpoint, is_enabled=False),
        "rotate_webhook_secret": call("rotate_webhook_secret", endpoint_id=house.endpoint),
        "delete_webhook_endpoint": call("delete_webhook_endpoint", endpoint_id=house.endpoint),
        "replay_delivery": call("replay_delivery", delivery_id=house.delivered),
        "rotate_calendar_token": call("rotate_calendar_token", HARRIET),
        "create_progress_link": call("create_progress_link", guardian_id=house.guardian),
        "revoke_progress_link": call("revoke_progress_link", link_id=house.progress_link),
        "record_assessment": call(
            "record_assessment", HARRIET, student_id=OLIVER.id, subject="Verbs", score=7, max_score=10, session_id=done
        ),
        "add_note": call("add_note", HARRIET, student_id=OLIVER.id, text="Reads a lot.", session_id=last_night),
        "assign_homework": call("assign_homework", HARRIET, student_id=OLIVER.id, title="Page 12", session_id=done),
        "submit_homework": call("submit_homework", OLIVER, homework_id=house.homework["given"]),
        "submit_homework (for them)": call("submit_homework", homework_id=house.homework["given"]),
        "review_homework": call("review_homework", HARRIET, homework_id=house.homework["handed in"], mark="A"),
        "take_model_call": call("take_model_call", HARRIET, kind="brief"),
        "store_brief": call("store_brief", HARRIET, session_id=begun, **NO_BRIEF),
        "store_brief (an admin's)": call("store_brief", session_id=begun, **NO_BRIEF),
        "store_summary_draft": call("store_summary_draft", HARRIET, session_id=done, source="rules", text="Adverbs."),
        "update_summary": call("update_summary", HARRIET, session_id=done, text="Nouns."),
        "approve_summary": call("approve_summary", session_id=done),
        "claim_embeddings": call("claim_embeddings", "service_role", model="m", dimension=1),
        "settle_embeddings (one way)": embedded(1),
        "settle_embeddings (the other)": embedded(-1),
        "claim_deliveries": call("claim_deliveries", "service_role"),
        "settle_deliveries (one way)": settled("gone", 1),
        "settle_deliveries (the other)": settled("delivered", -1),
        "clean_up": call("clean_up", "service_role"),
        "plan_reminders": call("plan_reminders", "service_role"),
        "claim_messages": call("claim_messages", "service_role"),
        "settle_messages (one way)": reported("sent", 1),
        "settle_messages (the other)": reported("refused", -1),
        "note_message_statuses": call(
            "note_message_statuses",
            "service_role",
            statuses=[{"provider": "meta", "provider_message_id": "wamid.1", "status": "failed"}],
        ),
        "retry_message": call("retry_message", message_id=house.refused),
        "move_session_to_package (there)": call(
            "move_session_to_package", session_id=done, package_id=house.beside, reason="mixed up"
        ),
        "move_session_to_package (back)": call(
            "move_session_to_package", session_id=house.extra, package_id=ENGLISH.package_id, reason="mixed up"
        ),
        "once": call(
            "once",
            HARRIET,
            idempotency_key="k",
            request_hash="h",
            function="tutor_update_session",
            arguments={"p_session_id": str(begun), "p_status": "done"},
        ),
    }


def _turned_on_again(db: Database) -> dict[str, Any]:
    calendars.turn(db, on=False)
    return db.call(NADIA, "update_settings", p_sync_google_calendar=True)


def gates(house: House) -> list[Gate]:
    """Every row of this house that a call may lock, and the two locks that are no rows."""
    rows: list[tuple[LiteralString, list[object]]] = [
        ("select from public.requests where id = %s for update", [ENGLISH.request_id, IELTS.request_id]),
        ("select from public.requests where id = %s for update", [OPEN_REQUEST_ID]),
        ("select from public.matches where id = %s for update", [ENGLISH.id, IELTS.id]),
        (
            "select from public.profiles where id = %s for update",
            [each.id for each in (HARRIET, OLIVER, ZARA, NADIA, NEWCOMER)],
        ),
        (
            "select from public.accounts where profile_id = %s for update",
            [each.id for each in (HARRIET, OLIVER, NADIA, NEWCOMER)],
        ),
        (
            "select from public.user_roles where profile_id = %s for update",
            [each.id for each in (HARRIET, OLIVER, NADIA)],
        ),
        ("select from private.progress_links where id = %s for update", [house.progress_link]),
        # Nobody takes more of them; whoever writes a message refers to its reader and must never wait for them.
        ("select from public.guardians where id = %s for no key update", [house.guardian]),
        ("select from public.holidays where id = %s for update", [house.holiday]),
        ("select from public.time_off where id = %s for update", [house.time_off]),
        ("select from public.listings where id = %s for update", [EXAM_CLINIC.id]),
        ("select from public.availability where tutor_user_id = %s for update", [HARRIET.id]),
        ("select from public.bookings where id = %s for update", [*house.drafts]),
        ("select from public.sessions where id = %s for update", [*house.sessions, house.extra]),
        (
            "select from public.reschedule_requests where id = %s for update",
            [house.wishes["another time"], house.wishes["the tutor's"]],
        ),
        (
            "select from public.cancellation_requests where id = %s for update",
            [house.wishes[name] for name in ("to cancel", "later", "silence")],
        ),
        (
            "select from public.packages where id = %s for update",
            [ENGLISH.package_id, house.beside, *house.empty.values()],
        ),
        ("select from public.homework where id = %s for update", list(house.homework.values())),
        ("select from public.session_summaries where session_id = %s for update", [house.sessions[0]]),
        ("select from public.briefs where session_id = %s for update", [house.sessions[1]]),
        ("select from private.model_calls where calls > %s for update", [0]),
        (
            "select from private.event_embeddings where content_hash = decode(%s, 'hex') for update",
            list(house.contents),
        ),
        ("select from private.embeddings where content_hash = decode(%s, 'hex') for update", list(house.contents)),
        # Nobody takes more of it; whoever writes an event refers to it and must never wait for it.
        ("select from private.subscriptions where id = %s for no key update", [house.endpoint]),
        ("select from public.webhook_endpoints where id = %s for update", [house.endpoint]),
        (
            "select from public.deliveries where id = %s for update",
            [house.delivered, *(each["delivery_id"] for each in house.leased)],
        ),
        (
            "select from public.messages where id = %s for update",
            [*(each["message_id"] for each in house.posted), house.refused],
        ),
        ("select from public.messages where provider_message_id = %s for update", ["wamid.1"]),
        (
            "select from public.calendar_syncs where session_id = %s for update",
            [each["session_id"] for each in house.syncing],
        ),
        ("select from private.google_busy_reads where tutor_user_id = %s for update", [HARRIET.id]),
        (
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))",
            ["lessonkeeper.admins", "lessonkeeper.import"],
        ),
    ]
    return [(statement, each) for statement, several in rows for each in several]


# --- two calls and a gate ---------------------------------------------------------------------------------


class Meeting:
    """Two connections that call, one that holds the gate, and one that watches."""

    def __init__(self, url: str, threads: ThreadPoolExecutor, connections: ExitStack) -> None:
        def connect() -> Database:
            return Database(connections.enter_context(psycopg.connect(url, autocommit=True)))

        self._threads = threads
        self._callers = connect(), connect()
        self._gate, self._watch = connect(), connect()

    @classmethod
    @contextmanager
    def of(cls, url: str) -> Generator["Meeting"]:
        with ThreadPoolExecutor(2) as threads, ExitStack() as connections:
            yield cls(url, threads, connections)

    def alone(self, deed: Deed) -> dict[str, Any]:
        """What the call answers; taken back."""
        return _taken_back(self._callers[0], deed)

    def stops(self, deed: Deed, gate: Gate) -> bool:
        """Whether the call waits at the gate."""
        with self._shut(gate):
            running = self._begin(0, deed)
            waits = self._waits(0, running, self._gate)
        _outcome(running)
        return waits

    def meet(self, first: Deed, second: Deed, gate: Gate) -> tuple[str, str]:
        """Stop the first at the gate, let the second in, open the gate; how each ended."""
        with self._shut(gate):
            one = self._begin(0, first)
            assert self._waits(0, one, self._gate)
            other = self._begin(1, second)
            self._waits(1, other)
        return _outcome(one), _outcome(other)

    @contextmanager
    def _shut(self, gate: Gate) -> Generator[None]:
        statement, key = gate
        with self._gate.connection.transaction(force_rollback=True):
            self._gate.connection.execute(statement, (key,))
            yield

    def _begin(self, number: int, deed: Deed) -> Future[dict[str, Any]]:
        return self._threads.submit(_taken_back, self._callers[number], deed)

    def _waits(self, number: int, running: Future[dict[str, Any]], behind: Database | None = None) -> bool:
        """True when the call waits for somebody (for that one), False when it is done."""
        process = self._callers[number].connection.info.backend_pid
        # Postgres itself may hold up a call for a moment, such as while a table grows.
        query: LiteralString = "select pg_blocking_pids(%s) <> '{}'"
        parameters = (process,)
        if behind is not None:
            query = "select %s = any (pg_blocking_pids(%s))"
            parameters = (behind.connection.info.backend_pid, process)
        while not running.done():
            if self._watch.value(query, *parameters):
                return True
        return False


def _taken_back(db: Database, deed: Deed) -> dict[str, Any]:
    with db.connection.transaction(force_rollback=True):
        return deed(db)


def _outcome(running: Future[dict[str, Any]]) -> str:
    """`ok`, the code of a refusal, or the SQLSTATE of what should not have happened."""
    try:
        answer = running.result()
    except Refused as refused:
        return refused.code
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    # A month run tells of a deadlock in a match's result instead of failing; so do guardians' taps and their silence.
    results = answer.get("results", ())
    if "failed" in [each.get("outcome") for each in results] or ("approved" in answer and answer["failed"]):
        return "A decision failed."
    return next((each["detail"] for each in results if each.get("code") == "failed"), "ok")


def test_every_writing_function_has_a_deed_that_succeeds(house: House) -> None:
    db = Database.open(house.url)
    with db.connection:
        writing = {
            name
            for (name,) in db.rows(
                "select proname from pg_proc where pronamespace = 'public'::regnamespace and provolatile = 'v'"
            )
        }
    things = deeds(house)
    assert {name.split()[0] for name in things} == writing
    with Meeting.of(house.url) as meeting:
        for name, deed in things.items():
            answer = meeting.alone(deed)
            assert answer.get("created") != 0, name
            assert all(each.get("created", each.get("outcome")) for each in answer.get("results", ())), name
            assert all(each.get("outcome", "decided") == "decided" for each in answer.get("results", ())), name


PARTS = 8
"""So that several workers share the pairs."""


@pytest.fixture(scope="session")
def stopped(house: House) -> Mapping[str, Sequence[Gate]]:
    """By its name, at which rows each deed can be stopped."""
    with Meeting.of(house.url) as meeting:
        return {
            name: rows
            for name, deed in deeds(house).items()
            if (rows := [gate for gate in gates(house) if meeting.stops(deed, gate)])
        }


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("at_most", [1, pytest.param(99, marks=pytest.mark.long)])
def test_no_two_writing_functions_wait_for_each_other(
    house: House, stopped: Mapping[str, Sequence[Gate]], chance: Random, at_most: int, part: int
) -> None:
    """Every pair, either of them stopped at one of its rows by chance; in the long run each, at each of them."""
    things, wrong, met = deeds(house), list[str](), 0
    assert set(things) - set(stopped) == WITHOUT_A_LOCK_TO_MEET
    pairs = list(combinations_with_replacement(stopped, 2))[part::PARTS]
    with Meeting.of(house.url) as meeting:
        for pair in pairs:
            for first, second in {pair, pair[::-1]} if at_most > 1 else {chance.choice((pair, pair[::-1]))}:
                rows = stopped[first]
                for gate in chance.sample(rows, min(at_most, len(rows))):
                    ends = meeting.meet(things[first], things[second], gate)
                    met += 1
                    if not all(end.isidentifier() and end[0].islower() for end in ends):
                        wrong.append(f"{first} stopped at {gate}, {second}: {ends}")
    assert wrong == []
    assert met >= len(pairs)


def test_the_proof_sees_two_orders(house: House) -> None:
    """The same with two statements that do lock in opposite orders."""

    def lock(*people: Person) -> Deed:
        def deed(db: Database) -> dict[str, Any]:
            for person in people:
                db.connection.execute("select from public.profiles where id = %s for update", (person.id,))
            return {}

        return deed

    one, other = lock(HARRIET, OLIVER), lock(OLIVER, HARRIET)
    gate: Gate = ("select from public.profiles where id = %s for update", OLIVER.id)
    with Meeting.of(house.url) as meeting:
        assert "40P01" in meeting.meet(other, one, gate)
        assert meeting.meet(one, one, gate) == ("ok", "ok")
