"""The routes as the OpenAPI document tells them, with a good request for each, and what a bad one looks like."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import urlencode

import httpx

from tests.database import Database
from tests.house import ENGLISH
from tests.laws.access import Things
from tests.laws.lived_in import FEEDS, LINKS
from tests.live.served import Row

CANARY = "canary"
"""In whatever bad text is sent; no answer may quote it."""
OF_PROGRAMS = ("Cron", "AiSensy", "Meta", "Verification")
"""The ways in of those who are no people."""
Ids: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Route:
    """One method of one path."""

    method: str
    path: str
    operation: Row
    components: Row

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def path_ids(self) -> list[str]:
        return [each["name"] for each in self.operation.get("parameters", ()) if each["in"] == "path"]

    @property
    def body(self) -> Row | None:
        """The schema of its body, if people send it one as JSON."""
        content = self.operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content or self.for_a_program:
            return None
        return self.resolve(content["application/json"]["schema"])

    @property
    def needs_body(self) -> bool:
        """Whether it may not be asked without one."""
        return self.operation.get("requestBody", {}).get("required", False)

    @property
    def needs_token(self) -> bool:
        return {} not in self.operation.get("security", [{}])

    @property
    def for_a_program(self) -> bool:
        """Whether a scheduler or a provider asks it, with a secret of its own."""
        return any({scheme: []} in self.operation.get("security", ()) for scheme in OF_PROGRAMS)

    def at(self, ids: Ids) -> str:
        """Its address below `/api`, with these ids and what it must be asked with in it."""
        needed = {
            each["name"]: each["schema"]
            for each in self.operation.get("parameters", ())
            if each["in"] == "query" and each["required"]
        }
        query = urlencode(
            {name: {**_QUERY, **ids}[name][: _LENGTHS.get(schema.get("format"))] for name, schema in needed.items()}
        )
        return self.path.removeprefix("/api").format(**ids) + (f"?{query}" if query else "")

    def resolve(self, schema: Row) -> Row:
        """The schema itself: behind its name, and without the null that a missing value would be."""
        if "$ref" in schema:
            return self.resolve(self.components[schema["$ref"].rpartition("/")[2]])
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        return self.resolve({**schema, **kinds[0], "anyOf": []}) if kinds else schema


def routes_of(client: httpx.Client) -> list[Route]:
    """All routes of the running functions."""
    document: Row = client.get("/openapi.json").json()
    return [
        Route(method.upper(), path, operation, document["components"]["schemas"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


# --- a good request -------------------------------------------------------------------------------------


def ids_of(house: Database) -> Ids:
    """English, of the house that has been lived in: ids by the names that paths and bodies have for them."""
    things = Things.of(house)
    known = {
        "session_id": things.sessions[1],
        "match_id": ENGLISH.id,
        "package_id": ENGLISH.package_id,
        "request_id": ENGLISH.request_id,
        "person_id": ENGLISH.student.id,
        "student_id": ENGLISH.student.id,
        "tutor_id": ENGLISH.tutor.id,
        "user_id": ENGLISH.tutor.id,
        "listing_id": things.listings["H"],
        "booking_id": things.bookings["2"],
        "guardian_id": things.guardian,
        "message_id": things.messages["failed"],
        "holiday_id": things.holiday,
        "time_off_id": things.time_off,
        "reschedule_request_id": things.wishes["H"],
        "cancellation_request_id": things.cancellations["H"],
        "homework_id": things.homework["assigned"],
        "endpoint_id": things.endpoint,
        "delivery_id": things.delivered,
        "token": FEEDS["O"],
        "progress_token": LINKS["O"],
        "progress_link_id": things.progress_link,
    }
    return {name: str(value) for name, value in known.items()}


_QUERY: Mapping[str, str] = {
    "from": "2026-03-01T00:00:00Z",
    "to": "2026-04-01T00:00:00Z",
    "reason": "Ill",
    "q": "essays",
    "hub.challenge": "1158201444",
}
_LENGTHS: Mapping[str | None, int] = {"date": len("2026-03-01")}
_BODIES: Mapping[str, Row] = {
    "GuardianCreation": {"phone": "+447700900123"},
    "PackageCreation": {"start_date": "2026-05-01", "end_date": "2026-05-31"},
    "TimeOffCreation": {"starts_on": "2026-07-01", "ends_on": "2026-07-02"},
    "TimeOffUpdate": {"note": "By train"},
    "PackageUpdate": {"tier_sessions": 12},
    "SeriesPreviewRequest": {"scope": "all"},
    "SeriesRequest": {"scope": "all"},
    "BookingRequest": {"start_utc": "2026-04-20T09:00:00Z"},
}
"""What the schema alone does not say: which fields go together."""


def good_body(route: Route, ids: Ids) -> Row:
    """A body that fits the route's schema."""
    schema = route.body
    assert schema is not None
    required = schema.get("required", ())
    if not required and schema.get("minProperties"):
        required = list(schema["properties"])[:1]
    body = {name: _good(route, name, schema["properties"][name], ids) for name in required}
    return (body if schema.get("required") else {}) | _BODIES[schema["title"]] if schema["title"] in _BODIES else body


def _good(route: Route, name: str, schema: Row, ids: Ids) -> Any:
    schema = route.resolve(schema)
    if name in ids:
        return ids[name]
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    if schema["type"] == "object":
        return {each: _good(route, each, schema["properties"][each], ids) for each in schema["required"]}
    if schema["type"] == "array":
        return [_good(route, "", schema["items"], ids)]
    return {"string": "x", "number": 1, "integer": max(schema.get("minimum", 1), 1), "boolean": False}[schema["type"]]


# --- bad ones -------------------------------------------------------------------------------------------


def bad_bodies(route: Route, ids: Ids) -> Iterator[tuple[str, Any]]:
    """A good body with one thing wrong, each time another, and what that is."""
    schema, good = route.body, good_body(route, ids)
    assert schema is not None
    yield "unknown field", good | {f"{CANARY}@example.com": 1}
    yield "unknown field that is no Unicode", good | {"\ud800": 1}
    for name in schema.get("required", ()):
        yield f"no {name}", {each: value for each, value in good.items() if each != name}
        yield f"{name} null", good | {name: None}
    for name, property_ in schema["properties"].items():
        for value in _bad_values(route, name, property_, ids):
            yield f"{name} {value!r:.80}", good | {name: value}


def bad_bytes(route: Route, ids: Ids) -> Iterator[tuple[str, bytes]]:
    """The same with half a character, in the bytes that UTF-8 forbids."""
    schema, good = route.body, good_body(route, ids)
    assert schema is not None
    for name, property_ in schema["properties"].items():
        if route.resolve(property_).get("type") == "string":
            yield name, json.dumps(good | {name: CANARY}).encode().replace(CANARY.encode(), b"\xed\xa0\x80")


def _bad_values(route: Route, name: str, schema: Row, ids: Ids) -> Iterator[Any]:
    schema = route.resolve(schema)
    yield {"x": {"x": CANARY}}
    yield _deep()
    match schema.get("type"):
        case "object":
            good = _good(route, name, schema, ids)
            yield []
            yield good | {"x": 1}
            for each, property_ in schema["properties"].items():
                yield from (good | {each: value} for value in _bad_values(route, each, property_, ids))
        case "array":
            item = schema["items"]
            good = _good(route, "", item, ids)
            yield from ({}, CANARY, 1, [good, [good]], [good] * 2, [good] * 2000)
            yield from ([value] for value in _bad_values(route, "", item, ids))
        case "integer":
            yield from ("1", 1.5, True, 10**30, 1e308, [], schema.get("minimum", 0) - 1)
        case "number":
            yield from ("1", True, 10**30, 1e308, [], -1)
        case "boolean":
            yield from ("yes", 1, 0, [])
        case _:
            yield from _bad_texts(name, schema)


def _bad_texts(name: str, schema: Row) -> Iterator[Any]:
    yield from (1, True, [], f"{CANARY}\x00", f"{CANARY}\ud800", f"{CANARY}\x1b[0m", "x" * 1_000_000)
    match schema.get("format", ""):
        case "uuid":
            yield from (CANARY, "", "0" * 31, "20000000-0000-4000-8000-00000000000g")
        case "date":
            yield from (
                "infinity",
                "-infinity",
                "9999-12-31",
                "0001-01-01",
                "2026-02-30",
                "2026-3-1",
                "today",
                20260301,
            )
        case "date-time":
            yield from ("infinity", "-infinity", "9999-12-31T23:59:59Z", "2026-03-01T10:00:00", "2026-02-30T10:00:00Z")
            yield from ("2026-03-01T24:00:01Z", "2026-03-01T10:00:00+99:00", "now", 1e308)
        case _:
            pass
    if "enum" in schema:
        yield CANARY
    if name == "timezone":
        yield from ("Mars/Olympus", "../../etc/passwd", "PST8PDT,M3.2.0,M11.1.0", "")
    if name == "time":
        yield from ("24:00", "25:61", "7:5", "17:00:00")
    if name == "month":
        yield from ("2026-13", "9999-12", "2026-3", "2026-03-01")


@lru_cache(maxsize=1)
def _deep() -> list[Any]:
    """Deep, yet within what our own JSON writer can write."""
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    return deep


NO_BODY = {"nothing", "null"}
"""Fine where a body may be left out."""
NO_JSON: Mapping[str, bytes] = {
    "nothing": b"",
    "cut": b"{",
    "null": b"null",
    "list": b"[]",
    "text": b'"canary"',
    "number": b"1" * 5000,
    "NUL": b"\x00",
    "no UTF-8": b"\xff\xfe",
    "deep list": b"[" * 100_000,
    "deep object": b'{"canary":' * 50_000,
    "form": b"canary=1",
    "more than 1 MiB": b'{"canary": "' + b"x" * 1_100_000 + b'"}',
}
WRONG_TYPES = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "",
)
BAD_KEYS = (b"", b"a b", b"\xe9", b"x" * 256)
BAD_IDS = (
    CANARY,
    "%00",
    "20000000-0000-4000-8000-00000000000g",
    "..%2F..%2Fme",
    "%27%3B%20drop%20table%20canary",
    "0" * 3000,
)
