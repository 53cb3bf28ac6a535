"""The calendar's dispatcher: what is leased is put into Google by the requests Google documents, and Postgres hears."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

import httpx
import jwt
import pytest
import respx

from lib import calendar_sync, config, google
from lib.auth import Service
from lib.cursors import Cursor
from lib.database import Database
from tests.functions import samples as s
from tests.functions.conftest import Rpcs
from tests.google import CALENDAR, USER, service_account

CRON = {"Authorization": "Bearer made up for a scheduler, and long"}
SYNC = "/cron/sync-calendar"
TOKEN = "https://oauth2.google.test/token"
API = "https://www.googleapis.com/calendar/v3"
EVENTS = f"{API}/calendars/{quote(CALENDAR, safe='')}/events"
EVENT_ID = f"lesson{UUID(s.SESSION).hex}"
NOTHING: Mapping[str, Any] = {
    "is_on": True, "missing": [], "problem": None, "synced": 0, "failed": 0, "given_up": 0, "postponed": 0,
    "stale": 0, "calendars_read": 0, "calendars_failed": 0, "more": False,
}  # fmt: skip
NO_READS: Mapping[str, Any] = {
    "reads": [], "from": "2026-03-01T09:00:00+00:00", "until": "2026-05-02T09:00:00+00:00", "more": False,
}  # fmt: skip
NO_SYNCS: Mapping[str, Any] = {"syncs": [], "more": False}


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a scheduler and a Google account."""
    for name, value in {
        "CRON_SECRET": CRON["Authorization"].removeprefix("Bearer "),
        "SUPABASE_SECRET_KEY": "sb_secret_test",
        "GOOGLE_SERVICE_ACCOUNT": json.dumps(service_account(TOKEN)),
        "GOOGLE_CALENDAR_ID": CALENDAR,
        "GOOGLE_DELEGATED_USER": USER,
    }.items():
        monkeypatch.setenv(name, value)
    forget()


def forget() -> None:
    config.settings.cache_clear()
    google.account.cache_clear()


@pytest.fixture
def api(rpcs: Rpcs) -> Iterator[respx.MockRouter]:
    """Google, beside the database's functions."""
    rpcs.answer("claim_busy_reads", NO_READS)
    rpcs.answer("claim_calendar_syncs", NO_SYNCS)
    with respx.mock(assert_all_called=False) as router:
        router.post(TOKEN).mock(httpx.Response(200, json={"access_token": "a token", "expires_in": 3600}))
        router.route(host="supabase.test").pass_through()
        yield router


def leased(**more: Any) -> Mapping[str, Any]:
    return {
        "session_id": s.SESSION,
        "lease_id": "the lease",
        "event_id": EVENT_ID,
        "version": 3,
        "is_known": False,
        "is_cancelled": False,
        "subject": "Mathematics",
        "tutor": {"name": "Amina Siddiqui", "email": "amina@example.com"},
        "student": {"name": "Oliver Hughes", "email": "oliver@example.com"},
        "starts_at": "2026-03-31T15:30:00+00:00",
        "ends_at": "2026-03-31T16:30:00+00:00",
        "meet_link": s.MEET,
        "wants_meet": False,
    } | more


def as_service() -> Database:
    return Database(Service("sb_secret_test"), "a-request")


def settled(**counts: int) -> Mapping[str, int]:
    return {"synced": 0, "failed": 0, "given_up": 0, "postponed": 0, "stale": 0} | counts


# --- what is asked of google ------------------------------------------------------------------------------


async def test_a_session_is_put_there_by_the_request_that_google_documents(
    client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter
) -> None:
    rpcs.answer_in_turn(
        "claim_calendar_syncs", {"syncs": [leased(meet_link=None, wants_meet=True)], "more": True}, NO_SYNCS
    )
    rpcs.answer("settle_calendar_syncs", settled(synced=1))
    insert = api.post(EVENTS).mock(httpx.Response(200, json={"id": EVENT_ID, "hangoutLink": s.MEET}))
    answer = await client.get(SYNC, headers=CRON)
    assert (answer.status_code, answer.json()) == (200, {**NOTHING, "synced": 1})

    asked = insert.calls.last.request
    assert asked.headers["Authorization"] == "Bearer a token"
    assert dict(asked.url.params) == {"sendUpdates": "none", "conferenceDataVersion": "1"}
    assert json.loads(asked.content) == {
        "id": EVENT_ID,
        "status": "confirmed",
        "summary": "Mathematics: Oliver Hughes with Amina Siddiqui",
        "location": "",
        "start": {"dateTime": "2026-03-31T15:30:00+00:00", "timeZone": "UTC"},
        "end": {"dateTime": "2026-03-31T16:30:00+00:00", "timeZone": "UTC"},
        "attendees": [
            {"displayName": "Amina Siddiqui", "email": "amina@example.com"},
            {"displayName": "Oliver Hughes", "email": "oliver@example.com"},
        ],
        "conferenceData": {
            "createRequest": {
                "requestId": f"{EVENT_ID}-3",
                "conferenceSolutionKey": {"type": "hangoutsMeet"},
            }
        },
    }
    assert rpcs.sent("claim_calendar_syncs") == {"p_limit": 20, "p_lease_seconds": 60, "p_makes_meet": True}
    assert rpcs.sent("settle_calendar_syncs") == {
        "p_results": [
            {
                "session_id": s.SESSION,
                "lease_id": "the lease",
                "outcome": "synced",
                "error": None,
                "meet_link": s.MEET,
                "retry_after_seconds": None,
            }
        ]
    }


async def test_a_known_one_is_read_and_changed_under_its_tag_and_a_cancelled_one_gets_that_status(
    client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter
) -> None:
    rpcs.answer_in_turn(
        "claim_calendar_syncs", {"syncs": [leased(is_known=True, is_cancelled=True)], "more": True}, NO_SYNCS
    )
    rpcs.answer("settle_calendar_syncs", settled(synced=1))
    api.get(f"{EVENTS}/{EVENT_ID}").mock(httpx.Response(200, json={"status": "confirmed", "etag": '"31"'}))
    patch = api.patch(f"{EVENTS}/{EVENT_ID}").mock(httpx.Response(200, json={"status": "cancelled"}))
    await client.get(SYNC, headers=CRON)
    asked = patch.calls.last.request
    assert (asked.headers["If-Match"], json.loads(asked.content)) == ('"31"', {"status": "cancelled"})


async def test_busy_times_are_asked_for_and_reported(
    client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter
) -> None:
    reads = [{"tutor_id": s.TUTOR, "lease_id": "the lease", "calendar_id": "amina@example.com"}]
    rpcs.answer("claim_busy_reads", {**NO_READS, "reads": reads})
    rpcs.answer("settle_busy_reads", {"read": 1, "failed": 0, "stale": 0})
    times = [{"start": "2026-03-02T09:00:00Z", "end": "2026-03-02T10:00:00Z"}]
    asked = api.post(f"{API}/freeBusy").mock(
        httpx.Response(200, json={"calendars": {"amina@example.com": {"busy": times}}})
    )
    answer = await client.get(SYNC, headers=CRON)
    assert answer.json() == {**NOTHING, "calendars_read": 1}
    assert json.loads(asked.calls.last.request.content) == {
        "timeMin": NO_READS["from"],
        "timeMax": NO_READS["until"],
        "timeZone": "UTC",
        "items": [{"id": "amina@example.com"}],
    }
    assert rpcs.sent("settle_busy_reads") == {
        "p_results": [
            {
                "tutor_id": s.TUTOR,
                "lease_id": "the lease",
                "busy": times,
                "read_until": NO_READS["until"],
                "error": None,
            }
        ]
    }


async def test_the_token_is_asked_for_in_the_users_name_for_calendars_alone(
    client: httpx.AsyncClient, api: respx.MockRouter
) -> None:
    await client.get(SYNC, headers=CRON)
    (asked, *_) = (call.request for call in cast("list[respx.models.Call]", list(api.calls)))
    form = dict(httpx.QueryParams(asked.content.decode()))
    claims = jwt.decode(form["assertion"], options={"verify_signature": False})
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert (claims["sub"], claims["aud"]) == (USER, "https://oauth2.googleapis.com/token")
    assert claims["scope"].split() == list(google.SCOPES)


# --- when it goes on and when it stops --------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_CALENDAR_ID"])
async def test_without_credentials_it_is_off_says_so_and_claims_nothing(
    client: httpx.AsyncClient, rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(missing)
    forget()
    answer = await client.get(SYNC, headers=CRON)
    assert (answer.status_code, rpcs.count) == (200, 0)
    assert answer.json() == {**NOTHING, "is_on": False, "missing": [missing]}


async def test_without_a_token_nothing_is_claimed(client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter) -> None:
    api.post(TOKEN).mock(httpx.Response(400, json={"error": "invalid_grant"}))
    answer = await client.get(SYNC, headers=CRON)
    assert answer.json() == {**NOTHING, "problem": "Google gave no access token: invalid_grant."}
    assert not rpcs.was_called("claim_calendar_syncs")


@pytest.mark.parametrize(
    ("status", "counts"),
    [(429, {"postponed": 1}), (503, {"failed": 1})],
)
async def test_a_run_ends_when_google_asks_to_slow_down_or_does_nothing_at_all(
    client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter, status: int, counts: Mapping[str, int]
) -> None:
    rpcs.answer("claim_calendar_syncs", {"syncs": [leased()], "more": True})
    rpcs.answer("settle_calendar_syncs", settled(**counts))
    api.post(EVENTS).mock(httpx.Response(status, json={"error": {"errors": []}}))
    answer = await client.get(SYNC, headers=CRON)
    assert answer.json() == {**NOTHING, **counts, "more": True}
    assert len(rpcs.all_sent("claim_calendar_syncs")) == 1


async def test_it_begins_no_lap_that_could_end_too_late(rpcs: Rpcs, api: respx.MockRouter) -> None:
    rpcs.answer("claim_calendar_syncs", {"syncs": [leased()], "more": True})
    rpcs.answer("settle_calendar_syncs", settled(synced=1))
    api.post(EVENTS).mock(httpx.Response(200, json={"id": EVENT_ID}))
    ticks = iter(range(0, 1000, 6))
    done = await calendar_sync.sync_calendar(as_service(), 45, lambda: next(ticks))
    assert (done.synced, done.more) == (5, True)


async def test_a_fault_of_ours_about_one_session_is_reported_and_stops_no_other(
    client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter
) -> None:
    rpcs.answer_in_turn("claim_calendar_syncs", {"syncs": [leased(), leased(lease_id="b")], "more": True}, NO_SYNCS)
    rpcs.answer("settle_calendar_syncs", settled(synced=1, failed=1))
    api.post(EVENTS).mock(side_effect=[RuntimeError("names of people"), httpx.Response(200, json={"id": EVENT_ID})])
    await client.get(SYNC, headers=CRON)
    results = {each["lease_id"]: each for each in rpcs.sent("settle_calendar_syncs")["p_results"]}
    assert sorted((each["outcome"], each["error"]) for each in results.values()) == [
        ("failed", "A fault of ours: RuntimeError."),
        ("synced", None),
    ]


async def test_without_a_user_to_act_for_no_link_is_waited_for(
    client: httpx.AsyncClient, rpcs: Rpcs, api: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api
    monkeypatch.delenv("GOOGLE_DELEGATED_USER")
    forget()
    await client.get(SYNC, headers=CRON)
    assert rpcs.sent("claim_calendar_syncs")["p_makes_meet"] is False


# --- what admins see --------------------------------------------------------------------------------------


async def test_an_admin_pages_through_what_waits(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    page = {"is_on": True, "syncs": [s.calendar_sync], "has_more": True, "busy_reads": [s.busy_read]}
    rpcs.answer("list_calendar_syncs", page)
    first = (await tutor.get("/calendar-syncs")).json()
    assert (first["is_on"], first["syncs"][0]["last_error"]) == (True, "Google answered 503.")
    last = Cursor.read(first["next_cursor"])
    assert last == Cursor(datetime(2026, 3, 31, 15, 30, tzinfo=UTC), UUID(s.SESSION))
    rpcs.answer("list_calendar_syncs", {**page, "syncs": [], "has_more": False})
    second = (await tutor.get("/calendar-syncs", params={"cursor": first["next_cursor"]})).json()
    assert second["next_cursor"] is None
    sent = rpcs.sent("list_calendar_syncs")
    assert (datetime.fromisoformat(sent["p_after_start"]), UUID(sent["p_after_id"])) == last


async def test_slots_say_as_of_when_they_know_the_tutors_calendar(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("slot_inputs", s.slot_inputs)
    query = {"listing_id": s.LISTING, "from": "2026-03-16T00:00:00Z", "to": "2026-04-16T00:00:00Z"}
    shown = (await tutor.get("/slots", params=query)).json()
    assert datetime.fromisoformat(shown["calendar_as_of"]) == datetime(2026, 3, 1, tzinfo=UTC)
    rpcs.answer("slot_inputs", {**s.slot_inputs, "calendar_as_of": None})
    assert (await tutor.get("/slots", params=query)).json()["calendar_as_of"] is None


async def test_a_lease_is_longer_than_all_that_happens_under_it() -> None:
    assert timedelta(seconds=calendar_sync.LEASE_SECONDS) > timedelta(seconds=2 * calendar_sync.SECONDS)
