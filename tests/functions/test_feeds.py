"""Calendars by a secret address: who is let in, what is cached, and that the secret is written down nowhere."""

import httpx
import pytest

from lib import config
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

KEY = "sb_secret_test"
URL = f"/calendar/{s.feed_token}.ics"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a secret key, and no scheduler."""
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    config.settings.cache_clear()


@pytest.mark.usefixtures("configured")
async def test_the_address_is_enough_and_the_secret_key_asks_for_whoever_opens_it(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("read_calendar_feed", s.feed)
    response = await client.get(URL)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert response.headers["Cache-Control"] == "private, max-age=300"
    assert response.text.startswith("BEGIN:VCALENDAR\r\n")
    assert rpcs.sent("read_calendar_feed") == {"p_token": s.feed_token}
    headers = rpcs.request("read_calendar_feed").headers
    assert headers["apikey"] == KEY
    assert "Authorization" not in headers


@pytest.mark.usefixtures("configured")
async def test_a_token_of_a_person_that_comes_along_is_not_passed_on(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_calendar_feed", s.feed)
    assert (await tutor.get(URL)).status_code == 200
    assert "Authorization" not in rpcs.request("read_calendar_feed").headers


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("known", ["{}", "W/{}", '"another", {}'])
async def test_who_has_it_already_is_told_so(client: httpx.AsyncClient, rpcs: Rpcs, known: str) -> None:
    rpcs.answer("read_calendar_feed", s.feed)
    tag = (await client.get(URL)).headers["ETag"]
    again = await client.get(URL, headers={"If-None-Match": known.format(tag)})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert again.headers["Cache-Control"] == "private, max-age=300"
    rpcs.answer("read_calendar_feed", {**s.feed, "sessions": []})
    changed = await client.get(URL, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"] == tag) == (200, False)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("token", ["x", s.feed_token[:-1], f"{s.feed_token}x", "%00" * 43, "%ED%A0%80" * 43, "*" * 43])
async def test_what_cannot_be_a_token_is_answered_as_an_unknown_one_and_asked_of_nobody(
    client: httpx.AsyncClient, rpcs: Rpcs, token: str
) -> None:
    rpcs.refuse("read_calendar_feed", 404, "not_found", "There is no such calendar.")
    unknown = await client.get(URL)
    asked = rpcs.count
    odd = await client.get(f"/calendar/{token}.ics")
    assert rpcs.count == asked == 1
    assert (odd.status_code, unknown.status_code) == (404, 404)
    assert odd.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}
    assert odd.headers["Cache-Control"] == unknown.headers["Cache-Control"] == "no-store"


async def test_without_a_secret_key_there_are_no_calendars(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await client.get(URL)
    assert (response.status_code, response.json()["code"], rpcs.count) == (503, "not_configured", 0)
    assert "Retry-After" in response.headers


@pytest.mark.usefixtures("configured")
async def test_neither_the_token_nor_a_name_is_in_any_log_line(
    tutor: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.answer("rotate_calendar_token", {"token": s.feed_token})
    rotated = await tutor.post("/me/calendar-token")
    assert rotated.json() == {"token": s.feed_token, "path": f"/api{URL}"}
    rpcs.answer("read_calendar_feed", s.feed)
    answers = [await tutor.get(URL), await tutor.put(URL), await tutor.get(f"/calendar/{s.feed_token}x.ics")]
    rpcs.refuse("read_calendar_feed", 404, "not_found", "There is no such calendar.")
    answers.append(await tutor.get(URL))
    rpcs.answer("read_calendar_feed", {**s.feed, "sessions": [s.feed_token]})
    answers.append(await tutor.get(URL))
    assert [answer.status_code for answer in answers] == [200, 405, 404, 404, 500]
    assert not [answer for answer in answers if s.feed_token in answer.text]
    told = "".join(capsys.readouterr())
    assert told.count("/api/calendar/{token}.ics") == 5
    assert s.feed_token not in told
    assert "Oliver" not in told
