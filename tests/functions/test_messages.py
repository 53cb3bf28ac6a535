"""The dispatcher of messages, down to what providers are sent; the network is faked as they document themselves."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast
from uuid import UUID

import httpx
import pytest
import respx

from lib import config, messages
from lib.auth import Service
from lib.database import Database
from lib.messages import Posted
from tests.functions import samples as s
from tests.functions.conftest import SUPABASE, Rpcs

CRON = {"Authorization": "Bearer made up for a scheduler, and long"}
DELIVER, REMIND = "/cron/deliver-outbox", "/cron/send-reminders"
MESSAGE = "00000000-0000-4000-8000-0000000000e7"
TOKEN = "t" * 43
LINK = f"https://lessons.example.com/api/consent/{TOKEN}"
NOW = "2026-03-30T09:00:00+00:00"
NOTHING: Mapping[str, int] = dict.fromkeys(
    ("sent", "retrying", "failed", "unknown", "deferred", "unreachable", "stale"), 0
)
AISENSY = "https://backend.aisensy.com/campaign/t1/api/v2"
META = "https://graph.facebook.com/v23.0/106540352242922/messages"
RESEND = "https://api.resend.com/emails"
PROVIDERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "aisensy": (AISENSY, {"WHATSAPP_PROVIDER": "aisensy", "AISENSY_API_KEY": "the key"}),
    "meta": (
        META,
        {"WHATSAPP_PROVIDER": "meta", "WHATSAPP_ACCESS_TOKEN": "EAA", "WHATSAPP_PHONE_NUMBER_ID": "106540352242922"},
    ),
    "resend": (RESEND, {"EMAIL_PROVIDER": "resend", "RESEND_API_KEY": "re_key"}),
}
READER: Mapping[str, Any] = {
    "kind": "guardian",
    "name": "Grace Hughes",
    "timezone": "Europe/London",
    "language": "en",
    "quiet_from": "21:00",
    "quiet_until": "08:00",
    "phone": "+447700900123",
    "email": "grace@example.com",
    "whatsapp_opt_in": True,
}
LESSON: Mapping[str, Any] = {
    "id": s.SESSION,
    "subject": "Mathematics",
    "status": "scheduled",
    "version": 3,
    "scheduled_start_utc": "2026-03-31T15:30:00+00:00",
    "scheduled_end_utc": "2026-03-31T16:30:00+00:00",
    "meet_link": s.MEET,
    "updated_at": "2026-03-01T09:00:00+00:00",
    "tutor": {"name": "Amina Siddiqui", "timezone": "Asia/Karachi"},
    "student": {"name": "Oliver Hughes", "timezone": "Europe/London"},
}
WHEN = (
    "Tuesday, 31 March 2026, 16:30\N{EN DASH}17:30 (London); that is 20:30\N{EN DASH}21:30 in Karachi. "
    "Please note the change of clocks in London on 29 March"
)
WISH: Mapping[str, Any] = {
    "template": "P26_cancellation_request",
    "channels": ["whatsapp"],
    "facts": {"reason": "School trip", "asked_by": "student", "consent_hours": 24, "silence_cancels": True},
    "consent_token": TOKEN,
}
MOVE: Mapping[str, Any] = {
    "template": "session_moved",
    "channels": ["email", "whatsapp"],
    "facts": {
        "from_start_utc": "2026-03-30T15:30:00+00:00",
        "from_end_utc": "2026-03-30T16:30:00+00:00",
        "reason": "School trip",
    },
}


def leased(reader: Mapping[str, Any] = {}, **more: Any) -> dict[str, Any]:
    return {
        "message_id": MESSAGE,
        "lease_id": "the lease",
        "attempt": 1,
        "template": "session_started",
        "kind": None,
        "channels": ["whatsapp", "email"],
        "can_wait": True,
        "send_by": None,
        "created_at": NOW,
        "reader": {**READER, **reader},
        "session": LESSON,
        "sessions": [],
        "booking": None,
        "facts": {},
        "consent_token": None,
    } | more


def lease(*claimed: Mapping[str, Any], now: str = NOW, more: bool = False) -> Mapping[str, Any]:
    return {"now": now, "messages": list(claimed), "more": more}


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A deployment with a scheduler; channels are chosen by calling it."""

    def choose(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        config.settings.cache_clear()

    choose(
        CRON_SECRET=CRON["Authorization"].removeprefix("Bearer "),
        SUPABASE_SECRET_KEY="sb_secret_test",
        PUBLIC_URL="https://lessons.example.com/",
        EMAIL_FROM="Lessons <lessons@example.com>",
    )
    return choose


@pytest.fixture
def inbox(configured: Callable[..., None]) -> None:
    configured(WHATSAPP_PROVIDER="inbox", EMAIL_PROVIDER="inbox")


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def rpcs(router: respx.MockRouter) -> Rpcs:
    """The database's functions, beside the providers of the same test."""
    return Rpcs(router)


class Deployment(NamedTuple):
    """What is chosen, what the database says, and what goes out."""

    choose: Callable[..., None]
    rpcs: Rpcs
    router: respx.MockRouter

    def with_provider(self, name: str) -> respx.Route:
        """This provider and no other; its answers are set on what is given back."""
        url, variables = PROVIDERS[name]
        self.choose(**variables)
        return self.router.post(url)

    def requests(self) -> list[httpx.Request]:
        """All that went to providers."""
        calls = cast("list[respx.models.Call]", list(self.router.calls))
        return [call.request for call in calls if not str(call.request.url).startswith(SUPABASE)]

    def only_request(self) -> tuple[httpx.Request, dict[str, Any]]:
        (request,) = self.requests()
        return request, json.loads(request.content)


@pytest.fixture
def deployment(configured: Callable[..., None], rpcs: Rpcs, router: respx.MockRouter) -> Deployment:
    return Deployment(configured, rpcs, router)


def as_service() -> Database:
    return Database(Service("sb_secret_test"), "a-request")


async def settled(rpcs: Rpcs, *claimed: Mapping[str, Any], now: str = NOW) -> list[Mapping[str, Any]]:
    """What Postgres hears after these were claimed."""
    rpcs.answer("claim_messages", lease(*claimed, now=now))
    rpcs.answer("settle_messages", NOTHING)
    await messages.send_messages(as_service(), "notices", 45)
    return rpcs.sent("settle_messages")["p_results"]


async def only_settled(rpcs: Rpcs, claimed: Mapping[str, Any], now: str = NOW) -> Mapping[str, Any]:
    (result,) = await settled(rpcs, claimed, now=now)
    return result


# --- the scheduler's calls --------------------------------------------------------------------------------


@pytest.mark.usefixtures("inbox")
async def test_the_scheduler_sends_notices_after_the_webhooks(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("claim_deliveries", {"deliveries": [], "more": False})
    rpcs.answer("claim_messages", lease(leased()))
    rpcs.answer("settle_messages", {**NOTHING, "sent": 1})
    done = (await client.get(DELIVER, headers=CRON)).json()
    assert done["notices"] == {**NOTHING, "sent": 1, "off": [], "more": False}
    assert rpcs.sent("claim_messages") == {"p_limit": 20, "p_lease_seconds": 120, "p_only": "notices"}


@pytest.mark.usefixtures("inbox")
async def test_reminders_are_put_down_until_none_is_missing_and_then_sent(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer_in_turn("plan_reminders", {"planned": 500, "more": True}, {"planned": 7, "more": False})
    rpcs.answer("claim_messages", lease(leased(template="session_reminder", kind="24h")))
    rpcs.answer("settle_messages", {**NOTHING, "sent": 1})
    done = (await client.get(REMIND, headers=CRON)).json()
    assert done == {**NOTHING, "sent": 1, "off": [], "more": False, "planned": 507}
    assert rpcs.sent("claim_messages")["p_only"] == "reminders"


async def test_with_every_channel_off_nothing_is_claimed_and_so_nothing_is_lost(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("plan_reminders", {"planned": 0, "more": False})
    done = (await client.get(REMIND, headers=CRON)).json()
    assert (done["off"], done["more"], rpcs.count) == (["whatsapp", "email"], False, 1)


@pytest.mark.usefixtures("inbox")
async def test_laps_follow_while_there_is_more_and_add_up(rpcs: Rpcs) -> None:
    rpcs.answer_in_turn("claim_messages", lease(leased(), more=True), lease(leased(), leased()), lease())
    rpcs.answer_in_turn("settle_messages", {**NOTHING, "sent": 1}, {**NOTHING, "retrying": 1, "stale": 1})
    done = await messages.send_messages(as_service(), "notices", 45)
    assert done == Posted.model_validate({**NOTHING, "sent": 1, "retrying": 1, "stale": 1, "off": [], "more": False})


@pytest.mark.usefixtures("inbox")
async def test_no_lap_begins_that_would_end_too_late_if_every_provider_hung(rpcs: Rpcs) -> None:
    rpcs.answer("claim_messages", lease(more=True))
    done = await messages.send_messages(as_service(), "notices", 20, iter([0.0, 0.1]).__next__)
    assert (rpcs.count, done.more) == (1, True)


@pytest.mark.parametrize("path", [DELIVER, REMIND])
async def test_nobody_but_the_scheduler_is_let_in(tutor: httpx.AsyncClient, rpcs: Rpcs, path: str) -> None:
    response = await tutor.get(path)
    assert (response.status_code, response.json()["code"], rpcs.count) == (401, "not_signed_in", 0)


# --- who is told how --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("inbox")
async def test_what_a_reader_would_have_got_is_kept_word_for_word(rpcs: Rpcs) -> None:
    result = await only_settled(rpcs, leased(**WISH))
    assert result == {
        "message_id": MESSAGE,
        "lease_id": "the lease",
        "outcome": "sent",
        "status_code": None,
        "error": None,
        "channel": "whatsapp",
        "provider": "inbox",
        "provider_message_id": MESSAGE,
        "retry_after_seconds": None,
        "inbox": {
            "channel": "whatsapp",
            "sent_to": "+447700900123",
            "subject": None,
            "body": (
                "Hello Grace Hughes,\n\n"
                "Oliver Hughes would like to cancel the following lesson. You decide.\n\n"
                "Lesson: Mathematics with Amina Siddiqui for Oliver Hughes\n"
                f"Planned for: {WHEN}\n"
                "Reason: School trip\n"
                "Without an answer: after 24 hours the lesson is cancelled\n"
                f"Your answer: {LINK}\n\n"
                "Please follow the link or press a button. Opening the link decides nothing yet."
            ),
            "buttons": [
                {"id": f"approve:{TOKEN}", "title": "Cancel the lesson"},
                {"id": f"reschedule:{TOKEN}", "title": "Another time, please"},
                {"id": f"call:{TOKEN}", "title": "Please call me"},
            ],
            "attachment_name": None,
            "attachment": None,
        },
    }


@pytest.mark.parametrize(
    ("reader", "channels", "way"),
    [
        ({}, ["whatsapp", "email"], "whatsapp"),
        ({}, ["email", "whatsapp"], "email"),
        ({"whatsapp_opt_in": False}, ["whatsapp", "email"], "email"),
        ({"phone": None}, ["whatsapp", "email"], "email"),
        ({"email": None}, ["email", "whatsapp"], "whatsapp"),
        ({"email": None, "whatsapp_opt_in": False}, ["whatsapp", "email"], None),
        ({"whatsapp_opt_in": False}, ["whatsapp"], None),
    ],
)
@pytest.mark.usefixtures("inbox")
async def test_the_first_channel_that_reaches_the_reader_is_taken(
    rpcs: Rpcs, reader: Mapping[str, Any], channels: list[str], way: str | None
) -> None:
    result = await only_settled(rpcs, leased(reader, channels=channels))
    assert (result["outcome"], result.get("channel")) == (("sent", way) if way else ("unreachable", None))


async def test_a_channel_that_is_off_is_passed_over(configured: Callable[..., None], rpcs: Rpcs) -> None:
    configured(EMAIL_PROVIDER="inbox", WHATSAPP_PROVIDER="meta")
    results = await settled(rpcs, leased(), leased(**WISH))
    assert [(each["outcome"], each.get("channel")) for each in results] == [("sent", "email"), ("unreachable", None)]


@pytest.mark.parametrize(
    ("now", "can_wait", "until"),
    [
        ("2026-03-30T19:59:59+00:00", True, None),
        ("2026-03-30T20:00:00+00:00", True, "2026-03-31T07:00:00+00:00"),
        ("2026-03-31T06:59:59+00:00", True, "2026-03-31T07:00:00+00:00"),
        ("2026-03-31T07:00:00+00:00", True, None),
        ("2026-03-30T23:00:00+00:00", False, None),
    ],
)
@pytest.mark.usefixtures("inbox")
async def test_what_can_wait_waits_for_the_morning_of_its_reader(
    rpcs: Rpcs, *, now: str, can_wait: bool, until: str | None
) -> None:
    result = await only_settled(rpcs, leased(can_wait=can_wait), now=now)
    assert (result["outcome"], result.get("send_after")) == (("deferred", until) if until else ("sent", None))


@pytest.mark.usefixtures("inbox")
async def test_nobody_to_tell_is_said_by_night_too(rpcs: Rpcs) -> None:
    nobody = leased({"phone": None, "email": None})
    assert (await only_settled(rpcs, nobody, now="2026-03-30T23:00:00+00:00"))["outcome"] == "unreachable"


@pytest.mark.usefixtures("inbox")
async def test_a_message_that_we_cannot_put_into_words_leaves_the_others_alone(rpcs: Rpcs) -> None:
    results = await settled(
        rpcs, leased(session=None), leased(template="no such"), leased(template="session_moved"), leased()
    )
    assert [each["outcome"] for each in results] == ["failed", "failed", "failed", "sent"]
    assert all(each["error"].startswith("A fault of ours: ") for each in results[:3])
    assert "canary" not in json.dumps(results)


@pytest.mark.usefixtures("inbox")
async def test_a_zone_that_nobody_knows_is_utc(rpcs: Rpcs) -> None:
    result = await only_settled(rpcs, leased({"timezone": "US/Eastern"}))
    assert "15:30\N{EN DASH}16:30 (UTC)" in result["inbox"]["body"]


# --- calendars in e-mails ---------------------------------------------------------------------------------


def lines(result: Mapping[str, Any]) -> list[str]:
    return result["inbox"]["attachment"].replace("\r\n ", "").split("\r\n")


@pytest.mark.parametrize(("status", "method"), [("scheduled", "REQUEST"), ("cancelled", "CANCEL")])
@pytest.mark.usefixtures("inbox")
async def test_an_email_about_a_lesson_brings_the_calendar_up_to_date(rpcs: Rpcs, status: str, method: str) -> None:
    result = await only_settled(rpcs, leased(**MOVE, session={**LESSON, "status": status}))
    assert result["inbox"]["attachment_name"] == "lessons.ics"
    told = lines(result)
    assert {
        f"METHOD:{method}",
        f"UID:{s.SESSION}@lessonkeeper",
        "SEQUENCE:3",
        "DTSTART;TZID=Europe/London:20260331T163000",
        "SUMMARY:Mathematics with Amina Siddiqui for Oliver Hughes",
        "ORGANIZER:mailto:lessons@example.com",
        "ATTENDEE;RSVP=FALSE:mailto:grace@example.com",
        f"STATUS:{'CANCELLED' if status == 'cancelled' else 'CONFIRMED'}",
    } <= set(told)


@pytest.mark.usefixtures("inbox")
async def test_a_plan_is_published_with_every_lesson_and_names_nobody(rpcs: Rpcs) -> None:
    later = {
        **LESSON,
        "id": s.OTHER,
        "scheduled_start_utc": "2026-04-02T15:30:00Z",
        "scheduled_end_utc": "2026-04-02T16:30:00Z",
    }
    plan = leased(template="schedule_generated", channels=["email"], session=None, sessions=[LESSON, later])
    told = lines(await only_settled(rpcs, plan))
    assert "METHOD:PUBLISH" in told
    assert told.count("BEGIN:VEVENT") == 2
    assert not [line for line in told if line.startswith("ATTENDEE")]


@pytest.mark.usefixtures("inbox")
async def test_neither_whatsapp_nor_a_letter_without_a_time_brings_a_calendar(rpcs: Rpcs) -> None:
    results = await settled(rpcs, leased({"email": None}, **MOVE), leased(channels=["email"]))
    assert [each["inbox"]["attachment"] for each in results] == [None, None]


@pytest.mark.usefixtures("inbox")
async def test_a_booking_that_no_lesson_came_of_has_its_own_time(rpcs: Rpcs) -> None:
    booking = {
        "id": s.BOOKING,
        "title": "Exam clinic",
        "status": "draft",
        "start_utc": "2026-03-18T16:30:00Z",
        "end_utc": "2026-03-18T17:00:00Z",
        "note": "Chapter 3, please.",
        "reason": None,
        "meet_link": None,
        **{side: LESSON[side] for side in ("tutor", "student")},
    }
    tutor = {"kind": "tutor", "name": "Amina Siddiqui", "timezone": "Asia/Karachi", "language": "es"}
    result = await only_settled(
        rpcs, leased(tutor, template="booking_requested", channels=["email"], session=None, booking=booking)
    )
    assert result["inbox"]["subject"] == "Nueva solicitud de reserva: Exam clinic con Oliver Hughes"
    assert "21:30\N{EN DASH}22:00 h (Karachi); son las 16:30\N{EN DASH}17:00 h en London" in result["inbox"]["body"]
    assert "Nota: Chapter 3, please." in result["inbox"]["body"]


# --- what providers are sent, and what their answers mean -------------------------------------------------


PARAMETERS = [
    "Grace Hughes",
    "Oliver Hughes",
    "Mathematics with Amina Siddiqui for Oliver Hughes",
    WHEN,
    "School trip",
    "after 24 hours the lesson is cancelled",
    LINK,
]


async def test_aisensy_starts_the_campaign_of_template_and_language(deployment: Deployment) -> None:
    """https://help.aisensy.com/en/articles/5358962-api-reference-docs."""
    deployment.with_provider("aisensy").respond(json={"success": "true", "submitted_message_id": "f48f97ef-bd7d"})
    result = await only_settled(deployment.rpcs, leased(**WISH))
    _, body = deployment.only_request()
    assert body == {
        "apiKey": "the key",
        "campaignName": "P26_cancellation_request_en",
        "destination": "+447700900123",
        "userName": "Grace Hughes",
        "source": "Lessonkeeper",
        "templateParams": PARAMETERS,
    }
    assert (result["outcome"], result["provider"], result["provider_message_id"]) == (
        "sent",
        "aisensy",
        "f48f97ef-bd7d",
    )
    assert result["inbox"] is None, "words are kept on a local stack alone"


async def test_meta_sends_the_template_with_a_payload_behind_each_button(deployment: Deployment) -> None:
    """https://developers.facebook.com/docs/whatsapp/cloud-api/guides/send-message-templates."""
    answer = {
        "messaging_product": "whatsapp",
        "contacts": [{"input": "+447700900123", "wa_id": "447700900123"}],
        "messages": [{"id": "wamid.HBg", "message_status": "accepted"}],
    }
    deployment.with_provider("meta").respond(json=answer)
    result = await only_settled(deployment.rpcs, leased(**WISH))
    request, body = deployment.only_request()
    assert request.headers["Authorization"] == "Bearer EAA"
    assert body == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "+447700900123",
        "type": "template",
        "template": {
            "name": "p26_cancellation_request",
            "language": {"code": "en"},
            "components": [
                {"type": "body", "parameters": [{"type": "text", "text": text} for text in PARAMETERS]},
                *(
                    {
                        "type": "button",
                        "sub_type": "quick_reply",
                        "index": str(index),
                        "parameters": [{"type": "payload", "payload": f"{answer}:{TOKEN}"}],
                    }
                    for index, answer in enumerate(("approve", "reschedule", "call"))
                ),
            ],
        },
    }
    assert (result["outcome"], result["provider"], result["provider_message_id"]) == ("sent", "meta", "wamid.HBg")


async def test_resend_is_given_the_letter_its_calendar_and_a_key_of_repetition(deployment: Deployment) -> None:
    """https://resend.com/docs/api-reference/emails/send-email."""
    deployment.with_provider("resend").respond(json={"id": "49a3999c-0ce1"})
    result = await only_settled(deployment.rpcs, leased(**MOVE))
    request, body = deployment.only_request()
    assert (request.headers["Authorization"], request.headers["Idempotency-Key"]) == ("Bearer re_key", MESSAGE)
    (attachment,) = body.pop("attachments")
    assert attachment.pop("content")
    assert attachment == {"filename": "lessons.ics", "content_type": "text/calendar; charset=utf-8; method=REQUEST"}
    assert body.pop("text").startswith("Hello Grace Hughes,\n\nThe following lesson has been moved.\n\n")
    assert body == {
        "from": "Lessons <lessons@example.com>",
        "to": ["grace@example.com"],
        "subject": "New time: Mathematics with Amina Siddiqui for Oliver Hughes",
        "headers": {"Auto-Submitted": "auto-generated"},
    }
    assert (result["outcome"], result["provider"], result["provider_message_id"]) == ("sent", "resend", "49a3999c-0ce1")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "sent"),
        (202, "sent"),
        (302, "failed"),
        (400, "refused"),
        (401, "failed"),
        (402, "failed"),
        (403, "failed"),
        (404, "refused"),
        (408, "failed"),
        (409, "failed"),
        (422, "refused"),
        (425, "failed"),
        (429, "failed"),
        (500, "failed"),
        (503, "failed"),
    ],
)
async def test_every_answer_has_its_meaning(deployment: Deployment, provider: str, status: int, outcome: str) -> None:
    deployment.with_provider(provider).respond(
        status, headers={"Retry-After": "77", "Location": "https://canary.example.com"}, text="canary"
    )
    result = await only_settled(deployment.rpcs, leased())
    assert (result["outcome"], result["status_code"]) == (outcome, status)
    waits = status in {408, 409, 425, 429, 500, 503}
    assert result["retry_after_seconds"] == (77 if waits else None)
    assert "canary" not in json.dumps(result)
    assert len(deployment.requests()) == 1


@pytest.mark.parametrize(
    ("fault", "not_repeatable"),
    [
        (httpx.ConnectError("canary"), "failed"),
        (httpx.ConnectTimeout("canary"), "failed"),
        (httpx.PoolTimeout("canary"), "failed"),
        (httpx.ReadTimeout("canary"), "unknown"),
        (httpx.WriteError("canary"), "unknown"),
        (httpx.ReadError("canary"), "unknown"),
        (httpx.RemoteProtocolError("canary"), "unknown"),
        (httpx.Response(504), "unknown"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else None,
)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_may_have_arrived_is_not_sent_again_unless_a_key_makes_it_one(
    deployment: Deployment,
    provider: str,
    fault: Exception | httpx.Response,
    not_repeatable: str,
) -> None:
    deployment.with_provider(provider).mock(side_effect=[fault])
    result = await only_settled(deployment.rpcs, leased())
    assert result["outcome"] == ("failed" if provider == "resend" else not_repeatable)
    assert "canary" not in json.dumps(result)


async def test_resend_that_knows_the_key_with_other_words_has_sent_before(deployment: Deployment) -> None:
    for name, outcome in (("invalid_idempotent_request", "unknown"), ("concurrent_idempotent_requests", "failed")):
        deployment.with_provider("resend").respond(409, json={"statusCode": 409, "name": name, "message": "canary"})
        assert (await only_settled(deployment.rpcs, leased()))["outcome"] == outcome


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (130429, "failed"),
        (131056, "failed"),
        (190, "failed"),
        (132001, "refused"),
        (131026, "refused"),
    ],
)
async def test_metas_errors_are_told_by_their_codes(deployment: Deployment, code: int, outcome: str) -> None:
    error = {"message": "(#1) canary", "type": "OAuthException", "code": code, "fbtrace_id": "x"}
    deployment.with_provider("meta").respond(400, json={"error": error})
    result = await only_settled(deployment.rpcs, leased())
    assert (result["outcome"], result["error"]) == (outcome, f"The provider answered 400. Its code is {code}.")


async def test_aisensy_that_says_no_with_a_success_has_sent_nothing(deployment: Deployment) -> None:
    deployment.with_provider("aisensy").respond(json={"success": "false", "errorMessage": "canary"})
    assert (await only_settled(deployment.rpcs, leased()))["outcome"] == "failed"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"messages": 1, "id": 2, "error": 3}'])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_answer_that_says_nothing_is_no_fault(deployment: Deployment, provider: str, text: str) -> None:
    deployment.with_provider(provider).respond(200, text=text)
    result = await only_settled(deployment.rpcs, leased())
    assert (result["outcome"], result["provider_message_id"]) == ("sent", None)


async def test_the_log_of_a_dispatch_says_nothing_about_anybody(
    client: httpx.AsyncClient,
    deployment: Deployment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployment.choose(LOG_LEVEL="debug")
    provider = deployment.with_provider("meta")
    rpcs = deployment.rpcs
    rpcs.answer("claim_deliveries", {"deliveries": [], "more": False})
    rpcs.answer("claim_messages", lease(leased(**WISH), leased(session=None, **WISH)))
    rpcs.answer("settle_messages", NOTHING)
    provider.respond(400, json={"error": {"code": 131026, "message": "+447700900123"}})
    assert (await client.get(DELIVER, headers=CRON)).status_code == 200
    told = "".join(capsys.readouterr())
    assert "deliver-outbox" in told
    for unsaid in ("Grace", "Oliver", "447700900123", "School trip", TOKEN, "graph.facebook"):
        assert unsaid not in told
    heard = json.dumps(rpcs.sent("settle_messages"))
    assert "447700900123" not in heard
    assert TOKEN not in heard


# --- which channels are on ----------------------------------------------------------------------------------


OFF: Mapping[str, object] = {"on": False, "missing": []}


def lacks(provider: str, *missing: str) -> Mapping[str, object]:
    return {"provider": provider, "on": not missing, "missing": list(missing)}


@pytest.mark.parametrize(
    ("variables", "channels"),
    [
        ({}, {"whatsapp": OFF, "email": OFF}),
        (
            {"WHATSAPP_PROVIDER": "aisensy", "EMAIL_PROVIDER": "resend"},
            {"whatsapp": lacks("aisensy", "AISENSY_API_KEY"), "email": lacks("resend", "RESEND_API_KEY")},
        ),
        (
            {"WHATSAPP_PROVIDER": "meta", "EMAIL_PROVIDER": "smtp", "EMAIL_FROM": ""},
            {
                "whatsapp": lacks("meta", "WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID"),
                "email": lacks("smtp", "SMTP_URL", "EMAIL_FROM"),
            },
        ),
        (
            {"WHATSAPP_PROVIDER": "aisensy", "AISENSY_API_KEY": "canary", "PUBLIC_URL": ""},
            {"whatsapp": lacks("aisensy", "PUBLIC_URL"), "email": OFF},
        ),
        (
            {
                "WHATSAPP_PROVIDER": "inbox",
                "EMAIL_PROVIDER": "smtp",
                "SMTP_URL": "smtp://canary:canary@mail.example.com",
            },
            {"whatsapp": lacks("inbox"), "email": lacks("smtp")},
        ),
    ],
)
async def test_health_tells_admins_which_channels_are_on_and_what_the_others_lack(
    tutor: httpx.AsyncClient, deployment: Deployment, variables: Mapping[str, str], channels: Mapping[str, object]
) -> None:
    deployment.choose(**variables)
    deployment.rpcs.answer("health", {"clock": {"is_real": True, "now": NOW}})
    answer = await tutor.get("/health")
    told = answer.json()["channels"]
    assert told == channels
    assert "canary" not in answer.text


# --- looking at them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "rpc", "row"), [("/messages", "list_messages", s.message), ("/inbox", "list_inbox", s.kept_message)]
)
async def test_the_next_page_begins_behind_the_last_row(
    tutor: httpx.AsyncClient, rpcs: Rpcs, path: str, rpc: str, row: Mapping[str, Any]
) -> None:
    rpcs.answer(rpc, {"messages": [row], "has_more": True})
    cursor = (await tutor.get(path)).json()["next_cursor"]
    rpcs.answer(rpc, {"messages": [], "has_more": False})
    assert (await tutor.get(path, params={"cursor": cursor})).json() == {"messages": [], "next_cursor": None}
    sent = rpcs.sent(rpc)
    assert (sent["p_after_id"], UUID(sent["p_after_id"]).version) == (row["id"], 4)
    assert sent["p_after_created"] == "2026-03-31T14:30:00+00:00"
