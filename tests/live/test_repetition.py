"""`Idempotency-Key` on every writing route, by people who have signed in, on both variants of Supabase."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString, NamedTuple
from uuid import uuid4

import httpx
import pytest
from psycopg import sql

from tests.database import Database
from tests.house import BILAL, ENGLISH, EXAM_CLINIC, HARRIET, LENA, MATHEMATICS, NADIA, OLIVER, OPEN_REQUEST_ID, Person
from tests.live.served import ServedHouse

pytestmark = pytest.mark.live

PATTERN = {"timezone": "Europe/London", "days": [1], "time": "09:00"}
BOOKING = {"listing_id": str(EXAM_CLINIC.id), "start_utc": "2026-03-03T10:00:00Z"}
HOURS: dict[str, Any] = {"timezone": "UTC", "hours": [{"weekday": 1, "starts_at": "10:00", "ends_at": "24:00"}]}
HOOK = "http://127.0.0.1:9/hook"
DURING_THE_FIRST = "2026-03-03T17:30:00+00:00"
"""In the middle of the first English lesson."""
AFTER_THE_FIRST = "2026-03-03T18:00:00+00:00"


class Write(NamedTuple):
    """A request that changes something, and another body for the same address."""

    method: str
    path: str
    body: dict[str, Any] | None
    another: dict[str, Any] | None
    who: Person = NADIA


def one(house: ServedHouse, query: LiteralString) -> str:
    return str(house.database.value(query))


def english_sessions(house: ServedHouse) -> list[dict[str, Any]]:
    """The month of English, generated; the clock stands in its first lesson."""
    answer = house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={})
    assert answer.status_code == 201, answer.text
    house.set_clock(DURING_THE_FIRST)
    return answer.json()["sessions"]


def _holiday(method: str, **body: Any) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        path = f"/holidays/{one(house, 'select id from public.holidays limit 1')}"
        return Write(method, path, body or None, {"name": "Another"} if body else None)

    return write


def _time_off(method: str, **body: Any) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        path = f"/time-off/{one(house, 'select id from public.time_off limit 1')}"
        return Write(method, path, body or None, {"note": "another"} if body else None)

    return write


def _status(house: ServedHouse) -> Write:
    path = f"/sessions/{english_sessions(house)[0]['id']}/status"
    return Write("POST", path, {"status": "done", "notes": "well"}, {"status": "done", "notes": "badly"}, HARRIET)


def _package_of_session(house: ServedHouse) -> Write:
    session = english_sessions(house)[0]["id"]
    sold = house.sign_in(NADIA).post(f"/packages/{ENGLISH.package_id}/renew", json={"create": True})
    body = {"package_id": sold.json()["package"]["id"], "reason": "mixed up"}
    return Write("POST", f"/sessions/{session}/package", body, body | {"reason": "another"})


def _button(method: str, action: str) -> Callable[[ServedHouse], Write]:
    return lambda house: Write(
        method,
        f"/sessions/{english_sessions(house)[0]['id']}/{action}",
        {"expected_version": 1},
        {"expected_version": 2},
        HARRIET,
    )


def _missed(house: ServedHouse) -> Write:
    path = f"/sessions/{english_sessions(house)[0]['id']}/missed"
    return Write("POST", path, {"by": "student"}, {"by": "tutor"}, HARRIET)


def _dispute(house: ServedHouse) -> Write:
    lesson = f"/sessions/{english_sessions(house)[0]['id']}"
    assert house.sign_in(HARRIET).post(f"{lesson}/start").status_code == 200
    house.set_clock(AFTER_THE_FIRST)
    secret = {"Authorization": f"Bearer {house.env['CRON_SECRET']}"}
    assert house.anybody.get("/cron/complete-sessions", headers=secret).json()["completed"] == 1
    return Write("POST", f"{lesson}/dispute", {"reason": "Nobody came"}, {"reason": "another"}, OLIVER)


def _review(house: ServedHouse) -> Write:
    lesson = f"/sessions/{english_sessions(house)[0]['id']}"
    assert house.sign_in(HARRIET).post(f"{lesson}/complete").status_code == 200
    return Write("POST", f"{lesson}/review", {"rating": 5}, {"rating": 4}, OLIVER)


def _refresh(house: ServedHouse) -> Write:
    english_sessions(house)
    return Write("POST", "/sessions/refresh-status", None, None, OLIVER)


def _later(house: ServedHouse) -> Write:
    body = {"start_utc": "2026-03-05T19:00:00Z"}
    return Write("PATCH", f"/sessions/{english_sessions(house)[1]['id']}", body, body | {"reason": "another"})


def _cancelled(house: ServedHouse) -> Write:
    path = f"/sessions/{english_sessions(house)[1]['id']}/cancel"
    return Write("POST", path, {"reason": "ill"}, {"reason": "another"})


def _deleted(house: ServedHouse) -> Write:
    return Write("DELETE", f"/sessions/{english_sessions(house)[1]['id']}?reason=ill", None, None)


def _wish(action: str, **body: Any) -> Callable[[ServedHouse], Write]:
    """Of the student."""
    return lambda house: Write(
        "POST",
        f"/sessions/{english_sessions(house)[1]['id']}/{action}",
        {"reason": "ill"} | body,
        {"reason": "another"} | body,
        OLIVER,
    )


def _turn(
    wish: Callable[[ServedHouse], Write], kind: str, decision: str, who: Person
) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        asked = wish(house)
        answer = house.sign_in(asked.who).post(asked.path, json=asked.body)
        assert answer.status_code == 202, answer.text
        bodies = ({"reason": "As it is"}, {"reason": "another"}) if who is NADIA else (None, None)
        return Write("POST", f"/{kind}/{answer.json()['request']['id']}/{decision}", *bodies, who)

    return write


def _synced(house: ServedHouse) -> Write:
    assert house.sign_in(NADIA).patch("/settings", json={"sync_google_calendar": True}).status_code == 200
    return Write("POST", f"/calendar-syncs/{english_sessions(house)[1]['id']}/retry", None, None)


def _webhook(method: str, action: str = "", **body: Any) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        made = house.sign_in(NADIA).post("/webhook-endpoints", json={"url": HOOK})
        path = f"/webhook-endpoints/{made.json()['id']}{action}"
        return Write(method, path, body or None, {"description": "another"} if body else None)

    return write


_another_time = _wish("request-reschedule", proposed_starts_utc=["2026-03-05T19:00:00Z"])
_no_lesson = _wish("request-cancel")


def _series(house: ServedHouse) -> Write:
    english_sessions(house)
    body = {"scope": "all", "schedule_pattern": PATTERN}
    return Write("POST", f"/matches/{ENGLISH.id}/reschedule", body, body | {"reason": "another"})


def _unreached(house: ServedHouse) -> Write:
    """The guardian has an address no more when the lessons are planned."""
    english_sessions(house)
    house.database.run("update public.messages set status = 'unreachable', send_after = private.now()")
    message = one(house, "select id from public.messages where expires_at > private.now() order by id limit 1")
    return Write("POST", f"/messages/{message}/retry", None, None)


def _delivered(house: ServedHouse) -> Write:
    """What was given up, because nobody listens there any more."""
    assert house.sign_in(NADIA).post("/webhook-endpoints", json={"url": HOOK}).status_code == 201
    english_sessions(house)
    house.database.run("update public.deliveries set status = 'dead'")
    return Write("POST", f"/deliveries/{one(house, 'select id from public.deliveries limit 1')}/replay", None, None)


def _ended(house: ServedHouse) -> Write:
    english_sessions(house)
    return Write("POST", f"/matches/{ENGLISH.id}/end", {"reason": "moving away"}, {"reason": "another"})


def _decision(
    action: str, who: Person, body: dict[str, Any], another: dict[str, Any]
) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        asked = house.sign_in(OLIVER).post("/bookings", json=BOOKING)
        assert asked.status_code == 201, asked.text
        return Write("POST", f"/bookings/{asked.json()['booking']['id']}/{action}", body, another, who)

    return write


def _post(path: str, body: dict[str, Any], who: Person = NADIA, **another: Any) -> Callable[[ServedHouse], Write]:
    return lambda _: Write("POST", path, body, body | another, who)


def _progress_link(house: ServedHouse) -> Write:
    guardian = one(house, "select id from public.guardians limit 1")
    made = house.sign_in(NADIA).post(f"/guardians/{guardian}/progress-link").json()
    return Write("DELETE", f"/progress-links/{made['id']}", None, None)


OLIVERS = f"/students/{OLIVER.id}"
RESULT = {"subject": "English", "score": 9, "max_score": 20}


def _homework(
    action: str, who: Person, body: dict[str, Any], another: dict[str, Any]
) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        given = house.sign_in(HARRIET).post(f"{OLIVERS}/homework", json={"title": "An essay"})
        path = f"/homework/{given.json()['homework']['id']}"
        if action == "review":
            assert house.sign_in(OLIVER).post(f"{path}/submit").status_code == 200
        return Write("POST", f"{path}/{action}", body, another, who)

    return write


def _summary(
    method: str, action: str = "", body: dict[str, Any] | None = None, another: dict[str, Any] | None = None
) -> Callable[[ServedHouse], Write]:
    def write(house: ServedHouse) -> Write:
        lesson = f"/sessions/{english_sessions(house)[0]['id']}"
        assert house.sign_in(HARRIET).post(f"{lesson}/complete").status_code == 200
        assert house.sign_in(HARRIET).post(f"{lesson}/summary").status_code == 200
        return Write(method, f"{lesson}/summary{action}", body, another, HARRIET)

    return write


WRITES: dict[str, Callable[[ServedHouse], Write]] = {
    "update_me": lambda _: Write("PATCH", "/me", {"display_name": "Lena O."}, {"display_name": "Lena"}, LENA),
    "create_person": _post(
        "/people",
        {"email": "new@example.com", "display_name": "New", "timezone": "UTC", "roles": ["tutor", "student"]},
        display_name="Another",
    ),
    "update_person": lambda _: Write("PATCH", f"/people/{LENA.id}", {"phone": "+12025550111"}, {"phone": ""}),
    "create_guardian": _post(
        "/guardians",
        {"student_id": str(LENA.id), "name": "Aunt", "timezone": "UTC", "phone": "+12025550112"},
        name="Uncle",
    ),
    "update_guardian": lambda house: Write(
        "PATCH",
        f"/guardians/{one(house, 'select id from public.guardians limit 1')}",
        {"name": "Aunt"},
        {"name": "Uncle"},
    ),
    "create_request": _post("/requests", {"subject": "Latin"}, LENA, subject="Greek"),
    "update_request": lambda _: Write("PATCH", f"/requests/{MATHEMATICS.request_id}", {"level": "A"}, {"level": "B"}),
    "create_match": _post(
        "/matches",
        {"request_id": str(OPEN_REQUEST_ID), "tutor_id": str(BILAL.id), "schedule_pattern": PATTERN},
        tutor_id=str(HARRIET.id),
    ),
    "update_match": lambda _: Write(
        "PATCH",
        f"/matches/{MATHEMATICS.id}",
        {"meet_link": ""},
        {"meet_link": "https://meet.google.com/abc-defg-hij"},
    ),
    "set_match_schedule": lambda _: Write(
        "PUT",
        f"/matches/{MATHEMATICS.id}/schedule",
        {"schedule_pattern": PATTERN},
        {"schedule_pattern": PATTERN | {"time": "10:00"}},
    ),
    "end_match": _ended,
    "create_listing": _post("/listings", {"title": "Latin"}, HARRIET, title="Greek"),
    "update_listing": lambda _: Write(
        "PATCH", f"/listings/{EXAM_CLINIC.id}", {"is_active": False}, {"is_active": True}, HARRIET
    ),
    "set_availability": lambda _: Write("PUT", "/availability", HOURS, HOURS | {"hours": []}, HARRIET),
    "request_booking": _post("/bookings", BOOKING, OLIVER, note="another"),
    "accept_booking": _decision("accept", HARRIET, {"expected_version": 1}, {"expected_version": 2}),
    "decline_booking": _decision("decline", HARRIET, {"reason": "ill"}, {"reason": "another"}),
    "cancel_booking": _decision("cancel", OLIVER, {"reason": "ill"}, {"reason": "another"}),
    "create_package": _post(
        "/packages",
        {
            "request_id": str(OPEN_REQUEST_ID),
            "tier_sessions": 8,
            "start_date": "2026-03-01",
            "end_date": "2026-03-31",
        },
        tier_sessions=12,
    ),
    "update_package": lambda _: Write(
        "PATCH", f"/packages/{MATHEMATICS.package_id}", {"tier_sessions": 12}, {"tier_sessions": 20}
    ),
    "renew_package": _post(f"/packages/{ENGLISH.package_id}/renew", {"create": True}, tier_sessions=12),
    "import_house": _post(
        "/import",
        {"people": "email,display_name,timezone,roles\nnew@example.com,New,UTC,tutor\n", "dry_run": False},
        dry_run=True,
    ),
    "create_holiday": _post("/holidays", {"on_date": "2026-12-25", "name": "Christmas"}, name="Another"),
    "update_holiday": _holiday("PATCH", name="Founder's Day"),
    "delete_holiday": _holiday("DELETE"),
    "create_time_off": _post(
        "/time-off", {"user_id": str(LENA.id), "starts_on": "2026-07-01", "ends_on": "2026-07-02"}, note="sea"
    ),
    "update_time_off": _time_off("PATCH", note="sea"),
    "delete_time_off": _time_off("DELETE"),
    "generate_sessions": _post(f"/matches/{ENGLISH.id}/sessions", {}, allow_partial=True),
    "add_extra_session": _post(
        f"/matches/{MATHEMATICS.id}/sessions/extra",
        {"start_utc": "2026-03-10T12:00:00Z", "reason": "make-up"},
        reason="another",
    ),
    "tutor_update_session": _status,
    "start_session": _button("POST", "start"),
    "start_session_by_patch": _button("PATCH", "start"),
    "complete_session": _button("POST", "complete"),
    "complete_session_by_patch": _button("PATCH", "complete"),
    "mark_missed": _missed,
    "dispute_session": _dispute,
    "review_session": _review,
    "refresh_session_statuses": _refresh,
    "move_session_to_package": _package_of_session,
    "reschedule_session": _later,
    "cancel_session": _cancelled,
    "cancel_session_by_delete": _deleted,
    "request_reschedule": _another_time,
    "accept_reschedule_request": _turn(_another_time, "reschedule-requests", "accept", NADIA),
    "reject_reschedule_request": _turn(_another_time, "reschedule-requests", "reject", NADIA),
    "withdraw_reschedule_request": _turn(_another_time, "reschedule-requests", "withdraw", OLIVER),
    "reschedule_series": _series,
    "request_cancellation": _no_lesson,
    "approve_cancellation": _turn(_no_lesson, "cancellation-requests", "approve", NADIA),
    "reject_cancellation": _turn(_no_lesson, "cancellation-requests", "reject", NADIA),
    "withdraw_cancellation": _turn(_no_lesson, "cancellation-requests", "withdraw", OLIVER),
    "create_webhook_endpoint": _post("/webhook-endpoints", {"url": HOOK}, description="another"),
    "update_webhook_endpoint": _webhook("PATCH", description="The bookkeeping"),
    "delete_webhook_endpoint": _webhook("DELETE"),
    "rotate_webhook_secret": _webhook("POST", "/rotate-secret"),
    "replay_delivery": _delivered,
    "rotate_calendar_token": lambda _: Write("POST", "/me/calendar-token", None, None, OLIVER),
    "create_progress_link": lambda house: Write(
        "POST", f"/guardians/{one(house, 'select id from public.guardians limit 1')}/progress-link", None, None
    ),
    "revoke_progress_link": _progress_link,
    "record_assessment": _post(f"{OLIVERS}/assessments", RESULT, HARRIET, score=10),
    "add_note": _post(f"{OLIVERS}/notes", {"text": "Likes the sea."}, HARRIET, text="another"),
    "assign_homework": _post(f"{OLIVERS}/homework", {"title": "An essay"}, HARRIET, title="another"),
    "submit_homework": _homework("submit", OLIVER, {"comment": "Here."}, {"comment": "another"}),
    "review_homework": _homework("review", HARRIET, {"mark": "A"}, {"mark": "B"}),
    "draft_summary": _summary("POST"),
    "update_summary": _summary("PATCH", "", {"text": "We read."}, {"text": "another"}),
    "approve_summary": _summary("POST", "/approve", {"expected_version": 1}, {"expected_version": 2}),
    "retry_message": _unreached,
    "retry_calendar_sync": _synced,
    "update_settings": lambda _: Write("PATCH", "/settings", {"start_window_mins": 20}, {"start_window_mins": 30}),
}


SHOWN_ONCE = {
    "create_webhook_endpoint": ["secret"],
    "rotate_webhook_secret": ["secret"],
    "rotate_calendar_token": ["token", "path"],
    "create_progress_link": ["token", "path"],
}
"""What a repeated answer leaves out."""


def send(house: ServedHouse, write: Write, key: str, **options: Any) -> httpx.Response:
    options = {"json": write.body} | options if write.body is not None else options
    return house.sign_in(write.who).request(write.method, write.path, headers={"Idempotency-Key": key}, **options)


def everything(database: Database) -> str:
    """A digest of every row that a call could have left."""
    tables = database.rows("select tablename from pg_tables where schemaname = 'public' order by 1")
    rows = sql.SQL(" || ").join(
        sql.SQL("coalesce((select string_agg(t::text, '' order by t::text) from {} t), '')").format(
            sql.Identifier("public", name)
        )
        for (name,) in tables
    )
    events = sql.SQL("(select count(*)::text from private.outbox_events)")
    return database.connection.execute(sql.SQL("select md5({} || {})").format(rows, events)).fetchall()[0][0]


def test_every_route_that_takes_a_key_is_tried(house: ServedHouse) -> None:
    paths = house.anybody.get("/openapi.json").json()["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    takes_a_key = {
        each["operationId"]
        for each in operations
        if any(parameter["name"] == "Idempotency-Key" for parameter in each.get("parameters", ()))
    }
    assert takes_a_key == set(WRITES)


@pytest.mark.parametrize("operation", WRITES)
def test_the_same_request_again_gets_the_same_answer_and_writes_nothing(house: ServedHouse, operation: str) -> None:
    write, key = WRITES[operation](house), str(uuid4())
    before = everything(house.database)
    first = send(house, write, key)
    assert first.status_code in (200, 201, 202), first.text
    after = everything(house.database)
    assert after != before, "the first call writes"

    again = send(house, write, key)
    kept = first.json() | dict.fromkeys(SHOWN_ONCE.get(operation, ()))
    assert (again.status_code, again.json()) == (first.status_code, kept)
    assert everything(house.database) == after

    elsewhere = f"{write.path}{'&' if '?' in write.path else '?'}again=1"
    other = send(house, write._replace(body=write.another) if write.another else write._replace(path=elsewhere), key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert everything(house.database) == after


def test_many_at_once_under_one_key_write_once(house: ServedHouse) -> None:
    write, key = WRITES["create_request"](house), str(uuid4())
    house.sign_in(write.who)
    with ThreadPoolExecutor(8) as threads:
        sending = [threads.submit(send, house, write, key) for _ in range(24)]
        answers = [each.result() for each in sending]
    done = [answer for answer in answers if answer.status_code == 201]
    sent_away = [answer for answer in answers if answer.status_code != 201]
    assert len({answer.json()["id"] for answer in done}) == 1
    assert {answer.json()["code"] for answer in sent_away} <= {"still_running"}
    assert {answer.headers["Retry-After"] for answer in sent_away} <= {"1"}
    assert house.database.value("select count(*) from public.requests where subject = 'Latin'") == 1


def test_a_refusal_is_asked_again(house: ServedHouse) -> None:
    write, key = WRITES["create_holiday"](house), str(uuid4())
    holiday = house.sign_in(NADIA).post("/holidays", json=write.body).json()
    assert send(house, write, key).json()["code"] == "already_exists"
    house.sign_in(NADIA).delete(f"/holidays/{holiday['id']}")
    assert send(house, write, key).status_code == 201
