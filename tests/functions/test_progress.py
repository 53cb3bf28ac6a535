"""Progress for guardians: who is let in, what the page is sent with, and that its secret is written down nowhere."""

import httpx
import pytest

from lib import config
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

KEY = "sb_secret_test"
URL = f"/progress/{s.feed_token}"
PAGE = f"/students/{s.STUDENT}/progress.html"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a secret key."""
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    config.settings.cache_clear()


def is_a_private_page(response: httpx.Response) -> bool:
    headers = response.headers
    return (
        headers["Content-Type"] == "text/html; charset=utf-8"
        and headers["Cache-Control"] == "no-store"
        and headers["Referrer-Policy"] == "no-referrer"
        and headers["X-Content-Type-Options"] == "nosniff"
        and headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    )


@pytest.mark.usefixtures("configured")
async def test_the_address_is_enough_and_the_secret_key_asks_for_whoever_opens_it(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer("read_progress_link", s.progress)
    response = await client.get(URL)
    assert response.status_code == 200
    assert is_a_private_page(response)
    assert "How Oliver Hughes is getting on" in response.text
    assert rpcs.sent("read_progress_link") == {"p_token": s.feed_token}
    headers = rpcs.request("read_progress_link").headers
    assert headers["apikey"] == KEY
    assert "Authorization" not in headers


@pytest.mark.usefixtures("configured")
async def test_a_token_of_a_person_that_comes_along_is_not_passed_on(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_progress_link", s.progress)
    assert (await tutor.get(URL)).status_code == 200
    assert "Authorization" not in rpcs.request("read_progress_link").headers


@pytest.mark.usefixtures("configured")
async def test_whoever_opens_it_may_choose_the_language(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_progress_link", {**s.progress, "language": "de"})
    for query, language in (("", "de"), ("?lang=es", "es"), ("?lang=en", "en")):
        assert (await client.get(URL + query)).headers["Content-Language"] == language
    refused = await client.get(f"{URL}?lang=fr")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("token", ["x", s.feed_token[:-1], f"{s.feed_token}x", "%00" * 43, "%ED%A0%80" * 43, "*" * 43])
async def test_what_cannot_be_a_token_is_answered_as_an_unknown_one_and_asked_of_nobody(
    client: httpx.AsyncClient, rpcs: Rpcs, token: str
) -> None:
    rpcs.refuse("read_progress_link", 404, "not_found", "There is no such page.")
    unknown = await client.get(URL)
    asked = rpcs.count
    odd = await client.get(f"/progress/{token}")
    assert rpcs.count == asked == 1
    assert (odd.status_code, unknown.status_code) == (404, 404)
    assert odd.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}


@pytest.mark.usefixtures("configured")
async def test_a_browser_is_told_in_a_page_that_a_link_leads_nowhere(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.refuse("read_progress_link", 404, "not_found", "There is no such page.")
    response = await client.get(URL, headers=BROWSER | {"Accept-Language": "es-MX,en;q=0.5"})
    assert response.status_code == 404
    assert is_a_private_page(response)
    assert response.headers["Content-Language"] == "es"


async def test_without_a_secret_key_there_are_no_links(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await client.get(URL)
    assert (response.status_code, response.json()["code"], rpcs.count) == (503, "not_configured", 0)


async def test_the_signed_in_get_the_same_page_with_the_same_headers(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("get_progress", {**s.progress, "tutor": s.tutor})
    response = await tutor.get(f"{PAGE}?lang=de&to=2026-03-31")
    assert response.status_code == 200
    assert is_a_private_page(response)
    assert "So kommt Oliver Hughes voran" in response.text
    assert rpcs.sent("get_progress") == {"p_student_id": s.STUDENT, "p_to": "2026-03-31"}


@pytest.mark.parametrize("query", ["from=yesterday", "to=1999-12-31", "lang=fr", "since=2026-01-01", "from=2026-02-30"])
async def test_what_is_no_day_or_no_language_of_ours_is_refused(
    tutor: httpx.AsyncClient, rpcs: Rpcs, query: str
) -> None:
    response = await tutor.get(f"{PAGE}?{query}")
    assert (response.status_code, response.json()["code"], rpcs.count) == (422, "invalid", 0)


async def test_a_new_link_says_where_it_is(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("create_progress_link", {**s.progress_link, "token": s.feed_token})
    made = await tutor.post(f"/guardians/{s.OTHER}/progress-link")
    assert made.json()["path"] == f"/api{URL}"
    assert made.headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("configured")
async def test_neither_the_token_nor_a_name_is_in_any_log_line(
    tutor: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.answer("read_progress_link", s.progress)
    answers = [await tutor.get(URL), await tutor.put(URL), await tutor.get(f"{URL}x")]
    rpcs.refuse("read_progress_link", 404, "not_found", "There is no such page.")
    answers += [await tutor.get(URL), await tutor.get(URL, headers=BROWSER)]
    rpcs.answer("read_progress_link", {**s.progress, "lessons": s.feed_token})
    answers += [await tutor.get(URL), await tutor.get(URL, headers=BROWSER)]
    assert [answer.status_code for answer in answers] == [200, 405, 404, 404, 404, 500, 500]
    assert not [answer for answer in answers if s.feed_token in answer.text]
    told = "".join(capsys.readouterr())
    assert told.count("/api/progress/{progress_token}") == 7
    assert s.feed_token not in told
    assert "Oliver" not in told
