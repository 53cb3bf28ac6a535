"""Every way an answer can be a refusal or a fault, and the one place where Postgres' errors become these.

The tree (HTTP status, usual codes)::

    Problem
    ├── Malformed            400  malformed
    ├── NotSignedIn          401  not_signed_in
    ├── CreditsExhausted     402  package_exhausted
    ├── NotAllowed           403  not_allowed
    ├── NotFound             404  not_found
    ├── MethodNotAllowed     405  method_not_allowed
    ├── Conflict             409  illegal_transition, out_of_order, slot_taken, stale_version, too_early,
    │                             too_late, plan_changed, already_exists, in_use, …; conflict
    ├── TooLarge             413  too_large
    ├── WrongContentType     415  wrong_content_type
    ├── Invalid              422  invalid, reason_required, package_required, window_too_short, …
    ├── TooManyRequests      429  too_many_requests
    ├── Internal             500  internal
    └── UpstreamUnavailable  503  upstream_unavailable, busy

A refusal of our own SQL is raised with SQLSTATE ``PTxyz`` (xyz is the HTTP status): its message is the code, its
detail a sentence for people, its hint a JSON object of extension members (``retry_after`` becomes the header too).
Only those travel on. What Postgres itself says names tables and shows rows, so of it nothing does. ``web`` makes a
Problem a document.
"""

import json
import re
from collections.abc import Mapping
from typing import ClassVar, cast

RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code", "request_id"})
"""Members of a problem document that an extension may not replace (RFC 9457 §3.1, and our two)."""

_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_OWN_REFUSAL = re.compile(r"PT([1-5]\d\d)")


class Problem(Exception):  # noqa: N818  # the name that RFC 9457 has for it
    """An answer that is not the one asked for.

    Args:
        code: stable, for programs; the class's own when left out.
        detail: a sentence for people, without personal data.
        members: extension members of the document, JSON values.
        retry_after: seconds after which asking again makes sense.
        cause: SQLSTATE or PostgREST code behind it; goes to the log, never into the answer.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal"
    default_detail: ClassVar[str] = "Something went wrong on our side."
    default_retry_after: ClassVar[int | None] = None

    def __init__(
        self,
        code: str | None = None,
        detail: str | None = None,
        *,
        members: Mapping[str, object] | None = None,
        retry_after: int | None = None,
        cause: str | None = None,
    ) -> None:
        self.code = code or self.default_code
        self.detail = detail or self.default_detail
        self.members = {key: value for key, value in (members or {}).items() if key not in RESERVED}
        self.retry_after = self.default_retry_after if retry_after is None else retry_after
        self.cause = cause
        super().__init__(self.code)


class Malformed(Problem):
    """The request cannot be read."""

    status = 400
    default_code = "malformed"
    default_detail = "The request could not be read. Its body must be JSON in UTF-8."


class NotSignedIn(Problem):
    """There is no valid token."""

    status = 401
    default_code = "not_signed_in"
    default_detail = "Sign in and send the access token as `Authorization: Bearer …`."


class CreditsExhausted(Problem):
    """The package has no credit left."""

    status = 402
    default_code = "package_exhausted"
    default_detail = "This package has no session left."


class NotAllowed(Problem):
    """The caller sees the thing but may not do this with it."""

    status = 403
    default_code = "not_allowed"
    default_detail = "Your role does not allow this."


class NotFound(Problem):
    """There is no such thing, or it is not the caller's; the two cannot be told apart."""

    status = 404
    default_code = "not_found"
    default_detail = "There is nothing here for you under this address."


class MethodNotAllowed(Problem):
    """The path exists, the method on it does not."""

    status = 405
    default_code = "method_not_allowed"
    default_detail = "This address does not answer to this method."


class Conflict(Problem):
    """It contradicts what is stored."""

    status = 409
    default_code = "conflict"
    default_detail = "This contradicts something that is already stored."


class TooLarge(Problem):
    """The body is longer than is read."""

    status = 413
    default_code = "too_large"
    default_detail = "The body is too large."


class WrongContentType(Problem):
    """The body is not declared as JSON."""

    status = 415
    default_code = "wrong_content_type"
    default_detail = "Send the body as `Content-Type: application/json`."


class Invalid(Problem):
    """It can be read, but what it says is not possible."""

    status = 422
    default_code = "invalid"
    default_detail = "Some of what was sent is not valid."


class TooManyRequests(Problem):
    """Too often."""

    status = 429
    default_code = "too_many_requests"
    default_detail = "Too many requests. Wait a little."
    default_retry_after = 10


class Internal(Problem):
    """Our fault: a bug, or a database that does not fit this version."""


class UpstreamUnavailable(Problem):
    """Supabase did not answer, or not in a way that can be trusted. The same request may be sent again."""

    status = 503
    default_code = "upstream_unavailable"
    default_detail = "The database cannot be reached right now. Send the same request again shortly."
    default_retry_after = 5


BY_STATUS: Mapping[int, type[Problem]] = {
    kind.status: kind
    for kind in (
        Malformed,
        NotSignedIn,
        CreditsExhausted,
        NotAllowed,
        NotFound,
        MethodNotAllowed,
        Conflict,
        TooLarge,
        WrongContentType,
        Invalid,
        TooManyRequests,
        Internal,
        UpstreamUnavailable,
    )
}
"""The class for an HTTP status."""

_FOREIGN: Mapping[str, type[Problem]] = {
    # PostgREST: the token is bad, expired, or its claims are.
    "PGRST301": NotSignedIn,
    "PGRST302": NotSignedIn,
    "PGRST303": NotSignedIn,
    # PostgREST: no function with this name and these arguments. The migrations do not fit this code.
    "PGRST202": Internal,
    "PGRST203": Internal,
    # A grant or a policy said no.
    "42501": NotAllowed,
    # A value that a constraint refuses.
    "23502": Invalid,
    "23514": Invalid,
}

_CLASSES: Mapping[str, type[Problem]] = {
    "22": Invalid,  # data exceptions: a value that its type refuses
    "23": Conflict,  # integrity constraints: taken, or still referred to
}

_BUSY = frozenset({"40P01", "55P03", "57014"})
"""Deadlock, lock not available, statement cancelled: nothing was written, so the same may be sent again."""


def from_postgres(code: str | None, message: str | None, details: object, hint: object) -> Problem:
    """The Problem for an error body of PostgREST or lite: ``code``, ``message``, ``details``, ``hint``.

    Of an own refusal (``PTxyz``) message, details and hint are used; of everything else the code alone.
    An error without a known code is taken for an outage, because gateways answer such.

    Source: https://docs.postgrest.org/en/stable/references/errors.html
    """
    if own := _OWN_REFUSAL.fullmatch(code or ""):
        return _own_refusal(int(own[1]), code, message, details, hint)
    if code in _BUSY:
        return UpstreamUnavailable(
            "busy",
            "Others are changing the same things. Send the same request again.",
            retry_after=1,
            cause=code,
        )
    return _kind_of(code or "")(cause=code)


def _kind_of(code: str) -> type[Problem]:
    """By the code itself, else by its SQLSTATE class."""
    by_class = _CLASSES.get(code[:2], UpstreamUnavailable) if _SQLSTATE.fullmatch(code) else UpstreamUnavailable
    return _FOREIGN.get(code, by_class)


def _own_refusal(status: int, sqlstate: str | None, message: str | None, details: object, hint: object) -> Problem:
    kind = BY_STATUS.get(status)
    if kind is None or not _CODE.fullmatch(message or ""):
        return Internal(cause=sqlstate)
    members = _members(hint)
    return kind(
        message,
        details if isinstance(details, str) else None,
        members=members,
        retry_after=_seconds(members.get("retry_after")),
        cause=sqlstate,
    )


def _seconds(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _members(hint: object) -> Mapping[str, object]:
    """The extension members in a hint; none when it is not a JSON object, as a plain sentence is not."""
    if not isinstance(hint, str):
        return {}
    try:
        members = json.loads(hint)
    except ValueError:
        return {}
    return cast("Mapping[str, object]", members) if isinstance(members, dict) else {}
