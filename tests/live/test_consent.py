"""A guardian's say, over HTTP: asked by a message, answered by the page, by a tap that a provider signs, by silence."""

import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from tests.house import BILAL, HARRIET, LENA, MATHEMATICS, NADIA, Person
from tests.live.answers import answer, problem
from tests.live.receiving import as_scheduler
from tests.live.served import Row, ServedHouse

pytestmark = pytest.mark.live

AFTERNOON = "2026-02-26T15:00:00+00:00"
"""No quiet hours in New York, where the guardian is."""
BROWSER = {"Accept": "text/html,*/*;q=0.8"}
PROGRAM = {"Accept": "application/json"}
BECOMES = {
    "approve": "approved",
    "keep": "rejected",
    "reschedule": "reschedule_requested",
    "call": "call_requested",
}


class Question(NamedTuple):
    """What the guardian has in hand: a link, and a button for each answer."""

    link: str
    buttons: dict[str, str]
    body: str


@pytest.fixture
def lesson(house: ServedHouse) -> Row:
    """A lesson of mathematics, three weeks ahead, on an afternoon on which guardians may be written to."""
    house.set_clock(AFTERNOON)
    lessons = answer(house.sign_in(NADIA).post(f"/matches/{MATHEMATICS.id}/sessions", json={}), 201)["sessions"]
    return lessons[5]


def ask(house: ServedHouse, lesson: Row, who: Person = BILAL) -> Row:
    wish = {"reason": "Down with the flu"}
    return answer(house.sign_in(who).post(f"/sessions/{lesson['id']}/request-cancel", json=wish), 202)["request"]


def deliver(house: ServedHouse) -> Row:
    return answer(house.anybody.get("/cron/deliver-outbox", headers=as_scheduler(house)))


def question(house: ServedHouse) -> Question:
    """The scheduler comes by, and the question stands in the inbox."""
    deliver(house)
    found = [each for each in inbox(house) if each["template"] == "P26_cancellation_request"]
    assert len(found) == 1
    assert found[0]["channel"] == "whatsapp"
    links = re.findall(r"https?://\S+?(/consent/[A-Za-z0-9_-]{43})\b", found[0]["body"])
    assert len(links) == 1
    buttons = {each["id"].partition(":")[0]: each["id"] for each in found[0]["buttons"]}
    assert list(buttons) == ["approve", "reschedule", "call"]
    # The fourth stands on the page alone; a business may put it under its own template, too.
    buttons["keep"] = buttons["approve"].replace("approve", "keep")
    return Question(links[0], buttons, found[0]["body"])


def inbox(house: ServedHouse) -> list[Row]:
    return answer(house.sign_in(NADIA).get("/inbox", params={"limit": 200}))["messages"]


def asked(house: ServedHouse, lesson: Row, who: Person = BILAL) -> tuple[Row, Question]:
    request = ask(house, lesson, who)
    return request, question(house)


def silence(house: ServedHouse) -> Row:
    return answer(house.anybody.get("/cron/auto-approve-cancellations", headers=as_scheduler(house)))


def seen(house: ServedHouse, request: Row, who: Person = BILAL) -> Row:
    return answer(house.sign_in(who).get(f"/cancellation-requests/{request['id']}"))


def status_of(house: ServedHouse, lesson: Row) -> str:
    return answer(house.sign_in(NADIA).get(f"/sessions/{lesson['id']}"))["status"]


def steps(request: Row) -> list[tuple[str, str]]:
    return [(each["step"], each["by_role"]) for each in request["history"]]


# --- the ways to answer -----------------------------------------------------------------------------------


def by_form(house: ServedHouse, asked: Question, said: str) -> Row:
    """As a browser does it: press the button, and follow to the page."""
    pressed = house.anybody.post(asked.link, data={"answer": said}, headers=BROWSER)
    assert pressed.status_code == 303, pressed.text
    page = house.anybody.get(str(pressed.request.url.join(pressed.headers["Location"])), headers=BROWSER)
    assert page.status_code == 200
    return {"page": page.text}


def by_program(house: ServedHouse, asked: Question, said: str) -> Row:
    return answer(house.anybody.post(asked.link, data={"answer": said}, headers=PROGRAM))


def by_aisensy(house: ServedHouse, asked: Question, said: str) -> Row:
    content = {"text": "x", "callbackPayload": asked.buttons[said]}
    told = aisensy("message.sender.user", messageId=f"wamid.{uuid4()}", message_content=content)
    return answer(tell_aisensy(house, told))


def by_meta(house: ServedHouse, asked: Question, said: str, event_id: str = "") -> Row:
    return answer(tell_meta(house, meta(tap(asked.buttons[said], event_id or f"wamid.{uuid4()}"))))


def aisensy(topic: str, **message: object) -> Row:
    return {"id": str(uuid4()), "topic": topic, "data": {"message": {"id": "691af6345bae1b0fae7dba55", **message}}}


def tell_aisensy(house: ServedHouse, told: object, secret: str | None = None) -> httpx.Response:
    body = json.dumps(told).encode()
    digest = sign(secret or house.env["AISENSY_WEBHOOK_SECRET"], body)
    headers = {"Content-Type": "application/json", "X-AiSensy-Signature": digest}
    return house.anybody.post("/webhooks/aisensy/cancel-response", content=body, headers=headers)


def tell_meta(house: ServedHouse, told: object, secret: str | None = None) -> httpx.Response:
    body = json.dumps(told).encode()
    digest = sign(secret or house.env["WHATSAPP_APP_SECRET"], body)
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}"}
    return house.anybody.post("/webhooks/whatsapp", content=body, headers=headers)


def sign(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def tap(payload: str, event_id: str, context: str = "") -> Row:
    replied_to = {"context": {"from": "15550783881", "id": context}} if context else {}
    return {"id": event_id, "type": "button", "button": {"payload": payload, "text": payload}, **replied_to}


def meta(*messages: Row, statuses: list[Row] | None = None) -> Row:
    values: list[dict[str, Any]] = [{"messages": [each]} for each in messages] + [{"statuses": statuses or []}]
    changes = [{"field": "messages", "value": {"messaging_product": "whatsapp", **value}} for value in values]
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [each]} for each in changes]}


WAYS = {"form": by_form, "program": by_program, "aisensy": by_aisensy, "meta": by_meta}

# --- asked -------------------------------------------------------------------------------------------------


def test_who_asks_sees_the_guardian_asked_and_until_when(house: ServedHouse, lesson: Row) -> None:
    request = ask(house, lesson)
    assert (request["asks_guardian"], request["asked_at"], request["expires_at"]) == (True, None, None)
    found = question(house)
    assert set(found.buttons) <= BECOMES.keys()
    assert {"approve", "reschedule", "call"} <= set(found.buttons)
    told = seen(house, request)
    assert told["status"] == "pending"
    assert datetime.fromisoformat(told["asked_at"]) == datetime.fromisoformat(AFTERNOON)
    assert datetime.fromisoformat(told["expires_at"]) == datetime.fromisoformat(AFTERNOON) + timedelta(hours=48)
    assert [step for step, _ in steps(told)] == ["requested", "guardian_asked"]
    assert status_of(house, lesson) == "scheduled", "asking alone changes nothing"
    deliver(house)
    assert [each["template"] for each in inbox(house)].count("P26_cancellation_request") == 1, "asked once"


def test_opening_the_link_decides_nothing_however_often_and_by_whom(house: ServedHouse, lesson: Row) -> None:
    request, found = asked(house, lesson)
    before = seen(house, request)
    for method in ("GET", "HEAD", "GET"):
        response = house.anybody.request(method, found.link, headers=BROWSER)
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["Referrer-Policy"] == "no-referrer"
    assert house.anybody.get(found.link, params={"answered": "approve"}, headers=BROWSER).status_code == 200
    html = house.anybody.get(found.link, headers=BROWSER).text
    for said in ("Down with the flu", 'method="post"', *BECOMES):
        assert said in html
    document = answer(house.anybody.get(found.link, headers=PROGRAM))
    assert (document["answer_open"], document["asked_by"], document["decided"]) == (True, "tutor", None)
    assert seen(house, request) == before


# --- answered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", BECOMES)
@pytest.mark.parametrize("way", WAYS)
def test_each_answer_by_each_way_decides_once(house: ServedHouse, lesson: Row, way: str, said: str) -> None:
    request, found = asked(house, lesson)
    if said not in found.buttons and way in {"aisensy", "meta"}:
        found.buttons[said] = f"{said}:{found.link.rpartition('/')[2]}"
    WAYS[way](house, found, said)
    told = seen(house, request)
    assert (told["status"], told["answered_by_guardian"], told["expires_at"]) == (BECOMES[said], True, None)
    assert steps(told)[-1] == (BECOMES[said], "guardian")
    assert status_of(house, lesson) == ("cancelled" if said == "approve" else "scheduled")
    WAYS[way](house, found, said)
    assert seen(house, request) == told, "said again, it changes nothing"
    assert by_program(house, found, said)["outcome"] == "already"
    other = "keep" if said == "approve" else "approve"
    assert by_program(house, found, other)["outcome"] == "too_late"
    assert seen(house, request) == told
    house.set_clock(datetime.fromisoformat(AFTERNOON) + timedelta(hours=49))
    assert silence(house)["approved"] == 0
    assert seen(house, request) == told


def test_the_page_thanks_and_a_late_answer_is_told_the_truth(house: ServedHouse, lesson: Row) -> None:
    _, found = asked(house, lesson)
    kept = by_form(house, found, "keep")["page"]
    late = by_form(house, found, "approve")["page"]
    assert 'class="note"' in kept
    assert 'class="note warm"' in late
    for html in (kept, late):
        assert "<form" not in html


def test_another_time_leaves_a_wish_in_the_students_name_for_the_admins(house: ServedHouse, lesson: Row) -> None:
    _, found = asked(house, lesson)
    by_form(house, found, "reschedule")
    page = answer(house.sign_in(NADIA).get("/reschedule-requests", params={"status": "pending"}))
    wishes = [each for each in page["requests"] if each["session"]["id"] == lesson["id"]]
    assert [each["requested_by_role"] for each in wishes] == ["guardian"]
    assert wishes[0]["requested_by"]["id"] == str(LENA.id)


def test_a_call_stops_the_time_and_leaves_it_to_an_admin(house: ServedHouse, lesson: Row) -> None:
    request, found = asked(house, lesson)
    by_form(house, found, "call")
    deliver(house)
    assert "cancellation_to_decide" in {each["template"] for each in inbox(house)}
    assert by_program(house, found, "approve")["outcome"] == "too_late"
    approved = answer(house.sign_in(NADIA).post(f"/cancellation-requests/{request['id']}/approve"))
    assert approved["request"]["status"] == "approved"
    assert status_of(house, lesson) == "cancelled"


# --- silence ---------------------------------------------------------------------------------------------------


def test_silence_is_consent_when_the_time_is_over_and_not_before(house: ServedHouse, lesson: Row) -> None:
    request, found = asked(house, lesson)
    over = datetime.fromisoformat(seen(house, request)["expires_at"])
    house.set_clock(over - timedelta(seconds=1))
    assert silence(house) == {"approved": 0, "failed": 0, "more": False}
    house.set_clock(over)
    assert silence(house) == {"approved": 1, "failed": 0, "more": False}
    told = seen(house, request)
    assert (told["status"], told["answered_by_guardian"]) == ("auto_approved", False)
    assert steps(told)[-1] == ("auto_approved", "clock")
    assert status_of(house, lesson) == "cancelled"
    assert silence(house)["approved"] == 0
    late = by_form(house, found, "keep")["page"]
    assert 'class="note warm"' in late
    assert by_program(house, found, "approve")["outcome"] == "already"
    problem(house.anybody.get("/cron/auto-approve-cancellations"), 401, "not_signed_in")


def test_without_a_message_that_arrived_no_time_runs(house: ServedHouse, lesson: Row) -> None:
    request = ask(house, lesson)
    house.set_clock(datetime.fromisoformat(AFTERNOON) + timedelta(hours=100))
    assert silence(house)["approved"] == 0
    assert seen(house, request)["status"] == "pending"


def test_a_late_tap_gets_a_polite_word_by_message(house: ServedHouse, lesson: Row) -> None:
    request, found = asked(house, lesson)
    answer(house.sign_in(NADIA).post(f"/cancellation-requests/{request['id']}/reject"))
    by_meta(house, found, "approve")
    deliver(house)
    assert [each["template"] for each in inbox(house)].count("consent_reply") == 1
    by_meta(house, found, "approve")
    deliver(house)
    assert [each["template"] for each in inbox(house)].count("consent_reply") == 1, "once"
    assert status_of(house, lesson) == "scheduled"


# --- it ends otherwise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["approve", "reject", "withdraw", "moved", "cancelled"])
def test_what_others_decide_first_the_link_only_tells(house: ServedHouse, lesson: Row, how: str) -> None:
    request, found = asked(house, lesson)
    admin = house.sign_in(NADIA)
    if how == "moved":
        answer(admin.patch(f"/sessions/{lesson['id']}", json={"start_utc": "2026-03-15T23:00:00Z"}))
    elif how == "cancelled":
        answer(admin.delete(f"/sessions/{lesson['id']}", params={"reason": "Ill"}))
    else:
        who = house.sign_in(BILAL) if how == "withdraw" else admin
        answer(who.post(f"/cancellation-requests/{request['id']}/{how}"))
    told = seen(house, request)
    assert told["expires_at"] is None
    document = answer(house.anybody.get(found.link, headers=PROGRAM))
    assert (document["answer_open"], document["answers"], document["status"]) == (False, [], told["status"])
    for said in BECOMES:
        assert by_program(house, found, said)["outcome"] in {"already", "too_late"}
    house.set_clock(datetime.fromisoformat(AFTERNOON) + timedelta(hours=49))
    assert silence(house)["approved"] == 0
    assert seen(house, request) == told


# --- who may ------------------------------------------------------------------------------------------------


def test_no_other_token_opens_anything(house: ServedHouse, lesson: Row) -> None:
    request, found = asked(house, lesson)
    token = found.link.rpartition("/")[2]
    wrong = (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token.swapcase(),
        token[:-1],
        f"{token}x",
        "x" * 43,
        "%00",
    )
    refusals: list[Row] = []
    for each in wrong:
        refusals.append(problem(house.anybody.get(f"/consent/{each}"), 404, "not_found"))
        refusals.append(problem(house.anybody.post(f"/consent/{each}", data={"answer": "approve"}), 404, "not_found"))
    assert len({str(each | {"request_id": ""}) for each in refusals}) == 1
    page = house.anybody.get("/consent/x", headers={**BROWSER, "Accept-Language": "es"})
    assert (page.status_code, "Este enlace no lleva" in page.text) == (404, True)
    answer(tell_meta(house, meta(tap(f"approve:{'x' * 43}", "wamid.1"))))
    assert seen(house, request)["status"] == "pending"


def test_forged_and_repeated_notifications_change_nothing(house: ServedHouse, lesson: Row) -> None:
    request, found = asked(house, lesson)
    told = meta(tap(found.buttons["approve"], "wamid.1"))
    problem(tell_meta(house, told, "another secret"), 401, "not_signed_in")
    problem(tell_meta(house, told, house.env["AISENSY_WEBHOOK_SECRET"]), 401, "not_signed_in")
    problem(tell_aisensy(house, told, house.env["WHATSAPP_APP_SECRET"]), 401, "not_signed_in")
    problem(house.anybody.post("/webhooks/whatsapp", json=told), 401, "not_signed_in")
    problem(house.sign_in(NADIA).post("/webhooks/whatsapp", json=told), 401, "not_signed_in")
    assert seen(house, request)["status"] == "pending"
    by_meta(house, found, "keep", "wamid.2")
    assert seen(house, request)["status"] == "rejected"
    again = ask(house, lesson)
    by_meta(house, found, "keep", "wamid.2")
    assert seen(house, again)["status"] == "pending", "a replay answers no newer question"


def test_a_tap_is_known_by_the_message_it_replies_to(house: ServedHouse, lesson: Row) -> None:
    """As with AiSensy, whose buttons bring nothing back but their label."""
    request, _ = asked(house, lesson)
    sent_by(house, "aisensy", "submitted-1")
    said = {"message_content": {"text": "Keep the lesson"}, "context": {"id": "wamid.question"}}
    answer(tell_aisensy(house, aisensy("message.sender.user", messageId="wamid.first-tap", **said)))
    assert seen(house, request)["status"] == "pending", "nobody knows that message yet"
    known_as = {"messageId": "wamid.question", "submitted_message_id": "submitted-1"}
    answer(tell_aisensy(house, aisensy("message.status.updated", status="DELIVERED", **known_as)))
    answer(tell_aisensy(house, aisensy("message.sender.user", messageId="wamid.second-tap", **said)))
    assert seen(house, request)["status"] == "rejected"


def sent_by(house: ServedHouse, provider: str, message_id: str) -> None:
    """The question, as if that provider had taken it under this name."""
    house.database.run(
        "update public.messages set provider = %s, provider_message_id = %s "
        "where template = 'P26_cancellation_request'",
        provider,
        message_id,
    )


def test_a_question_that_the_provider_could_not_deliver_stops_the_time(house: ServedHouse, lesson: Row) -> None:
    request, _ = asked(house, lesson)
    sent_by(house, "meta", "wamid.q")
    failed = {"id": "wamid.q", "status": "failed", "timestamp": "1750263773"}
    assert answer(tell_meta(house, meta(statuses=[failed])))["statuses"] == 1
    told = seen(house, request)
    assert (told["status"], told["expires_at"], told["unasked_reason"]) == ("pending", None, "failed")
    house.set_clock(datetime.fromisoformat(AFTERNOON) + timedelta(hours=49))
    assert silence(house)["approved"] == 0


def test_meta_gets_its_challenge_back_for_the_verify_token_alone(house: ServedHouse) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
    right = house.anybody.get(
        "/webhooks/whatsapp", params=query | {"hub.verify_token": house.env["WHATSAPP_VERIFY_TOKEN"]}
    )
    assert (right.status_code, right.text) == (200, "1158201444")
    problem(house.anybody.get("/webhooks/whatsapp", params=query | {"hub.verify_token": "x"}), 401, "not_signed_in")


def test_the_data_api_lets_nobody_answer_for_a_guardian(house: ServedHouse, lesson: Row) -> None:
    _, found = asked(house, lesson)
    token = found.link.rpartition("/")[2]
    for who in (BILAL, LENA, NADIA, HARRIET):
        for name, more in (("read_consent", {}), ("answer_consent", {"p_answer": "approve"})):
            with pytest.raises(Exception, match="permission denied"):
                house.supabase(who).rpc(name, {"p_token": token, **more}).execute()
