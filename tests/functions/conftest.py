"""The app with a made-up Supabase behind it: the network is faked, and nothing else."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, cast
from uuid import UUID

import httpx
import jwt
import pytest
import respx
from fastapi import FastAPI

from lib import auth, config, database, google, models, targets
from tests.functions.samples import TUTOR

SUPABASE = "http://supabase.test"
SECRET = "a shared secret that only a local stack has, long enough for each HMAC we try"
JWKS = f"{SUPABASE}/auth/v1/.well-known/jwks.json"
ORIGIN = "https://app.example.com"
ENVIRONMENT = {
    "SUPABASE_URL": SUPABASE,
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_test",
    "SUPABASE_JWT_SECRET": SECRET,
    "SUPABASE_TIMEOUT_SECONDS": "2",
    "ALLOWED_ORIGINS": f"{ORIGIN}, http://localhost:3000",
}


class Rpcs:
    """The database's functions as the app sees them: answers put in, bodies taken out."""

    def __init__(self, router: respx.MockRouter) -> None:
        self._router = router

    def _route(self, name: str) -> respx.Route:
        return self._router.post(f"{SUPABASE}/rest/v1/rpc/{name}", name=name)

    def answer(self, name: str, body: object, status: int = 200) -> None:
        """``name`` gives ``body``."""
        self._route(name).mock(httpx.Response(status, json=body))

    def answer_in_turn(self, name: str, *outcomes: object) -> None:
        """``name`` gives one body after the other; a Response or an exception stands for itself."""
        self._route(name).mock(
            side_effect=[
                each if isinstance(each, httpx.Response | Exception) else httpx.Response(200, json=each)
                for each in outcomes
            ]
        )

    def refuse(self, name: str, status: int, code: str, detail: str = "", hint: object = None) -> None:
        """``name`` raises as our SQL does."""
        text = None if hint is None else json.dumps(hint)
        self.answer(name, {"code": f"PT{status}", "message": code, "details": detail, "hint": text}, status)

    def fail(self, name: str, outcome: httpx.Response | Exception) -> None:
        """``name`` ends in something else than an answer of ours."""
        self._route(name).mock(side_effect=[outcome])

    def let_through(self, host: str) -> None:
        """What goes there is not faked."""
        self._router.route(host=host).pass_through()

    def elsewhere(self, url: str, outcome: object) -> respx.Route:
        """Another service gives ``outcome`` at ``url``; a Response or an exception stands for itself."""
        route = self._router.post(url)
        if isinstance(outcome, Exception):
            return route.mock(side_effect=outcome)
        return route.mock(outcome if isinstance(outcome, httpx.Response) else httpx.Response(200, json=outcome))

    def publish(self, keys: object) -> respx.Route:
        """The project's signing keys are these."""
        return self._router.get(JWKS).mock(httpx.Response(200, json=keys))

    @property
    def count(self) -> int:
        """How many calls there were, of all of them."""
        return len(self._router.calls)

    def was_called(self, name: str) -> bool:
        """Whether ``name`` was called at all."""
        return self._router[name].called

    def request(self, name: str) -> httpx.Request:
        """The last call of ``name``."""
        return self._router[name].calls.last.request

    def all_sent(self, name: str) -> list[Mapping[str, Any]]:
        """The arguments of every call of ``name``."""
        calls = cast("list[respx.models.Call]", list(self._router[name].calls))
        return [json.loads(call.request.content) for call in calls]

    def sent(self, name: str) -> Mapping[str, Any]:
        """The arguments of the last call of ``name``."""
        return json.loads(self.request(name).content)


def token(**claims: object) -> str:
    """An access token such as a local stack issues; ``claims`` replace its own."""
    return jwt.encode(
        {"sub": TUTOR, "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 600} | claims,
        SECRET,
        algorithm="HS256",
    )


def _forget_the_process() -> None:
    once = (config.settings, database.http_client, auth.verifier, targets.targets, models.model, google.account)
    for read_once in once:
        read_once.cache_clear()


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a fresh process."""
    for name in config.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    _forget_the_process()
    yield
    _forget_the_process()


@pytest.fixture(scope="session")
def app() -> FastAPI:
    """The app as it is deployed, but for its settings."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        config.settings.cache_clear()
        from functions.main import assemble  # noqa: PLC0415  # reads the environment when imported

        return assemble(config.settings())


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a token."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://lessonkeeper.test/api") as anyone:
        yield anyone


@pytest.fixture
async def tutor(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Somebody with a good token."""
    client.headers["Authorization"] = f"Bearer {token()}"
    return client


@pytest.fixture
def caller_id() -> UUID:
    """Who ``tutor`` is."""
    return UUID(TUTOR)


@pytest.fixture
def rpcs() -> Iterator[Rpcs]:
    """The database's functions."""
    with respx.mock(assert_all_called=False) as router:
        yield Rpcs(router)
