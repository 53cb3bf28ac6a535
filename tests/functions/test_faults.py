"""What the database says, and what becomes of it when it does not speak at all."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from lib import config, database
from tests.functions import samples as s
from tests.functions.conftest import ORIGIN, Rpcs

STATUS = f"/sessions/{s.SESSION}/status"
DONE = {"status": "done"}
FOREIGN_TEXT = "canary relation private.sessions"


async def answer_to(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(STATUS, json=DONE)


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (401, "not_signed_in", None),
        (402, "package_exhausted", {"package_id": s.PACKAGE}),
        (403, "not_allowed", None),
        (404, "not_found", None),
        (409, "illegal_transition", None),
        (
            409,
            "out_of_order",
            {
                "blockers": [
                    {
                        "session_id": s.OTHER,
                        "sequence_number": 3,
                        "scheduled_start_utc": "2026-03-26T16:30:00Z",
                    }
                ],
                "policy": "sequence_lock",
            },
        ),
        (409, "stale_version", {"version": 4}),
        (409, "too_early", {"opens_at": "2026-03-31T15:15:00Z"}),
        (422, "reason_required", None),
        (422, "window_too_short", {"needed": 8, "fits": 5}),
        (429, "too_many_requests", None),
        (503, "busy", None),
    ],
)
async def test_a_refusal_of_ours_reaches_the_caller_with_its_sentence_and_members(
    tutor: httpx.AsyncClient, rpcs: Rpcs, status: int, code: str, hint: dict[str, Any] | None
) -> None:
    rpcs.refuse("tutor_update_session", status, code, "A sentence for people.", hint)
    response = await answer_to(tutor)
    document = response.json()
    assert response.status_code == status
    assert document == {
        "type": f"urn:lessonkeeper:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": "A sentence for people.",
        "request_id": response.headers["X-Request-Id"],
        **(hint or {}),
    }
    assert ("Retry-After" in response.headers) == (status in {429, 503})
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


@pytest.mark.parametrize(("hint", "seconds"), [({"retry_after": 42}, "42"), ({"retry_after": -1}, "10"), (None, "10")])
async def test_the_database_may_say_when_to_ask_again(
    tutor: httpx.AsyncClient, rpcs: Rpcs, hint: object, seconds: str
) -> None:
    rpcs.refuse("tutor_update_session", 429, "too_many_requests", hint=hint)
    response = await answer_to(tutor)
    assert (response.status_code, response.headers["Retry-After"]) == (429, seconds)


@pytest.mark.parametrize("hint", ["try again", "[1]", "{", '{"status": 200, "code": "ok", "request_id": "x"}'])
async def test_a_hint_cannot_replace_what_a_problem_says(tutor: httpx.AsyncClient, rpcs: Rpcs, hint: str) -> None:
    body = {"code": "PT409", "message": "in_use", "details": "Still in use.", "hint": hint}
    rpcs.answer("tutor_update_session", body, 409)
    document = (await answer_to(tutor)).json()
    assert set(document) == {"type", "title", "status", "code", "detail", "request_id"}
    assert (document["status"], document["code"]) == (409, "in_use")


@pytest.mark.parametrize(
    ("upstream", "code", "status", "answered"),
    [
        (401, "PGRST301", 401, "not_signed_in"),
        (401, "PGRST302", 401, "not_signed_in"),
        (401, "PGRST303", 401, "not_signed_in"),
        (404, "PGRST202", 500, "internal"),
        (300, "PGRST203", 500, "internal"),
        (403, "42501", 403, "not_allowed"),
        (401, "42501", 403, "not_allowed"),
        (400, "22P02", 422, "invalid"),
        (400, "22023", 422, "invalid"),
        (400, "22007", 422, "invalid"),
        (400, "22008", 422, "invalid"),
        (400, "22P05", 422, "invalid"),
        (400, "22000", 422, "invalid"),
        (409, "23001", 409, "conflict"),
        (500, "22", 503, "upstream_unavailable"),
        (400, "23502", 422, "invalid"),
        (400, "23514", 422, "invalid"),
        (409, "23503", 409, "conflict"),
        (409, "23505", 409, "conflict"),
        (400, "23P01", 409, "conflict"),
        (500, "40P01", 503, "busy"),
        (500, "55P03", 503, "busy"),
        (500, "57014", 503, "busy"),
        (500, "XX000", 503, "upstream_unavailable"),
        (500, "P0001", 503, "upstream_unavailable"),
        (503, "PGRST001", 503, "upstream_unavailable"),
        (500, None, 503, "upstream_unavailable"),
        (418, "PT418", 500, "internal"),
        (500, "PT500", 500, "internal"),
    ],
)
async def test_of_a_foreign_error_only_the_kind_travels_on(  # noqa: PLR0917
    tutor: httpx.AsyncClient,
    rpcs: Rpcs,
    capsys: pytest.CaptureFixture[str],
    upstream: int,
    code: str | None,
    status: int,
    answered: str,
) -> None:
    foreign = {
        "code": code,
        "message": FOREIGN_TEXT,
        "details": FOREIGN_TEXT,
        "hint": f'{{"x":"{FOREIGN_TEXT}"}}',
    }
    rpcs.answer("tutor_update_session", foreign, upstream)
    response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (status, answered)
    assert "canary" not in response.text
    assert "canary" not in capsys.readouterr().out
    assert ("Retry-After" in response.headers) == (status == 503)


@pytest.mark.parametrize("message", [FOREIGN_TEXT, "", None, "Not A Code", "x" * 65])
async def test_an_own_refusal_without_a_code_is_our_fault(
    tutor: httpx.AsyncClient, rpcs: Rpcs, message: str | None
) -> None:
    body = {"code": "PT409", "message": message, "details": FOREIGN_TEXT, "hint": None}
    rpcs.answer("tutor_update_session", body, 409)
    response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "canary" not in response.text


@pytest.mark.parametrize(
    "outcome",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("slow"),
        httpx.PoolTimeout("full"),
        httpx.RemoteProtocolError("cut"),
        httpx.Response(200, html="<h1>canary</h1>"),
        httpx.Response(200, content=b'{"session": {"id": "cut of'),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=b"\xff\xfe\xff"),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, json=None),
        httpx.Response(200, json=[]),
        httpx.Response(200, json="canary"),
        httpx.Response(204),
        httpx.Response(302, headers={"Location": "http://elsewhere.test"}),
        httpx.Response(401, json={"message": "Invalid API key", "hint": "canary"}),
        httpx.Response(404, html="<h1>canary</h1>"),
        httpx.Response(429, text="canary"),
        httpx.Response(500, content=b'{"code": "PT4'),
        httpx.Response(502, html="<h1>canary</h1>"),
        httpx.Response(503, json=[]),
        httpx.Response(520, content=b""),
    ],
    ids=repr,
)
async def test_an_answer_that_cannot_be_trusted_is_a_503(
    tutor: httpx.AsyncClient, rpcs: Rpcs, outcome: httpx.Response | Exception
) -> None:
    rpcs.fail("tutor_update_session", outcome)
    response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "canary" not in response.text
    assert rpcs.count == 1, "a write is never sent twice"


async def test_an_answer_of_another_shape_is_our_fault_and_shows_nothing(
    tutor: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.answer("get_me", {**s.person, "id": "canary"})
    response = await tutor.get("/me", headers={"Origin": ORIGIN})
    logged = capsys.readouterr().out
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "canary" not in response.text + logged
    assert json.loads(logged.splitlines()[0])["exception"] == "ValidationError"


# --- over a real socket -------------------------------------------------------------------------------

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = json.dumps({"session": s.session, "viewer_timezone": "UTC", "changed": True}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


@asynccontextmanager
async def upstream(monkeypatch: pytest.MonkeyPatch, conversation: Conversation) -> AsyncGenerator[None]:
    """A Supabase that holds this conversation with everyone who connects."""
    server = await asyncio.start_server(conversation, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("SUPABASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("SUPABASE_TIMEOUT_SECONDS", "0.3")
    config.settings.cache_clear()
    database.http_client.cache_clear()
    try:
        yield
    finally:
        await database.http_client().aclose()
        server.close()


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))


def cut_after(count: int) -> Conversation:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write((HEAD + ANSWER)[:count])
        await writer.drain()
        writer.close()

    return conversation


@pytest.mark.parametrize(
    "count", [0, 1, 12, 40, len(HEAD), len(HEAD) + 1, len(HEAD + ANSWER) // 2, len(HEAD + ANSWER) - 1]
)
async def test_a_connection_cut_after_some_bytes_is_a_503(
    tutor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    async with upstream(monkeypatch, cut_after(count)):
        response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert "Retry-After" in response.headers


async def test_the_whole_answer_is_a_200(tutor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(monkeypatch, cut_after(len(HEAD + ANSWER))):
        response = await answer_to(tutor)
    assert (response.status_code, response.json()["changed"]) == (200, True)


async def test_a_silent_upstream_is_a_503_within_the_time_out(
    tutor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with upstream(monkeypatch, silence), asyncio.timeout(10):
        response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")


async def test_an_upstream_that_drips_does_not_outlast_the_time_out(
    tutor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time, the whole never: what counts is the call, not the pause between bytes."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(HEAD)
        while not reader.at_eof():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        writer.close()

    async with upstream(monkeypatch, drip), asyncio.timeout(10):
        response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")


async def test_an_upstream_that_refuses_is_a_503(tutor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(monkeypatch, cut_after(0)):
        gone = config.settings().supabase_url
    monkeypatch.setenv("SUPABASE_URL", gone)
    database.http_client.cache_clear()
    response = await answer_to(tutor)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
