"""A guardian's link: the page, the form, and what a program gets; by no more than a token that is written nowhere."""

import re
from typing import Any

import httpx
import pytest

from lib import config, consent
from lib.auth import Service
from lib.database import Database
from lib.web import LARGEST_BODY
from tests.functions import samples as s
from tests.functions.conftest import Rpcs

KEY = "sb_secret_test"
SCHEDULER = "made up for a scheduler, and long"
URL = f"/consent/{s.consent_token}"
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "de-AT,de;q=0.9",
}
PROGRAM = {"Accept": "application/json"}
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="answer"\r\n\r\nkeep\r\n--x--\r\n'
ANSWERS = ("approve", "keep", "reschedule", "call")


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with a secret key."""
    monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
    monkeypatch.setenv("CRON_SECRET", SCHEDULER)
    config.settings.cache_clear()


@pytest.fixture
def browser(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """A guardian's, in German."""
    client.headers.update(BROWSER)
    return client


def form(html: str) -> tuple[str, list[str]]:
    """Of the one form: where it goes, and the answers that its buttons give."""
    forms = re.findall(r"<form ([^>]*)>(.*?)</form>", html, re.DOTALL)
    assert len(forms) == 1
    assert "action" not in forms[0][0], "to where it is"
    return forms[0][0], re.findall(r'<button type="submit" name="answer" value="(\w+)">', forms[0][1])


# --- the page -------------------------------------------------------------------------------------------


async def test_the_page_says_what_is_asked_by_whom_why_and_until_when(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_consent", s.consent)
    response = await browser.get(URL)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert rpcs.sent("read_consent") == {"p_token": s.consent_token}
    assert rpcs.count == 1, "looking decides nothing"
    assert rpcs.request("read_consent").headers["apikey"] == KEY
    for said in (
        "Should Oliver Hughes\N{RIGHT SINGLE QUOTATION MARK}s lesson be cancelled?",
        "Dear Grace Hughes",
        "Amina Siddiqui, the tutor",
        "Down with the flu",
        "Tuesday, 31 March 2026, 16:30\N{EN DASH}17:30 (London)",
        "Tuesday, 31 March 2026, 20:30\N{EN DASH}21:30 (Karachi)",
        "Please answer by <strong>Monday, 30 March 2026, 10:00 (London)</strong>",
        "the lesson is cancelled",
    ):
        assert said in response.text
    attributes, answers = form(response.text)
    assert 'method="post"' in attributes
    assert sorted(answers) == sorted(ANSWERS)


async def test_the_page_is_in_the_language_of_the_guardian_and_not_of_the_browser(
    browser: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    for language, said in (
        ("de", "Soll der Unterricht von"),
        ("es", "¿Se cancela la clase de"),
        ("en", "Should Oliver"),
    ):
        rpcs.answer("read_consent", {**s.consent, "language": language})
        response = await browser.get(URL)
        assert said in response.text
        assert f'<html lang="{language}">' in response.text
        assert response.headers["Content-Language"] == language


async def test_the_page_comes_with_every_header_that_keeps_it_shut(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_consent", s.consent)
    headers = (await browser.get(URL)).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers.get_list("Cache-Control") == ["no-store"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "noindex" in headers["X-Robots-Tag"]


async def test_what_people_have_typed_is_text_on_the_page(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    bad = "<script>alert('x')</script>\"&"
    names = dict.fromkeys(("reason", "guardian_name", "student_name", "tutor_name", "subject"), bad)
    rpcs.answer("read_consent", {**s.consent, **names})
    html = (await browser.get(URL)).text
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= len(names)


async def test_only_what_may_be_answered_has_a_button(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_consent", {**s.consent, "answers": ["approve", "call", "keep"], "subject": None})
    assert sorted(form((await browser.get(URL)).text)[1]) == ["approve", "call", "keep"]
    rpcs.answer("read_consent", s.consent_given)
    html = (await browser.get(URL)).text
    assert "<form" not in html
    assert "<button" not in html


@pytest.mark.parametrize("language", ["en", "de", "es"])
@pytest.mark.parametrize(
    "status",
    [
        "approved",
        "auto_approved",
        "rejected",
        "reschedule_requested",
        "call_requested",
        "withdrawn",
        "lapsed",
        "pending",
    ],
)
async def test_a_question_that_is_closed_says_so_in_words_of_its_own(
    browser: httpx.AsyncClient, rpcs: Rpcs, status: str, language: str
) -> None:
    open_still = {**s.consent, "language": language}
    rpcs.answer("read_consent", open_still)
    question = re.findall(r"<h1>(.*?)</h1>", (await browser.get(URL)).text, re.DOTALL)
    decided = None if status in {"call_requested", "pending"} else {"status": status, "at": "2026-03-27T09:00:00Z"}
    closed = {**s.consent_given, "language": language, "status": status, "decided": decided}
    rpcs.answer("read_consent", closed)
    html = (await browser.get(URL)).text
    headings = re.findall(r"<h1>(.*?)</h1>", html, re.DOTALL)
    assert len(headings) == 1
    assert headings != question
    assert bool(re.search("27 March|27. März|27 de marzo", html)) == (decided is not None), "when it was decided"
    assert 'class="note' not in html, "nobody has just answered"


@pytest.mark.parametrize(
    ("status", "answered", "shown"),
    [
        ("approved", "approve", "thanks"),
        ("auto_approved", "approve", "thanks"),
        ("rejected", "keep", "thanks"),
        ("reschedule_requested", "reschedule", "thanks"),
        ("call_requested", "reschedule", "thanks"),  # of a booking
        ("call_requested", "call", "thanks"),
        ("auto_approved", "keep", "too late"),
        ("rejected", "approve", "too late"),
        ("lapsed", "approve", "too late"),
        ("withdrawn", "call", "too late"),
        ("approved", None, "neither"),
    ],
)
async def test_after_an_answer_the_page_thanks_or_says_that_it_came_too_late(
    browser: httpx.AsyncClient, rpcs: Rpcs, status: str, answered: str | None, shown: str
) -> None:
    rpcs.answer("read_consent", {**s.consent_given, "status": status})
    html = (await browser.get(URL, params={"answered": answered} if answered else {})).text
    assert ("Thank you, Grace Hughes." in html) == (shown == "thanks")
    assert ("so it changed nothing" in html) == (shown == "too late")


async def test_nobody_is_thanked_for_an_answer_that_was_not_given(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_consent", s.consent)
    html = (await browser.get(URL, params={"answered": "approve"})).text
    assert "Thank you" not in html
    assert "changed nothing" not in html
    assert len(form(html)[1]) == len(ANSWERS)


async def test_a_zone_that_nobody_knows_shows_the_clocks_of_utc(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    zones = dict.fromkeys(("timezone", "student_timezone", "tutor_timezone"), "US/Eastern")
    rpcs.answer("read_consent", {**s.consent, **zones})
    assert "31 March 2026, 15:30\N{EN DASH}16:30 (UTC)" in (await browser.get(URL)).text


async def test_head_is_answered_and_decides_nothing(browser: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_consent", s.consent)
    response = await browser.head(URL)
    assert (response.status_code, rpcs.count) == (200, 1)
    assert rpcs.was_called("read_consent")


async def test_a_program_gets_the_same_as_a_document(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("read_consent", {**s.consent, "a column of later": 1})
    response = await client.get(URL, headers=PROGRAM)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json().keys() == s.consent.keys()
    assert response.json()["scheduled_start_utc"] == "2026-03-31T15:30:00Z"


# --- the answer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ANSWERS)
async def test_each_button_is_one_call_and_leads_back_to_the_page(
    browser: httpx.AsyncClient, rpcs: Rpcs, answer: str
) -> None:
    rpcs.answer("answer_consent", s.consent_given)
    response = await browser.post(URL, data={"answer": answer})
    assert (response.status_code, rpcs.count) == (303, 1), response.text
    assert rpcs.sent("answer_consent") == {"p_token": s.consent_token, "p_answer": answer}
    assert rpcs.request("answer_consent").headers["apikey"] == KEY
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    back = httpx.URL(str(response.request.url)).join(response.headers["Location"])
    assert (back.path, back.query) == (f"/api{URL}", f"answered={answer}".encode())


async def test_a_program_is_told_the_outcome(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("answer_consent", {**s.consent_given, "outcome": "too_late"})
    response = await client.post(URL, data={"answer": "keep"}, headers=PROGRAM)
    assert response.status_code == 200
    assert (response.json()["outcome"], response.json()["status"]) == ("too_late", "approved")


@pytest.mark.parametrize(
    ("body", "declared", "status"),
    [
        (b"answer=perhaps", "application/x-www-form-urlencoded", 422),
        (b"answer=", "application/x-www-form-urlencoded", 422),
        (b"", "application/x-www-form-urlencoded", 422),
        (b"", None, 422),
        (b"answer=approve&more=1", "application/x-www-form-urlencoded", 422),
        (b"answer=%00", "application/x-www-form-urlencoded", 422),
        (b"\xff\xfe=%ff", "application/x-www-form-urlencoded", 422),
        (b'{"answer": "approve"}', "application/json", 415),
        (b"answer=approve", "text/plain", 415),
        (b"answer=approve", None, 415),
        (MULTIPART, "multipart/form-data; boundary=x", 415),
        (b"--x", "multipart/form-data; boundary=y", 400),
        (b"answer=" + b"x" * LARGEST_BODY, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_what_is_no_answer_of_ours_is_refused_and_asked_of_nobody(
    client: httpx.AsyncClient, rpcs: Rpcs, body: bytes, declared: str | None, status: int
) -> None:
    headers = {"Content-Type": declared} if declared else {}
    response = await client.post(URL, content=body, headers=headers)
    assert (response.status_code, rpcs.count) == (status, 0), response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "perhaps" not in response.text


async def test_a_form_is_let_in_nowhere_else(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await tutor.patch("/me", data={"display_name": "Amina"})
    assert (response.status_code, rpcs.count) == (415, 0)
    assert "application/json" in response.json()["detail"]
    wrong = await tutor.post(URL, json={"answer": "approve"})
    assert "application/x-www-form-urlencoded" in wrong.json()["detail"]


async def test_the_last_of_two_answers_in_one_form_is_not_a_way_round(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("answer_consent", s.consent_given)
    content = b"answer=nonsense&answer=keep"
    response = await client.post(URL, content=content, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert response.status_code in {303, 422}
    assert [sent["p_answer"] for sent in rpcs.all_sent("answer_consent")] in ([], ["keep"])


# --- who is let in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["x", s.consent_token[:-1], f"{s.consent_token}x", "%00" * 43, "*" * 43])
async def test_what_cannot_be_a_token_is_answered_as_an_unknown_one_and_asked_of_nobody(
    client: httpx.AsyncClient, rpcs: Rpcs, token: str
) -> None:
    for name in ("read_consent", "answer_consent"):
        rpcs.refuse(name, 404, "not_found", "There is no such question.")
    unknown = [await client.get(URL), await client.post(URL, data={"answer": "keep"})]
    asked = rpcs.count
    odd = [await client.get(f"/consent/{token}"), await client.post(f"/consent/{token}", data={"answer": "keep"})]
    assert rpcs.count == asked == 2
    assert [response.status_code for response in (*unknown, *odd)] == [404] * 4
    assert len({str(response.json() | {"request_id": ""}) for response in (*unknown, *odd)}) == 1


async def test_a_person_in_a_browser_sees_a_problem_as_a_page_in_the_browsers_language(
    browser: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.refuse("read_consent", 404, "not_found", "There is no such question.")
    response = await browser.get(URL)
    assert (response.status_code, response.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "Dieser Link führt ins Leere" in response.text
    assert response.headers["X-Request-Id"] in response.text
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    rpcs.fail("answer_consent", httpx.ConnectError("canary"))
    down = await browser.post(URL, data={"answer": "keep"})
    assert (down.status_code, down.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "Retry-After" in down.headers
    assert "canary" not in down.text
    wrong = await browser.post(URL, data={"answer": "perhaps"})
    assert (wrong.status_code, wrong.headers["Content-Type"]) == (422, "text/html; charset=utf-8")
    rpcs.answer("read_consent", {**s.consent, "status": "canary"})
    ours = await browser.get(URL)
    assert (ours.status_code, ours.headers["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert "canary" not in ours.text


async def test_other_routes_answer_a_browser_with_documents_as_ever(browser: httpx.AsyncClient) -> None:
    response = await browser.get("/me")
    assert (response.status_code, response.headers["Content-Type"]) == (401, "application/problem+json")


async def test_without_a_secret_key_nobody_can_be_answered(
    client: httpx.AsyncClient, rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPABASE_SECRET_KEY")
    config.settings.cache_clear()
    for response in (await client.get(URL), await client.post(URL, data={"answer": "keep"})):
        assert (response.status_code, response.json()["code"], rpcs.count) == (503, "not_configured", 0)


async def test_a_sign_in_that_comes_along_is_not_passed_on(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("answer_consent", s.consent_given)
    await tutor.post(URL, data={"answer": "approve"})
    assert "Authorization" not in rpcs.request("answer_consent").headers


async def test_neither_the_token_nor_a_name_nor_the_answer_is_in_any_log_line(
    browser: httpx.AsyncClient, rpcs: Rpcs, capsys: pytest.CaptureFixture[str]
) -> None:
    rpcs.answer("read_consent", s.consent)
    rpcs.answer("answer_consent", s.consent_given)
    await browser.get(URL, params={"answered": "keep"})
    await browser.post(URL, data={"answer": "keep"})
    await browser.put(URL)
    await browser.get(f"{URL}x")
    rpcs.answer("read_consent", {**s.consent, "status": s.consent_token})
    await browser.get(URL)
    told = "".join(capsys.readouterr())
    assert told.count("/api/consent/{token}") == 5
    for secret in (s.consent_token, "Grace", "Oliver", "flu", "keep", KEY):
        assert secret not in told


# --- silence ----------------------------------------------------------------------------------------------


def step(approved: int, failed: int = 0, *, more: bool = False) -> dict[str, Any]:
    return {"approved": approved, "failed": failed, "more": more}


async def test_a_scheduler_takes_silence_for_consent_until_nothing_is_due(
    client: httpx.AsyncClient, rpcs: Rpcs
) -> None:
    rpcs.answer_in_turn("auto_approve_cancellations", step(500, more=True), step(3, 1))
    response = await client.get("/cron/auto-approve-cancellations", headers={"Authorization": f"Bearer {SCHEDULER}"})
    assert response.json() == step(503, 1)
    assert rpcs.all_sent("auto_approve_cancellations") == [{}, {}]
    assert (await client.get("/cron/auto-approve-cancellations")).status_code == 401


async def test_it_stops_before_its_time_is_up_and_says_that_there_is_more(rpcs: Rpcs) -> None:
    rpcs.answer("auto_approve_cancellations", step(500, more=True))
    clock = iter([0.0, 10.0, 20.0, 30.0, 40.0]).__next__
    done = await consent.auto_approve_cancellations(Database(Service(KEY), "a-request"), 45, clock)
    assert done.model_dump() == step(2000, more=True)
