"""The way to Postgres: one shared HTTP client, and a PostgREST client per request that speaks as its caller.

The caller's own token travels on, so row-level security sees the person; a scheduler speaks with the secret key.
A call is a POST and is never sent twice by us: whoever asked decides that, and may send an idempotency key along,
under which the database carries a writing call out one time. The only importer of postgrest.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple, cast

import httpx
from postgrest import AsyncPostgrestClient
from postgrest.exceptions import APIError

from lib.auth import Caller, Service
from lib.config import settings
from lib.errors import UpstreamUnavailable, from_postgres

_CONNECTIONS = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=15.0)
"""Idle connections are dropped before the usual 60 s of a load balancer would drop them under us."""


@lru_cache(maxsize=1)
def http_client() -> httpx.AsyncClient:
    """The process's one client to Supabase, without any credentials of its own."""
    return httpx.AsyncClient(
        http2=False,
        timeout=settings().supabase_timeout_seconds,
        limits=_CONNECTIONS,
        follow_redirects=False,
    )


class Once(NamedTuple):
    """What makes a request the same one when it comes again."""

    idempotency_key: str
    request_hash: str


class Database:
    """Postgres' functions, called as one person, or as a service, within one request.

    Args:
        caller: whose token or key goes along.
        request_id: written into the audit of what this request changes.
        once: under what ``write`` is carried out one time, if at all. Of such a request there is one write: a second
            one would be answered with the first one's answer.
    """

    def __init__(self, caller: Caller | Service, request_id: str, once: Once | None = None) -> None:
        # A client object costs microseconds; the shared one must never carry a caller's header.
        self._api = AsyncPostgrestClient(
            f"{settings().supabase_url}/rest/v1",
            headers={**caller.headers, "X-Request-Id": request_id},
            http_client=http_client(),
            retry_enabled=False,
        )
        self._caller = caller
        self._request_id = request_id
        self._once = once

    def writing_once(self, once: Once) -> "Database":
        """The same, whose ``write`` is carried out one time."""
        return Database(self._caller, self._request_id, once)

    async def write(self, name: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """As ``rpc``, for a function that writes: when the request came before, its answer of then.

        Raises:
            Conflict: ``still_running``: the same request is being carried out right now.
            Invalid: ``key_reused``: the key belongs to another request. And as ``rpc``.
        """
        if self._once is None:
            return await self.rpc(name, parameters)
        arguments = {
            "p_idempotency_key": self._once.idempotency_key,
            "p_request_hash": self._once.request_hash,
            "p_function": name,
            "p_arguments": _given(parameters),
        }
        return await self.rpc("once", arguments)

    async def rpc(self, name: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Call ``public.name`` and give its JSON object. Parameters that are None are left to their default.

        Raises:
            Problem: the database's refusal, as ``errors.from_postgres`` reads it.
            UpstreamUnavailable: no answer in time, or one that is not a JSON object.
        """
        try:
            async with asyncio.timeout(settings().supabase_timeout_seconds):
                answer = await self._api.rpc(name, cast("dict[str, str]", _given(parameters))).execute()
        except APIError as error:
            # Without the cause: details of a foreign error may show rows.
            raise from_postgres(error.code, error.message, error.details, error.hint) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise UpstreamUnavailable(cause=type(error).__name__) from None
        except (UnicodeDecodeError, RecursionError) as error:
            raise UpstreamUnavailable(cause=type(error).__name__) from None
        # postgrest hands on what is not JSON, such as a page of HTML or the first half of an answer, as text.
        if not isinstance(answer.data, dict):
            raise UpstreamUnavailable(cause="not a JSON object")
        return cast("dict[str, Any]", answer.data)


def _given(parameters: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (parameters or {}).items() if value is not None}
