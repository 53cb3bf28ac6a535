"""Putting events into Google Calendar, over a real socket: what is asked, and what each way of answering means."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.adapters.google_calendar import Busy, Event, GoogleCalendar, Guest, Put
from lib.google import GoogleAccount, NoTokenError
from tests.google import CALENDAR, USER, StandIn, service_account

LINK = "https://meet.google.com/abc-defg-hij"
START = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
GUESTS = (Guest("Amina Siddiqui", "amina@example.com"), Guest("Oliver Hughes", None))


@pytest.fixture
def google() -> Iterator[StandIn]:
    with StandIn().listening() as google:
        yield google


def account(google: StandIn, calendar_id: str = CALENDAR, user: str | None = USER) -> GoogleAccount:
    return GoogleAccount(service_account(f"{google.url}/token"), calendar_id, user, f"{google.url}/calendar/v3")


@pytest.fixture
async def calendar(google: StandIn) -> AsyncIterator[GoogleCalendar]:
    async with GoogleCalendar(account(google), seconds=5) as calendar:
        yield calendar


def event(
    *,
    start: datetime = START,
    meet_link: str | None = LINK,
    meet_request: str | None = None,
    guests: Sequence[Guest] = GUESTS,
    is_cancelled: bool = False,
    is_known: bool = False,
) -> Event:
    return Event(
        id="lesson0123456789abcdef",
        summary="Mathematics: Oliver Hughes with Amina Siddiqui",
        starts_at=start,
        ends_at=start + timedelta(hours=1),
        guests=guests,
        meet_link=meet_link,
        meet_request=meet_request,
        is_cancelled=is_cancelled,
        is_known=is_known,
    )


def only(google: StandIn) -> dict[str, object]:
    (kept,) = google.events.values()
    return {name: value for name, value in kept.items() if name != "etag"}


# --- what is put there ------------------------------------------------------------------------------------


async def test_an_event_is_made_with_all_that_it_says(google: StandIn, calendar: GoogleCalendar) -> None:
    assert await calendar.put(event()) == Put("synced")
    assert only(google) == {
        "id": "lesson0123456789abcdef",
        "status": "confirmed",
        "summary": "Mathematics: Oliver Hughes with Amina Siddiqui",
        "location": LINK,
        "start": {"dateTime": "2026-03-10T15:00:00+00:00", "timeZone": "UTC"},
        "end": {"dateTime": "2026-03-10T16:00:00+00:00", "timeZone": "UTC"},
        "attendees": [{"displayName": "Amina Siddiqui", "email": "amina@example.com"}],
    }
    assert google.calls == ["POST token", "POST event"]


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_is_there_is_changed_and_never_doubled(
    google: StandIn, calendar: GoogleCalendar, *, is_known: bool
) -> None:
    await calendar.put(event())
    assert await calendar.put(event(start=START + timedelta(days=1), is_known=is_known)) == Put("synced")
    assert google.shown() == {event().id: (START + timedelta(days=1), START + timedelta(days=1, hours=1))}
    assert google.calls[2:] == ["GET event", "PATCH event"] if is_known else ["POST event", "GET event", "PATCH event"]


async def test_what_is_right_already_is_left_alone_in_whatever_zone_google_tells_it(
    google: StandIn, calendar: GoogleCalendar
) -> None:
    await calendar.put(event())
    google.events[event().id]["start"] = {"dateTime": "2026-03-10T11:00:00-04:00", "timeZone": "America/New_York"}
    google.calls.clear()
    assert await calendar.put(event(is_known=True)) == Put("synced")
    assert google.calls == ["GET event"]


async def test_what_is_known_and_has_gone_is_made_again(google: StandIn, calendar: GoogleCalendar) -> None:
    assert await calendar.put(event(is_known=True)) == Put("synced")
    assert google.calls == ["POST token", "GET event", "POST event"]
    assert only(google)["status"] == "confirmed"


async def test_a_guests_answer_outlives_a_change_and_a_guest_who_is_none_any_more_goes(
    google: StandIn, calendar: GoogleCalendar
) -> None:
    await calendar.put(event(guests=[*GUESTS, Guest("Zoë", "zoe@example.com")]))
    google.events[event().id]["attendees"][0]["responseStatus"] = "accepted"
    await calendar.put(event(start=START + timedelta(days=1), is_known=True))
    assert only(google)["attendees"] == [
        {"displayName": "Amina Siddiqui", "email": "amina@example.com", "responseStatus": "accepted"}
    ]


async def test_an_event_is_cancelled_and_comes_back(google: StandIn, calendar: GoogleCalendar) -> None:
    await calendar.put(event())
    cancelled = event(is_cancelled=True, is_known=True)
    assert await calendar.put(cancelled) == Put("synced")
    assert google.shown() == {}
    google.calls.clear()
    assert await calendar.put(cancelled) == Put("synced")
    assert google.calls == ["GET event"], "it is cancelled already"
    assert await calendar.put(event(is_known=True)) == Put("synced")
    assert event().id in google.shown()


async def test_what_never_was_there_is_not_made_to_be_cancelled(google: StandIn, calendar: GoogleCalendar) -> None:
    assert await calendar.put(event(is_cancelled=True)) == Put("synced")
    assert google.events == {}


async def test_without_a_user_to_act_for_nobody_is_invited(google: StandIn) -> None:
    async with GoogleCalendar(account(google, user=None)) as calendar:
        assert await calendar.put(event()) == Put("synced")
    assert "attendees" not in only(google)


# --- Meet links -------------------------------------------------------------------------------------------


async def test_a_meet_link_is_made_once_and_told(google: StandIn, calendar: GoogleCalendar) -> None:
    wanted = event(meet_link=None, meet_request="first")
    put = await calendar.put(wanted)
    assert put.outcome == "synced"
    assert put.meet_link is not None
    assert re.fullmatch(r"https://meet\.google\.com/[a-z]{3}-[a-z]{4}-[a-z]{3}", put.meet_link)
    assert only(google)["conferenceData"] == {
        "createRequest": {
            "requestId": "first",
            "conferenceSolutionKey": {"type": "hangoutsMeet"},
            "status": {"statusCode": "success"},
        }
    }
    again = await calendar.put(wanted)
    assert again == put, "after a crash in between the same link is found"


async def test_a_link_that_was_cleared_is_made_anew_and_one_that_was_agreed_on_takes_its_place(
    google: StandIn, calendar: GoogleCalendar
) -> None:
    first = await calendar.put(event(meet_link=None, meet_request="first"))
    second = await calendar.put(event(meet_link=None, meet_request="second", is_known=True))
    assert second.meet_link not in {None, first.meet_link}
    assert await calendar.put(event(meet_link=second.meet_link, is_known=True)) == Put("synced")
    assert only(google)["hangoutLink"] == only(google)["location"] == second.meet_link
    assert await calendar.put(event(meet_link=LINK, is_known=True)) == Put("synced")
    assert "hangoutLink" not in only(google), "the event would show two"
    assert only(google)["location"] == LINK


async def test_a_link_that_google_is_still_making_is_asked_for_later_and_not_twice(
    google: StandIn, calendar: GoogleCalendar
) -> None:
    google.meet_status = "pending"
    wanted = event(meet_link=None, meet_request="first")
    for _ in range(2):
        assert await calendar.put(wanted) == Put("failed", "Google is still making the Meet link.")
    assert google.calls.count("PATCH event") == 0
    google.events[wanted.id]["hangoutLink"] = LINK
    google.events[wanted.id]["conferenceData"]["createRequest"]["status"] = {"statusCode": "success"}
    assert await calendar.put(wanted) == Put("synced", meet_link=LINK)


async def test_a_link_that_google_cannot_make_keeps_no_event_away(google: StandIn, calendar: GoogleCalendar) -> None:
    google.meet_status = "failure"
    assert await calendar.put(event(meet_link=None, meet_request="first")) == Put("synced", "Google made no Meet link.")
    assert event().id in google.shown()


# --- whatever google answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "put"),
    [
        (400, "invalid", Put("refused", "Google refused it with 400: invalid.")),
        (400, "<b>", Put("refused", "Google refused it with 400.")),
        (401, "authError", Put("failed", "Google did not accept our access token.")),
        (403, "forbidden", Put("failed", "Google does not let us do this: forbidden.")),
        (403, "rateLimitExceeded", Put("postponed", "Google asks us to slow down.")),
        (403, "userRateLimitExceeded", Put("postponed", "Google asks us to slow down.")),
        (
            403,
            "forbiddenForServiceAccounts",
            Put("failed", "Google wants a user in whose name we invite; see GOOGLE_DELEGATED_USER."),
        ),
        (404, "notFound", Put("failed", "Google knows no such calendar, or does not let us into it.")),
        (410, "deleted", Put("refused", "Google refused it with 410: deleted.")),
        (412, "conditionNotMet", Put("refused", "Google refused it with 412: conditionNotMet.")),
        (429, "rateLimitExceeded", Put("postponed", "Google asks us to slow down.")),
        (307, "", Put("failed", "Google answered 307.")),
        (500, "backendError", Put("failed", "Google answered 500.")),
        (503, "", Put("failed", "Google answered 503.")),
    ],
)
async def test_each_way_of_refusing_an_insert_has_its_meaning(
    google: StandIn, calendar: GoogleCalendar, status: int, reason: str, put: Put
) -> None:
    google.fail("POST event", status, reason)
    assert await calendar.put(event()) == put


async def test_a_change_is_bound_to_what_was_read(google: StandIn, calendar: GoogleCalendar) -> None:
    await calendar.put(event())
    google.fail("PATCH event", 412, "conditionNotMet")
    moved = event(start=START + timedelta(days=1), is_known=True)
    assert await calendar.put(moved) == Put("failed", "The event was changed in Google at the same moment.")


@pytest.mark.parametrize("status", [404, 410])
async def test_an_event_that_google_claims_to_have_and_does_not_show_is_a_failure(
    google: StandIn, calendar: GoogleCalendar, status: int
) -> None:
    google.fail("POST event", 409, "duplicate")
    google.fail("GET event", status, "notFound")
    contradiction = Put("failed", "Google says that the event exists and does not show it.")
    for is_known in (False, True):
        assert await calendar.put(event(is_known=is_known)) == contradiction


@pytest.mark.parametrize(("status", "outcome"), [(429, "postponed"), (503, "failed")])
async def test_google_may_say_how_long_to_wait(
    google: StandIn, calendar: GoogleCalendar, status: int, outcome: str
) -> None:
    google.fail("*", status, retry_after=600)
    put = await calendar.put(event())
    assert (put.outcome, put.retry_after_seconds) == (outcome, 600)
    google.fail("*", status, retry_after=10**12)
    assert (await calendar.put(event())).retry_after_seconds == 86_400


@pytest.mark.parametrize("how", ["html", "nonsense"])
async def test_what_is_no_answer_of_google_calendar_is_a_failure(
    google: StandIn, calendar: GoogleCalendar, how: str
) -> None:
    google.misbehave("*", how)
    assert await calendar.put(event()) == Put("failed", "What came back is not what Google Calendar says.")
    read = await calendar.busy(["a@x.test"], "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    assert read == {"a@x.test": Busy(error="What came back is not what Google Calendar says.")}


async def test_who_does_not_answer_and_who_is_not_there_are_failures(google: StandIn) -> None:
    account_there = account(google)
    await account_there.token()
    google.misbehave("*", "hang")
    async with GoogleCalendar(account_there, seconds=0.3) as calendar:
        assert await calendar.put(event()) == Put("failed", "Google did not answer in time.")
        read = await calendar.busy(["a@x.test"], "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
        assert read["a@x.test"].error == "Google did not answer in time."
    google.recover()
    account_there.api_url = "http://127.0.0.1:9/calendar/v3"
    async with GoogleCalendar(account_there) as calendar:
        assert await calendar.put(event()) == Put("failed", "Google could not be reached, or the connection broke.")


async def test_an_event_shows_no_name_and_no_address_when_it_is_printed() -> None:
    assert "Amina" not in repr(event())
    assert "example.com" not in repr(event())


# --- access tokens ----------------------------------------------------------------------------------------


async def test_a_token_is_kept_and_another_is_got_when_google_does_not_take_it(
    google: StandIn, calendar: GoogleCalendar
) -> None:
    await calendar.put(event())
    await calendar.put(event(is_known=True))
    assert google.calls.count("POST token") == 1
    google.forget_tokens()
    assert (await calendar.put(event(is_known=True))).outcome == "failed"
    assert (await calendar.put(event(is_known=True))).outcome == "synced"
    assert google.calls.count("POST token") == 2


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ({"error": "invalid_grant", "error_description": "who knows"}, "Google gave no access token: invalid_grant."),
        ({"error": "A long story of <b>names</b>"}, "Google gave no access token."),
        ("html", "Google gave no access token: no sensible answer came."),
        ("nonsense", "Google gave no access token: no sensible answer came."),
    ],
)
async def test_without_a_token_it_is_said_why(google: StandIn, failure: object, message: str) -> None:
    google.refuse_token(failure)
    with pytest.raises(NoTokenError, match=re.escape(message) + "$"):
        await account(google).token()
    async with GoogleCalendar(account(google)) as calendar:
        assert await calendar.put(event()) == Put("failed", message)


async def test_a_key_that_is_none_and_a_host_that_is_not_there_are_told_apart(google: StandIn) -> None:
    broken = GoogleAccount(service_account() | {"private_key": "none"}, CALENDAR, None, google.url)
    with pytest.raises(NoTokenError, match="GOOGLE_SERVICE_ACCOUNT holds no usable key"):
        await broken.token()
    away = GoogleAccount(service_account(), CALENDAR, None, google.url)
    with pytest.raises(NoTokenError, match="no sensible answer came"):
        await away.token()


# --- busy times -------------------------------------------------------------------------------------------


async def test_busy_times_are_read_and_a_calendar_that_google_does_not_show_says_so(
    google: StandIn, calendar: GoogleCalendar
) -> None:
    nine = ("2026-03-02T09:00:00+00:00", "2026-03-02T10:00:00+00:00")
    google.busy = {"a@x.test": [nine], "b@x.test": []}
    read = await calendar.busy(["a@x.test", "b@x.test", "c@x.test"], "2026-03-01T00:00:00Z", "2026-05-02T00:00:00Z")
    assert read == {
        "a@x.test": Busy([{"start": nine[0], "end": nine[1]}]),
        "b@x.test": Busy([]),
        "c@x.test": Busy(error="Google does not show when this calendar is busy: notFound."),
    }
    assert google.calls == ["POST token", "POST busy"]


async def test_many_events_are_put_there_at_the_same_time(google: StandIn, calendar: GoogleCalendar) -> None:
    events = [replace(event(), id=f"lesson{number:032x}") for number in range(40)]
    assert {put.outcome for put in await asyncio.gather(*map(calendar.put, events))} == {"synced"}
    assert len(google.shown()) == 40
