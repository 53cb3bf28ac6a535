"""Messages over the whole stack: from what people do to the letter that somebody reads, in their language and zone."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, cast

import httpx
import pytest
import respx

from lib import auth, config, database, targets
from tests.house import BILAL, ENGLISH, HARRIET, LENA, MATHEMATICS, NADIA, OLIVER
from tests.live.answers import answer, problem
from tests.live.receiving import as_scheduler
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

AFTERNOON = "2026-02-26T15:00:00+00:00"
"""Ten in the morning in New York, eight in the evening in Karachi: nobody's quiet hours."""
DASH = "\N{EN DASH}"


@pytest.fixture
def lessons(house: ServedHouse) -> list[Row]:
    """A month of mathematics, Bilal in Karachi and Lena in New York, told of already."""
    house.set_clock(AFTERNOON)
    planned = answer(house.sign_in(NADIA).post(f"/matches/{MATHEMATICS.id}/sessions", json={}), 201)["sessions"]
    deliver(house)
    return planned


def deliver(house: ServedHouse) -> Row:
    """What became of the notices at the scheduler's call."""
    return answer(house.anybody.get("/cron/deliver-outbox", headers=as_scheduler(house)))["notices"]


def remind(house: ServedHouse) -> Row:
    return answer(house.anybody.get("/cron/send-reminders", headers=as_scheduler(house)))


def inbox(house: ServedHouse, template: str) -> list[Row]:
    """What was said in these words, oldest first."""
    kept = answer(house.sign_in(NADIA).get("/inbox", params={"limit": 200}))["messages"]
    return [each for each in reversed(kept) if each["template"] == template]


def messages(house: ServedHouse, template: str, **query: str) -> list[Row]:
    listed = answer(house.sign_in(NADIA).get("/messages", params={"limit": "200", **query}))["messages"]
    return [each for each in listed if each["template"] == template]


def move(house: ServedHouse, lesson: Row, start: str) -> None:
    body = {"start_utc": start, "reason": "School trip"}
    answer(house.sign_in(NADIA).patch(f"/sessions/{lesson['id']}", json=body))


def by_address(kept: list[Row]) -> dict[str, Row]:
    found = {each["sent_to"]: each for each in kept}
    assert len(found) == len(kept), "nobody is told twice"
    return found


# --- what people read -------------------------------------------------------------------------------------


def test_a_move_is_told_to_each_in_their_language_and_on_their_clocks(house: ServedHouse, lessons: list[Row]) -> None:
    answer(house.sign_in(BILAL).patch("/me", json={"language": "de"}))
    move(house, lessons[3], "2026-03-12T16:00:00Z")
    assert inbox(house, "session_moved") == [], "nothing is sent in the action itself"
    assert deliver(house)["sent"] == 3
    assert deliver(house)["sent"] == 0
    told = by_address(inbox(house, "session_moved"))
    assert told.keys() == {BILAL.email, LENA.email, "rosa.ortiz@lessonkeeper.test"}

    tutor, guardian = told[BILAL.email], told["rosa.ortiz@lessonkeeper.test"]
    assert tutor["subject"] == "Neuer Termin: Mathematics mit Lena Ortiz"
    assert (
        f"Neu: Donnerstag, 12. März 2026, 21:00{DASH}22:00 Uhr (Karachi); das ist 12:00{DASH}13:00 Uhr in New York. "
        in (tutor["body"])
    )
    assert "Bitte beachten Sie die Zeitumstellung in New York am 8. März" in tutor["body"]
    assert "Grund: School trip" in tutor["body"]
    assert guardian["body"].startswith("Hola, Rosa Ortiz:\n\nSe ha cambiado el horario")
    assert (
        f"Ahora: jueves, 12 de marzo de 2026, 12:00{DASH}13:00 h (New York); son las 21:00{DASH}22:00 h en Karachi"
        in (guardian["body"])
    )

    calendar = guardian["attachment"].replace("\r\n ", "").split("\r\n")
    assert "METHOD:REQUEST" in calendar
    assert f"UID:{lessons[3]['id']}@lessonkeeper" in calendar
    assert "DTSTART;TZID=America/New_York:20260312T120000" in calendar


def test_nobody_is_told_of_what_they_did_themselves(house: ServedHouse, lessons: list[Row]) -> None:
    answer(house.sign_in(NADIA).patch("/settings", json={"tutor_may_reschedule": True}))
    body = {"start_utc": "2026-03-12T16:00:00Z", "reason": "Train"}
    answer(house.sign_in(BILAL).patch(f"/sessions/{lessons[3]['id']}", json=body))
    deliver(house)
    assert by_address(inbox(house, "session_moved")).keys() == {LENA.email, "rosa.ortiz@lessonkeeper.test"}


def test_everybody_sees_what_they_were_told_and_admins_all(house: ServedHouse, lessons: list[Row]) -> None:
    move(house, lessons[3], "2026-03-12T16:00:00Z")
    deliver(house)
    assert {each["reader"]["name"] for each in messages(house, "session_moved")} == {
        "Bilal Siddiqi",
        "Lena Ortiz",
        "Rosa Ortiz",
    }
    mine = answer(house.sign_in(LENA).get("/messages"))["messages"]
    assert {each["reader"]["name"] for each in mine} == {"Lena Ortiz"}
    assert {(each["status"], each["provider"]) for each in mine} == {("sent", "inbox")}
    problem(house.sign_in(LENA).get("/inbox"), 403, "not_allowed")
    problem(house.sign_in(LENA).post(f"/messages/{mine[0]['id']}/retry"), 403, "not_allowed")
    problem(house.sign_in(NADIA).post(f"/messages/{mine[0]['id']}/retry"), 409, "illegal_transition")


def test_people_choose_language_quiet_hours_and_whatsapp_and_give_them_back(house: ServedHouse) -> None:
    lena = house.sign_in(LENA)
    chosen = {"language": "de", "quiet_from": "19:00", "quiet_until": "09:30", "whatsapp_opt_in": False}
    assert answer(lena.patch("/me", json=chosen)).items() >= chosen.items()
    back = answer(lena.patch("/me", json={"language": "", "quiet_from": "", "quiet_until": ""}))
    assert [back[name] for name in ("language", "quiet_from", "quiet_until")] == [None] * 3
    for wrong in ({"language": "fr"}, {"quiet_from": "25:00"}, {"quiet_from": "20:00"}, {"quiet_until": "7:00"}):
        problem(lena.patch("/me", json=wrong), 422, "invalid")


# --- quiet hours ------------------------------------------------------------------------------------------


def test_what_can_wait_waits_for_the_readers_morning(house: ServedHouse, lessons: list[Row]) -> None:
    house.set_clock("2026-02-27T04:00:00+00:00")  # eleven at night in New York, nine in the morning in Karachi
    move(house, lessons[5], "2026-03-19T16:00:00Z")
    done = deliver(house)
    assert (done["sent"], done["deferred"]) == (1, 2)
    assert by_address(inbox(house, "session_moved")).keys() == {BILAL.email}
    waiting = messages(house, "session_moved", status="pending")
    # Her own quiet hours end at eight; those of the house, which are Lena's, are over by then too.
    assert {each["reader"]["name"] for each in waiting} == {"Lena Ortiz", "Rosa Ortiz"}
    assert max(each["send_after"] for each in waiting) <= "2026-02-27T13:00:00Z"
    assert deliver(house)["sent"] == 0
    house.set_clock("2026-02-27T13:00:00+00:00")
    assert deliver(house)["sent"] == 2
    assert len(inbox(house, "session_moved")) == 3


# --- reminders --------------------------------------------------------------------------------------------


def start_of(lesson: Row) -> datetime:
    return datetime.fromisoformat(lesson["scheduled_start_utc"])


def test_everybody_is_reminded_a_day_and_an_hour_before_once_each(house: ServedHouse, lessons: list[Row]) -> None:
    start = start_of(lessons[0])
    house.set_clock(start - timedelta(hours=24, minutes=1))
    assert remind(house)["planned"] == 0
    house.set_clock(start - timedelta(hours=23))
    done = remind(house)
    assert (done["planned"], done["sent"] + done["deferred"]) == (3, 3)
    assert remind(house)["planned"] == 0
    house.set_clock(start - timedelta(minutes=50))
    assert remind(house)["planned"] == 3
    assert remind(house)["planned"] == 0
    hourly = [each for each in messages(house, "session_reminder") if each["kind"] == "1h"]
    assert {each["status"] for each in hourly} == {"sent"}
    bodies = [each["body"] for each in inbox(house, "session_reminder")]
    assert any("begins within the hour" in body for body in bodies)
    assert any("en menos de una hora" in body for body in bodies)
    assert all("https://meet.google.com/" in body for body in bodies)


def test_after_an_outage_what_is_still_true_is_caught_up_and_nothing_stale_goes_out(
    house: ServedHouse, lessons: list[Row]
) -> None:
    """The scheduler was away from a day before the lesson until half an hour before it."""
    house.set_clock(start_of(lessons[0]) - timedelta(minutes=30))
    done = remind(house)
    assert (done["planned"], done["sent"]) == (3, 3)
    assert {each["kind"] for each in messages(house, "session_reminder")} == {"1h"}
    house.set_clock(start_of(lessons[0]) + timedelta(minutes=1))
    assert remind(house)["planned"] == 0


def test_a_lesson_that_moves_takes_its_reminders_along(house: ServedHouse, lessons: list[Row]) -> None:
    house.set_clock(start_of(lessons[0]) - timedelta(minutes=50))
    remind(house)
    move(house, lessons[0], "2026-03-12T16:00:00Z")
    house.set_clock("2026-03-12T15:30:00+00:00")
    assert remind(house)["planned"] == 3
    told = inbox(house, "session_reminder")
    assert len(told) == 6
    assert sum("12 March 2026, 21:00" in each["body"] for each in told) == 1


# --- providers that fail ----------------------------------------------------------------------------------


class Deployment(NamedTuple):
    """Functions with real providers, none of which is really there."""

    functions: httpx.AsyncClient
    providers: respx.MockRouter

    async def deliver(self, house: ServedHouse) -> Row:
        return answer(await self.functions.get("/cron/deliver-outbox", headers=as_scheduler(house)))["notices"]


META = "https://graph.facebook.com/v23.0/1/messages"
RESEND = "https://api.resend.com/emails"
NO_PROVIDER: Mapping[str, str] = {}
PROVIDERS: Mapping[str, str] = {
    "WHATSAPP_PROVIDER": "meta",
    "WHATSAPP_ACCESS_TOKEN": "EAA",
    "WHATSAPP_PHONE_NUMBER_ID": "1",
    "EMAIL_PROVIDER": "resend",
    "RESEND_API_KEY": "re_key",
    "EMAIL_FROM": "lessons@example.com",
    "PUBLIC_URL": "https://lessons.example.com",
}


@pytest.fixture
def providers() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
async def deployment(
    house: ServedHouse, providers: respx.MockRouter, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Deployment]:
    variables = cast("Mapping[str, str]", getattr(request, "param", PROVIDERS))
    for name in config.Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    own = ("SUPABASE_URL", "SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET", "CRON_SECRET")
    for name, value in ({each: house.env[each] for each in own} | dict(variables)).items():
        monkeypatch.setenv(name, value)
    forget_the_process()
    from functions.main import assemble  # noqa: PLC0415  # reads the environment when imported

    providers.route(host="127.0.0.1").pass_through()
    providers.route(host="localhost").pass_through()
    transport = httpx.ASGITransport(assemble(config.settings()))
    headers = {"Authorization": f"Bearer {house.visit(NADIA).token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://deployed.test/api", headers=headers
    ) as functions:
        yield Deployment(functions, providers)
    await database.http_client().aclose()
    forget_the_process()


def forget_the_process() -> None:
    for read_once in (config.settings, database.http_client, auth.verifier, targets.targets):
        read_once.cache_clear()


@pytest.mark.parametrize("deployment", [NO_PROVIDER], indirect=True)
async def test_with_every_channel_off_that_is_seen_and_nothing_is_lost(
    house: ServedHouse, lessons: list[Row], deployment: Deployment
) -> None:
    health = answer(await deployment.functions.get("/health"))
    assert {name: state["on"] for name, state in health["channels"].items()} == {"whatsapp": False, "email": False}
    move(house, lessons[3], "2026-03-12T16:00:00Z")
    done = await deployment.deliver(house)
    assert (done["off"], done["sent"], done["failed"]) == (["whatsapp", "email"], 0, 0)
    assert {each["attempts"] for each in messages(house, "session_moved", status="pending")} == {0}
    assert deliver(house)["sent"] == 3, "as soon as there are channels it goes out"


async def test_whatever_a_provider_answers_is_written_down_and_nobody_is_told_twice(
    house: ServedHouse, lessons: list[Row], deployment: Deployment
) -> None:
    waiting = {
        "refused": (httpx.Response(422), "failed", "The provider answered 422."),
        "busy": (httpx.Response(429, headers={"Retry-After": "600"}), "pending", "The provider answered 429."),
        "down": (httpx.ConnectError(""), "pending", "No connection could be made."),
    }
    for nth, (fault, status, told) in enumerate(waiting.values(), 3):
        deployment.providers.post(RESEND).mock(side_effect=[fault] * 3)
        move(house, lessons[nth], f"2026-03-{10 + nth}T16:30:00Z")
        await deployment.deliver(house)
        found = messages(house, "session_moved", session_id=lessons[nth]["id"])
        assert {(each["status"], each["last_error"], each["channel"]) for each in found} == {(status, told, "email")}
    assert all(
        each["send_after"] >= "2026-02-26T15:10:00Z"
        for each in messages(house, "session_moved", session_id=lessons[4]["id"])
    )


async def test_what_may_have_gone_out_is_sent_again_by_an_admin_alone(
    house: ServedHouse, lessons: list[Row], deployment: Deployment
) -> None:
    wish = {"reason": "Down with the flu"}
    answer(house.sign_in(BILAL).post(f"/sessions/{lessons[5]['id']}/request-cancel", json=wish), 202)
    route = deployment.providers.post(META).mock(side_effect=httpx.ReadTimeout("canary"))
    assert (await deployment.deliver(house))["unknown"] == 1
    (asked,) = messages(house, "P26_cancellation_request")
    assert (asked["status"], asked["channel"], asked["provider"]) == ("unknown", "whatsapp", "meta")
    await deployment.deliver(house)
    assert route.call_count == 1

    route.mock(side_effect=None, return_value=httpx.Response(200, json={"messages": [{"id": "wamid.1"}]}))
    retried = answer(await deployment.functions.post(f"/messages/{asked['id']}/retry"))
    assert (retried["status"], retried["attempts"]) == ("pending", 0)
    assert (await deployment.deliver(house))["sent"] >= 1
    assert messages(house, "P26_cancellation_request")[0]["status"] == "sent"
    requests = cast("list[respx.models.Call]", list(route.calls))
    links = {
        json.loads(call.request.content)["template"]["components"][0]["parameters"][-1]["text"] for call in requests
    }
    assert len(links) == 2, "each attempt has a token of its own"


async def test_no_log_line_says_whom_we_wrote_to_or_what(
    house: ServedHouse, lessons: list[Row], deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.providers.post(RESEND).respond(500, text="student.newyork@lessonkeeper.test")
    move(house, lessons[3], "2026-03-12T16:00:00Z")
    await deployment.deliver(house)
    told = "".join(capsys.readouterr())
    assert "/api/cron/deliver-outbox" in told
    for unsaid in ("Lena", "Ortiz", "Bilal", "lessonkeeper.test", "+1202", "School trip", "resend.com"):
        assert unsaid not in told


def test_who_has_no_way_to_be_reached_is_named_to_admins_and_told_later(house: ServedHouse) -> None:
    """Oliver's account loses its address in Studio; with it put back, an admin has the message sent."""
    house.set_clock(AFTERNOON)
    house.database.run("update public.accounts set email = null where profile_id = %s", OLIVER.id)
    answer(house.sign_in(NADIA).post(f"/matches/{ENGLISH.id}/sessions", json={}), 201)
    assert deliver(house)["unreachable"] == 1
    (lost,) = messages(house, "schedule_generated", status="unreachable")
    assert lost["reader"]["name"] == "Oliver Finch"
    house.database.run("update public.accounts set email = %s where profile_id = %s", OLIVER.email, OLIVER.id)
    answer(house.sign_in(NADIA).post(f"/messages/{lost['id']}/retry"))
    assert deliver(house)["sent"] == 1
    german = by_address(inbox(house, "schedule_generated"))[HARRIET.email]
    assert german["body"].startswith("Guten Tag Harriet Cole,\n\nes sind neue Unterrichtstermine geplant.")
    assert german["body"].count("\n- ") == 8
