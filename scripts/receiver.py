"""A receiver of webhooks, for trying them out: `python -m scripts.receiver --secret whsec_…`.

It verifies each message with the reference library of Standard Webhooks, prints it, and answers as it is told:
`--behave` takes one of `BEHAVIOURS`. Tests run it in a thread:

    with Receiver(secrets=[secret]).listening() as receiver:
        receiver.behave("/hook", "500")
        ... receiver.url + "/hook" ...
        receiver.messages
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import uvicorn
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.types import Message, Receive, Scope, Send

HOST = "127.0.0.1"
START_SECONDS = 10
CHUNK = bytes(65_536)


@dataclass(frozen=True)
class Behaviour:
    """What is answered: a status, after some seconds, and a body that never ends if need be."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0
    endless: bool = False


BEHAVIOURS = {
    "ok": Behaviour(),
    "slow": Behaviour(seconds=1.5),
    "hang": Behaviour(seconds=3600),
    "endless": Behaviour(200, endless=True),
    "redirect": Behaviour(307, {"Location": "/elsewhere"}),
    "400": Behaviour(400),
    "410": Behaviour(410),
    "429": Behaviour(429, {"Retry-After": "600"}),
    "500": Behaviour(500),
    "503": Behaviour(503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}),
}


@dataclass(frozen=True)
class Received:
    """A message as it came in."""

    path: str
    id: str
    body: bytes
    headers: Mapping[str, str]
    verified_by: tuple[str, ...]
    """Those of the receiver's secrets under which it verifies."""
    connection: int
    """The port that it came from."""

    @property
    def event(self) -> dict[str, object]:
        """What it says."""
        return json.loads(self.body)


class Receiver:
    """An ASGI app that keeps what it receives.

    Args:
        secrets: with which messages are verified; more may be added later.
        usual: what is answered wherever nothing else was said.
        tell: called with each message.
    """

    def __init__(self, secrets: Iterable[str] = (), usual: str = "ok", *, tell: bool = False) -> None:
        self.secrets = list(secrets)
        self.messages: list[Received] = []
        self.bytes_poured = 0
        """How much of endless answers went out."""
        self.url = ""
        self._usual = BEHAVIOURS[usual]
        self._behaviours: dict[str, Behaviour] = {}
        self._tell = tell

    def behave(self, path: str, behaviour: str) -> None:
        """Answer like this from now on to what comes to `path`."""
        self._behaviours[path] = BEHAVIOURS[behaviour]

    def at(self, path: str) -> list[Received]:
        """The messages that came to `path`."""
        return [each for each in self.messages if each.path == path]

    @contextmanager
    def listening(self, port: int = 0) -> Generator[Self]:
        """Listen on loopback, in a thread, until the block ends; `url` says where."""
        server = uvicorn.Server(uvicorn.Config(self, host=HOST, port=port, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not server.started:
            raise RuntimeError(f"The receiver could not listen on port {port}.")
        self.url = f"http://{HOST}:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            # Whoever still waits for an answer waits in vain.
            server.should_exit = server.force_exit = True
            thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one message, as ASGI has it."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        message = self._verified(scope["path"], await _body_of(receive), headers, scope["client"][1])
        self.messages.append(message)
        if self._tell:
            told = "verified" if message.verified_by else "NOT VERIFIED"
            print(f"{message.path} {message.id} {told}: {message.body.decode(errors='replace')}", flush=True)
        await self._answer(self._behaviours.get(message.path, self._usual), receive, send)

    async def _answer(self, behaviour: Behaviour, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(receive())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(gone), behaviour.seconds)
        headers = [(name.encode(), value.encode()) for name, value in behaviour.headers.items()]
        await send({"type": "http.response.start", "status": behaviour.status, "headers": headers})
        while behaviour.endless and not gone.done():
            await send(_part(CHUNK, more=True))
            self.bytes_poured += len(CHUNK)
            await asyncio.sleep(0)
        await send(_part(b"", more=False))
        gone.cancel()

    def _verified(self, path: str, body: bytes, headers: Mapping[str, str], connection: int) -> Received:
        verified_by = tuple(secret for secret in self.secrets if _verifies(secret, body, headers))
        return Received(path, headers.get("webhook-id", ""), body, headers, verified_by, connection)


def _verifies(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    # The library meets malformed headers with errors of Python's own.
    with suppress(WebhookVerificationError, ValueError):
        Webhook(secret).verify(body, dict(headers), json_parse=False)
        return True
    return False


async def _body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        part = await receive()
        body += part.get("body", b"")
        more = part.get("more_body", False)
    return body


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def main() -> None:
    """Listen until interrupted."""
    parser = argparse.ArgumentParser(description="Receives webhooks on this machine, verifies and prints them.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--secret", action="append", default=[], help="of an endpoint; may be repeated")
    parser.add_argument("--behave", choices=BEHAVIOURS, default="ok", help="how to answer")
    given = parser.parse_args()
    with Receiver(given.secret, given.behave, tell=True).listening(given.port) as receiver, suppress(KeyboardInterrupt):
        print(f"Listening at {receiver.url}/; end with Ctrl-C.", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
