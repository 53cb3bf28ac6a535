"""The border to HTTP: request ids, one log line a request, and the one place where errors become answers.

From the outside in: ``RequestLog`` gives the id and writes the line · CORS · ``LastResort`` answers what
nobody expected · ``BodyLimit`` counts bytes · then FastAPI, whose errors come here too. All plain ASGI. The
log knows route templates, statuses, ids and codes; never a path, a query, a body, a token or the message of
a foreign error.

Source: RFC 9457, https://www.rfc-editor.org/rfc/rfc9457
"""

import logging
import re
import sys
import time
import traceback
from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from contextlib import aclosing
from http import HTTPMethod
from typing import Any, Literal, cast
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request, params
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib import pages
from lib.config import Settings
from lib.errors import (
    BY_STATUS,
    Internal,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NotSignedIn,
    Problem,
    TooLarge,
    WrongContentType,
)

LARGEST_BODY = 1024 * 1024
"""Bytes."""
PROBLEM_TYPE = "application/problem+json"
LINES_TYPE = "application/x-ndjson"
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
HTML_TYPE = "text/html"

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_PLAIN_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_METHODS = frozenset(HTTPMethod)

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ProblemResponse(JSONResponse):
    """A JSON answer declared as a problem document."""

    media_type = PROBLEM_TYPE


def install(app: FastAPI, config: Settings) -> None:
    """Put the border around ``app``. Called once, after its routes are in place."""
    configure_log(config.log_level)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(BodyLimit, largest=LARGEST_BODY)
    app.add_middleware(LastResort)
    if config.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id"],
            expose_headers=["Retry-After", "X-Request-Id"],
            max_age=600,
        )
    app.add_middleware(RequestLog)


def configure_log(level: str) -> None:
    """JSON lines on standard output, from ``level`` up. Libraries that would log addresses are hushed."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=_StandardOutput(),
        cache_logger_on_first_use=False,
    )
    for library in ("httpx", "httpcore", "postgrest"):
        logging.getLogger(library).setLevel(logging.WARNING)


class _StandardOutput:
    """Makes loggers for the standard output of the moment, which a test may have exchanged."""

    def __call__(self, *_: object) -> structlog.PrintLogger:
        return structlog.PrintLogger(sys.stdout)


# --- the four layers ----------------------------------------------------------------------------------


class RequestLog:
    """Gives every request an id, echoes it, and writes one line when the answer is out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        state = _state(scope)
        state["request_id"] = _request_id(scope)
        status = 500

        async def note_and_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    *_own_headers(message, state["request_id"]),
                ]
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        finally:
            _log.info("request", **_line(scope, state, status, time.perf_counter() - began))


class LastResort:
    """Answers 500 to what nobody expected, within CORS so that browsers may read it, and logs the place."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def note_and_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, note_and_send)
        except Exception as error:  # noqa: BLE001  # the last one who can answer
            request = Request(scope)
            _log_unexpected(request, error)
            if not started:
                await problem_response(request, Internal())(scope, receive, send)


class BodyLimit:
    """Stops reading a body that is larger than ``largest`` bytes, whatever its Content-Length says."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _declared_length(scope) > self._largest:
            await problem_response(Request(scope), TooLarge())(scope, receive, send)
            return
        left = self._largest

        async def count_and_receive() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                # An HTTPException is the one thing that FastAPI lets through while it reads a body.
                raise HTTPException(TooLarge.status)
            return message

        await self._app(scope, count_and_receive, send)


async def json_only(request: Request) -> None:
    """Refuse a body that is not declared as JSON, or as a form where the route takes one. A dependency of every route.

    Raises:
        WrongContentType: there is a body, and it is declared otherwise or not at all.
    """
    if request.method not in _WITH_BODY:
        return
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    taken = FORM_TYPE if _takes_form(request) else JSON_TYPE
    if declared == taken:
        return
    # What may be a form of another kind has been read by now, and nobody can read it twice.
    if (taken == FORM_TYPE and declared) or await request.body():
        raise WrongContentType(detail=f"Send the body as `Content-Type: {taken}`.")


def _takes_form(request: Request) -> bool:
    body = getattr(request.scope["route"], "body_field", None)
    return body is not None and isinstance(body.field_info, params.Form)


def prefers(request: Request, media_type: str, *, over: str) -> bool:
    """Whether ``Accept`` names ``media_type`` and gives it more weight than ``over`` (RFC 9110 §12.5.1)."""
    weights = {
        kind.strip().lower(): _weight(parameters)
        for kind, _, parameters in (part.partition(";") for part in request.headers.get("accept", "").split(","))
    }
    return weights.get(media_type, 0.0) > weights.get(over, 0.0)


def _weight(parameters: str) -> float:
    q = re.search(r"(?:^|;)\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|$)", parameters)
    return float(q[1]) if q else 1.0


# --- pages ----------------------------------------------------------------------------------------------


def page_response(page: pages.Page, status: int = 200) -> Response:
    """A page with the headers that it is not sent without."""
    return HTMLResponse(page.html, status, page.headers)


async def problems_as_pages(request: Request) -> None:
    """A dependency of routes that people open by a link: their problems are pages too, for who names HTML.

    A program that names nothing gets the problem document that it gets everywhere.
    """
    request.state.problems_as_pages = prefers(request, HTML_TYPE, over=JSON_TYPE)


def _problem_page(request: Request, problem: Problem) -> Response:
    language = pages.language_of(request.headers.get("accept-language", ""))
    values = {"status": problem.status, "request_id": request.state.request_id}
    return page_response(pages.render("problem", language, **values), problem.status)


# --- answers in lines ---------------------------------------------------------------------------------


class ErrorLine(BaseModel):
    """What ended the answer early, in place of the rest."""

    type: Literal["error"] = "error"
    code: str = Field(description="As in a problem document.", examples=["upstream_unavailable"])
    detail: str
    retry_after: int | None = Field(description="Seconds after which to send the same again. Null: fix it first.")
    request_id: str = Field(description="Quote it when you ask us.")


def lines_response(request: Request, lines: AsyncGenerator[BaseModel]) -> Response:
    """An answer that is sent as it is made, one JSON document a line.

    A fault on the way can no longer become the status, so it becomes the last line. When the client goes
    away, ``lines`` is closed where it stands.
    """
    return StreamingResponse(_encoded(request, lines), media_type=LINES_TYPE)


async def _encoded(request: Request, lines: AsyncGenerator[BaseModel]) -> AsyncGenerator[str]:
    async with aclosing(lines):
        try:
            async for line in lines:
                yield line.model_dump_json() + "\n"
        except Problem as problem:
            yield _error_line(request, problem)
        except Exception as error:  # noqa: BLE001  # as in LastResort, which can only cut an answer that has begun
            _log_unexpected(request, error)
            yield _error_line(request, Internal())


def _error_line(request: Request, problem: Problem) -> str:
    _note(request, problem)
    line = ErrorLine(
        code=problem.code,
        detail=problem.detail,
        retry_after=problem.retry_after,
        request_id=request.state.request_id,
    )
    return line.model_dump_json() + "\n"


# --- errors become answers ----------------------------------------------------------------------------


def problem_response(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem document for ``problem``; its code is noted for the request's log line."""
    _note(request, problem)
    shown_headers = {**_problem_headers(problem), **(headers or {})}
    if getattr(request.state, "problems_as_pages", False):
        response = _problem_page(request, problem)
        response.headers.update(shown_headers)
        return response
    document: dict[str, object] = {
        "type": f"urn:lessonkeeper:problem:{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "request_id": request.state.request_id,
        **problem.members,
    }
    return ProblemResponse(document, problem.status, shown_headers)


def _note(request: Request, problem: Problem) -> None:
    """For the request's log line."""
    request.state.refusal = problem.code
    request.state.cause = problem.cause


def _problem_headers(problem: Problem) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(problem, NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    return headers


async def _on_problem(request: Request, error: Exception) -> Response:
    return problem_response(request, cast("Problem", error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What Starlette and FastAPI raise themselves: no such route, no such method, an unreadable body."""
    raised = cast("HTTPException", error)
    kind = BY_STATUS.get(raised.status_code, Malformed)
    headers = dict(raised.headers or {})
    if kind is MethodNotAllowed:
        headers["Allow"] = _allowed_methods(request) or headers["Allow"]
    return problem_response(request, kind(), headers)


def _allowed_methods(request: Request) -> str:
    """Every method of the path (RFC 9110 §15.5.6); Starlette names those of its first route alone."""
    paths = cast("FastAPI", request.app).openapi()["paths"]
    return ", ".join(sorted(method.upper() for method in paths.get(_route_template(request.scope), ())))


async def _on_invalid(request: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem_response(request, Malformed())
    listed = [{"field": _field(fault), "message": _message(fault)} for fault in faults]
    return problem_response(request, Invalid(members={"errors": listed}))


def _field(fault: Mapping[str, Any]) -> str:
    """Where the fault is, such as ``schedule_pattern.days.0``. Made-up names are shown only if plain."""
    steps: Sequence[str | int] = fault["loc"][1:]
    return ".".join(str(step) if _is_plain(step) else "?" for step in steps)


def _is_plain(step: str | int) -> bool:
    return isinstance(step, int) or _PLAIN_FIELD.fullmatch(step) is not None


def _message(fault: Mapping[str, Any]) -> str:
    """What is wrong, without what was sent. A parser's second half sentence quotes it, so it is cut."""
    message: str = fault["msg"]
    if fault["type"].endswith("_parsing"):
        return message.partition(",")[0]
    return message.removeprefix("Value error, ")


# --- small parts --------------------------------------------------------------------------------------


def _state(scope: Scope) -> MutableMapping[str, Any]:
    return scope.setdefault("state", {})


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _request_id(scope: Scope) -> str:
    """The caller's own id when it looks like one, else a new one."""
    given = _header(scope, b"x-request-id")
    return given if _SANE_REQUEST_ID.fullmatch(given) else str(uuid4())


def _declared_length(scope: Scope) -> int:
    declared = _header(scope, b"content-length")
    return int(declared) if declared.isascii() and declared.isdecimal() else 0


def _own_headers(message: Message, request_id: str) -> list[tuple[bytes, bytes]]:
    own = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
    # Answers are about people: no cache keeps them, unless a route says otherwise.
    if not any(key.lower() == b"cache-control" for key, _ in message.get("headers", ())):
        own.append((b"cache-control", b"no-store"))
    return own


def _route_template(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", "unmatched")


def _line(scope: Scope, state: Mapping[str, Any], status: int, seconds: float) -> dict[str, object]:
    line: dict[str, object] = {
        "method": scope["method"] if scope["method"] in _METHODS else "other",
        "route": _route_template(scope),
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "request_id": state["request_id"],
    }
    noted = {"caller_id": state.get("caller_id"), "code": state.get("refusal"), "cause": state.get("cause")}
    return line | {name: str(value) for name, value in noted.items() if value is not None}


def _log_unexpected(request: Request, error: Exception) -> None:
    _log.error("unexpected", request_id=request.state.request_id, **_where(error))


def _where(error: Exception) -> dict[str, object]:
    """The kind of an exception and the way to it, without its message: that may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "exception": type(error).__name__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }
