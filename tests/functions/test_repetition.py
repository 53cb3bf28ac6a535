"""`Idempotency-Key`: which routes take it, and what then goes to the database instead of the function itself."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.functions import samples as s
from tests.functions.conftest import Rpcs
from tests.functions.test_routes import CASES, Case

KEY = {"Idempotency-Key": "6f1f0c0e"}
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
WITHOUT_A_KEY = {
    "preview_sessions": "writes nothing",
    "preview_series": "writes nothing",
    "generate_month": "creates only what is missing, however often it is sent",
    "answer_consent": "the same answer again changes nothing",
    "take_aisensy_notification": "the provider's own id of what it tells is remembered",
    "take_whatsapp_notification": "the same",
}
WRITING = [case for case in CASES if case.method in WRITES and str(case) not in WITHOUT_A_KEY]


def takes_a_key(operation: dict[str, Any]) -> bool:
    return any(each["name"] == "Idempotency-Key" and each["in"] == "header" for each in operation.get("parameters", ()))


def test_the_document_names_the_header_for_every_writing_route_and_no_other(app: FastAPI) -> None:
    operations = [
        (method.upper(), operation) for path in app.openapi()["paths"].values() for method, operation in path.items()
    ]
    writing = {each["operationId"] for method, each in operations if method in WRITES} - set(WITHOUT_A_KEY)
    assert len(writing) >= len({str(case) for case in WRITING})
    assert {each["operationId"] for _, each in operations if takes_a_key(each)} == writing


@pytest.mark.parametrize("case", WRITING, ids=str)
async def test_with_a_key_a_write_is_carried_out_once(tutor: httpx.AsyncClient, rpcs: Rpcs, case: Case) -> None:
    rpcs.answer("once", case.answer)
    response = await tutor.request(case.method, case.path, json=case.body, headers=KEY)
    assert (response.status_code, rpcs.count) == (case.status, 1), response.text
    sent = rpcs.sent("once")
    assert (sent["p_function"], sent["p_arguments"]) == (case.rpc, case.sent)
    assert sent["p_idempotency_key"] == KEY["Idempotency-Key"]
    assert len(sent["p_request_hash"]) == 64


async def test_a_commit_reads_as_ever_and_writes_once(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("schedule_inputs", s.schedule_inputs)
    rpcs.answer("once", {"created": 0, "match_id": s.MATCH, "package_id": s.PACKAGE, "sessions": []})
    response = await tutor.post(f"/matches/{s.MATCH}/sessions", json={}, headers=KEY)
    assert (response.status_code, rpcs.count) == (200, 2), response.text
    assert rpcs.sent("once")["p_function"] == "generate_sessions"
    assert rpcs.sent("once")["p_arguments"]["p_fingerprint"] == "f1"


async def hash_of(tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, content: str) -> str:
    rpcs.answer("once", s.person)
    response = await tutor.patch(path, content=content, headers=KEY | {"Content-Type": "application/json"})
    assert response.status_code == 200, response.text
    return rpcs.sent("once")["p_request_hash"]


async def test_the_hash_is_of_what_was_asked_and_not_of_how_it_was_written(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    one = await hash_of(tutor, rpcs, "/me", '{"display_name": "Zoë", "timezone": "UTC"}')
    assert await hash_of(tutor, rpcs, "/me", '{"timezone":"UTC","display_name":"Zo\\u00eb"}') == one
    assert await hash_of(tutor, rpcs, "/me", '{"display_name": "Zoe", "timezone": "UTC"}') != one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("PATCH", f"/people/{s.TUTOR}"), ("PATCH", f"/people/{s.STUDENT}")),
        (("DELETE", f"/holidays/{s.OTHER}"), ("DELETE", f"/holidays/{s.SESSION}")),
        (("DELETE", f"/holidays/{s.OTHER}"), ("DELETE", f"/time-off/{s.OTHER}")),
        (("PATCH", f"/holidays/{s.OTHER}"), ("DELETE", f"/holidays/{s.OTHER}")),
        (("DELETE", f"/holidays/{s.OTHER}?reason=one"), ("DELETE", f"/holidays/{s.OTHER}?reason=other")),
    ],
)
async def test_another_address_is_another_request(
    tutor: httpx.AsyncClient, rpcs: Rpcs, one: tuple[str, str], other: tuple[str, str]
) -> None:
    hashes: set[str] = set()
    for method, path in (one, other):
        rpcs.refuse("once", 404, "not_found")
        body = {"name": "Eid"} if "holidays" in path else {"display_name": "A"}
        await tutor.request(method, path, json=body if method == "PATCH" else None, headers=KEY)
        hashes.add(rpcs.sent("once")["p_request_hash"])
    assert len(hashes) == 2


@pytest.mark.parametrize("key", [b"", b" ", b"two words", b"tab\tbed", b"x" * 256, b"caf\xe9", b"\xff"])
async def test_a_key_that_is_none_is_named(tutor: httpx.AsyncClient, rpcs: Rpcs, key: bytes) -> None:
    response = await tutor.patch("/me", json={"timezone": "UTC"}, headers=[(b"Idempotency-Key", key)])
    assert (response.status_code, response.json()["code"], rpcs.count) == (422, "invalid", 0)
    assert [error["field"] for error in response.json()["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize("key", ["!", "~" * 255])
async def test_a_key_may_be_any_visible_text_of_up_to_255_characters(
    tutor: httpx.AsyncClient, rpcs: Rpcs, key: str
) -> None:
    rpcs.answer("once", s.person)
    assert (await tutor.patch("/me", json={"timezone": "UTC"}, headers={"Idempotency-Key": key})).status_code == 200
    assert rpcs.sent("once")["p_idempotency_key"] == key


async def test_a_key_does_not_open_what_needs_a_token(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await client.patch("/me", json={"timezone": "UTC"}, headers={"Idempotency-Key": "two words"})
    assert (response.status_code, rpcs.count) == (401, 0)


async def test_a_twin_in_flight_says_when_to_come_again(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.refuse("once", 409, "still_running", "Shortly.", {"retry_after": 1})
    response = await tutor.patch("/me", json={"timezone": "UTC"}, headers=KEY)
    assert (response.status_code, response.json()["code"]) == (409, "still_running")
    assert response.headers["Retry-After"] == "1"


async def test_a_key_used_for_something_else_is_refused(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.refuse("once", 422, "key_reused", "Another request.", {"field": "Idempotency-Key"})
    response = await tutor.patch("/me", json={"timezone": "UTC"}, headers=KEY)
    assert (response.status_code, response.json()["code"]) == (422, "key_reused")


async def test_the_functions_refusal_arrives_through_once_as_ever(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.refuse("once", 409, "stale_version", "It has changed.", {"version": 2})
    response = await tutor.post(f"/sessions/{s.SESSION}/status", json={"status": "done"}, headers=KEY)
    assert (response.status_code, response.json()["version"]) == (409, 2)


async def test_a_body_that_is_none_is_refused_before_the_database_is_asked(
    tutor: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    headers = KEY | {"Content-Type": "application/json"}
    for content in ("{", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass")):
        response = await tutor.patch("/me", content=content, headers=headers)
        assert (response.status_code, rpcs.count) == (400, 0), response.text
