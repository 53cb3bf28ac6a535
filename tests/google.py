"""A stand-in for Google: Calendar and its access tokens on loopback, with a memory, and with failures on demand.

It keeps the rules that Google documents and we rely on: an event's id is taken once and for ever (409), a change may
be bound to what was read (412), what is cancelled keeps its details, and only somebody who acts for a user may name
guests or have Meet links made.
"""

import asyncio
import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qs

import jwt
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

HOST = "127.0.0.1"
START_SECONDS = 10
CALENDAR = "lessons@group.calendar.test"
USER = "office@lessonkeeper.test"
ADDRESS = "lessons@lessonkeeper-test.iam.gserviceaccount.com"
_SCOPES = {"https://www.googleapis.com/auth/calendar.events", "https://www.googleapis.com/auth/calendar.freebusy"}
_ID = re.compile(r"[a-v0-9]{5,1024}")

Json: TypeAlias = dict[str, Any]


@lru_cache(maxsize=1)
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def service_account(token_url: str = "http://127.0.0.1:9/token") -> dict[str, str]:
    """A key as Google gives it out."""
    pem = _private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": ADDRESS,
        "private_key_id": "1",
        "private_key": pem.decode(),
        "token_uri": token_url,
    }


class StandIn:
    """Google, as far as a calendar goes."""

    def __init__(self) -> None:
        self.url = ""
        self.events: dict[str, Json] = {}
        """By their ids; all of them in one calendar."""
        self.busy: dict[str, list[tuple[str, str]]] = {}
        """Other calendars and when they are busy."""
        self.calls: list[str] = []
        """What was asked, in order: `POST event`, `GET event`, `PATCH event`, `POST busy`, `POST token`."""
        self.meet_status = "success"
        """How a Meet link turns out: success, pending or failure."""
        self._failures: dict[str, Response | str] = {}
        self._tokens: dict[str, str | None] = {}
        self._numbers = count(1)
        self._released = threading.Event()

    # --- for tests ------------------------------------------------------------------------------------------

    def environment(self, *, delegated: bool = True) -> dict[str, str]:
        """What functions must be given to speak to it."""
        key = b64encode(json.dumps(service_account()).encode()).decode()
        return {
            "GOOGLE_SERVICE_ACCOUNT": key,
            "GOOGLE_CALENDAR_ID": CALENDAR,
            "GOOGLE_API_URL": f"{self.url}/calendar/v3",
            "GOOGLE_TOKEN_URL": f"{self.url}/token",
        } | ({"GOOGLE_DELEGATED_USER": USER} if delegated else {})

    def fail(self, call: str, status: int, reason: str = "", *, retry_after: int | None = None) -> None:
        """Answer this kind of call, or `*` for all, like this from now on."""
        error = {"code": status, "message": "A person's name", "errors": [{"domain": "x", "reason": reason}]}
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self._failures[call] = JSONResponse({"error": error}, status, headers)

    def refuse_token(self, content: object) -> None:
        """Give no access tokens from now on, and say this instead; a text is a way to misbehave."""
        self._failures["POST token"] = content if isinstance(content, str) else JSONResponse(content, 400)

    def misbehave(self, call: str, how: str) -> None:
        """`html`: answer with a page; `hang`: never; `after`: do it, and never say so; `nonsense`: answer no object."""
        self._failures[call] = how

    def recover(self) -> None:
        """Do as asked again; who waits for an answer waits in vain."""
        self._failures.clear()
        self._released.set()
        self._released = threading.Event()

    def forget_tokens(self) -> None:
        """Take no token that was given before."""
        self._tokens.clear()

    def shown(self) -> dict[str, tuple[datetime, datetime]]:
        """The events that a calendar shows, and their times."""
        return {
            id_: (datetime.fromisoformat(each["start"]["dateTime"]), datetime.fromisoformat(each["end"]["dateTime"]))
            for id_, each in self.events.items()
            if each["status"] == "confirmed"
        }

    @contextmanager
    def listening(self) -> Generator[Self]:
        """Listen on loopback, in a thread, until the block ends; `url` says where."""
        server = uvicorn.Server(uvicorn.Config(self._app(), host=HOST, port=0, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not server.started:
            raise RuntimeError("The stand-in for Google could not listen.")
        self.url = f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.should_exit = server.force_exit = True
            self.recover()
            thread.join()

    # --- what is asked --------------------------------------------------------------------------------------

    def _app(self) -> Starlette:
        events = "/calendar/v3/calendars/{calendar}/events"
        return Starlette(
            routes=[
                Route("/token", self._token, methods=["POST"]),
                Route("/calendar/v3/freeBusy", self._free_busy, methods=["POST"]),
                Route(events, self._insert, methods=["POST"]),
                Route(events + "/{event}", self._find, methods=["GET"]),
                Route(events + "/{event}", self._patch, methods=["PATCH"]),
            ]
        )

    async def _token(self, request: Request) -> Response:
        failure = await self._fails("POST token")
        if failure is not None:
            return failure
        form = parse_qs((await request.body()).decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        claims = jwt.decode(
            form["assertion"][0], _private_key().public_key(), algorithms=["RS256"], options={"verify_aud": False}
        )
        assert claims["iss"] == ADDRESS
        assert set(claims["scope"].split()) == _SCOPES
        token = f"token {next(self._numbers)}"
        self._tokens[token] = claims.get("sub")
        return JSONResponse({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    async def _insert(self, request: Request) -> Response:
        failure = await self._fails("POST event") or self._refuses(request)
        if failure is not None:
            return failure
        content = await request.json()
        id_ = content.get("id", "")
        if not _ID.fullmatch(id_):
            return _error(400, "invalid")
        if id_ in self.events:
            return _error(409, "duplicate")
        return await self._keep("POST event", request, {"status": "confirmed"} | content)

    async def _find(self, request: Request) -> Response:
        failure = await self._fails("GET event") or self._refuses(request)
        if failure is not None:
            return failure
        event = self.events.get(request.path_params["event"])
        return _error(404, "notFound") if event is None else JSONResponse(event)

    async def _patch(self, request: Request) -> Response:
        failure = await self._fails("PATCH event") or self._refuses(request)
        if failure is not None:
            return failure
        event = self.events.get(request.path_params["event"])
        if event is None:
            return _error(404, "notFound")
        if request.headers.get("If-Match", event["etag"]) != event["etag"]:
            return _error(412, "conditionNotMet")
        return await self._keep("PATCH event", request, event | await request.json())

    async def _keep(self, call: str, request: Request, event: Json) -> Response:
        user = self._tokens[request.headers["Authorization"].removeprefix("Bearer ")]
        assert request.query_params["sendUpdates"] == "none"
        if event.get("attendees") and user is None:
            return _error(403, "forbiddenForServiceAccounts")
        if event["status"] == "confirmed" and _instant(event["end"]) <= _instant(event["start"]):
            return _error(400, "timeRangeEmpty")
        assert request.query_params["conferenceDataVersion"] == "1"
        conference: Json = event.get("conferenceData") or {}
        asked = conference.get("createRequest")
        if asked and "status" not in asked:
            if user is None:
                return _error(400, "invalid")
            asked["status"] = {"statusCode": self.meet_status}
            if self.meet_status == "success":
                event["hangoutLink"] = _meet_link(next(self._numbers))
        if not event.get("conferenceData"):
            event.pop("hangoutLink", None)
        self.events[event["id"]] = event | {"etag": f'"{next(self._numbers)}"'}
        if self._failures.get(call) == "after":
            await self._hang()
        return JSONResponse(self.events[event["id"]])

    async def _free_busy(self, request: Request) -> Response:
        failure = await self._fails("POST busy") or self._refuses(request)
        if failure is not None:
            return failure
        question = await request.json()
        first, last = datetime.fromisoformat(question["timeMin"]), datetime.fromisoformat(question["timeMax"])
        calendars: Json = {}
        for id_ in (each["id"] for each in question["items"]):
            if id_ not in self.busy:
                calendars[id_] = {"errors": [{"domain": "global", "reason": "notFound"}], "busy": []}
                continue
            times = [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in self.busy[id_]]
            within = [{"start": s.isoformat(), "end": e.isoformat()} for s, e in times if s < last and e > first]
            calendars[id_] = {"busy": within}
        return JSONResponse({"kind": "calendar#freeBusy", "calendars": calendars})

    # --- what is answered instead ---------------------------------------------------------------------------

    async def _fails(self, call: str) -> Response | None:
        self.calls.append(call)
        failure = self._failures.get(call, None if call == "POST token" else self._failures.get("*"))
        match failure:
            case "hang":
                await self._hang()
            case "html":
                return HTMLResponse("<html><body>Sign in</body></html>")
            case "nonsense":
                return JSONResponse([1, 2])
            case _:
                pass
        return failure if isinstance(failure, Response) else None

    async def _hang(self) -> None:
        released = self._released
        while not released.is_set():  # noqa: ASYNC110  # it is set in another thread
            await asyncio.sleep(0.02)

    def _refuses(self, request: Request) -> Response | None:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            return _error(401, "authError")
        if request.path_params.get("calendar", CALENDAR) != CALENDAR:
            return _error(404, "notFound")
        return None


def _error(status: int, reason: str) -> Response:
    error: Mapping[str, Any] = {"code": status, "message": reason, "errors": [{"domain": "x", "reason": reason}]}
    return JSONResponse({"error": error}, status)


def _instant(time: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(time["dateTime"])


def _meet_link(number: int) -> str:
    letters = "".join(chr(ord("a") + number // 26**place % 26) for place in reversed(range(10)))
    return f"https://meet.google.com/{letters[:3]}-{letters[3:7]}-{letters[7:]}"
