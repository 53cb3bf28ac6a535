"""Who is asking: the ways a handler gets its database, and the clocks it shows times on."""

import hashlib
import json
from typing import Annotated

from fastapi import Depends, Header, Query, Request
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer

from lib.auth import (
    check_verify_token,
    service,
    service_of_aisensy,
    service_of_links,
    service_of_meta,
    verifier,
)
from lib.database import Database, Once
from lib.errors import Malformed, NotSignedIn
from lib.zones import Timezone

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="Supabase",
    bearerFormat="JWT",
    description="The access token of Supabase Auth.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]

_cron_secret = HTTPBearer(
    auto_error=False, scheme_name="Cron", description="The secret of the scheduler, `CRON_SECRET`."
)

_aisensy_signature = APIKeyHeader(
    name="X-AiSensy-Signature",
    auto_error=False,
    scheme_name="AiSensy",
    description="HMAC-SHA256 of the body's bytes under `AISENSY_WEBHOOK_SECRET`, in hexadecimal.",
)
_meta_signature = APIKeyHeader(
    name="X-Hub-Signature-256",
    auto_error=False,
    scheme_name="Meta",
    description="`sha256=` and the HMAC-SHA256 of the body's bytes under `WHATSAPP_APP_SECRET`, in hexadecimal.",
)
_verify_token = APIKeyQuery(
    name="hub.verify_token",
    auto_error=False,
    scheme_name="Verification",
    description="`WHATSAPP_VERIFY_TOKEN`, which Meta shows when the address is set up.",
)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Of your making, such as a UUID. Sent again within 24 hours, the same request gets the same "
        "answer and writes nothing; another request under the key is refused with `key_reused`. Refusals are not kept.",
        examples=["6f1f0c0e-6f0c-4f2b-9a1e-2f6b7a1c9d55"],
    ),
]


async def as_caller(request: Request, credentials: Credentials) -> Database:
    """The database as the signed-in person sees it."""
    if credentials is None:
        raise NotSignedIn
    caller = await verifier().caller(credentials.credentials)
    request.state.caller_id = caller.id
    return Database(caller, request.state.request_id)


AsCaller = Annotated[Database, Depends(as_caller)]


async def as_caller_once(request: Request, database: AsCaller, key: IdempotencyKey = None) -> Database:
    """The same for what a handler writes: under an idempotency key, one time."""
    if key is None:
        return database
    return database.writing_once(Once(key, await _request_hash(request)))


async def as_caller_if_signed_in(request: Request, credentials: Credentials) -> Database | None:
    """The same, or None for somebody who sends no token at all."""
    if "authorization" not in request.headers:
        return None
    return await as_caller(request, credentials)


async def as_service(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_cron_secret)]
) -> Database:
    """The database as a scheduler uses it."""
    # Read here: a secret may end in a byte that the scheme, for OpenAPI alone, would take for a space.
    scheme, _space, presented = request.headers.get("authorization", "").partition(" ")
    return Database(service(presented if scheme.lower() == "bearer" else ""), request.state.request_id)


async def as_service_of_links(request: Request) -> Database:
    """The database for somebody without a sign-in whose address holds a secret."""
    return Database(service_of_links(), request.state.request_id)


async def as_aisensy(request: Request, signature: Annotated[str | None, Depends(_aisensy_signature)]) -> Database:
    """The database for AiSensy, which has signed the body."""
    return Database(service_of_aisensy(signature or "", await request.body()), request.state.request_id)


async def as_meta(request: Request, signature: Annotated[str | None, Depends(_meta_signature)]) -> Database:
    """The database for Meta, which has signed the body."""
    return Database(service_of_meta(signature or "", await request.body()), request.state.request_id)


async def knows_verify_token(presented: Annotated[str | None, Depends(_verify_token)]) -> None:
    """Let in who knows the verify token."""
    check_verify_token(presented or "")


async def raw_body(request: Request) -> bytes:
    """The body, byte for byte."""
    return await request.body()


AsCallerOnce = Annotated[Database, Depends(as_caller_once)]
AsCallerIfSignedIn = Annotated[Database | None, Depends(as_caller_if_signed_in)]
AsService = Annotated[Database, Depends(as_service)]
AsServiceOfLinks = Annotated[Database, Depends(as_service_of_links)]
AsAisensy = Annotated[Database, Depends(as_aisensy)]
AsMeta = Annotated[Database, Depends(as_meta)]
RawBody = Annotated[bytes, Depends(raw_body)]

InZone = Annotated[Timezone | None, Query(description="Show times in this zone, not in the profile's.")]
"""Where the viewer's clocks stand, when it is not where the profile says."""


async def _request_hash(request: Request) -> str:
    """Of method, address and body; spaces and the order of members in a body make no difference."""
    body = await request.body()
    try:
        canonical = json.dumps(json.loads(body), sort_keys=True) if body else ""
    except (ValueError, RecursionError):
        raise Malformed from None
    asked = f"{request.method}\n{request.url.path}?{request.url.query}\n{canonical}"
    return hashlib.sha256(asked.encode()).hexdigest()
