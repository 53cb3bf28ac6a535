"""Who is asking: the two ways a handler gets its database."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from lib.auth import verifier
from lib.database import Database
from lib.errors import NotSignedIn

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="Supabase",
    bearerFormat="JWT",
    description="The access token of Supabase Auth.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def as_caller(request: Request, credentials: Credentials) -> Database:
    """The database as the signed-in person sees it."""
    if credentials is None:
        raise NotSignedIn
    caller = await verifier().caller(credentials.credentials)
    request.state.caller_id = caller.id
    return Database(caller, request.state.request_id)


async def as_caller_if_signed_in(request: Request, credentials: Credentials) -> Database | None:
    """The same, or None for somebody who sends no token at all."""
    if "authorization" not in request.headers:
        return None
    return await as_caller(request, credentials)


AsCaller = Annotated[Database, Depends(as_caller)]
AsCallerIfSignedIn = Annotated[Database | None, Depends(as_caller_if_signed_in)]
