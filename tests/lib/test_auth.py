"""How published keys are fetched and kept."""

import asyncio
import json
from collections.abc import Iterator
from uuid import UUID

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from lib.auth import COOLDOWN_SECONDS, KEYS_LIVE_SECONDS, RETRY_SECONDS, Caller, KeySet
from lib.errors import NotSignedIn, UpstreamUnavailable

URL = "http://supabase.test/jwks.json"


def jwk(kid: str) -> dict[str, object]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {**json.loads(ECAlgorithm.to_jwk(key)), "kid": kid, "alg": "ES256"}


FIRST, SECOND = jwk("first"), jwk("second")


class Clock:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def published() -> Iterator[respx.Route]:
    with respx.mock:
        yield respx.get(URL).mock(httpx.Response(200, json={"keys": [FIRST]}))


@pytest.fixture
async def keys(clock: Clock) -> KeySet:
    return KeySet(URL, httpx.AsyncClient(), now=clock)


async def test_one_look_serves_everybody_who_waits(keys: KeySet, published: respx.Route) -> None:
    found = await asyncio.gather(*(keys.key("first") for _ in range(50)))
    assert {key.key_id for key in found} == {"first"}
    assert published.call_count == 1


async def test_keys_are_believed_for_ten_minutes_at_most(keys: KeySet, published: respx.Route, clock: Clock) -> None:
    assert KEYS_LIVE_SECONDS <= 600
    await keys.key("first")
    clock.now += KEYS_LIVE_SECONDS - 1
    await keys.key("first")
    assert published.call_count == 1
    published.mock(httpx.Response(200, json={"keys": [SECOND]}))
    clock.now += 1
    with pytest.raises(NotSignedIn):
        await keys.key("first")


async def test_a_new_key_is_found_at_once_after_the_cooldown(
    keys: KeySet, published: respx.Route, clock: Clock
) -> None:
    await keys.key("first")
    published.mock(httpx.Response(200, json={"keys": [FIRST, SECOND]}))
    clock.now += COOLDOWN_SECONDS
    assert (await keys.key("second")).key_id == "second"


async def test_made_up_key_ids_cost_one_look_in_a_cooldown(keys: KeySet, published: respx.Route, clock: Clock) -> None:
    for number in range(20):
        with pytest.raises(NotSignedIn):
            await keys.key(f"made up {number}")
    assert published.call_count == 1
    clock.now += COOLDOWN_SECONDS
    await asyncio.gather(*(keys.key(f"made up {n}") for n in range(20)), return_exceptions=True)
    assert published.call_count == 2


@pytest.mark.parametrize(
    "outage",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"Location": "http://elsewhere.test"}),
        httpx.Response(200, text="<html>maintenance</html>"),
        httpx.Response(200, content=b"\xff\xfe\xfd"),
        httpx.Response(200, json={"keys": "none"}),
        httpx.Response(200, json=[]),
        httpx.Response(200, text="[" * 100_000),
        httpx.ConnectTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
    ],
    ids=["500", "redirect", "html", "no text", "no list", "no object", "deep", "slow", "cut"],
)
async def test_a_failed_look_leaves_the_old_keys_in_use(
    keys: KeySet, published: respx.Route, clock: Clock, outage: httpx.Response | Exception
) -> None:
    await keys.key("first")
    published.mock(side_effect=[outage])
    clock.now += KEYS_LIVE_SECONDS
    assert (await keys.key("first")).key_id == "first"
    assert published.call_count == 2


async def test_without_any_keys_an_outage_is_said_and_not_hammered(
    keys: KeySet, published: respx.Route, clock: Clock
) -> None:
    published.mock(side_effect=httpx.ConnectError("refused"))
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            await keys.key("first")
    assert published.call_count == 1
    published.mock(httpx.Response(200, json={"keys": [FIRST]}))
    clock.now += RETRY_SECONDS
    assert (await keys.key("first")).key_id == "first"


async def test_an_unknown_key_during_an_outage_is_not_called_a_bad_token(
    keys: KeySet, published: respx.Route, clock: Clock
) -> None:
    await keys.key("first")
    published.mock(side_effect=httpx.ConnectError("refused"))
    clock.now += COOLDOWN_SECONDS
    with pytest.raises(UpstreamUnavailable):
        await keys.key("second")


async def test_an_empty_set_means_that_nobody_can_sign_in_with_it(keys: KeySet, published: respx.Route) -> None:
    published.mock(httpx.Response(200, json={"keys": []}))
    with pytest.raises(NotSignedIn):
        await keys.key("first")


async def test_keys_that_cannot_be_used_are_passed_over(keys: KeySet, published: respx.Route) -> None:
    odd = [
        {"kty": "oct", "kid": "oct", "k": "eHh4"},
        {"kty": "EC", "kid": "half"},
        {**FIRST, "kid": None},
        {},
    ]
    published.mock(httpx.Response(200, json={"keys": [*odd, FIRST]}))
    assert isinstance(await keys.key("first"), jwt.PyJWK)
    for kid in ("oct", "half"):
        with pytest.raises(NotSignedIn):
            await keys.key(kid)


def test_printing_a_caller_shows_no_token() -> None:
    assert "secret" not in repr(Caller(id=UUID(int=1), token="secret"))
