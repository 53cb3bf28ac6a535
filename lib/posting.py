"""One request to a provider that carries letters, and what its answer means for the letter.

A person is never told twice: where a request may have arrived without an answer, its outcome is unknown, unless the
provider knows a repeated request by its key. What a provider says is not passed on; it may repeat whom we wrote to.

Sources: RFC 9110 §15 for the statuses, §10.2.3 for Retry-After.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple, cast

import httpx

from lib.adapters import Receipt

SECONDS = 10.0
"""For one letter, all in all."""
LONGEST_WAIT = 86_400
"""Seconds that anybody may ask us to wait."""

_CONNECT_SECONDS = 4.0
_NOT_NOW = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_OURS_TO_REPAIR = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN})
"""A key that expired or a credit that is used up: the letter is good and waits."""


class Posted(NamedTuple):
    """What an answer means, and what it holds: a JSON object, or nothing that can be read."""

    receipt: Receipt
    answer: Mapping[str, Any]


def client() -> httpx.AsyncClient:
    """For the letters of one run. It goes straight to the provider: no proxy of the environment, no redirects."""
    return httpx.AsyncClient(
        timeout=httpx.Timeout(SECONDS, connect=_CONNECT_SECONDS), follow_redirects=False, trust_env=False
    )


async def post(
    connections: httpx.AsyncClient,
    url: str,
    body: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
    *,
    may_repeat: bool = False,
) -> Posted:
    """Send one JSON request.

    Args:
        connections: as ``client`` gives them.
        url: the provider's.
        body: the request.
        headers: with the provider's key, if it goes there.
        may_repeat: the provider carries the same request out once however often it comes.
    """
    nobody_knows = "failed" if may_repeat else "unknown"
    try:
        async with asyncio.timeout(SECONDS):
            response = await connections.post(url, json=body, headers=headers)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        return Posted(Receipt("failed", error="No connection could be made."), {})
    except (TimeoutError, httpx.TimeoutException):
        return Posted(Receipt(nobody_knows, error="There was no answer in time."), {})
    except httpx.HTTPError:
        return Posted(Receipt(nobody_knows, error="The connection broke before the answer was there."), {})
    return Posted(_meaning_of(response, nobody_knows), _json_object(response))


def _meaning_of(response: httpx.Response, nobody_knows: Any) -> Receipt:  # noqa: ANN401  # failed or unknown
    status = response.status_code
    if response.is_success:
        return Receipt("sent", status)
    told = f"The provider answered {status}."
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return Receipt(nobody_knows, status, told)
    if response.is_server_error or status in _NOT_NOW:
        wait = seconds_to_wait(response.headers.get("retry-after", ""), time.time())
        return Receipt("failed", status, told, retry_after_seconds=wait)
    if response.is_redirect or status in _OURS_TO_REPAIR:
        return Receipt("failed", status, told)
    return Receipt("refused", status, told)


def seconds_to_wait(text: str, now: float) -> int | None:
    """What ``Retry-After`` asks for, given as seconds or as a date; None when it says nothing sensible."""
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), LONGEST_WAIT)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.fromtimestamp(now, UTC)).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return None
    return max(0, min(int(seconds), LONGEST_WAIT))


def _json_object(response: httpx.Response) -> Mapping[str, Any]:
    try:
        found: object = response.json()
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
