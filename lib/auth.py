"""Bearer token → Caller; cron secret → Service.

A token is accepted when its signature holds under a key of the configured project and it is addressed to us:
ES256 or RS256 with a published key of that very type, audience ``authenticated``, our issuer, not expired, a
UUID as subject, role ``authenticated``. HS256 is accepted only where the shared secret is configured, which
is a local stack. The algorithm in a token's header chooses among these and nothing more, so a public key is
never used as a shared secret. Nothing here asks Supabase about the caller: roles are rows, and row-level
security reads them. A scheduler is no person: it proves itself with the cron secret, and then the project's
secret key speaks, for that request alone; so it does for an address that holds a secret of its own.

A provider of messages signs what it tells us: HMAC-SHA256 over the very bytes of the body, in hexadecimal.

Sources: RFC 8725 (JWT best practices); https://supabase.com/docs/guides/auth/signing-keys;
https://developers.facebook.com/docs/graph-api/webhooks/getting-started (X-Hub-Signature-256, hub.verify_token);
https://aisensy.stoplight.io/docs/project-api/56ea5a8f1cc9a-project-webhook (X-AiSensy-Signature)
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

import httpx
import jwt
from pydantic import BaseModel, SecretStr

from lib.config import Settings, settings
from lib.errors import NotSignedIn, UpstreamUnavailable

KEYS_LIVE_SECONDS = 600.0
"""How long published keys are believed without a look; only an outage makes a withdrawn key live longer."""
COOLDOWN_SECONDS = 30.0
"""The least time between two looks for a key id we do not know, so that made-up ids cost Supabase nothing."""
RETRY_SECONDS = 5.0
"""The least time between two looks after one that failed."""
LEEWAY_SECONDS = 30
LONGEST_TOKEN = 8192
_UNTIL_SET_UP = 300
"""Seconds after which to look again whether somebody has set what was missing."""

_AUDIENCE = "authenticated"
_ROLE = "authenticated"
_REQUIRED = ("exp", "sub", "aud", "iss")
_KEY_TYPES = {"ES256": "EC", "RS256": "RSA"}


@dataclass(frozen=True, slots=True)
class Caller:
    """A person whose token was verified."""

    id: UUID
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What Supabase is told: which project, and who."""
        return {"apikey": settings().supabase_publishable_key, "Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True)
class Service:
    """A scheduler or a provider that has proven itself, or whoever opens a secret address.

    Row-level security does not hold for its key; grants do.
    """

    key: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What Supabase is told: the key, and no token, since nobody is signed in."""
        return {"apikey": self.key}


class _JwkSet(BaseModel):
    """The document, RFC 7517 §5."""

    keys: list[dict[str, Any]]


class KeySet:
    """The keys that a project signs with, as published under ``url`` (a JWK Set, RFC 7517).

    One look serves everyone who waits for it. A look that fails leaves the keys of the last one in use.

    Args:
        url: where the set is.
        client: how it is fetched.
        timeout: seconds for one look.
        now: a monotonic clock in seconds.
    """

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        timeout: float = 5.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._client = client
        self._timeout = timeout
        self._now = now
        self._keys: Mapping[str, jwt.PyJWK] | None = None
        self._good_until = float("-inf")
        self._no_look_before = float("-inf")
        self._last_look_failed = False
        self._looking = asyncio.Lock()

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key with this id.

        Raises:
            NotSignedIn: the project has no such key.
            UpstreamUnavailable: that cannot be found out now.
        """
        if not self._answers(kid):
            async with self._looking:
                if not self._answers(kid) and self._now() >= self._no_look_before:
                    await self._look()
        found = (self._keys or {}).get(kid)
        if found is not None:
            return found
        if self._last_look_failed or self._keys is None:
            raise UpstreamUnavailable(cause="jwks")
        raise NotSignedIn

    def _answers(self, kid: str) -> bool:
        return self._keys is not None and kid in self._keys and self._now() < self._good_until

    async def _look(self) -> None:
        try:
            self._keys = await self._fetch()
        except (httpx.HTTPError, TimeoutError, ValueError, RecursionError):
            self._last_look_failed = True
            self._no_look_before = self._now() + RETRY_SECONDS
        else:
            self._last_look_failed = False
            self._good_until = self._now() + KEYS_LIVE_SECONDS
            self._no_look_before = self._now() + COOLDOWN_SECONDS

    async def _fetch(self) -> Mapping[str, jwt.PyJWK]:
        async with asyncio.timeout(self._timeout):
            response = await self._client.get(self._url, headers={"Accept": "application/json"})
        response.raise_for_status()
        return _usable_keys(_JwkSet.model_validate(response.json()).keys)


def _usable_keys(published: list[dict[str, Any]]) -> Mapping[str, jwt.PyJWK]:
    """Those with an id and an algorithm we accept. A set may hold others; they are none of ours."""
    usable: dict[str, jwt.PyJWK] = {}
    for entry in published:
        try:
            key = jwt.PyJWK.from_dict(entry)
        except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
            continue
        if isinstance(key.key_id, str) and key.key_type in _KEY_TYPES.values():
            usable[key.key_id] = key
    return usable


class Verifier:
    """Decides on tokens for one project.

    Args:
        keys: the project's published keys.
        issuer: the ``iss`` a token must carry.
        secret: the shared secret of a local stack; None refuses HS256 altogether.
    """

    def __init__(self, keys: KeySet, issuer: str, secret: str | None = None) -> None:
        self._keys = keys
        self._issuer = issuer
        self._secret = secret

    async def caller(self, token: str) -> Caller:
        """Who sent ``token``.

        Raises:
            NotSignedIn: it is not valid, whatever the reason; the answer does not say which.
            UpstreamUnavailable: the keys to check it with cannot be had.
        """
        if len(token) > LONGEST_TOKEN:
            raise NotSignedIn
        try:
            claims = await self._claims(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            # Without the cause: its text may quote the token.
            raise NotSignedIn from None
        if claims.get("role") != _ROLE:
            raise NotSignedIn
        return Caller(id=_person_id(claims.get("sub")), token=token)

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret is not None:
            return self._signed_with_secret(token, self._secret)
        key_type = _KEY_TYPES.get(str(algorithm))
        kid = header.get("kid")
        if key_type is None or not isinstance(kid, str):
            raise NotSignedIn
        key = await self._keys.key(kid)
        if key.key_type != key_type:
            raise NotSignedIn
        return self._decode(token, key.key, str(algorithm), _REQUIRED)

    def _signed_with_secret(self, token: str, secret: str) -> dict[str, Any]:
        """A local stack's token. ``@supabase/lite`` writes no issuer; one that is there must be ours."""
        claims = self._decode(token, secret, "HS256", ("exp", "sub", "aud"))
        if claims.get("iss", self._issuer) != self._issuer:
            raise NotSignedIn
        return claims

    def _decode(self, token: str, key: Any, algorithm: str, required: tuple[str, ...]) -> dict[str, Any]:  # noqa: ANN401
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=_AUDIENCE,
            issuer=self._issuer if "iss" in required else None,
            leeway=LEEWAY_SECONDS,
            options={"require": list(required)},
        )


def _person_id(subject: object) -> UUID:
    """The subject as an id, in its one canonical spelling."""
    try:
        person = UUID(str(subject))
    except ValueError:
        raise NotSignedIn from None
    if str(person) != subject:
        raise NotSignedIn
    return person


def verifier_for(config: Settings, client: httpx.AsyncClient) -> Verifier:
    """The verifier of the project in ``config``."""
    secret = config.supabase_jwt_secret
    return Verifier(
        KeySet(config.supabase_jwks_url, client),
        config.supabase_jwt_issuer,
        secret.get_secret_value() if secret is not None else None,
    )


@lru_cache(maxsize=1)
def verifier() -> Verifier:
    """The verifier of this process, with a client of its own: keys never wait for a free connection."""
    client = httpx.AsyncClient(http2=False, timeout=5.0, limits=httpx.Limits(max_connections=2))
    return verifier_for(settings(), client)


def service(presented: str) -> Service:
    """The scheduler that has sent ``presented`` as its secret.

    Args:
        presented: as a header holds it: bytes, read as Latin-1. The secret is sent as UTF-8.

    Raises:
        UpstreamUnavailable: ``not_configured``: no cron secret is set, so nobody can be told from anybody; or, for
            who knows the secret, there is no secret key to speak with.
        NotSignedIn: it is not the secret.
    """
    config = settings()
    if config.cron_secret is None:
        raise UpstreamUnavailable("not_configured", "CRON_SECRET is not set here.", retry_after=_UNTIL_SET_UP)
    if not hmac.compare_digest(presented.encode("latin-1"), config.cron_secret.get_secret_value().encode()):
        raise NotSignedIn(detail="Send the cron secret as `Authorization: Bearer …`.")
    return service_of_links()


def service_of_links() -> Service:
    """Who speaks for somebody that opens an address with a secret in it, on which the database decides.

    Raises:
        UpstreamUnavailable: ``not_configured``: there is no secret key to speak with.
    """
    key = settings().supabase_secret_key
    if key is None:
        raise UpstreamUnavailable("not_configured", "SUPABASE_SECRET_KEY is not set here.", retry_after=_UNTIL_SET_UP)
    return Service(key.get_secret_value())


# --- providers of messages --------------------------------------------------------------------------------


def service_of_aisensy(signature: str, body: bytes) -> Service:
    """AiSensy, which has signed ``body``.

    Args:
        signature: of the header ``X-AiSensy-Signature``: the digest alone.
        body: as it came, byte for byte.

    Raises:
        UpstreamUnavailable: ``not_configured``, as ``service``.
        NotSignedIn: it has not signed this body.
    """
    return _service_that_signed("AISENSY_WEBHOOK_SECRET", settings().aisensy_webhook_secret, signature, body)


def service_of_meta(signature: str, body: bytes) -> Service:
    """Meta, which has signed ``body``.

    Args:
        signature: of the header ``X-Hub-Signature-256``: ``sha256=`` and the digest.
        body: as it came, byte for byte.

    Raises:
        UpstreamUnavailable: ``not_configured``, as ``service``.
        NotSignedIn: it has not signed this body.
    """
    scheme, _, digest = signature.partition("=")
    presented = digest if scheme == "sha256" else ""
    return _service_that_signed("WHATSAPP_APP_SECRET", settings().whatsapp_app_secret, presented, body)


def check_verify_token(presented: str) -> None:
    """Let in who sets up the address of Meta's notifications.

    Raises:
        UpstreamUnavailable: ``not_configured``: no verify token is set.
        NotSignedIn: it is not the verify token.
    """
    token = _set("WHATSAPP_VERIFY_TOKEN", settings().whatsapp_verify_token)
    if not hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), token):
        raise NotSignedIn(detail="Send the verify token as `hub.verify_token`.")


def _service_that_signed(variable: str, secret: SecretStr | None, digest: str, body: bytes) -> Service:
    wanted = hmac.new(_set(variable, secret), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(digest.lower().encode("latin-1", "replace"), wanted.encode()):
        raise NotSignedIn(detail="Sign the body with the secret that is set here.")
    return service_of_links()


def _set(variable: str, secret: SecretStr | None) -> bytes:
    if secret is None:
        raise UpstreamUnavailable("not_configured", f"{variable} is not set here.", retry_after=_UNTIL_SET_UP)
    return secret.get_secret_value().encode()
