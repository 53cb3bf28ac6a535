"""Google Calendar: sessions that it does not show as they are are put there, and tutors' busy times are read.

Postgres leases what is due, the adapter puts it there, and Postgres hears how it went. Whoever ends in between has
put it there, but not said so: the lease runs out and the same event, under the same id, is put there again.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from lib import google
from lib.adapters.google_calendar import MOST_CALENDARS, SECONDS, Busy, Event, GoogleCalendar, Guest, Put
from lib.answers import Answer, Participant, SessionStatus, Utc
from lib.cursors import Cursor, CursorText, after
from lib.database import Database
from lib.deadlines import Clock, Deadline
from lib.fields import Request

AT_ONCE = 20
"""Sessions leased and put there at the same time: Google counts how many calls come in a minute."""
LEASE_SECONDS = 60
"""Longer than putting them there and saying so can take."""

SyncStatus = Literal["pending", "synced", "failing", "given_up"]


class SyncedGuest(BaseModel):
    """A tutor or a student, as an event names them."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(repr=False)
    email: str | None = Field(repr=False)


class Sync(BaseModel):
    """A session under lease, with all that an event says of it."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    lease_id: str
    event_id: str
    version: int
    is_known: bool
    is_cancelled: bool
    subject: str = Field(repr=False)
    tutor: SyncedGuest
    student: SyncedGuest
    starts_at: datetime
    ends_at: datetime
    meet_link: str | None
    wants_meet: bool

    def event(self) -> Event:
        """As the calendar is to show it."""
        return Event(
            id=self.event_id,
            summary=f"{self.subject}: {self.student.name} with {self.tutor.name}",
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            guests=[Guest(each.name, each.email) for each in (self.tutor, self.student)],
            meet_link=self.meet_link,
            # Asked for once for each state of the session: a link that was cleared is made anew.
            meet_request=f"{self.event_id}-{self.version}" if self.wants_meet else None,
            is_cancelled=self.is_cancelled,
            is_known=self.is_known,
        )


class CalendarSynced(Answer):
    """What became of the sessions that Google did not show as they are, and of the calendars to be read."""

    is_on: bool = Field(description="False: variables are missing, and nothing was done.")
    missing: list[str] = Field(description="Those variables.")
    problem: str | None = Field(description="Why Google was not spoken to at all.")
    synced: int
    failed: int = Field(description="Tried again later.")
    given_up: int = Field(description="Not tried again until the session changes or an admin asks.")
    postponed: int = Field(description="Google asked us to slow down.")
    stale: int = Field(description="Took longer than their lease; somebody else has them.")
    calendars_read: int = Field(description="Tutors' calendars whose busy times were read.")
    calendars_failed: int = Field(description="Those that could not be read; what was known holds.")
    more: bool = Field(description="The time was up. The next call goes on.")


class CalendarSync(Answer):
    """How one session stands in Google Calendar."""

    session_id: UUID
    event_id: str = Field(description="Of the event in the house's calendar.")
    status: SyncStatus
    subject: str
    tutor: Participant
    student: Participant
    scheduled_start_utc: Utc
    scheduled_end_utc: Utc
    session_status: SessionStatus
    attempts: int = Field(description="Without success, since it last changed.")
    next_attempt_at: Utc | None = Field(description="While it waits: not before this time.")
    last_error: str | None
    synced_at: Utc | None = Field(description="When Google last took it.")


class BusyRead(Answer):
    """When a tutor's own calendar was last read."""

    tutor: Participant
    as_of: Utc | None
    read_until: Utc | None = Field(description="How far ahead.")
    error: str | None = Field(description="Why it could not be read since.")


class CalendarSyncPage(Answer):
    """Sessions by start, earliest first, and all tutors' calendars."""

    is_on: bool = Field(description="Whether the house wants its sessions in Google Calendar.")
    syncs: list[CalendarSync]
    next_cursor: str | None = Field(description="Ask with it for the next page; null on the last one.")
    busy_reads: list[BusyRead]


class CalendarSyncQuery(Request):
    """Which of them."""

    status: Annotated[list[SyncStatus], Field(max_length=4)] | None = Field(
        default=None, description="May be repeated."
    )
    limit: int = Field(default=50, ge=1, le=200, description="Sessions a page.")
    cursor: CursorText | None = Field(default=None, description="The `next_cursor` of the page before.")


_NOTHING: Mapping[str, Any] = {
    "synced": 0, "failed": 0, "given_up": 0, "postponed": 0, "stale": 0, "calendars_read": 0, "calendars_failed": 0,
}  # fmt: skip


async def sync_calendar(database: Database, budget_seconds: float, clock: Clock = time.monotonic) -> CalendarSynced:
    """Put into Google what waits, and read tutors' calendars, until nothing is left or the time is nearly over.

    Without credentials, or without a token for them, nothing is claimed: an attempt that could not be made is none.
    """
    account = google.account()
    if account is None:
        return _outcome(_NOTHING, missing=google.missing())
    try:
        await account.token()
    except google.NoTokenError as error:
        return _outcome(_NOTHING, problem=str(error))
    # No lap begins that would end too late even if Google hung.
    deadline = Deadline(budget_seconds - SECONDS, clock)
    async with GoogleCalendar(account) as calendar:
        read = await _read_calendars(database, calendar, deadline)
        return await _put_sessions(database, calendar, deadline, read, may_invite=account.may_invite)


async def list_calendar_syncs(database: Database, query: CalendarSyncQuery) -> CalendarSyncPage:
    """How sessions stand in Google Calendar."""
    parameters = {"p_status": query.status, "p_limit": query.limit} | after(query.cursor, "start")
    answer = await database.rpc("list_calendar_syncs", parameters)
    last = answer["syncs"][-1] if answer["has_more"] else None
    cursor = last and str(Cursor(datetime.fromisoformat(last["scheduled_start_utc"]), UUID(last["session_id"])))
    return CalendarSyncPage.model_validate({**answer, "next_cursor": cursor})


async def retry_calendar_sync(database: Database, session_id: UUID) -> CalendarSync:
    """Have a session put into Google Calendar anew."""
    return CalendarSync.model_validate(await database.write("retry_calendar_sync", {"p_session_id": str(session_id)}))


# --- sessions -----------------------------------------------------------------------------------------------


async def _put_sessions(
    database: Database, calendar: GoogleCalendar, deadline: Deadline, done: Mapping[str, Any], *, may_invite: bool
) -> CalendarSynced:
    parameters = {"p_limit": AT_ONCE, "p_lease_seconds": LEASE_SECONDS, "p_makes_meet": may_invite}
    more = True
    while more:
        claimed = await database.rpc("claim_calendar_syncs", parameters)
        syncs = [Sync.model_validate(each) for each in claimed["syncs"]]
        results = await asyncio.gather(*(_result_of(each, calendar) for each in syncs))
        settled = await database.rpc("settle_calendar_syncs", {"p_results": results}) if results else {}
        done = _sums(done, settled)
        more = claimed["more"]
        # Whoever is asked to slow down, or meets nothing but failures, comes back in a minute.
        if not deadline.leaves_time_for_another_lap() or settled.get("postponed") or _all_failed(settled):
            break
    return _outcome(done, more=more)


async def _result_of(sync: Sync, calendar: GoogleCalendar) -> Mapping[str, Any]:
    """Put one session there; how it went, as Postgres takes it."""
    try:
        put = await calendar.put(sync.event())
    except Exception as error:  # noqa: BLE001  # a fault of ours about one session must not repeat all the others
        put = Put("failed", f"A fault of ours: {type(error).__name__}.")
    return {"session_id": sync.session_id, "lease_id": sync.lease_id, **put._asdict()}


def _all_failed(settled: Mapping[str, int]) -> bool:
    return bool(settled.get("failed")) and not settled.get("synced")


# --- busy times ---------------------------------------------------------------------------------------------


async def _read_calendars(database: Database, calendar: GoogleCalendar, deadline: Deadline) -> Mapping[str, Any]:
    done = _NOTHING
    more = True
    while more:
        claimed = await database.rpc("claim_busy_reads", {"p_limit": MOST_CALENDARS, "p_lease_seconds": LEASE_SECONDS})
        if not claimed["reads"]:
            break
        ids = sorted({each["calendar_id"] for each in claimed["reads"]})
        busy = await calendar.busy(ids, claimed["from"], claimed["until"])
        results = [_read_of(each, busy[each["calendar_id"]], claimed["until"]) for each in claimed["reads"]]
        settled = await database.rpc("settle_busy_reads", {"p_results": results})
        done = _sums(done, {"calendars_read": settled["read"], "calendars_failed": settled["failed"]})
        more = claimed["more"] and deadline.leaves_time_for_another_lap()
    return done


def _read_of(claimed: Mapping[str, str], busy: Busy, until: str) -> Mapping[str, Any]:
    return {
        "tutor_id": claimed["tutor_id"],
        "lease_id": claimed["lease_id"],
        "busy": list(busy.times),
        "read_until": until,
        "error": busy.error,
    }


# --- the answer ---------------------------------------------------------------------------------------------


def _sums(counts: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    """Each count of ``counts`` with what ``more`` adds to it."""
    return {name: count + more.get(name, 0) for name, count in counts.items()}


def _outcome(
    counts: Mapping[str, int], *, missing: Sequence[str] = (), problem: str | None = None, more: bool = False
) -> CalendarSynced:
    told = {"is_on": not missing, "missing": list(missing), "problem": problem, "more": more}
    return CalendarSynced.model_validate({**counts, **told})
