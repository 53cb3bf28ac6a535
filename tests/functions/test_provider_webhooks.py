"""What providers tell: only what they have signed is taken, and of that only what concerns us."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from lib import config
from lib.web import LARGEST_BODY
from tests.functions import samples as s
from tests.functions.conftest import Rpcs, token

KEY = "sb_secret_test"
AISENSY, META, VERIFY = "what AiSensy signs with", "what Meta signs with", "what Meta shows, à la carte"
SECRETS = {
    "SUPABASE_SECRET_KEY": KEY,
    "AISENSY_WEBHOOK_SECRET": AISENSY,
    "WHATSAPP_APP_SECRET": META,
    "WHATSAPP_VERIFY_TOKEN": VERIFY,
}
AT_AISENSY, AT_META = "/webhooks/aisensy/cancel-response", "/webhooks/whatsapp"
QUESTION, TAP = "wamid.HBgMOTE3Njc2MDc5MTYzFQIAERgSQzY4NEM4OEREQ0QwQjY5MEVBAA==", "wamid.tap"
PHONE = "447700900123"


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch, rpcs: Rpcs) -> None:
    """A deployment that both providers know, and a database that takes everything."""
    set_environment(monkeypatch, SECRETS)
    rpcs.answer("note_message_statuses", {"noted": 1})
    rpcs.answer("answer_consent_messages", {"results": [{"outcome": "decided"}]})


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config.settings.cache_clear()


def digest(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def aisensy_headers(body: bytes, secret: str = AISENSY) -> dict[str, str]:
    return {"Content-Type": "application/json", "X-AiSensy-Signature": digest(secret, body)}


def meta_headers(body: bytes, secret: str = META) -> dict[str, str]:
    return {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest(secret, body)}"}


async def from_aisensy(client: httpx.AsyncClient, told: object) -> httpx.Response:
    body = json.dumps(told).encode()
    return await client.post(AT_AISENSY, content=body, headers=aisensy_headers(body))


async def from_meta(client: httpx.AsyncClient, told: object) -> httpx.Response:
    body = json.dumps(told).encode()
    return await client.post(AT_META, content=body, headers=meta_headers(body))


# --- as the providers tell it -----------------------------------------------------------------------------


def aisensy(topic: str = "message.sender.user", **message: object) -> dict[str, Any]:
    """A notification of AiSensy, with the members that we leave alone too."""
    return {
        "id": "691af634a77a309eeff49f7b",
        "created_at": "2026-03-29T10:17:24.109Z",
        "topic": topic,
        "project_id": "655b383d2c1f7c51b62a7338",
        "delivery_attempt": "1",
        "data": {
            "message": {
                "type": "message",
                "id": "691af6345bae1b0fae7dba55",
                "meta_data": [],
                "phone_number": PHONE,
                "campaign": None,
                "sender": "USER",
                "message_content": {},
                "message_type": "TEXT",
                "status": "DELIVERED",
                "failureResponse": {},
                "userName": "Grace",
                "submitted_message_id": "",
                "context": None,
                "messageId": TAP,
                **message,
            }
        },
    }


def aisensy_tap(payload: str, text: str, context: object = None) -> dict[str, Any]:
    content = {"text": text, "callbackPayload": payload}
    return aisensy(message_type="QUICK_REPLY", message_content=content, context=context)


def meta(*values: Mapping[str, Any]) -> dict[str, Any]:
    """A notification of Meta; each value in an entry of its own."""
    return {
        "object": "whatsapp_business_account",
        "entry": [
            {
                "id": "102290129340398",
                "changes": [{"field": "messages", "value": {"messaging_product": "whatsapp", **value}}],
            }
            for value in values
        ],
    }


def meta_tap(payload: str, text: str = "", id_: str = TAP, *, context: bool = True) -> dict[str, Any]:
    return {
        **({"context": {"from": "15550783881", "id": QUESTION}} if context else {}),
        "from": PHONE,
        "id": id_,
        "timestamp": "1739321024",
        "type": "button",
        "button": {"payload": payload, "text": text or payload},
    }


def row(
    provider: str, answer: str, *, by_token: bool, replied_to: str | None = QUESTION, id_: str = TAP
) -> dict[str, Any]:
    return {
        "provider": provider,
        "provider_event_id": id_,
        "replied_to": replied_to,
        "answer": answer,
        "token": s.consent_token if by_token else None,
    }


CONTEXT = {"from": "15550783881", "id": QUESTION}
PAYLOAD = f"approve:{s.consent_token}"

# --- who is let in ----------------------------------------------------------------------------------------

BODY = json.dumps(meta({"messages": [meta_tap(PAYLOAD)]})).encode()
FORGED: dict[str, tuple[str, bytes]] = {
    "none": ("", BODY),
    "of nothing": (digest("", b""), BODY),
    "with another key": (digest("another", BODY), BODY),
    "with no key": (digest("", BODY), BODY),
    "of another body": (digest(META, b"{}"), BODY),
    "of the same as other bytes": (digest(META, BODY), BODY.replace(b": ", b":")),
    "with a byte more": (digest(META, BODY), BODY + b" "),
    "cut": (digest(META, BODY)[:-1], BODY),
    "too long": (digest(META, BODY) + "0", BODY),
    "no digest": ("x" * 64, BODY),
    "the secret itself": (META, BODY),
    "sha1": (hmac.new(META.encode(), BODY, hashlib.sha1).hexdigest(), BODY),
    "not ASCII": ("é" * 64, BODY),
}


@pytest.mark.parametrize(("signature", "body"), FORGED.values(), ids=FORGED.keys())
@pytest.mark.parametrize("provider", ["aisensy", "meta"])
async def test_what_is_not_signed_by_its_provider_is_refused_and_asked_of_nobody(  # noqa: PLR0917
    client: httpx.AsyncClient, rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch, provider: str, signature: str, body: bytes
) -> None:
    set_environment(monkeypatch, SECRETS | {"AISENSY_WEBHOOK_SECRET": META})
    headers = {
        "aisensy": (b"X-AiSensy-Signature", signature.encode("latin-1")),
        "meta": (b"X-Hub-Signature-256", b"sha256=" + signature.encode("latin-1")),
    }[provider]
    path = {"aisensy": AT_AISENSY, "meta": AT_META}[provider]
    response = await client.post(path, content=body, headers=[headers, (b"Content-Type", b"application/json")])
    assert (response.status_code, response.json()["code"], rpcs.count) == (401, "not_signed_in", 0), response.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": digest(META, BODY)},  # without its scheme
        {"X-Hub-Signature-256": f"sha1={digest(META, BODY)}"},
        {"X-Hub-Signature": f"sha256={digest(META, BODY)}"},
        {"X-AiSensy-Signature": digest(META, BODY)},
        {"Authorization": f"Bearer {META}"},
        {"Authorization": f"Bearer {token()}"},
        {"apikey": KEY},
    ],
)
async def test_nothing_else_stands_in_for_the_signature(
    client: httpx.AsyncClient, rpcs: Rpcs, headers: dict[str, str]
) -> None:
    response = await client.post(AT_META, content=BODY, headers={**headers, "Content-Type": "application/json"})
    assert (response.status_code, rpcs.count) == (401, 0)


async def test_one_providers_secret_signs_nothing_for_the_other(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    assert (await client.post(AT_META, content=BODY, headers=meta_headers(BODY, AISENSY))).status_code == 401
    assert (await client.post(AT_AISENSY, content=BODY, headers=aisensy_headers(BODY, META))).status_code == 401
    assert rpcs.count == 0


@pytest.mark.parametrize("missing", ["AISENSY_WEBHOOK_SECRET", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN"])
@pytest.mark.parametrize("value", [None, ""])
async def test_an_unset_secret_lets_nobody_in(
    client: httpx.AsyncClient, rpcs: Rpcs, monkeypatch: pytest.MonkeyPatch, missing: str, value: str | None
) -> None:
    variables = {name: secret for name, secret in SECRETS.items() if name != missing}
    set_environment(monkeypatch, variables if value is None else variables | {missing: value})
    secret = value or ""
    response = {
        "AISENSY_WEBHOOK_SECRET": await client.post(AT_AISENSY, content=BODY, headers=aisensy_headers(BODY, secret)),
        "WHATSAPP_APP_SECRET": await client.post(AT_META, content=BODY, headers=meta_headers(BODY, secret)),
        "WHATSAPP_VERIFY_TOKEN": await client.get(AT_META, params=verification(secret)),
    }[missing]
    assert (response.status_code, response.json()["code"], rpcs.count) == (503, "not_configured", 0)
    assert missing in response.json()["detail"]
    assert "Retry-After" in response.headers


async def test_a_signed_body_may_not_be_huge(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    body = json.dumps({"canary": "x" * LARGEST_BODY}).encode()
    for response in (
        await client.post(AT_META, content=body, headers=meta_headers(body)),
        await client.post(AT_AISENSY, content=body, headers=aisensy_headers(body)),
    ):
        assert (response.status_code, response.json()["code"], rpcs.count) == (413, "too_large", 0)


async def test_the_database_hears_the_secret_key_and_no_sign_in(tutor: httpx.AsyncClient, rpcs: Rpcs) -> None:
    assert (await from_meta(tutor, meta({"messages": [meta_tap(PAYLOAD)]}))).status_code == 200
    headers = rpcs.request("answer_consent_messages").headers
    assert headers["apikey"] == KEY
    assert "Authorization" not in headers


# --- the address is set up --------------------------------------------------------------------------------


def verification(presented: str, **other: str) -> dict[str, str]:
    return {"hub.mode": "subscribe", "hub.verify_token": presented, "hub.challenge": "1158201444", **other}


async def test_meta_gets_its_challenge_back(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    response = await client.get(AT_META, params=verification(VERIFY))
    assert (response.status_code, response.text, rpcs.count) == (200, "1158201444", 0)
    assert response.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("presented", ["", "wrong", VERIFY[:-1], VERIFY.upper(), "\x00", "\udcff"])
async def test_without_the_verify_token_nothing_is_said_back(client: httpx.AsyncClient, presented: str) -> None:
    wanted = presented.encode("utf-8", "surrogateescape")
    escaped = "".join(f"%{byte:02x}" for byte in wanted)
    response = await client.get(f"{AT_META}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={escaped}")
    assert (response.status_code, response.json()["code"]) == (401, "not_signed_in")
    assert "1158201444" not in response.text


@pytest.mark.parametrize("challenge", ["", "<b>canary</b>", "x" * 256, "canary\n"])
async def test_a_challenge_that_is_none_is_not_said_back(client: httpx.AsyncClient, challenge: str) -> None:
    response = await client.get(AT_META, params=verification(VERIFY, **{"hub.challenge": challenge}))
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert "canary" not in response.text


# --- taps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tap", "told"),
    [
        (meta_tap(PAYLOAD, "Cancel the lesson"), row("meta", "approve", by_token=True)),
        (meta_tap(PAYLOAD, context=False), row("meta", "approve", by_token=True, replied_to=None)),
        (meta_tap(f"keep:{s.consent_token}", "Cancel the lesson"), row("meta", "keep", by_token=True)),
        (meta_tap("Keep the lesson"), row("meta", "keep", by_token=False)),
        (meta_tap("Bitte verlegen"), row("meta", "reschedule", by_token=False)),
        (meta_tap(" LLÁMENME, por favor "), row("meta", "call", by_token=False)),
        (
            {"id": TAP, "context": CONTEXT, "interactive": {"button_reply": {"id": PAYLOAD, "title": "x"}}},
            row("meta", "approve", by_token=True),
        ),
        (
            {"id": TAP, "context": CONTEXT, "type": "text", "text": {"body": "Keep the lesson"}},
            row("meta", "keep", by_token=False),
        ),
    ],
)
async def test_a_tap_told_by_meta_becomes_one_answer(
    client: httpx.AsyncClient, rpcs: Rpcs, tap: dict[str, Any], told: dict[str, Any]
) -> None:
    response = await from_meta(client, meta({"messages": [tap]}))
    assert (response.status_code, response.json()) == (200, {"answers": 1, "statuses": 0})
    assert rpcs.sent("answer_consent_messages") == {"p_answers": [told]}
    assert rpcs.count == 1


@pytest.mark.parametrize(
    ("notification", "told"),
    [
        (aisensy_tap("Cancel the lesson", "Cancel the lesson", CONTEXT), row("aisensy", "approve", by_token=False)),
        (aisensy_tap(PAYLOAD, "Cancel the lesson", CONTEXT), row("aisensy", "approve", by_token=True)),
        (aisensy_tap(PAYLOAD, "Cancel the lesson"), row("aisensy", "approve", by_token=True, replied_to=None)),
        (
            aisensy(message_type="BUTTON_REPLY", message_content={"title": "Stattfinden lassen"}, context=CONTEXT),
            row("aisensy", "keep", by_token=False),
        ),
        (
            aisensy(message_content={"text": "please call me"}, context=CONTEXT),
            row("aisensy", "call", by_token=False),
        ),
        (
            aisensy(messageId=None, message_content={"text": "Keep the lesson"}, context=CONTEXT),
            row("aisensy", "keep", by_token=False, id_="691af6345bae1b0fae7dba55"),
        ),
    ],
)
async def test_a_tap_told_by_aisensy_becomes_one_answer(
    client: httpx.AsyncClient, rpcs: Rpcs, notification: dict[str, Any], told: dict[str, Any]
) -> None:
    response = await from_aisensy(client, notification)
    assert (response.status_code, response.json()) == (200, {"answers": 1, "statuses": 0})
    assert rpcs.sent("answer_consent_messages") == {"p_answers": [told]}
    assert rpcs.count == 1


async def test_a_phone_number_goes_nowhere(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    await from_aisensy(client, aisensy_tap(PAYLOAD, "Cancel the lesson", CONTEXT))
    await from_meta(client, meta({"messages": [meta_tap(PAYLOAD)], "statuses": [status("wamid.1", "failed")]}))
    for name in ("answer_consent_messages", "note_message_statuses"):
        assert PHONE not in str(rpcs.all_sent(name))


# --- statuses, and several things at once -------------------------------------------------------------------


def status(id_: str, said: str) -> dict[str, Any]:
    return {"id": id_, "status": said, "timestamp": "1750263773", "recipient_id": PHONE, "errors": [{"code": 131026}]}


def report(provider: str, id_: str, said: str, reply_id: str | None = None) -> dict[str, Any]:
    return {"provider": provider, "provider_message_id": id_, "reply_id": reply_id, "status": said}


async def test_meta_tells_several_things_in_one_body_and_each_is_taken(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    told = meta(
        {"statuses": [status("wamid.1", "sent"), status("wamid.2", "delivered")]},
        {"messages": [meta_tap(PAYLOAD, id_="wamid.a"), meta_tap("hello", id_="wamid.b")]},
        {"statuses": [status("wamid.3", "read"), status("wamid.4", "failed"), status("wamid.5", "deleted")]},
        {"messages": [meta_tap("Keep the lesson", id_="wamid.c")]},
    )
    told["entry"][0]["changes"] += [
        {"field": "account_alerts", "value": {"statuses": [status("wamid.6", "failed")]}},
        {"field": "messages", "value": {"statuses": [status("wamid.7", "delivered")]}},
    ]
    rpcs.answer("answer_consent_messages", {"results": [{"outcome": "decided"}, {"outcome": "too_late"}]})
    response = await from_meta(client, told)
    assert (response.status_code, response.json()) == (200, {"answers": 2, "statuses": 5})
    assert rpcs.sent("note_message_statuses")["p_statuses"] == [
        report("meta", "wamid.1", "sent"),
        report("meta", "wamid.2", "delivered"),
        report("meta", "wamid.7", "delivered"),
        report("meta", "wamid.3", "read"),
        report("meta", "wamid.4", "failed"),
    ]
    assert [each["provider_event_id"] for each in rpcs.sent("answer_consent_messages")["p_answers"]] == [
        "wamid.a",
        "wamid.c",
    ]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            {"messageId": QUESTION, "submitted_message_id": "6b9c1e5f", "status": "DELIVERED"},
            report("aisensy", "6b9c1e5f", "delivered", QUESTION),
        ),
        ({"messageId": QUESTION, "status": "READ"}, report("aisensy", QUESTION, "read", QUESTION)),
        (
            {"messageId": "", "submitted_message_id": "6b9c1e5f", "status": "FAILED"},
            report("aisensy", "6b9c1e5f", "failed"),
        ),
    ],
)
async def test_a_status_told_by_aisensy_also_tells_by_which_name_a_tap_will_call_the_message(
    client: httpx.AsyncClient, rpcs: Rpcs, message: dict[str, Any], told: dict[str, Any]
) -> None:
    response = await from_aisensy(client, aisensy("message.status.updated", **message))
    assert (response.status_code, response.json()) == (200, {"answers": 0, "statuses": 1})
    assert rpcs.sent("note_message_statuses") == {"p_statuses": [told]}
    assert rpcs.count == 1


async def test_a_full_body_goes_in_portions(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("answer_consent_messages", {"results": []})
    many = meta({"messages": [meta_tap("Keep the lesson", id_=f"wamid.{n}") for n in range(1201)]})
    assert (await from_meta(client, many)).json() == {"answers": 1201, "statuses": 0}
    assert [len(sent["p_answers"]) for sent in rpcs.all_sent("answer_consent_messages")] == [500, 500, 201]


NOT_FOR_US: list[object] = [
    {},
    [],
    None,
    "text",
    1,
    {"object": "page", "entry": [{"changes": [{"field": "messages", "value": {"messages": [meta_tap(PAYLOAD)]}}]}]},
    {"object": "whatsapp_business_account"},
    {"object": "whatsapp_business_account", "entry": {}},
    {"object": "whatsapp_business_account", "entry": [None, 1, {"changes": "x"}, {"changes": [None, {"field": 1}]}]},
    meta({"messages": [meta_tap("hello")]}),
    meta({"messages": [meta_tap("Keep the lesson", context=False)]}),
    meta({"messages": [meta_tap(f"approve:{s.consent_token}x", context=False)]}),
    meta({"messages": [meta_tap(f"cancel:{s.consent_token}", context=False)]}),
    meta({"messages": [meta_tap(PAYLOAD, id_="a\x00b")]}),
    meta({"messages": [meta_tap(PAYLOAD, id_="x" * 256)]}),
    meta({"messages": [{**meta_tap("Keep the lesson"), "context": {"id": "\x00"}}]}),
    meta({"messages": [{"id": TAP, "type": "image", "image": {"id": "1"}}, {"type": "button"}, None, []]}),
    meta({"statuses": [{"id": "wamid.1"}, {"status": "read"}, status("wamid.1", "warned"), status("\x00", "read"), 1]}),
    aisensy("contact.created"),
    aisensy(message_content={"text": "hello"}, context=CONTEXT),
    aisensy(message_content={"text": "Keep the lesson"}),
    aisensy(message_content={"longitude": 76.8, "latitude": 17.3}, message_type="LOCATION"),
    aisensy(message_content=None, context=CONTEXT),
    aisensy("message.status.updated", status="PROCESSING"),
    aisensy("message.status.updated", status=None),
    aisensy("message.status.updated", messageId=None, status="DELIVERED"),
    {"topic": "message.sender.user", "data": {}},
    {"topic": "message.sender.user", "data": {"message": []}},
    {"topic": ["message.sender.user"]},
]


@pytest.mark.parametrize("told", NOT_FOR_US, ids=lambda told: json.dumps(told)[:60])
async def test_what_is_signed_and_not_for_us_is_let_pass(client: httpx.AsyncClient, rpcs: Rpcs, told: object) -> None:
    for response in (await from_meta(client, told), await from_aisensy(client, told)):
        assert (response.status_code, response.json()) == (200, {"answers": 0, "statuses": 0}), response.text
    assert rpcs.count == 0


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, b"", b"\x00"])
async def test_what_is_signed_and_no_json_is_malformed(client: httpx.AsyncClient, rpcs: Rpcs, body: bytes) -> None:
    for response in (
        await client.post(AT_META, content=body, headers=meta_headers(body)),
        await client.post(AT_AISENSY, content=body, headers=aisensy_headers(body)),
    ):
        assert (response.status_code, response.json()["code"], rpcs.count) == (400, "malformed", 0)


# --- how it ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["decided", "already", "too_late", "unknown", "ignored"])
async def test_whatever_the_answer_was_good_for_the_provider_is_done(
    client: httpx.AsyncClient, rpcs: Rpcs, outcome: str
) -> None:
    rpcs.answer("answer_consent_messages", {"results": [{"outcome": outcome}]})
    assert (await from_meta(client, meta({"messages": [meta_tap(PAYLOAD)]}))).status_code == 200


async def test_what_could_not_be_written_down_is_to_be_told_again(client: httpx.AsyncClient, rpcs: Rpcs) -> None:
    rpcs.answer("answer_consent_messages", {"results": [{"outcome": "decided"}, {"outcome": "failed"}]})
    response = await from_meta(client, meta({"messages": [meta_tap(PAYLOAD), meta_tap(PAYLOAD, id_="wamid.b")]}))
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert "Retry-After" in response.headers


async def test_no_secret_token_or_name_is_in_an_answer_or_a_log_line(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [
        await from_meta(client, meta({"messages": [meta_tap(PAYLOAD)]})),
        await from_aisensy(client, aisensy_tap(PAYLOAD, "Cancel the lesson", CONTEXT)),
        await client.post(AT_META, content=BODY, headers=meta_headers(BODY, "wrong")),
        await client.get(AT_META, params=verification("wrong")),
        await client.get(AT_META, params=verification(VERIFY)),
    ]
    told = "".join(capsys.readouterr()) + "".join(each.text for each in answers)
    assert told.count("/api/webhooks/") == 5
    for secret in (s.consent_token, PHONE, "Grace", AISENSY, META, VERIFY, KEY, "wrong"):
        assert secret not in told
