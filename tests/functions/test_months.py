"""The month run: chunk by chunk one read and one write, told in lines."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from lib import months
from lib.auth import Caller
from lib.database import Database
from lib.months import MatchLine, MonthRequest, SummaryLine
from tests.functions import samples as s
from tests.functions.conftest import Rpcs, token

URL = "/schedules/generate"
MARCH = {"month": "2026-03"}
BUSY = httpx.Response(500, json={"code": "40P01", "message": "canary", "details": None, "hint": None})


def package(number: int) -> str:
    return f"30000000-0000-4000-8000-{number:012d}"


def match(number: int) -> str:
    return f"20000000-0000-4000-8000-{number:012d}"


def inputs(number: int, **changes: object) -> Mapping[str, Any]:
    return {**s.schedule_inputs, "match_id": match(number), "package_id": package(number), **changes}


def chunk(numbers: Iterable[int], *, left: int, has_more: bool = False) -> Mapping[str, Any]:
    return {"inputs": [inputs(number) for number in numbers], "left": left, "has_more": has_more}


def result(number: int, **members: object) -> Mapping[str, Any]:
    return {"match_id": match(number), "package_id": package(number), "created": 2, **members}


def results(*numbers: int) -> Mapping[str, Any]:
    return {"results": [result(number) for number in numbers]}


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def summary(**changes: object) -> Mapping[str, Any]:
    return {
        "type": "summary",
        "matches": 0,
        "created_sessions": 0,
        "generated": 0,
        "failed": 0,
        "more": False,
        "after": None,
        **changes,
    }


async def test_a_run_tells_each_match_and_ends_with_a_summary(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("month_inputs", chunk([1, 2], left=2))
    rpcs.answer("generate_month", results(1, 2))
    response = await tutor.post(URL, json=MARCH)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert response.headers["Cache-Control"] == "no-store"
    people = {"tutor": s.tutor, "student": s.student}
    assert lines(response) == [
        {"type": "progress", "left": 2},
        {"type": "match", **result(1), **people},
        {"type": "match", **result(2), **people},
        summary(matches=2, created_sessions=4, generated=2),
    ]


async def test_a_chunk_is_one_read_and_one_write_of_plans(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("month_inputs", chunk([1], left=1))
    rpcs.answer("generate_month", results(1))
    body = {**MARCH, "match_ids": [match(1)], "allow_partial": True, "after": package(0)}
    await tutor.post(URL, json=body)
    assert rpcs.count == 2
    assert rpcs.sent("month_inputs") == {
        "p_month": "2026-03-01",
        "p_match_ids": [match(1)],
        "p_after_package_id": package(0),
        "p_limit": months.CHUNK,
    }
    (plan,) = rpcs.sent("generate_month")["p_plans"]
    assert rpcs.sent("generate_month")["p_allow_partial"] is True
    assert len(plan.pop("plan_hash")) == 64
    # Thursday is before London's change on 29 March, Tuesday after it.
    assert plan == {
        "match_id": match(1),
        "package_id": package(1),
        "fingerprint": "f1",
        "occurrences": [
            {"start_utc": "2026-03-26T16:30:00+00:00", "end_utc": "2026-03-26T17:30:00+00:00"},
            {"start_utc": "2026-03-31T15:30:00+00:00", "end_utc": "2026-03-31T16:30:00+00:00"},
        ],
    }


async def test_the_next_chunk_begins_behind_the_last_package(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer_in_turn(
        "month_inputs",
        chunk([1, 2], left=5, has_more=True),
        chunk([3, 4], left=3, has_more=True),
        chunk([5], left=1),
    )
    rpcs.answer_in_turn("generate_month", results(1, 2), results(3, 4), results(5))
    told = lines(await tutor.post(URL, json=MARCH))
    assert [each.get("p_after_package_id") for each in rpcs.all_sent("month_inputs")] == [None, package(2), package(4)]
    assert [each["left"] for each in told if each["type"] == "progress"] == [5, 3, 1]
    assert [each["package_id"] for each in told if each["type"] == "match"] == [package(n) for n in range(1, 6)]
    assert told[-1] == summary(matches=5, created_sessions=10, generated=5)


async def test_nothing_to_do_is_a_summary_of_nothing(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("month_inputs", chunk([], left=0))
    assert lines(await tutor.post(URL, json=MARCH)) == [{"type": "progress", "left": 0}, summary()]
    assert rpcs.count == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pattern": None}, "schedule_missing"),
        ({"pattern": {**s.PATTERN, "timezone": "Nowhere/Atlantis"}}, "invalid"),
        ({"student": {**s.student, "timezone": "posix/Europe/London"}}, "invalid"),
    ],
)
async def test_a_match_that_cannot_be_planned_is_told_and_not_sent(
    tutor: httpx.AsyncClient, rpcs: Rpcs, changes: Mapping[str, Any], code: str
) -> None:
    rpcs.answer("month_inputs", {"inputs": [inputs(1, **changes), inputs(2)], "left": 2, "has_more": False})
    rpcs.answer("generate_month", results(2))
    told = lines(await tutor.post(URL, json=MARCH))
    assert [each["match_id"] for each in rpcs.sent("generate_month")["p_plans"]] == [match(2)]
    assert [(each["match_id"], each["created"], each.get("code")) for each in told if each["type"] == "match"] == [
        (match(1), 0, code),
        (match(2), 2, None),
    ]
    assert told[-1] == summary(matches=2, created_sessions=2, generated=1, failed=1)


async def test_a_chunk_without_any_plan_is_not_sent(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("month_inputs", {"inputs": [inputs(1, pattern=None)], "left": 1, "has_more": False})
    told = lines(await tutor.post(URL, json=MARCH))
    assert (told[-1], rpcs.count) == (summary(matches=1, failed=1), 1)


async def test_a_refusal_of_one_match_keeps_its_members(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    conflict = {
        "start_utc": "2026-03-26T16:30:00+00:00",
        "end_utc": "2026-03-26T17:30:00+00:00",
        "of": "both",
        "session_id": None,
    }
    short = {"created": 0, "code": "window_too_short", "detail": "Room for 1 of 2.", "needed": 2, "fits": 1}
    taken = {"created": 0, "code": "slot_taken", "detail": "Taken.", "conflicts": [conflict]}
    rpcs.answer("month_inputs", chunk([1, 2, 3], left=3))
    rpcs.answer("generate_month", {"results": [result(1, **short), result(2), result(3, **taken)]})
    told = lines(await tutor.post(URL, json=MARCH))
    people = {"tutor": s.tutor, "student": s.student}
    assert told[1] == {"type": "match", **result(1, **short), **people}
    assert told[3] == {"type": "match", **result(3, **taken), **people}
    assert told[-1] == summary(matches=3, created_sessions=2, generated=1, failed=2)


async def test_a_match_that_lacked_nothing_has_neither_failed_nor_got_sessions(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("month_inputs", chunk([1], left=1))
    rpcs.answer("generate_month", {"results": [result(1, created=0)]})
    assert lines(await tutor.post(URL, json=MARCH))[-1] == summary(matches=1)


@pytest.mark.parametrize("skip", [False, True])
async def test_conflicts_are_sent_for_the_database_to_refuse_or_walked_past(
    tutor: httpx.AsyncClient, rpcs: Rpcs, *, skip: bool
) -> None:
    busy = {
        "session_id": s.OTHER,
        "start": "2026-03-26T16:30:00Z",
        "end": "2026-03-26T17:30:00Z",
        "of": "tutor",
    }
    rpcs.answer("month_inputs", {"inputs": [inputs(1, busy=[busy])], "left": 1, "has_more": False})
    rpcs.answer("generate_month", results(1))
    await tutor.post(URL, json={**MARCH, "skip_conflicts": skip})
    (plan,) = rpcs.sent("generate_month")["p_plans"]
    assert plan["occurrences"][0]["start_utc"][:10] == ("2026-03-31" if skip else "2026-03-26")


def test_the_document_describes_every_kind_of_line(app: FastAPI) -> None:
    operation = app.openapi()["paths"][f"/api{URL}"]["post"]
    content = operation["responses"]["200"]["content"]
    assert list(content) == ["application/x-ndjson"]
    schemas = app.openapi()["components"]["schemas"]
    described = {
        kind: set(schemas[reference.rpartition("/")[2]]["properties"])
        for kind, reference in content["application/x-ndjson"]["schema"]["discriminator"]["mapping"].items()
    }
    assert described == {
        "progress": {"type", "left"},
        "match": {"type", "match_id", "package_id", "tutor", "student", "created", "code", "detail"},
        "summary": set(summary()),
        "error": {"type", "code", "detail", "retry_after", "request_id"},
    }


# --- time -----------------------------------------------------------------------------------------------


class Clock:
    """Reads what it is told, and the last of it for ever."""

    def __init__(self, *readings: float) -> None:
        self._readings = list(readings)

    def __call__(self) -> float:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]


async def run(clock: Clock, budget: float, **request: object) -> list[Any]:
    database = Database(Caller(UUID(s.ADMIN), token()), "a-request")
    month = MonthRequest.model_validate({**MARCH, **request})
    return [line async for line in await months.generate_month(database, month, budget, clock)]


def five_chunks(rpcs: Rpcs) -> None:
    rpcs.answer_in_turn("month_inputs", *(chunk([n], left=6 - n, has_more=n < 5) for n in range(1, 6)))
    rpcs.answer_in_turn("generate_month", *(results(n) for n in range(1, 6)))


@pytest.mark.parametrize(
    ("readings", "budget", "done"),
    [
        ([0, 10, 20, 30, 40], 45, 4),  # the fifth would end at 50
        ([0, 10, 20, 30, 40], 50, 5),
        ([0, 10, 20, 30, 40], 49.9, 4),
        ([0, 20, 21, 22, 23], 42, 4),  # one as long as the longest, begun at 22, ends at 42; begun at 23, too late
        ([0, 60], 45, 1),  # the first is written, however long it takes
        ([0, 1, 40], 45, 2),
        ([100, 110, 120, 130, 140], 45, 4),  # only the time since the beginning counts
    ],
)
async def test_a_run_stops_before_its_time_is_up(rpcs: Rpcs, readings: list[float], budget: float, done: int) -> None:
    five_chunks(rpcs)
    told = await run(Clock(*readings), budget)
    assert sum(isinstance(line, MatchLine) for line in told) == done
    assert told[-1] == SummaryLine(
        matches=done,
        created_sessions=2 * done,
        generated=done,
        failed=0,
        more=done < 5,
        after=UUID(package(done)) if done < 5 else None,
    )


@pytest.mark.parametrize(("asked", "done"), [(15, 1), (25, 2), (600, 4)])
async def test_a_caller_may_ask_for_less_time_and_never_gets_more(rpcs: Rpcs, asked: int, done: int) -> None:
    five_chunks(rpcs)
    told = await run(Clock(0, 10, 20, 30, 40), 45, budget_seconds=asked)
    assert told[-1].matches == done


async def test_the_servers_budget_is_a_setting(
    tutor: httpx.AsyncClient, rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONTH_RUN_BUDGET_SECONDS", "1e-9")
    five_chunks(rpcs)
    told = lines(await tutor.post(URL, json=MARCH))
    assert told[-1] == summary(matches=1, created_sessions=2, generated=1, more=True, after=package(1))


# --- faults ---------------------------------------------------------------------------------------------


async def test_a_fault_in_mid_stream_is_one_error_line_and_no_summary(
    tutor: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.answer_in_turn("month_inputs", chunk([1], left=2, has_more=True), chunk([2], left=1))
    rpcs.answer_in_turn("generate_month", results(1), BUSY)
    response = await tutor.post(URL, json=MARCH)
    told = lines(response)
    assert [each["type"] for each in told] == ["progress", "match", "progress", "error"]
    detail = told[-1].pop("detail")
    assert told[-1] == {
        "type": "error",
        "code": "busy",
        "retry_after": 1,
        "request_id": response.headers["X-Request-Id"],
    }
    logged = json.loads(capsys.readouterr().out)
    assert (logged["status"], logged["code"], logged["cause"]) == (200, "busy", "40P01")
    assert detail
    assert "canary" not in response.text


@pytest.mark.parametrize(
    ("outcome", "code", "retry_after"),
    [
        (httpx.ReadTimeout("slow"), "upstream_unavailable", 5),
        (httpx.Response(401, json={"code": "PGRST303", "message": "JWT expired"}), "not_signed_in", None),
        (httpx.Response(200, html="<h1>canary</h1>"), "upstream_unavailable", 5),
    ],
)
async def test_a_read_that_fails_between_two_chunks_ends_the_stream_too(
    tutor: httpx.AsyncClient, rpcs: Rpcs, outcome: object, code: str, retry_after: int | None
) -> None:
    rpcs.answer_in_turn("month_inputs", chunk([1], left=2, has_more=True), outcome)
    rpcs.answer("generate_month", results(1))
    told = lines(await tutor.post(URL, json=MARCH))
    assert [each["type"] for each in told] == ["progress", "match", "error"]
    assert (told[-1]["code"], told[-1]["retry_after"]) == (code, retry_after)


async def test_what_nobody_expected_is_an_error_line_too_and_shows_nothing(
    tutor: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.answer("month_inputs", chunk([1], left=1))
    rpcs.answer("generate_month", {"results": [result(1, created="canary")]})
    response = await tutor.post(URL, json=MARCH)
    told = lines(response)
    assert [(each["type"], each.get("code")) for each in told] == [("progress", None), ("error", "internal")]
    logged = capsys.readouterr().out
    unexpected, line = map(json.loads, logged.splitlines())
    assert (unexpected["exception"], line["code"]) == ("ValidationError", "internal")
    assert "canary" not in logged + response.text


@pytest.mark.parametrize(
    ("status", "code"), [(401, "not_signed_in"), (403, "not_allowed"), (422, "invalid"), (503, "busy")]
)
async def test_a_refusal_before_the_first_line_is_a_problem_document(
    tutor: httpx.AsyncClient, rpcs: Rpcs, status: int, code: str
) -> None:
    rpcs.refuse("month_inputs", status, code, "No.")
    response = await tutor.post(URL, json=MARCH)
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    assert response.json()["code"] == code


async def test_nobody_runs_a_month_without_a_token(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await client.post(URL, json=MARCH)
    assert (response.status_code, response.json()["code"], rpcs.count) == (401, "not_signed_in", 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "month"),
        ({"month": "2026-3"}, "month"),
        ({"month": "2026-13"}, "month"),
        ({"month": "2026-03-01"}, "month"),
        ({"month": "1999-12"}, "month"),
        ({"month": "2026-03\n"}, "month"),
        ({"month": 202603}, "month"),
        ({**MARCH, "match_ids": []}, "match_ids"),
        ({**MARCH, "match_ids": [match(1), match(1)]}, "match_ids"),
        ({**MARCH, "match_ids": [match(n) for n in range(1001)]}, "match_ids"),
        ({**MARCH, "match_ids": [match(1), "x"]}, "match_ids.1"),
        ({**MARCH, "skip_conflicts": "yes"}, "skip_conflicts"),
        ({**MARCH, "allow_partial": 1}, "allow_partial"),
        ({**MARCH, "after": "x"}, "after"),
        ({**MARCH, "budget_seconds": 0}, "budget_seconds"),
        ({**MARCH, "budget_seconds": 601}, "budget_seconds"),
        ({**MARCH, "budget_seconds": "9"}, "budget_seconds"),
        ({**MARCH, "package_id": package(1)}, "package_id"),
    ],
)
async def test_a_body_that_is_not_in_order_is_a_problem_document(
    tutor: httpx.AsyncClient, rpcs: Rpcs, body: Mapping[str, Any], field: str
) -> None:
    response = await tutor.post(URL, json=body)
    assert (response.status_code, rpcs.count) == (422, 0)
    assert [each["field"] for each in response.json()["errors"]] == [field]


# --- a client that goes away ----------------------------------------------------------------------------


async def test_a_run_ends_when_its_client_goes_away(app: FastAPI, rpcs: Rpcs) -> None:
    """As a server tells it: `http.disconnect` is received while the answer is being sent."""
    rpcs.answer_in_turn("month_inputs", *(chunk([n], left=6 - n, has_more=n < 5) for n in range(1, 6)))
    rpcs.answer_in_turn("generate_month", *(results(n) for n in range(1, 6)))
    gone = asyncio.Event()
    sent: list[bytes] = []
    body = [{"type": "http.request", "body": json.dumps(MARCH).encode(), "more_body": False}]

    async def receive() -> Mapping[str, Any]:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if b'"match"' in sent[-1]:
            gone.set()
            await asyncio.Event().wait()  # nobody reads any more

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": f"/api{URL}",
        "raw_path": f"/api{URL}".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"authorization", f"Bearer {token()}".encode()), (b"content-type", b"application/json")],
    }
    async with asyncio.timeout(10):
        await app(scope, receive, send)  # pyright: ignore[reportArgumentType]
    assert rpcs.count == 2, "no further chunk is read or written"
    assert b"summary" not in b"".join(sent)
