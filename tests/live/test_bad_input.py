"""Bad input, to every writing route that the OpenAPI document has: a 4xx problem document, and nothing written."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.database import Database
from tests.house import NADIA
from tests.laws.access import DEEDS, Things
from tests.live.answers import any_problem
from tests.live.routes import (
    BAD_IDS,
    BAD_KEYS,
    CANARY,
    NO_BODY,
    NO_JSON,
    WRONG_TYPES,
    Ids,
    Route,
    bad_bodies,
    bad_bytes,
    good_body,
    ids_of,
    routes_of,
)
from tests.live.served import ServedHouse, Snapshot

pytestmark = pytest.mark.live

JSON = {"Content-Type": "application/json"}
INSIDE = re.compile(
    r"\b(public|private|auth)\.\w|sqlstate|relation|constraint|violates|syntax error|insert into|select \w|pg_\w|pgrst"
    r"|traceback|\.py\b|\.mjs\b|node_modules|site-packages|/home/|/usr/|/tmp/|postgres",
    re.IGNORECASE,
)
"""Words from behind the scenes."""


BAD_ARGUMENTS: dict[str, list[Any]] = {
    "uuid": [CANARY, "", "x" * 100_000],
    "date": ["infinity", "-infinity", "9999-12-31", "0001-01-01 BC", "2026-02-30", "today", CANARY, "294276-01-01"],
    "timestamptz": ["infinity", "-infinity", "9999-12-31T23:59:59Z", "294276-12-31T23:59:59Z", CANARY, "4713-01-01 BC"],
    "text": ["", "\x00", "\u200b", "a\nb", "\x1b[0m", "Mars/Olympus", "x" * 1_000_000],
    "int4": [-1, 0, 2**31 - 1, -(2**31), 2**31, 10**30, 1.5, "1e3", CANARY],
    "bool": [CANARY, 2],
    "jsonb": [
        None,
        [],
        {},
        CANARY,
        1,
        [[[]]],
        [None],
        [{}],
        [1],
        {"timezone": 1},
        {"days": [0, 8, 8], "time": "24:00"},
    ],
    "_text": [[], [None], [""], [["x"]], CANARY, [CANARY] * 10_000],
    "_uuid": [[], [None], [CANARY], [["x"]], CANARY],
}
"""What callers of the Data API may send where a function has an argument of that type."""


@pytest.fixture
def admin(busy_house: ServedHouse) -> httpx.Client:
    """Whose input gets furthest."""
    return busy_house.sign_in(NADIA)


@pytest.fixture
def ids(busy_house: ServedHouse) -> Ids:
    return ids_of(busy_house.database)


@pytest.fixture
def writing(admin: httpx.Client) -> list[Route]:
    return [route for route in routes_of(admin) if route.writes]


@pytest.fixture
def taking_bodies(writing: list[Route]) -> list[Route]:
    return [route for route in writing if route.body]


@pytest.fixture
def names_inside(owner: Database) -> list[str]:
    """What constraints, indexes, triggers and types are called."""
    found = owner.rows(
        """
        select conname::text from pg_constraint where connamespace = 'public'::regnamespace
         union select indexname::text from pg_indexes where schemaname = 'public'
         union select tgname::text from pg_trigger where not tgisinternal
         union select typname::text from pg_type where typnamespace = 'public'::regnamespace and typtype = 'e'
        """
    )
    return [name for (name,) in found]


@pytest.fixture
def nothing_written(busy_house: ServedHouse, owner: Database) -> Iterator[None]:
    """Every row of every table is afterwards what it was before."""
    busy_house.sign_in(NADIA)  # which is written down
    before = Snapshot(owner)
    yield
    assert before.differences() == []


def sent(client: httpx.Client, route: Route, ids: Ids, body: object) -> httpx.Response:
    content = json.dumps(body)  # escapes what is no Unicode
    return client.request(route.method, route.at(ids), content=content, headers=JSON)


def faults_of(response: httpx.Response, names_inside: list[str]) -> list[str]:
    """What is wrong with an answer to bad input."""
    found: list[str] = []
    if response.request.url.path == "/api/import" and response.status_code == 200:
        # Its texts are whole lists, whose faults are told line by line.
        told = response.json()
        return [] if told["errors"] and not told["imported"] and CANARY not in response.text else [response.text]
    if not 400 <= response.status_code < 500:
        return [f"{response.status_code}: {response.text:.300}"]
    any_problem(response)
    if CANARY in response.text or INSIDE.search(response.text):
        found.append(f"shows {response.text:.300}")
    found += [f"names {name}" for name in names_inside if name in response.text]
    return found


def test_every_good_body_fits_its_schema(
    lived_in: Snapshot, admin: httpx.Client, taking_bodies: list[Route], ids: Ids
) -> None:
    """Else the bad ones would be refused for another reason than the one that is tried."""
    assert len(taking_bodies) > 20
    for route in taking_bodies:
        response = sent(admin, route, ids, good_body(route, ids))
        if response.status_code in {400, 422}:
            assert "errors" not in response.json(), f"{route.name} {good_body(route, ids)}: {response.text}"
        lived_in.restore()


@pytest.mark.usefixtures("nothing_written")
def test_a_body_with_one_bad_value_is_refused_by_every_route(
    admin: httpx.Client, taking_bodies: list[Route], ids: Ids, names_inside: list[str]
) -> None:
    faults: list[str] = []
    tried = 0
    for route in taking_bodies:
        for what, body in bad_bodies(route, ids):
            tried += 1
            response = sent(admin, route, ids, body)
            faults += [f"{route.name}, {what}: {fault}" for fault in faults_of(response, names_inside)]
        for what, content in bad_bytes(route, ids):
            response = admin.request(route.method, route.at(ids), content=content, headers=JSON)
            faults += [
                f"{route.name}, half a character in {what}: {fault}" for fault in faults_of(response, names_inside)
            ]
    assert tried > 1000
    assert not faults, "\n".join(faults)


@pytest.mark.usefixtures("nothing_written")
def test_what_is_no_json_object_is_refused_by_every_route(
    admin: httpx.Client, taking_bodies: list[Route], ids: Ids, names_inside: list[str]
) -> None:
    faults: list[str] = []
    for route in taking_bodies:
        for what, content in NO_JSON.items():
            if what in NO_BODY and not route.needs_body:
                continue
            response = admin.request(route.method, route.at(ids), content=content, headers=JSON)
            faults += [f"{route.name}, {what}: {fault}" for fault in faults_of(response, names_inside)]
    assert not faults, "\n".join(faults)


@pytest.mark.usefixtures("nothing_written")
def test_a_body_of_another_type_is_a_415_of_every_route(
    admin: httpx.Client, taking_bodies: list[Route], ids: Ids
) -> None:
    for route in taking_bodies:
        content = json.dumps(good_body(route, ids))
        for declared in WRONG_TYPES:
            headers = {"Content-Type": declared}
            response = admin.request(route.method, route.at(ids), content=content, headers=headers)
            assert any_problem(response)["code"] == "wrong_content_type", f"{route.name}, {declared}"


@pytest.mark.usefixtures("nothing_written")
def test_a_bad_id_in_a_path_is_refused_by_every_route(
    admin: httpx.Client, writing: list[Route], ids: Ids, names_inside: list[str]
) -> None:
    faults: list[str] = []
    for route in writing:
        for name in route.path_ids:
            for bad in BAD_IDS:
                body = json.dumps(good_body(route, ids)) if route.body else None
                response = admin.request(route.method, route.at({**ids, name: bad}), content=body, headers=JSON)
                faults += [f"{route.name}, {bad:.50}: {fault}" for fault in faults_of(response, names_inside)]
    assert not faults, "\n".join(faults)


@pytest.mark.usefixtures("nothing_written")
def test_a_bad_zone_or_key_is_refused_by_every_route(
    admin: httpx.Client, writing: list[Route], ids: Ids, names_inside: list[str]
) -> None:
    faults: list[str] = []
    for route in writing:
        body = json.dumps(good_body(route, ids)) if route.body else None
        taken = {each["name"] for each in route.operation.get("parameters", ())}
        requests: list[dict[str, Any]] = []
        if "tz" in taken:
            requests += [{"params": {"tz": zone}} for zone in ("Mars/Olympus", f"{CANARY}\x00", "")]
        if "Idempotency-Key" in taken:
            requests += [
                {"headers": {b"Idempotency-Key": key, b"Content-Type": b"application/json"}} for key in BAD_KEYS
            ]
        for request in requests:
            request.setdefault("headers", JSON)
            response = admin.request(route.method, route.at(ids), content=body, **request)
            faults += [f"{route.name}, {request}: {fault}" for fault in faults_of(response, names_inside)]
    assert not faults, "\n".join(faults)


# --- past our functions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("any_house", ["postgrest"], indirect=True)
def test_the_database_functions_answer_no_bad_value_with_a_5xx(
    busy_house: ServedHouse, lived_in: Snapshot, owner: Database
) -> None:
    """Whoever calls them over the Data API, without our functions in between, meets a refusal too.

    Not so on lite, which answers some of what Postgres itself refuses with 500.
    """
    env, things, tried = busy_house.env, Things.of(owner), 0
    headers = {"apikey": env["SUPABASE_PUBLISHABLE_KEY"], "Authorization": f"Bearer {busy_house.visit(NADIA).token}"}
    takes = arguments_of(owner)
    assert {deed.split()[0] for deed in DEEDS} == set(takes)
    faults: list[str] = []
    with httpx.Client(base_url=env["SUPABASE_URL"] + "/rest/v1/rpc/", headers=headers, timeout=60) as api:
        for deed, arguments in DEEDS.items():
            name = deed.split()[0]
            good = json.loads(json.dumps(arguments(things), default=str))
            for argument, type_ in takes[name]:
                for value in BAD_ARGUMENTS.get(type_, [CANARY, "", None, 1, []]):
                    tried += 1
                    response = api.post(name, json=good | {argument: value})
                    if response.status_code >= 500:
                        faults.append(f"{deed} {argument}={value!r:.60}: {response.status_code} {response.text:.200}")
                    if response.is_success:
                        lived_in.restore()
    assert tried > 500
    assert not faults, "\n".join(faults)


def arguments_of(owner: Database) -> dict[str, list[tuple[str, str]]]:
    """Of every function that the API exposes: name and type of each argument."""
    found = owner.rows(
        """
        select p.proname::text, a.name, t.typname::text
          from pg_proc p
          left join lateral unnest(p.proargnames, p.proargtypes) as a (name, type_oid) on a.name is not null
          left join pg_type t on t.oid = a.type_oid
         where p.pronamespace = 'public'::regnamespace
           and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
        """
    )
    return {name: [(each, type_) for known, each, type_ in found if known == name and each] for name, _, _ in found}
