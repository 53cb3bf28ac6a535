"""Webhooks over the whole stack: from what an admin does to a receiver that verifies it, whatever it answers."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from lib import auth, config, database, targets
from scripts.receiver import Receiver
from scripts.stack import Stack
from tests.house import NADIA, NOW
from tests.live.answers import answer, problem
from tests.live.receiving import (
    as_scheduler,
    change,
    deliver,
    deliveries,
    happen,
    ids,
    only_delivery,
    shown,
    something_happens,
    subscribe,
)
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

START = datetime.fromisoformat(NOW)
NOTHING = {"delivered": 0, "retrying": 0, "dead": 0, "stale": 0, "more": False}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def closed_port() -> Iterator[socket.socket]:
    """A port on loopback at which nobody may knock; whoever does waits in its queue."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.setblocking(False)
        yield listening
        with pytest.raises(BlockingIOError):
            listening.accept()


def waits(delivery: Row) -> float:
    """Seconds until it is tried again, on the clock that stands still."""
    return (datetime.fromisoformat(delivery["next_attempt_at"]) - START).total_seconds()


# --- told -----------------------------------------------------------------------------------------------


def test_what_happens_arrives_signed_and_is_the_very_event(house: ServedHouse, receiver: Receiver) -> None:
    endpoint = subscribe(house, receiver, description="The bookkeeping")
    event = something_happens(house)
    assert receiver.messages == [], "nothing is sent in the action itself"

    assert deliver(house) == NOTHING | {"delivered": 1}
    (message,) = receiver.messages
    assert message.verified_by == (endpoint["secret"],)
    assert message.id == event["id"]
    told = json.loads(message.body)
    assert told | {"occurred_at": None} == event | {"occurred_at": None}
    assert datetime.fromisoformat(told["occurred_at"]) == datetime.fromisoformat(event["occurred_at"])
    assert (told["type"], told["schema_version"], told["aggregate"]["sequence"]) == ("schedule.generated", 1, 1)

    delivery = only_delivery(house, endpoint)
    assert (delivery["status"], delivery["attempts"], delivery["event"]) == ("delivered", 1, event)
    (attempt,) = delivery["log"]
    assert (attempt["outcome"], attempt["status_code"], attempt["error"]) == ("delivered", 204, None)
    assert attempt["duration_ms"] >= 0

    assert deliver(house) == NOTHING
    assert len(receiver.messages) == 1


def test_an_endpoint_is_told_of_the_types_it_asked_for(house: ServedHouse, receiver: Receiver) -> None:
    names = {each["name"] for each in answer(house.sign_in(NADIA).get("/webhook-endpoints"))["event_types"]}
    assert {"session.completed", "session.no_show", "schedule.generated"} <= names
    subscribe(house, receiver, "/all")
    subscribe(house, receiver, "/some", event_types=["session.no_show", "session.completed"])
    other = subscribe(house, receiver, "/other", event_types=["match.ended"])
    happen(house, name="session.started")
    (completed,) = happen(house, name="session.completed")
    assert deliver(house)["delivered"] == 3
    assert len(receiver.at("/all")) == 2
    assert ids(receiver.at("/some")) == [completed]
    assert receiver.at("/other") == []

    change(house, other, event_types=[])
    happen(house, name="session.started")
    deliver(house)
    assert len(receiver.at("/other")) == 1

    refusal = problem(
        house.sign_in(NADIA).post("/webhook-endpoints", json={"url": receiver.url, "event_types": ["session.eaten"]}),
        422,
        "invalid",
    )
    assert (refusal["field"], refusal["unknown"]) == ("event_types", ["session.eaten"])


def test_a_secret_is_shown_once_and_the_present_one_and_the_one_before_sign_for_a_day(
    house: ServedHouse, receiver: Receiver
) -> None:
    admin, endpoint = house.sign_in(NADIA), subscribe(house, receiver)
    rotated = answer(admin.post(f"/webhook-endpoints/{endpoint['id']}/rotate-secret"))
    receiver.secrets.append(rotated["secret"])
    assert datetime.fromisoformat(rotated["previous_valid_until"]) == START + timedelta(hours=24)
    assert rotated["secret"] != endpoint["secret"]

    happen(house)
    deliver(house)
    house.set_clock(START + timedelta(hours=24, seconds=1))
    happen(house)
    deliver(house)
    during, after = receiver.messages
    assert during.verified_by == (endpoint["secret"], rotated["secret"])
    assert after.verified_by == (rotated["secret"],)
    assert "whsec_" not in json.dumps([shown(house, endpoint), change(house, endpoint, description="x")])


def test_an_endpoint_that_is_off_is_told_later_of_what_was_pending_and_of_nothing_in_between(
    house: ServedHouse, receiver: Receiver
) -> None:
    endpoint = subscribe(house, receiver)
    (pending,) = happen(house)
    assert change(house, endpoint, is_enabled=False)["disabled_reason"] == "by_admin"
    happen(house)
    assert deliver(house) == NOTHING
    assert change(house, endpoint, is_enabled=True)["disabled_reason"] is None
    (after,) = happen(house)
    assert deliver(house)["delivered"] == 2
    assert sorted(ids(receiver.messages)) == sorted([pending, after])


def test_a_deleted_endpoint_is_told_nothing_more_and_leaves_its_log(house: ServedHouse, receiver: Receiver) -> None:
    endpoint = subscribe(house, receiver)
    happen(house)
    answer(house.sign_in(NADIA).delete(f"/webhook-endpoints/{endpoint['id']}"))
    happen(house)
    assert deliver(house) == NOTHING
    assert receiver.messages == []
    assert answer(house.sign_in(NADIA).get("/webhook-endpoints"))["endpoints"] == []
    assert [each["status"] for each in deliveries(house, endpoint)] == ["cancelled"]
    problem(house.sign_in(NADIA).delete(f"/webhook-endpoints/{endpoint['id']}"), 404, "not_found")


# --- whatever the receiver answers ----------------------------------------------------------------------


def test_every_kind_of_answer_has_its_consequence(house: ServedHouse, receiver: Receiver) -> None:
    told = ("ok", "endless", "redirect", "400", "410", "429", "500", "503", "hang")
    endpoints = {name: subscribe(house, receiver, f"/{name}") for name in told}
    for name in told:
        receiver.behave(f"/{name}", name)
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    endpoints["refusing"] = answer(
        house.sign_in(NADIA).post("/webhook-endpoints", json={"url": f"http://127.0.0.1:{port}/"}), 201
    )
    (event,) = happen(house)

    assert deliver(house) == NOTHING | {"delivered": 2, "retrying": 7, "dead": 1}
    assert {each.path for each in receiver.messages} == {f"/{name}" for name in told}, "no redirect was followed"
    assert set(ids(receiver.messages)) == {event}
    assert receiver.bytes_poured < 32_000_000

    became = {name: only_delivery(house, endpoint) for name, endpoint in endpoints.items()}
    statuses = {name: (each["status"], each["last_status_code"]) for name, each in became.items()}
    assert statuses == {
        "ok": ("delivered", 204),
        "endless": ("delivered", 200),
        "redirect": ("pending", 307),
        "400": ("pending", 400),
        "410": ("dead", 410),
        "429": ("pending", 429),
        "500": ("pending", 500),
        "503": ("pending", 503),
        "hang": ("pending", None),
        "refusing": ("pending", None),
    }
    assert "not followed" in became["redirect"]["last_error"]
    assert "in time" in became["hang"]["last_error"]
    assert "connection" in became["refusing"]["last_error"]
    for name in ("redirect", "400", "500", "hang", "refusing"):
        assert 4 <= waits(became[name]) <= 6
    assert waits(became["429"]) == 600
    assert waits(became["503"]) == 86_400, "no endpoint makes us wait for longer than a day"
    gone = shown(house, endpoints["410"])
    assert (gone["is_enabled"], gone["disabled_reason"]) == (False, "gone")
    assert shown(house, endpoints["500"])["is_enabled"]


def test_a_message_is_tried_eight_times_with_the_same_bytes_then_it_is_dead_until_somebody_replays_it(
    house: ServedHouse, receiver: Receiver
) -> None:
    admin, endpoint = house.sign_in(NADIA), subscribe(house, receiver)
    receiver.behave("/hook", "500")
    event = something_happens(house)
    while deliver(house)["dead"] == 0:
        pending = only_delivery(house, endpoint)
        assert deliver(house) == NOTHING, "before its time nothing is sent again"
        problem(admin.post(f"/deliveries/{pending['id']}/replay"), 409, "illegal_transition")
        house.set_clock(pending["next_attempt_at"])
    dead = only_delivery(house, endpoint)
    assert (dead["status"], dead["attempts"], dead["next_attempt_at"]) == ("dead", 8, None)
    assert len(receiver.messages) == 8
    house.set_clock(START + timedelta(days=3))
    assert deliver(house) == NOTHING

    receiver.behave("/hook", "ok")
    assert answer(admin.post(f"/deliveries/{dead['id']}/replay"))["status"] == "pending"
    assert deliver(house)["delivered"] == 1
    replayed = only_delivery(house, endpoint)
    assert (replayed["status"], replayed["attempts"]) == ("delivered", 9)
    assert [each["outcome"] for each in replayed["log"]] == ["failed"] * 8 + ["delivered"]
    assert {(each.id, each.body) for each in receiver.messages} == {(event["id"], receiver.messages[0].body)}
    assert all(each.verified_by == (endpoint["secret"],) for each in receiver.messages)

    answer(admin.post(f"/deliveries/{dead['id']}/replay"))
    assert deliver(house)["delivered"] == 1, "what was delivered may be sent again too"
    assert len({each.body for each in receiver.messages}) == 1


def test_an_endpoint_that_fails_for_five_days_is_turned_off_with_the_reason(
    house: ServedHouse, receiver: Receiver
) -> None:
    endpoint = subscribe(house, receiver)
    receiver.behave("/hook", "500")
    happen(house)
    deliver(house)
    failing = shown(house, endpoint)
    assert (failing["is_enabled"], datetime.fromisoformat(failing["failing_since"])) == (True, START)
    house.set_clock(START + timedelta(days=5))
    deliver(house)
    off = shown(house, endpoint)
    assert (off["is_enabled"], off["disabled_reason"]) == (False, "failing")
    receiver.behave("/hook", "ok")
    change(house, endpoint, is_enabled=True)
    house.set_clock(START + timedelta(days=6))
    assert deliver(house)["delivered"] == 1
    assert shown(house, endpoint)["failing_since"] is None


# --- whatever happens to the dispatcher -----------------------------------------------------------------


def test_a_dispatcher_killed_between_sending_and_saying_so_delivers_again_under_the_same_id(
    house: ServedHouse, receiver: Receiver, served: Stack
) -> None:
    endpoint = subscribe(house, receiver)
    receiver.behave("/hook", "hang")
    event = something_happens(house)
    with ThreadPoolExecutor(1) as thread:
        dispatching = thread.submit(deliver, house)
        while not receiver.messages:
            assert not dispatching.done()
            time.sleep(0.01)
        with_postgrest = served.processes().get("functions-postgrest", False)
        served.crash_functions()
        with pytest.raises(httpx.TransportError):
            dispatching.result()
    served.start_services()
    if with_postgrest:
        served.start_postgrest()

    receiver.behave("/hook", "ok")
    assert deliver(house) == NOTHING, "the lease holds"
    house.set_clock(START + timedelta(seconds=61))
    assert deliver(house) == NOTHING | {"delivered": 1}
    first, second = receiver.messages
    assert first.id == second.id == event["id"]
    assert first.body == second.body
    assert first.verified_by == second.verified_by == (endpoint["secret"],)
    delivery = only_delivery(house, endpoint)
    assert [each["outcome"] for each in delivery["log"]] == ["lost", "delivered"]


def test_dispatchers_at_the_same_time_share_the_work(house: ServedHouse, receiver: Receiver) -> None:
    subscribe(house, receiver)
    happened = happen(house, 120)
    with ThreadPoolExecutor(4) as threads:
        done = [each.result() for each in [threads.submit(deliver, house) for _ in range(4)]]
    assert sum(each["delivered"] for each in done) == 120
    assert sorted(ids(receiver.messages)) == sorted(happened)


# --- where nothing may go -------------------------------------------------------------------------------


@pytest.fixture
async def guarded(house: ServedHouse, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """Functions of a deployment, which keep out of private networks, with an admin's token."""
    for name in (
        "SUPABASE_URL",
        "SUPABASE_PUBLISHABLE_KEY",
        "SUPABASE_SECRET_KEY",
        "SUPABASE_JWT_SECRET",
        "CRON_SECRET",
    ):
        monkeypatch.setenv(name, house.env[name])
    monkeypatch.delenv("ALLOW_PRIVATE_WEBHOOKS", raising=False)
    forget_the_process()
    from functions.main import assemble  # noqa: PLC0415  # reads the environment when imported

    transport = httpx.ASGITransport(assemble(config.settings()))
    headers = {"Authorization": f"Bearer {house.visit(NADIA).token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://guarded.test/api", headers=headers) as client:
        yield client
    await database.http_client().aclose()
    forget_the_process()


def forget_the_process() -> None:
    for read_once in (config.settings, database.http_client, auth.verifier, targets.targets):
        read_once.cache_clear()


async def test_an_address_in_a_private_network_is_refused_when_it_is_entered(
    house: ServedHouse, guarded: httpx.AsyncClient, receiver: Receiver, closed_port: socket.socket
) -> None:
    port = closed_port.getsockname()[1]
    endpoint = subscribe(house, receiver)
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001"):
        body = {"url": f"https://{host}:{port}/hook"}
        problem(await guarded.post("/webhook-endpoints", json=body), 422, "target_refused")
        problem(await guarded.patch(f"/webhook-endpoints/{endpoint['id']}", json=body), 422, "target_refused")
    problem(await guarded.post("/webhook-endpoints", json={"url": "http://93.184.216.34/"}), 422, "target_refused")
    assert shown(house, endpoint)["url"] == endpoint["url"]
    assert house.database.value("select count(*) from public.webhook_endpoints") == 1


async def test_no_connection_is_made_into_a_private_network_however_the_address_came_to_be_stored(
    house: ServedHouse, guarded: httpx.AsyncClient, closed_port: socket.socket
) -> None:
    port = closed_port.getsockname()[1]
    urls = [f"{scheme}://{host}:{port}/hook" for scheme in ("https", "http") for host in ("127.0.0.1", "localhost")]
    endpoints = [answer(house.sign_in(NADIA).post("/webhook-endpoints", json={"url": url}), 201) for url in urls]
    happen(house)
    done = answer(await guarded.get("/cron/deliver-outbox", headers=as_scheduler(house)))
    assert done["dead"] == 4
    await asyncio.sleep(0.1)
    for endpoint in endpoints:
        delivery = only_delivery(house, endpoint)
        (attempt,) = delivery["log"]
        assert (delivery["status"], attempt["outcome"], attempt["status_code"]) == ("dead", "refused", None)
        assert str(port) not in attempt["error"]
        assert shown(house, endpoint)["is_enabled"], "an admin may correct the address and replay"


async def test_a_name_that_was_public_when_it_was_entered_and_is_private_now_gets_nothing(
    house: ServedHouse, guarded: httpx.AsyncClient, closed_port: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding."""
    answers = [["93.184.216.34"], ["127.0.0.1"]]

    async def resolve(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    rebinding = targets.Targets(resolve=resolve)
    for module in ("lib.webhooks", "lib.outbox"):
        monkeypatch.setattr(f"{module}.targets", lambda: rebinding)
    body = {"url": f"https://rebinding.example:{closed_port.getsockname()[1]}/hook"}
    endpoint = answer(await guarded.post("/webhook-endpoints", json=body), 201)
    happen(house)
    done = answer(await guarded.get("/cron/deliver-outbox", headers=as_scheduler(house)))
    assert (done["dead"], answers) == (1, [])
    assert "private" in only_delivery(house, endpoint)["last_error"]


def test_the_real_clock_signs_whatever_the_databases_says(house: ServedHouse, receiver: Receiver) -> None:
    """A receiver compares the time of signing with its own."""
    house.set_clock("2026-03-01T12:00:00+00:00")
    endpoint = subscribe(house, receiver)
    happen(house)
    deliver(house)
    (message,) = receiver.messages
    signed_at = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC)
    assert abs(datetime.now(UTC) - signed_at) < timedelta(minutes=1)
    assert message.verified_by == (endpoint["secret"],)
