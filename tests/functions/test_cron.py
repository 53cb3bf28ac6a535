"""The scheduler's way in: its secret, the key it speaks with, and how long it goes on."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from lib import clock, config
from lib.auth import Service
from lib.database import Database
from tests.functions import samples as s
from tests.functions.conftest import SUPABASE, Rpcs, token

URL = "/cron/complete-sessions"
RPC = "sweep_session_statuses"
SECRET = "made up for a scheduler, and long"
KEY = "sb_secret_test"
NOTHING_SET: Mapping[str, str] = {}
ALL_SET = {"CRON_SECRET": SECRET, "SUPABASE_SECRET_KEY": KEY}


def swept(started: int = 0, completed: int = 0, failed: int = 0, *, more: bool = False) -> Mapping[str, Any]:
    return {"started": started, "completed": completed, "failed": failed, "more": more, "updates": [s.clock_step]}


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a scheduler."""
    set_environment(monkeypatch, ALL_SET)


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config.settings.cache_clear()


async def call(client: httpx.AsyncClient, authorization: bytes | None) -> httpx.Response:
    return await client.get(URL, headers=[] if authorization is None else [(b"Authorization", authorization)])


# --- who is let in --------------------------------------------------------------------------------------

RIGHT = f"Bearer {SECRET}".encode()
NON_ASCII = "schlüssel-à"
"""Its last byte in UTF-8 would be a space if it were read as Latin-1."""
TABLE: dict[str, tuple[Mapping[str, str], bytes | None, int, str | None]] = {
    "right": (ALL_SET, RIGHT, 200, None),
    "right, the scheme in small letters": (ALL_SET, RIGHT.replace(b"Bearer", b"bearer"), 200, None),
    "right, and not ASCII": (ALL_SET | {"CRON_SECRET": NON_ASCII}, f"Bearer {NON_ASCII}".encode(), 200, None),
    "not ASCII in another encoding": (
        ALL_SET | {"CRON_SECRET": NON_ASCII},
        f"Bearer {NON_ASCII}".encode("latin-1"),
        401,
        "not_signed_in",
    ),
    "not ASCII where the secret is": (ALL_SET, "Bearer schlüssel".encode(), 401, "not_signed_in"),
    "bytes that are no text": (ALL_SET, b"Bearer \xff\xfe", 401, "not_signed_in"),
    "no header": (ALL_SET, None, 401, "not_signed_in"),
    "an empty header": (ALL_SET, b"", 401, "not_signed_in"),
    "a scheme alone": (ALL_SET, b"Bearer", 401, "not_signed_in"),
    "an empty secret": (ALL_SET, b"Bearer ", 401, "not_signed_in"),
    "the secret alone": (ALL_SET, SECRET.encode(), 401, "not_signed_in"),
    "another scheme": (ALL_SET, f"Basic {SECRET}".encode(), 401, "not_signed_in"),
    "wrong": (ALL_SET, b"Bearer wrong", 401, "not_signed_in"),
    "the beginning of the secret": (ALL_SET, RIGHT[:-1], 401, "not_signed_in"),
    "more than the secret": (ALL_SET, RIGHT + b"x", 401, "not_signed_in"),
    "other capitals": (ALL_SET, RIGHT.swapcase(), 401, "not_signed_in"),
    "the secret key": (ALL_SET, f"Bearer {KEY}".encode(), 401, "not_signed_in"),
    "a person's token": (ALL_SET, f"Bearer {token()}".encode(), 401, "not_signed_in"),
    "unset": ({"SUPABASE_SECRET_KEY": KEY}, RIGHT, 503, "not_configured"),
    "unset, and nothing sent": ({"SUPABASE_SECRET_KEY": KEY}, None, 503, "not_configured"),
    "unset, and nothing sent as a bearer": ({"SUPABASE_SECRET_KEY": KEY}, b"Bearer ", 503, "not_configured"),
    "unset, and what unset may read as": ({"SUPABASE_SECRET_KEY": KEY}, b"Bearer None", 503, "not_configured"),
    "empty": (ALL_SET | {"CRON_SECRET": ""}, b"Bearer ", 503, "not_configured"),
    "no secret key": ({"CRON_SECRET": SECRET}, RIGHT, 503, "not_configured"),
    "an empty secret key": (ALL_SET | {"SUPABASE_SECRET_KEY": ""}, RIGHT, 503, "not_configured"),
    "no secret key, and a stranger": ({"CRON_SECRET": SECRET}, b"Bearer wrong", 401, "not_signed_in"),
    "nothing set": (NOTHING_SET, RIGHT, 503, "not_configured"),
}


@pytest.mark.parametrize(("variables", "authorization", "status", "code"), TABLE.values(), ids=TABLE.keys())
async def test_who_has_the_secret_is_let_in_and_nobody_else(  # noqa: PLR0917
    client: httpx.AsyncClient,
    rpcs: Rpcs,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: Mapping[str, str],
    authorization: bytes | None,
    status: int,
    code: str | None,
) -> None:
    set_environment(monkeypatch, variables)
    rpcs.answer(RPC, swept())
    response = await call(client, authorization)
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert rpcs.count == (1 if status == 200 else 0)
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert ("Retry-After" in response.headers) == (status == 503)
    told = response.text + capsys.readouterr().out
    assert SECRET not in told
    assert KEY not in told


@pytest.mark.usefixtures("configured")
async def test_the_database_hears_the_secret_key_and_no_bearer(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer(RPC, swept())
    client.headers["X-Request-Id"] = "from-the-scheduler-1"
    await call(client, RIGHT)
    headers = rpcs.request(RPC).headers
    assert (headers["apikey"], headers["X-Request-Id"]) == (KEY, "from-the-scheduler-1")
    assert "Authorization" not in headers
    assert SECRET not in str(headers)


@pytest.mark.usefixtures("configured")
async def test_a_person_never_speaks_with_the_secret_key(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer(RPC, swept())
    rpcs.answer("get_me", s.person)
    await call(tutor, RIGHT)
    assert (await tutor.get("/me")).status_code == 200
    assert KEY not in str(rpcs.request("get_me").headers)


def test_printing_a_service_shows_no_key() -> None:
    assert KEY not in repr(Service(KEY))


# --- how long it goes on --------------------------------------------------------------------------------


class Clock:
    """Reads what it was told to read."""

    def __init__(self, *readings: float) -> None:
        self._readings: Iterator[float] = iter(readings)

    def __call__(self) -> float:
        return next(self._readings)


async def sweep(readings: list[float], budget: float) -> clock.Swept:
    return await clock.sweep_session_statuses(Database(Service(KEY), "a-request"), budget, Clock(*readings))


@pytest.mark.usefixtures("configured")
async def test_it_goes_on_while_there_is_more_and_adds_up(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer_in_turn(RPC, swept(500, 20, more=True), swept(100, 3, 1, more=True), swept(2))
    response = await call(client, RIGHT)
    assert response.json() == {"started": 602, "completed": 23, "failed": 1, "more": False, "sweeps": 3}
    assert rpcs.all_sent(RPC) == [{}, {}, {}]


@pytest.mark.usefixtures("configured")
async def test_nothing_due_is_one_sweep(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer(RPC, swept())
    response = await call(client, RIGHT)
    assert response.json() == {"started": 0, "completed": 0, "failed": 0, "more": False, "sweeps": 1}


@pytest.mark.parametrize(
    ("readings", "budget", "sweeps"),
    [
        ([0, 10, 20, 30, 40], 45, 4),  # a fifth one would end at 50
        ([0, 10, 20, 30, 36], 45, 4),  # the longest counts, not the last
        ([0, 60], 45, 1),  # never none
        ([0, 22.5, 45], 45, 2),  # to the very end
        ([100, 110, 120, 130, 140], 45, 4),  # only the time since the beginning counts
    ],
)
async def test_it_stops_before_its_time_is_up_and_says_that_there_is_more(
    rpcs: Rpcs, readings: list[float], budget: float, sweeps: int
) -> None:
    rpcs.answer(RPC, swept(500, more=True))
    done = await sweep(readings, budget)
    assert done == clock.Swept(started=500 * sweeps, completed=0, failed=0, more=True, sweeps=sweeps)
    assert rpcs.count == sweeps


@pytest.mark.usefixtures("configured")
async def test_its_time_is_a_setting(client: httpx.AsyncClient, rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {"CRON_BUDGET_SECONDS": "1e-9"})
    rpcs.answer(RPC, swept(500, more=True))
    assert (await call(client, RIGHT)).json()["sweeps"] == 1


@pytest.mark.usefixtures("configured")
async def test_a_fault_on_the_way_is_a_503_that_the_next_call_makes_good(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    busy = httpx.Response(500, json={"code": "55P03", "message": "canary", "details": None, "hint": None})
    rpcs.answer_in_turn(RPC, swept(500, more=True), busy, swept(7))
    response = await call(client, RIGHT)
    assert (response.status_code, response.json()["code"], response.headers["Retry-After"]) == (503, "busy", "1")
    assert "canary" not in response.text
    assert (await call(client, RIGHT)).json()["started"] == 7


@pytest.mark.usefixtures("configured")
async def test_a_secret_key_that_supabase_does_not_know_is_not_the_schedulers_fault(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.fail(RPC, httpx.Response(401, json={"message": "Invalid API key"}))
    response = await call(client, RIGHT)
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert SUPABASE not in response.text
