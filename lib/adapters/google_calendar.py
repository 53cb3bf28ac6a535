"""Google Calendar: an event is put there as it is to be, whatever is there; and when calendars are busy.

An event's id is ours, so that a second insert of the same one is refused (409) and becomes a change. Before a change
the event is read: what is right already is left alone, guests keep the answers they gave, and the change is bound to
what was read (``If-Match``). What is cancelled keeps its id and comes back by a change of its status.

Guests are told nothing by Google (``sendUpdates=none``): our own messages do.

Sources:
    https://developers.google.com/workspace/calendar/api/v3/reference/events
    https://developers.google.com/workspace/calendar/api/v3/reference/freebusy/query
    https://developers.google.com/workspace/calendar/api/guides/errors
    https://developers.google.com/workspace/calendar/api/guides/create-events
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeAlias, cast
from urllib.parse import quote

import httpx

from lib.google import GoogleAccount, NoTokenError

SECONDS = 15.0
"""For one event, all in all; three calls at most."""
LONGEST_WAIT = 86_400
MOST_CALENDARS = 50
"""Google takes no more in one question for busy times."""

Json: TypeAlias = Mapping[str, Any]

_MEET_LINK = re.compile(r"https://meet\.google\.com/[a-z]{3}-[a-z]{4}-[a-z]{3}")
_REASON = re.compile(r"[A-Za-z]{1,60}")
_TOO_FAST = {"rateLimitExceeded", "userRateLimitExceeded"}
_SILENTLY = {"sendUpdates": "none", "conferenceDataVersion": "1"}


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who takes part."""

    name: str = field(repr=False)
    email: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be seen in the calendar."""

    id: str
    summary: str = field(repr=False)
    starts_at: datetime
    ends_at: datetime
    guests: Sequence[Guest]
    meet_link: str | None
    meet_request: str | None
    """Under which name a Meet link is asked for; the same name asks once. None: none is wanted."""
    is_cancelled: bool
    is_known: bool
    """Whether Google has had it before."""


class Put(NamedTuple):
    """How putting an event there went: done, not this time, never like this, or only when asked more slowly."""

    outcome: Literal["synced", "failed", "refused", "postponed"]
    error: str | None = None
    """For people; without anything that the other side said but its code."""
    meet_link: str | None = None
    retry_after_seconds: int | None = None


class Busy(NamedTuple):
    """When a calendar is busy, or why that is not known."""

    times: Sequence[Json] = ()
    error: str | None = None


class _TroubleError(Exception):
    """Google did not do what was asked."""

    def __init__(self, put: Put) -> None:
        super().__init__(put.error)
        self.put = put


class GoogleCalendar:
    """Speaks to Google Calendar while it is open.

    Args:
        account: whose tokens are used, and in which calendar.
        seconds: for one event, or one question for busy times, all in all.
    """

    def __init__(self, account: GoogleAccount, seconds: float = SECONDS) -> None:
        self._account = account
        self._seconds = seconds
        self._client = httpx.AsyncClient(
            http2=False,
            timeout=seconds,
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "Lessonkeeper"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def put(self, event: Event) -> Put:
        """Have the calendar show one event as it is to be, and say how that went, whatever the other side does."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._put(event)
        except _TroubleError as trouble:
            return trouble.put
        except (TimeoutError, httpx.TimeoutException):
            return Put("failed", "Google did not answer in time.")
        except httpx.HTTPError:
            return Put("failed", "Google could not be reached, or the connection broke.")

    async def busy(self, calendar_ids: Sequence[str], start: str, end: str) -> Mapping[str, Busy]:
        """When these calendars, at most ``MOST_CALENDARS``, are busy between two times (ISO 8601)."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._busy(calendar_ids, start, end)
        except _TroubleError as trouble:
            error = trouble.put.error
        except (TimeoutError, httpx.TimeoutException):
            error = "Google did not answer in time."
        except httpx.HTTPError:
            error = "Google could not be reached, or the connection broke."
        return dict.fromkeys(calendar_ids, Busy(error=error))

    # --- one event ------------------------------------------------------------------------------------------

    async def _put(self, event: Event) -> Put:
        expects_one = event.is_known or event.is_cancelled
        found = await self._find(event) if expects_one else await self._insert(event)
        if found is not None:
            return await self._bring_up_to_date(event, found) if expects_one else self._done(event, found)
        if event.is_cancelled:
            return Put("synced")
        if expects_one:
            inserted = await self._insert(event)
            if inserted is None:
                raise _TroubleError(_CONTRADICTION)
            return self._done(event, inserted)
        found = await self._find(event)
        if found is None:
            raise _TroubleError(_CONTRADICTION)
        return await self._bring_up_to_date(event, found)

    async def _find(self, event: Event) -> Json | None:
        """The event as Google has it; None where it has none."""
        response = await self._call("GET", self._path(event))
        if response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            return None
        return _content_of(response)

    async def _insert(self, event: Event) -> Json | None:
        """The event as it was made; None where there is one of that id already."""
        content = self._wanted(event, {}) | {"id": event.id}
        response = await self._call("POST", self._path(), content, _SILENTLY)
        if response.status_code == HTTPStatus.CONFLICT:
            return None
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise _TroubleError(Put("failed", "Google knows no such calendar, or does not let us into it."))
        return _content_of(response)

    async def _bring_up_to_date(self, event: Event, found: Json) -> Put:
        wanted = self._wanted(event, found)
        if _shows(found, wanted):
            return self._done(event, found)
        bound = {"If-Match": found["etag"]} if isinstance(found.get("etag"), str) else {}
        response = await self._call("PATCH", self._path(event), wanted, _SILENTLY, bound)
        if response.status_code == HTTPStatus.PRECONDITION_FAILED:
            raise _TroubleError(Put("failed", "The event was changed in Google at the same moment."))
        return self._done(event, _content_of(response))

    def _wanted(self, event: Event, found: Json) -> dict[str, Any]:
        """What Google is to be told; ``found`` is what it has."""
        if event.is_cancelled:
            return {"status": "cancelled"}
        wanted: dict[str, Any] = {
            "status": "confirmed",
            "summary": event.summary,
            "location": event.meet_link or "",
            "start": {"dateTime": event.starts_at.isoformat(), "timeZone": "UTC"},
            "end": {"dateTime": event.ends_at.isoformat(), "timeZone": "UTC"},
        }
        if self._account.may_invite:
            wanted["attendees"] = _attendees(event.guests, found)
        if _wants_another_link(event, found):
            wanted["conferenceData"] = _request_for(event.meet_request) if event.meet_request else None
        return wanted

    @staticmethod
    def _done(event: Event, content: Json) -> Put:
        link = _meet_link_of(content)
        if event.meet_request is None:
            return Put("synced")
        if link is not None:
            return Put("synced", meet_link=link)
        if _mapping(_request_of(content).get("status")).get("statusCode") == "pending":
            return Put("failed", "Google is still making the Meet link.")
        return Put("synced", "Google made no Meet link.")

    # --- busy times -----------------------------------------------------------------------------------------

    async def _busy(self, calendar_ids: Sequence[str], start: str, end: str) -> Mapping[str, Busy]:
        question = {
            "timeMin": start,
            "timeMax": end,
            "timeZone": "UTC",
            "items": [{"id": each} for each in calendar_ids],
        }
        content = _content_of(await self._call("POST", "/freeBusy", question))
        calendars = _mapping(content.get("calendars"))
        return {each: _busy_of(_mapping(calendars.get(each))) for each in calendar_ids}

    # --- one call -------------------------------------------------------------------------------------------

    def _path(self, event: Event | None = None) -> str:
        events = f"/calendars/{quote(self._account.calendar_id, safe='')}/events"
        return f"{events}/{event.id}" if event else events

    async def _call(
        self,
        method: str,
        path: str,
        content: Json | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One call with the account's token.

        Raises:
            _TroubleError: Google did not take the token, asks to slow down, or is not well.
        """
        try:
            token = await self._account.token()
        except NoTokenError as error:
            raise _TroubleError(Put("failed", str(error))) from None
        url, signed = self._account.api_url + path, {"Authorization": f"Bearer {token}", **(headers or {})}
        response = await self._client.request(method, url, json=content, params=params, headers=signed)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._account.forget_token()
            raise _TroubleError(Put("failed", "Google did not accept our access token."))
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or _reason_of(response) in _TOO_FAST:
            raise _TroubleError(
                Put("postponed", "Google asks us to slow down.", retry_after_seconds=_retry_after(response))
            )
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            error = f"Google answered {response.status_code}."
            raise _TroubleError(Put("failed", error, retry_after_seconds=_retry_after(response)))
        return response


_CONTRADICTION = Put("failed", "Google says that the event exists and does not show it.")


def _content_of(response: httpx.Response) -> Json:
    """The object that a good answer holds.

    Raises:
        _TroubleError: it is no good answer.
    """
    status, reason = response.status_code, _reason_of(response)
    if status == HTTPStatus.OK:
        content = _json_of(response)
        if content:
            return content
        raise _TroubleError(Put("failed", "What came back is not what Google Calendar says."))
    because = f": {reason}." if reason else "."
    if reason == "forbiddenForServiceAccounts":
        raise _TroubleError(Put("failed", "Google wants a user in whose name we invite; see GOOGLE_DELEGATED_USER."))
    if status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
        raise _TroubleError(Put("failed", f"Google does not let us do this{because}"))
    if status >= HTTPStatus.BAD_REQUEST:
        raise _TroubleError(Put("refused", f"Google refused it with {status}{because}"))
    raise _TroubleError(Put("failed", f"Google answered {status}."))


def _shows(found: Json, wanted: Json) -> bool:
    """Whether the event is as it is wanted."""
    if "conferenceData" in wanted or found.get("status", "confirmed") != wanted["status"]:
        return False
    if wanted["status"] == "cancelled":
        return True
    return (
        all(found.get(name, "") == wanted[name] for name in ("summary", "location"))
        and all(_instant_of(found.get(end)) == _instant_of(wanted[end]) for end in ("start", "end"))
        and _addresses(found) == _addresses({**found, **wanted})
    )


def _wants_another_link(event: Event, found: Json) -> bool:
    """Whether Google is to make a Meet link, or to take its own away, because another one was agreed on since."""
    link, asked = _meet_link_of(found), _request_of(found).get("requestId")
    if event.meet_request is None:
        return link is not None and event.meet_link is not None and link != event.meet_link
    return asked != event.meet_request and (link is None or asked is not None)


def _request_for(name: str) -> Json:
    return {"createRequest": {"requestId": name, "conferenceSolutionKey": {"type": "hangoutsMeet"}}}


def _instant_of(time: object) -> datetime | None:
    text = _mapping(time).get("dateTime")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _attendees(guests: Sequence[Guest], found: Json) -> list[Json]:
    """The guests, each as Google knows them: with the answer they gave."""
    known = {str(each.get("email")).lower(): each for each in _mappings(found.get("attendees"))}
    return [
        {"displayName": guest.name, **known.get(guest.email, {}), "email": guest.email}
        for guest in guests
        if guest.email
    ]


def _addresses(content: Json) -> set[str]:
    return {str(each.get("email")).lower() for each in _mappings(content.get("attendees"))}


def _meet_link_of(content: Json) -> str | None:
    link = content.get("hangoutLink")
    return link if isinstance(link, str) and _MEET_LINK.fullmatch(link) else None


def _request_of(content: Json) -> Json:
    return _mapping(_mapping(content.get("conferenceData")).get("createRequest"))


def _busy_of(calendar: Json) -> Busy:
    times = [
        each for each in _mappings(calendar.get("busy")) if _is_time(each.get("start")) and _is_time(each.get("end"))
    ]
    if calendar.get("errors") or "busy" not in calendar:
        reasons = {str(each.get("reason")) for each in _mappings(calendar.get("errors"))}
        shown = ", ".join(sorted(each for each in reasons if _REASON.fullmatch(each)))
        return Busy(error=f"Google does not show when this calendar is busy{': ' + shown if shown else ''}.")
    return Busy([{"start": each["start"], "end": each["end"]} for each in times])


def _is_time(text: object) -> bool:
    return _instant_of({"dateTime": text}) is not None


def _reason_of(response: httpx.Response) -> str:
    """Google's code for what is wrong, such as ``rateLimitExceeded``; empty where there is none."""
    if response.is_success:
        return ""
    errors = _mappings(_mapping(_json_of(response).get("error")).get("errors"))
    reason = str(errors[0].get("reason")) if errors else ""
    return reason if _REASON.fullmatch(reason) else ""


def _retry_after(response: httpx.Response) -> int | None:
    text = response.headers.get("Retry-After", "")
    return min(int(text[:9]), LONGEST_WAIT) if text.isascii() and text.isdigit() else None


def _json_of(response: httpx.Response) -> Json:
    try:
        return _mapping(response.json())
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Json]:
    return [_mapping(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
