"""The dispatcher: what it leases is sent at once, and Postgres hears how each message went."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from lib import config, outbox
from lib.adapters import Sent
from lib.auth import Service
from lib.database import Database
from lib.outbox import CleanedUp, Delivery, Dispatched
from scripts.receiver import Receiver
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

CRON = {"Authorization": "Bearer made up for a scheduler, and long"}
DELIVER, CLEAN = "/cron/deliver-outbox", "/cron/clean-up"
NOTHING: Mapping[str, int] = {"delivered": 0, "retrying": 0, "dead": 0, "stale": 0}
NOBODY_TOLD: Mapping[str, Any] = {
    **dict.fromkeys(("sent", "retrying", "failed", "unknown", "deferred", "unreachable", "stale"), 0),
    "off": ["whatsapp", "email"],
    "more": False,
}
"""No channel is on, so no message is asked for."""


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a scheduler."""
    monkeypatch.setenv("CRON_SECRET", CRON["Authorization"].removeprefix("Bearer "))
    monkeypatch.setenv("SUPABASE_SECRET_KEY", "sb_secret_test")
    config.settings.cache_clear()


def leased(number: int = 1, **more: Any) -> Mapping[str, Any]:
    return {
        "delivery_id": f"delivery {number}",
        "lease_id": "the lease",
        "consumer": "webhook",
        "attempt": 1,
        "message_id": f"evt_{number}",
        "event_type": "session.completed",
        "body": f'{{"id": "evt_{number}", "name": "Zoë"}}',
        "url": "https://127.0.0.1/hook",
        "secrets": [s.secret],
    } | more


def lease(*deliveries: Mapping[str, Any], more: bool = False) -> Mapping[str, Any]:
    return {"deliveries": list(deliveries), "more": more}


class Clock:
    """Reads what it was told to read, and the last of it from then on."""

    def __init__(self, *readings: float) -> None:
        self._readings = list(readings)

    def __call__(self) -> float:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]


def as_service() -> Database:
    return Database(Service("sb_secret_test"), "a-request")


# --- what is said about each message --------------------------------------------------------------------


async def taken(_: Delivery) -> Sent:
    return Sent("delivered", 204)


async def later(_: Delivery) -> Sent:
    return Sent("failed", 429, "The endpoint answered 429.", 60)


async def broken(_: Delivery) -> Sent:
    raise KeyError("canary")


async def test_every_message_is_told_of_as_its_sender_found_it(rpcs: Rpcs) -> None:
    claimed = [leased(number, consumer=name) for number, name in enumerate(("a", "b", "c", "d"))]
    rpcs.answer("claim_deliveries", lease(*claimed))
    rpcs.answer("settle_deliveries", {"delivered": 1, "retrying": 3, "dead": 0, "stale": 0})
    done = await outbox.dispatch(as_service(), {"a": taken, "b": later, "c": broken}, 45, Clock(7))
    assert done == Dispatched(delivered=1, retrying=3, dead=0, stale=0, more=False)
    assert rpcs.sent("claim_deliveries") == {"p_limit": 50, "p_lease_seconds": 60}
    known = {"lease_id": "the lease", "duration_ms": 0}
    unsent = {"outcome": "failed", "status_code": None, "retry_after_seconds": None}
    assert rpcs.sent("settle_deliveries")["p_results"] == [
        known
        | {"delivery_id": "delivery 0", "outcome": "delivered", "status_code": 204}
        | {"error": None, "retry_after_seconds": None},
        known
        | {"delivery_id": "delivery 1", "outcome": "failed", "status_code": 429}
        | {"error": "The endpoint answered 429.", "retry_after_seconds": 60},
        known | unsent | {"delivery_id": "delivery 2", "error": "A fault of ours: KeyError."},
        known | unsent | {"delivery_id": "delivery 3", "error": "These functions have no way to send this."},
    ]


async def test_all_of_a_lap_are_sent_at_the_same_time(rpcs: Rpcs) -> None:
    together = asyncio.Barrier(50)

    async def wait_for_the_others(_: Delivery) -> Sent:
        await asyncio.wait_for(together.wait(), 5)
        return Sent("delivered", 200)

    rpcs.answer("claim_deliveries", lease(*(leased(number) for number in range(50))))
    rpcs.answer("settle_deliveries", {**NOTHING, "delivered": 50})
    done = await outbox.dispatch(as_service(), {"webhook": wait_for_the_others}, 45)
    assert done.delivered == 50
    assert {each["outcome"] for each in rpcs.sent("settle_deliveries")["p_results"]} == {"delivered"}


async def test_how_long_sending_took_is_told_in_milliseconds(rpcs: Rpcs) -> None:
    rpcs.answer("claim_deliveries", lease(leased()))
    rpcs.answer("settle_deliveries", {**NOTHING, "delivered": 1})
    await outbox.dispatch(as_service(), {"webhook": taken}, 45, Clock(0, 1, 1.25))
    (result,) = rpcs.sent("settle_deliveries")["p_results"]
    assert result["duration_ms"] == 250


# --- lap by lap -----------------------------------------------------------------------------------------


async def test_it_goes_on_while_there_is_more_and_adds_up(rpcs: Rpcs) -> None:
    rpcs.answer_in_turn("claim_deliveries", lease(leased(1), more=True), lease(leased(2), more=True), lease())
    rpcs.answer_in_turn("settle_deliveries", {**NOTHING, "delivered": 1}, {**NOTHING, "retrying": 1, "stale": 2})
    done = await outbox.dispatch(as_service(), {"webhook": taken}, 45, Clock(0))
    assert done == Dispatched(delivered=1, retrying=1, dead=0, stale=2, more=False)


async def test_with_nothing_due_nothing_is_settled(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("claim_deliveries", lease())
    response = await client.get(DELIVER, headers=CRON)
    assert (response.status_code, response.json()) == (200, {**NOTHING, "more": False, "notices": NOBODY_TOLD})
    assert rpcs.count == 1


@pytest.mark.parametrize(
    ("ends", "budget", "laps"),
    [
        ((1, 2, 3, 34.5), 45, 4),  # 35 is the last moment at which ten seconds are left
        ((9, 18, 27, 34), 45, 3),  # the next lap might take nine seconds more, beside the ten
        ((60,), 45, 1),  # never none
        ((0.1,), 5, 1),  # a budget that is too small for one hanging receiver
    ],
)
async def test_no_lap_begins_that_would_end_too_late_if_every_receiver_hung(
    rpcs: Rpcs, ends: tuple[float, ...], budget: float, laps: int
) -> None:
    rpcs.answer("claim_deliveries", lease(more=True))
    done = await outbox.dispatch(as_service(), {}, budget, Clock(0, *ends))
    assert (rpcs.count, done.more) == (laps, True)


async def test_a_fault_between_sending_and_settling_is_a_503_and_leaves_the_lease_to_run_out(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("claim_deliveries", lease(leased()))
    rpcs.answer_in_turn("settle_deliveries", httpx.ConnectError("canary"))
    response = await client.get(DELIVER, headers=CRON)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert "canary" not in response.text


# --- the whole way to a receiver ------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver([s.secret]).listening() as receiver:
        yield receiver


async def test_a_webhook_arrives_as_it_was_leased(
    client: httpx.AsyncClient, rpcs: Rpcs, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_WEBHOOKS", "true")
    config.settings.cache_clear()
    rpcs.let_through("127.0.0.1")
    delivery = leased(url=receiver.url + "/hook")
    rpcs.answer("claim_deliveries", lease(delivery))
    rpcs.answer("settle_deliveries", {**NOTHING, "delivered": 1})
    told = (await client.get(DELIVER, headers=CRON)).json()
    assert told == {**NOTHING, "delivered": 1, "more": False, "notices": NOBODY_TOLD}
    (received,) = receiver.messages
    assert (received.id, received.body.decode(), received.verified_by) == ("evt_1", delivery["body"], (s.secret,))


async def test_nothing_is_sent_into_a_private_network_unless_a_setting_allows_it(
    client: httpx.AsyncClient, rpcs: Rpcs, receiver: Receiver
) -> None:
    rpcs.let_through("127.0.0.1")
    secure = receiver.url.replace("http://", "https://")
    rpcs.answer("claim_deliveries", lease(leased(1, url=receiver.url), leased(2, url=secure)))
    rpcs.answer("settle_deliveries", {**NOTHING, "dead": 2})
    await client.get(DELIVER, headers=CRON)
    results = rpcs.sent("settle_deliveries")["p_results"]
    assert [(each["outcome"], each["status_code"]) for each in results] == [("refused", None)] * 2
    assert receiver.messages == []


async def test_the_log_line_of_a_dispatch_shows_neither_address_nor_secret(
    client: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.let_through("127.0.0.1")
    rpcs.answer("claim_deliveries", lease(leased(url="https://127.0.0.1/canary")))
    rpcs.answer("settle_deliveries", {**NOTHING, "dead": 1})
    await client.get(DELIVER, headers=CRON)
    told = capsys.readouterr().out
    assert "deliver-outbox" in told
    for unsaid in ("canary", "whsec_", "Zo"):
        assert unsaid not in told


# --- forgetting -----------------------------------------------------------------------------------------


def forgot(**counts: Any) -> Mapping[str, Any]:
    names = (
        "repaired",
        "failed",
        "deliveries",
        "events",
        "answers",
        "call_counts",
        "refreshes",
        "consent_tokens",
        "provider_events",
        "messages",
    )
    return dict.fromkeys(names, 0) | {"more": False} | counts


async def test_cleaning_up_goes_on_while_there_is_more_and_adds_up(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer_in_turn("clean_up", forgot(events=1000, repaired=1, more=True), forgot(events=7, answers=2))
    response = await client.get(CLEAN, headers=CRON)
    assert response.json() == forgot(events=1007, repaired=1, answers=2)
    assert rpcs.all_sent("clean_up") == [{}, {}]


async def test_cleaning_up_stops_before_its_time_is_up_and_says_that_there_is_more(rpcs: Rpcs) -> None:
    rpcs.answer("clean_up", forgot(deliveries=1000, more=True))
    done = await outbox.clean_up(as_service(), 45, Clock(0, 20, 40))
    assert done == CleanedUp.model_validate(forgot(deliveries=2000, more=True))


@pytest.mark.parametrize("path", [DELIVER, CLEAN])
async def test_nobody_but_the_scheduler_is_let_in(tutor: httpx.AsyncClient, rpcs: Rpcs, path: str) -> None:
    response = await tutor.get(path)
    assert (response.status_code, response.json()["code"], rpcs.count) == (401, "not_signed_in", 0)
