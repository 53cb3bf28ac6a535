"""Request ids, the log, CORS, and the pages that describe the API."""

import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from lib import web
from lib.config import Settings
from tests.functions import samples as s
from tests.functions.conftest import ORIGIN, Rpcs, token

CANARIES = {
    "name": "Canaria Zwitscher",
    "phone": "+491701234509",
    "email": "canary.zwitscher@example.com",
    "note": "The canary sang of private matters.",
}


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> "Log":
    return Log(capsys)


class Log:
    """What was written to standard output and standard error since it was last read."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def text(self) -> str:
        return "".join(self._capsys.readouterr())

    def lines(self) -> list[Mapping[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


# --- request ids and the log --------------------------------------------------------------------------


async def test_a_request_without_an_id_gets_one(client: httpx.AsyncClient) -> None:
    first, second = [(await client.get("/health")).headers["X-Request-Id"] for _ in range(2)]
    assert UUID(first) != UUID(second)


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space", "new\tline", "ключ-ключ", "{injected}", ""])
async def test_an_id_that_is_no_sane_one_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/health", headers={b"X-Request-Id": given.encode()})
    assert UUID(answer.headers["X-Request-Id"])


async def test_a_sane_id_is_kept_in_answer_problem_and_log(client: httpx.AsyncClient, log: Log) -> None:
    answer = await client.get("/me", headers={"X-Request-Id": "client.id-000_1"})
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"] == "client.id-000_1"
    assert [line["request_id"] for line in log.lines()] == ["client.id-000_1"]


async def test_a_refusal_is_one_line_with_its_code_and_no_path(
    tutor: httpx.AsyncClient, rpcs: Rpcs, log: Log, caller_id: UUID
) -> None:
    rpcs.refuse("get_session", 404, "not_found", "Nothing.")
    answer = await tutor.get(f"/sessions/{s.SESSION}", params={"tz": "Europe/London"})
    (line,) = log.lines()
    assert line["duration_ms"] >= 0
    assert line["timestamp"].endswith("Z")
    assert {name: value for name, value in line.items() if name not in {"duration_ms", "timestamp"}} == {
        "event": "request",
        "level": "info",
        "method": "GET",
        "route": "/api/sessions/{session_id}",
        "status": 404,
        "request_id": answer.headers["X-Request-Id"],
        "caller_id": str(caller_id),
        "code": "not_found",
        "cause": "PT404",
    }


async def test_a_success_is_one_line_too(tutor: httpx.AsyncClient, rpcs: Rpcs, log: Log) -> None:
    rpcs.answer("get_me", s.person)
    await tutor.get("/me")
    (line,) = log.lines()
    assert (line["route"], line["status"]) == ("/api/me", 200)
    assert "code" not in line


async def test_an_unknown_path_or_method_is_not_quoted(client: httpx.AsyncClient, log: Log) -> None:
    await client.request("CANARY", "/me")
    await client.get("/canary", params={"q": "canary"})
    text = log.text()
    assert len(text.splitlines()) == 2
    assert "canary" not in text.lower()


async def test_personal_data_and_tokens_are_in_no_log_line(tutor: httpx.AsyncClient, rpcs: Rpcs, log: Log) -> None:
    mine = token(email=CANARIES["email"], user_metadata={"name": CANARIES["name"]})
    tutor.headers["Authorization"] = f"Bearer {mine}"
    body = {
        "email": CANARIES["email"],
        "display_name": CANARIES["name"],
        "phone": CANARIES["phone"],
        "timezone": "UTC",
        "roles": ["tutor"],
    }
    status = {"status": "done", "notes": CANARIES["note"]}
    rpcs.answer("create_person", {**s.person, **body})
    rpcs.answer("tutor_update_session", {"session": {**s.session, "tutor_notes": CANARIES["note"]}, "changed": True})
    answers = [
        await tutor.post("/people", json=body),
        await tutor.post(f"/sessions/{s.SESSION}/status", json=status),
        await tutor.post("/people", json={**body, "roles": [CANARIES["name"]]}),
        await tutor.post("/people", json={**body, CANARIES["email"]: CANARIES["note"]}),
        await tutor.post("/people", content=json.dumps(body)[:-1], headers={"Content-Type": "application/json"}),
        await tutor.get("/sessions", params={"tz": CANARIES["name"]}),
        await tutor.get(f"/sessions/{CANARIES['email']}"),
    ]
    rpcs.refuse("create_person", 409, "already_exists", f"{CANARIES['email']} is there", {"field": CANARIES["name"]})
    answers.append(await tutor.post("/people", json=body))
    rpcs.answer("create_person", {"code": "23505", "message": CANARIES["name"], "details": CANARIES["phone"]}, 409)
    answers.append(await tutor.post("/people", json=body))
    rpcs.answer("create_person", {**s.person, "is_active": CANARIES["note"]})
    answers.append(await tutor.post("/people", json=body))
    assert [answer.status_code for answer in answers] == [201, 200, 422, 422, 400, 422, 422, 409, 409, 500]
    text = log.text()
    assert len(text.splitlines()) == len(answers) + 1, "one a request, and one for what was not expected"
    assert not [kind for kind, canary in CANARIES.items() if canary in text or re.split(r"[ @]", canary)[0] in text]
    assert mine not in text
    assert mine.split(".")[1] not in text


async def test_no_error_quotes_what_was_sent(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    text = CANARIES["note"]
    bodies: list[object] = [
        text,
        [text],
        {text: text},
        {"status": text},
        {"status": "done", "notes": [text]},
        {"status": "done", "expected_version": text},
    ]
    for body in bodies:
        answer = await tutor.post(f"/sessions/{s.SESSION}/status", json=body)
        assert answer.status_code == 422
        assert "canary" not in answer.text
    assert rpcs.count == 0


# --- what nobody expected -----------------------------------------------------------------------------


async def test_what_nobody_expected_is_a_500_that_tells_nothing(log: Log) -> None:
    app = FastAPI()

    @app.get("/broken")
    async def broken() -> None:  # pyright: ignore[reportUnusedFunction]
        raise RuntimeError("canary")

    web.install(app, Settings.from_environment())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/broken", headers={"Origin": ORIGIN})
    document = answer.json()
    assert (answer.status_code, document["code"]) == (500, "internal")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    unexpected, request = log.lines()
    assert (unexpected["event"], unexpected["exception"]) == ("unexpected", "RuntimeError")
    assert unexpected["at"][-1].endswith("broken")
    assert unexpected["request_id"] == request["request_id"] == document["request_id"]
    assert (request["status"], request["code"]) == (500, "internal")
    assert "canary" not in str(unexpected) + answer.text


# --- CORS ---------------------------------------------------------------------------------------------


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type, x-request-id",
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_preflight_from_a_listed_origin_is_granted(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.options(f"/sessions/{s.SESSION}/status", headers=preflight(ORIGIN, method))
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert {"authorization", "content-type", "x-request-id", "idempotency-key"} <= set(
        answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    )
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", f"{ORIGIN}.evil.example", ORIGIN.upper(), "null", f"{ORIGIN}:8443", "*"],
)
async def test_another_origin_is_granted_nothing(client: httpx.AsyncClient, origin: str) -> None:
    for answer in (
        await client.options("/me", headers=preflight(origin)),
        await client.get("/health", headers={"Origin": origin}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/me", 401), ("/nothing", 404), ("/sessions/1", 401)])
async def test_a_refusal_can_be_read_by_a_listed_origin(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path, headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
    assert {"Retry-After", "X-Request-Id"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))


async def test_without_a_list_no_origin_is_granted_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLOWED_ORIGINS")
    app = FastAPI()
    web.install(app, Settings.from_environment())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.options("/", headers=preflight(ORIGIN))
    assert "Access-Control-Allow-Origin" not in answer.headers


# --- headers and pages --------------------------------------------------------------------------------


async def test_answers_about_people_are_kept_by_no_cache(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_me", s.person)
    answer = await tutor.get("/me")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_swagger_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href|url)[=:]\s*["\']([^"\']+)', page.text)
    assert len(links) >= 4
    for link in links:
        assert "//" not in link
        assert (await client.get(f"/{link.removeprefix('/')}")).status_code == 200, link


async def test_only_the_pages_assets_are_served(client: httpx.AsyncClient) -> None:
    for name in ("__init__.py", "main.py", "..%2fmain.py"):
        assert (await client.get(f"/docs/{name}")).status_code in {404, 422}


async def test_the_openapi_document_describes_every_problem_by_one_schema(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) >= 20
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
        problems = {int(code): answer for code, answer in operation["responses"].items() if int(code) >= 400}
        assert {401, 403, 422, 500, 503} <= set(problems)
        assert ({400, 413, 415} <= set(problems)) == ("requestBody" in operation)
        for answer in problems.values():
            content = answer["content"]["application/problem+json"]
            assert content == {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert document["components"]["schemas"]["Problem"]["required"] == [
        "type",
        "title",
        "status",
        "code",
        "detail",
        "request_id",
    ]
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_only_health_may_be_asked_without_a_token_and_cron_takes_another(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    others = {
        (method, path): operation.get("security")
        for path, operations in paths.items()
        for method, operation in operations.items()
        if operation.get("security") != [{"Supabase": []}]
    }
    for name in (
        "complete-sessions", "deliver-outbox", "sync-calendar", "send-reminders", "auto-approve-cancellations",
        "embed-events", "clean-up",
    ):  # fmt: skip
        assert others.pop(("get", f"/api/cron/{name}")) == [{"Cron": []}]
    assert others.pop(("get", "/api/calendar/{token}.ics")) is None, "the address itself is the secret"
    assert others.pop(("get", "/api/progress/{progress_token}")) is None, "the same"
    for method in ("get", "post"):
        assert others.pop((method, "/api/consent/{token}")) is None, "so is this one"
    assert others.pop(("post", "/api/webhooks/aisensy/cancel-response")) == [{"AiSensy": []}]
    assert others.pop(("post", "/api/webhooks/whatsapp")) == [{"Meta": []}]
    assert others.pop(("get", "/api/webhooks/whatsapp")) == [{"Verification": []}]
    assert set(others) == {("get", "/api/health")}
    assert {} in (others["get", "/api/health"] or [])


async def test_every_reference_in_the_openapi_document_leads_somewhere(client: httpx.AsyncClient) -> None:
    text = (await client.get("/openapi.json")).text
    schemas = json.loads(text)["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert referred <= set(schemas)
    assert {name for name in schemas if schemas[name].get("title", name) != name} <= {"SessionPage"}


async def test_a_change_is_described_without_null_and_with_at_least_one_field(
    client: httpx.AsyncClient,
) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    changes = {name: schema for name, schema in schemas.items() if name.endswith("Update") and name != "StatusUpdate"}
    assert len(changes) >= 7
    for schema in changes.values():
        assert schema["minProperties"] == 1
        assert schema["additionalProperties"] is False
        assert "null" not in json.dumps(schema)
        assert all({"type", "$ref", "enum", "const"} & set(field) for field in schema["properties"].values())
