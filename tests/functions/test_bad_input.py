"""Bad input is a 4xx problem document and goes no further."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from lib.web import LARGEST_BODY
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

STATUS = f"/sessions/{s.SESSION}/status"
START, COMPLETE, MISSED, DISPUTE = (
    f"/sessions/{s.SESSION}/{action}" for action in ("start", "complete", "missed", "dispute")
)
MOVE = f"/sessions/{s.SESSION}"
SERIES = f"/matches/{s.MATCH}/reschedule"
SCHEDULE = f"/matches/{s.MATCH}/schedule"
EXTRA = f"/matches/{s.MATCH}/sessions/extra"
HOOKS = "/webhook-endpoints"
CANARY = "canary"


def hook(**more: object) -> dict[str, Any]:
    return {"url": s.endpoint["url"], **more}


def pattern(**changed: object) -> dict[str, Any]:
    return {"schedule_pattern": {**s.PATTERN, **changed}}


def person(**changed: object) -> Mapping[str, Any]:
    good = {"email": "a@example.com", "display_name": "A", "timezone": "UTC", "roles": ["tutor"]}
    return {**good, **changed}


def package(**changed: object) -> Mapping[str, Any]:
    good = {"request_id": s.REQUEST, "tier_sessions": 8, "start_date": "2026-03-01", "end_date": "2026-04-30"}
    return {**good, **changed}


def guardian(**reached_by: object) -> Mapping[str, Any]:
    return {"student_id": s.STUDENT, "name": "Grace", "timezone": "Europe/London", **reached_by}


def time_off(**span: object) -> Mapping[str, Any]:
    return {"user_id": s.TUTOR, **span}


def extra(start: object) -> Mapping[str, Any]:
    return {"start_utc": start, "reason": "make-up"}


def wish(proposed: object) -> Mapping[str, Any]:
    return {"reason": "School trip", "proposed_starts_utc": proposed}


FIELDS: list[tuple[str, str, object, str]] = [
    ("POST", STATUS, {"status": "done", "notes": f"{CANARY}\x00"}, "notes"),
    ("POST", STATUS, {"status": "done", "notes": f"{CANARY}\ud800"}, "notes"),
    ("POST", STATUS, {"status": "done", "notes": "x" * 10_001}, "notes"),
    ("POST", STATUS, {"status": "done", "notes": 1}, "notes"),
    ("POST", STATUS, {"status": "done", "notes": ["deep"] * 10}, "notes"),
    ("POST", STATUS, {"status": "done", "reason": "   "}, "reason"),
    ("POST", STATUS, {"status": "done", "reason": "a\nb"}, "reason"),
    ("POST", STATUS, {"status": CANARY}, "status"),
    ("POST", STATUS, {"status": None}, "status"),
    ("POST", STATUS, {}, "status"),
    ("POST", STATUS, {"status": "done", "expected_version": "1"}, "expected_version"),
    ("POST", STATUS, {"status": "done", "expected_version": 2**63}, "expected_version"),
    ("POST", STATUS, {"status": "done", "expected_version": -1}, "expected_version"),
    ("POST", STATUS, {"status": "done", "expected_version": True}, "expected_version"),
    ("POST", STATUS, {"status": "done", "idempotency_key": "x"}, "idempotency_key"),
    ("POST", STATUS, {"status": "done", f"{CANARY}@example.com": 1}, "?"),
    ("POST", STATUS, {"status": "done", "\ud800": 1}, ""),
    ("POST", STATUS, [], ""),
    ("POST", STATUS, CANARY, ""),
    ("POST", STATUS, None, ""),
    ("POST", START, {"expected_version": "1"}, "expected_version"),
    ("POST", START, {"notes": "Well"}, "notes"),
    ("PATCH", START, [], ""),
    ("POST", COMPLETE, {"notes": f"{CANARY}\x00"}, "notes"),
    ("PATCH", COMPLETE, {"status": "done"}, "status"),
    ("POST", MISSED, {}, "by"),
    ("POST", MISSED, {"by": "admin"}, "by"),
    ("POST", MISSED, {"by": CANARY}, "by"),
    ("POST", MISSED, {"by": "student", "reason": ""}, "reason"),
    ("POST", DISPUTE, {}, "reason"),
    ("POST", DISPUTE, {"reason": "  "}, "reason"),
    ("POST", DISPUTE, {"reason": "x" * 1_001}, "reason"),
    ("PATCH", MOVE, {}, "start_utc"),
    ("PATCH", MOVE, {"start_utc": "2026-03-01T10:00:00"}, "start_utc"),
    ("PATCH", MOVE, {"start_utc": "infinity"}, "start_utc"),
    ("PATCH", MOVE, {"start_utc": None}, "start_utc"),
    ("PATCH", MOVE, {"start_utc": "2026-03-01T10:00:00Z", "reason": " "}, "reason"),
    ("PATCH", MOVE, {"start_utc": "2026-03-01T10:00:00Z", "expected_version": "1"}, "expected_version"),
    ("PATCH", MOVE, {"start_utc": "2026-03-01T10:00:00Z", "end_utc": "2026-03-01T11:00:00Z"}, "end_utc"),
    ("POST", f"{MOVE}/cancel", {}, "reason"),
    ("POST", f"{MOVE}/cancel", {"reason": f"{CANARY}\x00"}, "reason"),
    ("DELETE", MOVE, None, "reason"),
    ("DELETE", f"{MOVE}?reason=", None, "reason"),
    ("DELETE", f"{MOVE}?reason=%20", None, "reason"),
    ("DELETE", f"{MOVE}?reason={CANARY}%00", None, "reason"),
    ("DELETE", f"{MOVE}?reason={'x' * 1_001}", None, "reason"),
    ("DELETE", f"{MOVE}?reason=flu&expected_version=-1", None, "expected_version"),
    ("DELETE", f"{MOVE}?reason=flu&expected_version=2147483648", None, "expected_version"),
    ("DELETE", f"{MOVE}?reason=flu&expected_version={CANARY}", None, "expected_version"),
    ("DELETE", f"{MOVE}?reason=flu&tz=Mars/Olympus", None, "tz"),
    ("POST", f"{MOVE}/request-reschedule", {}, "reason"),
    ("POST", f"{MOVE}/request-reschedule", wish(["2026-04-01"]), "proposed_starts_utc.0"),
    ("POST", f"{MOVE}/request-reschedule", wish(["2026-04-01T10:00:00Z"] * 4), "proposed_starts_utc"),
    ("POST", f"{MOVE}/request-reschedule", wish("2026-04-01T10:00:00Z"), "proposed_starts_utc"),
    ("POST", f"{MOVE}/request-cancel", {"reason": "x" * 1_001}, "reason"),
    ("POST", f"/reschedule-requests/{s.WISH}/accept", {"start_utc": "now"}, "start_utc"),
    ("POST", f"/reschedule-requests/{s.WISH}/accept", {"start": CANARY}, "start"),
    ("POST", f"/reschedule-requests/{s.WISH}/reject", {"reason": ""}, "reason"),
    ("POST", "/reschedule-requests/1/withdraw", None, "reschedule_request_id"),
    ("POST", f"/cancellation-requests/{s.WISH}/approve", {"reason": 1}, "reason"),
    ("POST", "/cancellation-requests/1/reject", None, "cancellation_request_id"),
    ("GET", "/cancellation-requests?status=open", None, "status"),
    ("GET", "/reschedule-requests?cursor=W10", None, "cursor"),
    ("GET", "/reschedule-requests?limit=0", None, "limit"),
    ("GET", "/reschedule-requests?order=asc", None, "order"),
    ("POST", SERIES, {}, "scope"),
    ("POST", SERIES, {"scope": "some"}, "scope"),
    ("POST", SERIES, {"scope": "one"}, ""),
    ("POST", SERIES, {"scope": "following", "session_id": s.SESSION, "package_id": s.PACKAGE}, ""),
    ("POST", SERIES, {"scope": "all", "session_id": s.SESSION}, ""),
    ("POST", SERIES, {"scope": "all", "from_date": "2026-04-01T10:00:00Z"}, "from_date"),
    ("POST", SERIES, {"scope": "all", "skip_conflicts": 1}, "skip_conflicts"),
    ("POST", SERIES, {"scope": "all", "set_schedule": 1}, "set_schedule"),
    ("POST", SERIES, {"scope": "all", "plan_hash": "1"}, "plan_hash"),
    ("POST", SERIES, {"scope": "all"} | pattern(), "schedule_pattern.duration_mins"),
    ("POST", f"{SERIES}/preview", {"scope": "all", "reason": "new school"}, "reason"),
    ("PATCH", "/settings", {"tutor_may_reschedule": 1}, "tutor_may_reschedule"),
    ("PATCH", "/settings", {"consent_hours": 0}, "consent_hours"),
    ("PATCH", "/settings", {"consent_hours": 721}, "consent_hours"),
    ("PATCH", "/settings", {"start_window_mins": 1_441}, "start_window_mins"),
    ("PATCH", "/settings", {"start_window_mins": -1}, "start_window_mins"),
    ("PATCH", "/settings", {"start_window_mins": "15"}, "start_window_mins"),
    ("PATCH", "/settings", {"start_window_mins": 1.5}, "start_window_mins"),
    ("PATCH", "/settings", {"delay_grace_mins": 241}, "delay_grace_mins"),
    ("PATCH", "/settings", {"delay_grace_mins": True}, "delay_grace_mins"),
    ("PATCH", "/settings", {"tutor_correction_hours": 721}, "tutor_correction_hours"),
    ("PATCH", "/settings", {"sequence_lock": 1}, "sequence_lock"),
    ("PATCH", "/settings", {"events_kept_days": 6}, "events_kept_days"),
    ("PATCH", "/settings", {"events_kept_days": 3_651}, "events_kept_days"),
    ("POST", f"/sessions/{s.SESSION}/review", {"rating": 0}, "rating"),
    ("POST", f"/sessions/{s.SESSION}/review", {"rating": 6}, "rating"),
    ("POST", f"/sessions/{s.SESSION}/review", {"rating": "5"}, "rating"),
    ("POST", f"/sessions/{s.SESSION}/review", {"rating": 5, "comment": "x" * 2_001}, "comment"),
    ("PATCH", "/settings", {"review_window_days": 0}, "review_window_days"),
    ("PATCH", "/settings", {"review_window_days": 366}, "review_window_days"),
    ("PATCH", "/settings", {"only_row": True}, "only_row"),
    ("POST", HOOKS, {}, "url"),
    ("POST", HOOKS, {"url": f"{CANARY}://x"}, "url"),
    ("POST", HOOKS, hook(secret="whsec_x"), "secret"),
    ("POST", HOOKS, hook(description="x" * 201), "description"),
    ("POST", HOOKS, hook(description="a\nb"), "description"),
    ("POST", HOOKS, hook(event_types="session.completed"), "event_types"),
    ("POST", HOOKS, hook(event_types=[CANARY]), "event_types.0"),
    ("POST", HOOKS, hook(event_types=["session.completed\n"]), "event_types.0"),
    ("POST", HOOKS, hook(event_types=["session.completed"] * 2), "event_types"),
    ("PATCH", f"{HOOKS}/{s.OTHER}", {"is_enabled": 1}, "is_enabled"),
    ("PATCH", f"{HOOKS}/{s.OTHER}", {"disabled_reason": "gone"}, "disabled_reason"),
    ("PUT", SCHEDULE, pattern(days=[0]), "schedule_pattern.days.0"),
    ("PUT", SCHEDULE, pattern(days=[1, 8]), "schedule_pattern.days.1"),
    ("PUT", SCHEDULE, pattern(days=[2, 2]), "schedule_pattern.days"),
    ("PUT", SCHEDULE, pattern(days=[]), "schedule_pattern.days"),
    ("PUT", SCHEDULE, pattern(days=[1.5]), "schedule_pattern.days.0"),
    ("PUT", SCHEDULE, pattern(days="135"), "schedule_pattern.days"),
    ("PUT", SCHEDULE, pattern(time="24:00"), "schedule_pattern.time"),
    ("PUT", SCHEDULE, pattern(time="16:30:00"), "schedule_pattern.time"),
    ("PUT", SCHEDULE, pattern(time="16:3"), "schedule_pattern.time"),
    ("PUT", SCHEDULE, pattern(time="16:30\n"), "schedule_pattern.time"),
    ("PUT", SCHEDULE, pattern(timezone="Mars/Olympus"), "schedule_pattern.timezone"),
    ("PUT", SCHEDULE, pattern(timezone="../../etc/passwd"), "schedule_pattern.timezone"),
    ("PUT", SCHEDULE, pattern(timezone="Europe/London\x00"), "schedule_pattern.timezone"),
    ("PUT", SCHEDULE, pattern(timezone="\ud800"), "schedule_pattern.timezone"),
    ("PUT", SCHEDULE, pattern(timezone=""), "schedule_pattern.timezone"),
    ("PUT", SCHEDULE, pattern(duration_mins=0), "schedule_pattern.duration_mins"),
    ("PUT", SCHEDULE, pattern(duration_mins=10**12), "schedule_pattern.duration_mins"),
    ("PUT", SCHEDULE, pattern() | {"meet_link": "http://meet.google.com/abc-defg-hij"}, "meet_link"),
    ("PUT", SCHEDULE, pattern() | {"meet_link": "https://meet.google.com/abc-defg-hij\n"}, "meet_link"),
    ("PUT", SCHEDULE, pattern() | {"meet_link": f"https://{CANARY}.example/abc-defg-hij"}, "meet_link"),
    ("POST", "/people", person(email=CANARY), "email"),
    ("POST", "/people", person(email=f"{CANARY}@example"), "email"),
    ("POST", "/people", person(email=f"{'x' * 64}@{'y' * 190}.com"), "email"),
    ("POST", "/people", person(email="a@example.com\n"), "email"),
    ("POST", "/people", person(phone="0300 1234567"), "phone"),
    ("POST", "/people", person(phone="+0300123456"), "phone"),
    ("POST", "/people", person(phone="+92300123456\uff17"), "phone"),
    ("POST", "/people", person(phone=""), "phone"),
    ("POST", "/people", person(display_name=""), "display_name"),
    ("POST", "/people", person(display_name=" \t "), "display_name"),
    ("POST", "/people", person(display_name="x" * 121), "display_name"),
    ("POST", "/people", person(roles=["owner"]), "roles.0"),
    ("POST", "/people", person(roles=["tutor", "tutor"]), "roles"),
    ("POST", "/people", person(roles="tutor"), "roles"),
    ("PATCH", f"/people/{s.TUTOR}", {"is_active": "yes"}, "is_active"),
    ("POST", "/packages", package(tier_sessions=10), "tier_sessions"),
    ("POST", "/packages", package(tier_sessions="8"), "tier_sessions"),
    ("POST", "/packages", package(start_date="infinity"), "start_date"),
    ("POST", "/packages", package(start_date="-infinity"), "start_date"),
    ("POST", "/packages", package(start_date="9999-12-31"), "start_date"),
    ("POST", "/packages", package(start_date="1999-12-31"), "start_date"),
    ("POST", "/packages", package(start_date="2026-02-29"), "start_date"),
    ("POST", "/packages", package(start_date=20260301), "start_date"),
    ("POST", "/packages", package(start_date="1772323200"), "start_date"),
    ("POST", "/packages", package(end_date="2026-02-01"), ""),
    ("POST", "/packages", package(opening_used=-1), "opening_used"),
    ("POST", "/packages", package(request_id="1"), "request_id"),
    ("POST", "/packages", package(request_id=f"{s.REQUEST}\x00"), "request_id"),
    ("POST", EXTRA, extra("2026-03-01T10:00:00"), "start_utc"),
    ("POST", EXTRA, extra("2026-03-01"), "start_utc"),
    ("POST", EXTRA, extra("infinity"), "start_utc"),
    ("POST", EXTRA, extra("9999-12-31T23:59:59Z"), "start_utc"),
    ("POST", EXTRA, extra("0001-01-01T00:00:00+14:00"), "start_utc"),
    ("POST", EXTRA, extra("2026-02-30T10:00:00Z"), "start_utc"),
    ("POST", EXTRA, extra("2026-03-01T24:00:01Z"), "start_utc"),
    ("POST", EXTRA, extra("2026-03-01T10:00:00+99:00"), "start_utc"),
    ("POST", EXTRA, extra(1772323200), "start_utc"),
    ("POST", EXTRA, extra(1e308), "start_utc"),
    ("POST", "/packages", package(opening_used=9), ""),
    ("POST", "/packages", package(end_date="2028-03-01"), ""),
    ("POST", "/guardians", guardian(), ""),
    ("POST", "/guardians", guardian(email="g@example.com", whatsapp_opt_in=True), ""),
    ("POST", "/time-off", time_off(starts_on="2026-03-01", ends_on="2028-03-01"), ""),
    ("POST", "/time-off", time_off(starts_at="2026-03-01T00:00:00Z", ends_at="2028-03-01T00:00:00Z"), ""),
    ("POST", "/time-off", time_off(), ""),
    ("POST", "/time-off", time_off(starts_on="2026-03-01"), ""),
    ("POST", "/time-off", time_off(starts_on="2026-03-01", ends_at="2026-03-01T10:00:00Z"), ""),
    (
        "POST",
        "/time-off",
        time_off(
            starts_on="2026-03-01",
            ends_on="2026-03-01",
            starts_at="2026-03-01T10:00:00Z",
            ends_at="2026-03-01T11:00:00Z",
        ),
        "",
    ),
    ("POST", "/time-off", time_off(starts_on="2026-03-02", ends_on="2026-03-01"), ""),
    ("POST", "/time-off", time_off(starts_at="2026-03-01T10:00:00Z", ends_at="2026-03-01T10:00:00Z"), ""),
    ("PATCH", f"/time-off/{s.OTHER}", {"starts_on": "2026-03-01"}, ""),
    ("PATCH", f"/time-off/{s.OTHER}", {"starts_on": "2026-03-02", "ends_on": "2026-03-01"}, ""),
    ("PATCH", f"/time-off/{s.OTHER}", {"starts_on": "2026-03-02", "ends_at": "2026-03-04T10:00:00Z"}, ""),
    ("PATCH", f"/packages/{s.PACKAGE}", {"start_date": "2026-03-02", "end_date": "2026-03-01"}, ""),
    ("POST", f"/matches/{s.MATCH}/sessions", {"plan_hash": "1"}, "plan_hash"),
    ("POST", f"/matches/{s.MATCH}/sessions", {"fill": 1}, "fill"),
]


def assert_problem(response: httpx.Response, status: int, code: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document["type"] == f"urn:lessonkeeper:problem:{code}"
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert CANARY not in response.text
    return document


@pytest.mark.parametrize(("method", "path", "body", "field"), FIELDS)
async def test_a_bad_value_is_a_422_that_names_its_field(  # noqa: PLR0917
    tutor: httpx.AsyncClient, rpcs: Rpcs, method: str, path: str, body: object, field: str
) -> None:
    content = json.dumps(body)  # escapes what is no Unicode
    response = await tutor.request(method, path, content=content, headers={"Content-Type": "application/json"})
    document = assert_problem(response, 422, "invalid")
    assert document["errors"][0]["field"] == field
    assert rpcs.count == 0


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b'{"status": done}',
        b"\x00",
        b"\xff\xfe",
        b'{"status": "\xc3\x28"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
        b"status=done",
    ],
    ids=[
        "cut",
        "bare word",
        "NUL",
        "no UTF-8",
        "half a character",
        "deep list",
        "deep object",
        "long number",
        "form",
    ],
)
async def test_what_is_no_json_is_a_400(tutor: httpx.AsyncClient, rpcs: Rpcs, content: bytes) -> None:
    response = await tutor.post(STATUS, content=content, headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "malformed")
    assert rpcs.count == 0


@pytest.mark.parametrize(
    "declared",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "json",
        "",
    ],
)
async def test_another_content_type_is_a_415(tutor: httpx.AsyncClient, rpcs: Rpcs, declared: str) -> None:
    response = await tutor.post(STATUS, content=b'{"status":"done"}', headers={"Content-Type": declared})
    assert_problem(response, 415, "wrong_content_type")
    assert rpcs.count == 0


async def test_a_content_type_may_name_its_charset(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    response = await tutor.patch("/me", content=b"{}", headers=headers)
    assert_problem(response, 422, "invalid")
    assert rpcs.count == 0


async def test_a_declared_body_that_is_too_large_is_a_413(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await tutor.post(STATUS, json={"status": "done", "notes": "x" * LARGEST_BODY})
    assert_problem(response, 413, "too_large")
    assert rpcs.count == 0


async def test_a_body_that_grows_too_large_is_not_read_to_its_end(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50 * LARGEST_BODY:
            sent += 65_536
            yield b" " * 65_536

    headers = {"Content-Type": "application/json"}
    response = await tutor.post(STATUS, content=endless(), headers=headers)
    assert_problem(response, 413, "too_large")
    assert (sent <= LARGEST_BODY + 2 * 65_536, rpcs.count) == (True, 0)


async def test_a_body_that_says_it_is_too_large_is_not_read_at_all(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    chunks: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        chunks.append(b"{}")
        yield b"{}"

    headers = {"Content-Type": "application/json", "Content-Length": str(LARGEST_BODY + 1)}
    response = await tutor.post(STATUS, content=body(), headers=headers)
    assert_problem(response, 413, "too_large")
    assert (chunks, rpcs.count) == ([], 0)


async def test_a_bad_id_is_not_quoted_in_part_either(tutor: httpx.AsyncClient) -> None:
    (error,) = (await tutor.get("/sessions/zzz")).json()["errors"]
    assert error == {"field": "session_id", "message": "Input should be a valid UUID"}


@pytest.mark.parametrize("declared", ["-1", "many", "1e9", "٣"])
async def test_a_content_length_that_is_no_number_does_no_harm(
    tutor: httpx.AsyncClient, rpcs: Rpcs, declared: str
) -> None:
    headers = {b"Content-Length": declared.encode(), b"Content-Type": b"application/json"}
    response = await tutor.patch("/me", content=b"{}", headers=headers)
    assert_problem(response, 422, "invalid")
    assert rpcs.count == 0


@pytest.mark.parametrize("id_", ["1", "%00", "null", "..%2f..", "🦉", "'; drop table sessions; --", "x" * 5000])
async def test_a_path_that_holds_no_id_is_a_4xx(tutor: httpx.AsyncClient, rpcs: Rpcs, id_: str) -> None:
    response = await tutor.get(f"/sessions/{id_}")
    assert response.status_code in {404, 422}
    assert_problem(response, response.status_code, "invalid" if response.status_code == 422 else "not_found")
    assert rpcs.count == 0


@pytest.mark.parametrize("path", ["/nothing", "/sessions/", f"/matches/{s.MATCH}/nothing", "/docs/../main.py", "//"])
async def test_an_unknown_path_is_a_404(tutor: httpx.AsyncClient, path: str) -> None:
    assert_problem(await tutor.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("DELETE", "/me", "GET, PATCH"),
        ("POST", "/sessions", "GET"),
        ("GET", "/people", "POST"),
        ("TRACE", f"/holidays/{s.OTHER}", "DELETE, PATCH"),
        ("POST", "/docs", "GET"),
    ],
)
async def test_an_unknown_method_is_a_405_that_says_which_are_known(
    tutor: httpx.AsyncClient, method: str, path: str, known: str
) -> None:
    response = await tutor.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == known


async def test_query_values_that_are_no_utf8_do_no_harm(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    assert_problem(await tutor.get("/sessions?tz=%ff%00"), 422, "invalid")
    assert rpcs.count == 0
