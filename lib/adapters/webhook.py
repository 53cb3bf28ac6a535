"""Webhooks to a business's own systems: one signed POST each, and what its answer means.

The form is that of Standard Webhooks: id, time and body are signed together, once with each secret that is valid.
Redirects are not followed, no proxy of the environment is used, and of an answer only its status and
``Retry-After`` count: what stands at an address is not ours to show.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpcore
import httpx

from lib.adapters import Sent
from lib.posting import seconds_to_wait
from lib.targets import GuardedNetwork, TargetRefused, Targets

SECONDS = 10.0
"""For one message, from the look-up of its host to the end of its answer."""
LONGEST_ANSWER = 16_384
"""Bytes of an answer that are read, so that its connection serves the next message too."""
SECONDS_FOR_A_BODY = 1.0

_SECRET_PREFIX = "whsec_"  # noqa: S105  # how Standard Webhooks marks one
_ASKS_TO_WAIT = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: always the same bytes under the same id."""

    id: str
    url: str = field(repr=False)
    body: bytes = field(repr=False)
    secrets: Sequence[str] = field(repr=False)


class WebhookSender:
    """Sends webhooks while it is open.

    Args:
        targets: where they may go.
        tls: whose certificates are believed; by default the usual ones.
        seconds: for one message, all in all.
        clock: the time, in seconds since 1970, that messages are signed with: the real one, which receivers compare.
    """

    def __init__(
        self,
        targets: Targets,
        tls: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._targets = targets
        self._seconds = seconds
        self._clock = clock
        self._connections = httpcore.AsyncConnectionPool(
            ssl_context=tls or httpx.create_ssl_context(),
            network_backend=GuardedNetwork(targets),
            max_connections=None,
            keepalive_expiry=2.0,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.aclose()

    async def send(self, message: Message) -> Sent:
        """Send one message and say how it went, whatever the other side does."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._post(message)
        except TargetRefused as refusal:
            return Sent("refused", error=str(refusal))
        except (TimeoutError, httpcore.TimeoutException):
            return Sent("failed", error="There was no answer in time.")
        # TLS that breaks after the handshake comes as the error that Python has for it.
        except (httpcore.NetworkError, OSError) as error:
            return Sent("failed", error=_what_broke(error))
        except httpcore.ProtocolError:
            return Sent("failed", error="What came back is not HTTP.")

    async def _post(self, message: Message) -> Sent:
        target = self._targets.read(message.url)
        url = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
        signed = signed_headers(message, int(self._clock()))
        headers = [("Host", target.netloc.decode("ascii")), *signed.items()]
        async with self._connections.stream("POST", url, headers=headers, content=message.body) as answer:
            await _read_a_little(answer)
            return _meaning_of(answer, self._clock())


def signed_headers(message: Message, timestamp: int) -> dict[str, str]:
    """The headers of a message that is sent at ``timestamp``, seconds since 1970."""
    signed = b".".join((message.id.encode(), str(timestamp).encode(), message.body))
    return {
        "Content-Type": "application/json",
        "User-Agent": "Lessonkeeper",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in message.secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _meaning_of(answer: httpcore.Response, now: float) -> Sent:
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Sent("delivered", status)
    if status == HTTPStatus.GONE:
        return Sent("gone", status, "The endpoint says that it is gone.")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Sent("failed", status, f"The endpoint answered {status}; redirects are not followed.")
    wait = _retry_after(answer, now) if status in _ASKS_TO_WAIT else None
    return Sent("failed", status, f"The endpoint answered {status}.", wait)


def _retry_after(answer: httpcore.Response, now: float) -> int | None:
    text = next((value for name, value in answer.headers if name.lower() == b"retry-after"), b"").decode("latin-1")
    return seconds_to_wait(text, now)


def _what_broke(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return "TLS failed: the endpoint's certificate does not hold, or it speaks no TLS."
        error = error.__context__
    return "No connection could be made, or it broke."


async def _read_a_little(answer: httpcore.Response) -> None:
    """Read an answer to its end, unless that is far off; then its connection is given up.

    What it means is known by its head already.
    """
    read = 0
    with suppress(TimeoutError, OSError, httpcore.NetworkError, httpcore.ProtocolError):
        async with asyncio.timeout(SECONDS_FOR_A_BODY):
            async for part in answer.aiter_stream():
                read += len(part)
                if read > LONGEST_ANSWER:
                    return
