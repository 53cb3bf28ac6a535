"""What the providers of messages tell us: which button a guardian tapped, and whether a message arrived.

Who tells it has been verified before, over the body's bytes. Here the two forms become one, and Postgres decides. Of
each thing that is told only what we act on is looked at; what is not for us, or not in a form that we know, is let
pass, for a provider that is refused tells the same again and again. A guardian is never known by a phone number, but
by the token in the button's payload, or by the message that the tap replies to.

Sources: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/button/,
…/messages/interactive/ and …/messages/status/;
https://aisensy.stoplight.io/docs/project-api/56ea5a8f1cc9a-project-webhook. Of AiSensy's notifications that page tells
the envelope and the signature; ``data.message`` is read as those who receive it report it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lib.answers import Answer
from lib.database import Database
from lib.errors import Malformed, UpstreamUnavailable
from lib.wording import answer_of_button

Provider = Literal["aisensy", "meta"]
_Row: TypeAlias = dict[str, str | None]
"""As Postgres takes it."""
Id = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]

_IdIfAny: TypeAlias = Id | Literal[""] | None

AT_ONCE = 500
"""Answers or statuses in one call."""
_PAYLOAD = re.compile(r"(approve|keep|reschedule|call):([A-Za-z0-9_-]{43})")
"""Of a button of ours: the answer and the token."""
_STATUSES = frozenset({"sent", "delivered", "read", "failed"})


class Noted(Answer):
    """What was told that concerns us."""

    answers: int = Field(description="Answers of guardians, those that came before or too late included.")
    statuses: int = Field(description="Statuses of messages.")


class _Told(BaseModel):
    """A part of a notification; what else it holds is none of our business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


_Part = TypeVar("_Part", bound=_Told)


class _Context(_Told):
    id: Id


# --- Meta ------------------------------------------------------------------------------------------------


class _Button(_Told):
    payload: str = ""
    text: str = ""


class _ButtonReply(_Told):
    id: str = ""
    title: str = ""


class _Interactive(_Told):
    button_reply: _ButtonReply = _ButtonReply()


class _Text(_Told):
    body: str = ""


class _MetaMessage(_Told):
    id: Id
    context: _Context | None = None
    button: _Button = _Button()
    interactive: _Interactive = _Interactive()
    text: _Text = _Text()


class _MetaStatus(_Told):
    id: Id
    status: str


class _MetaValue(_Told):
    messages: Sequence[Any] = ()
    statuses: Sequence[Any] = ()


class _MetaChange(_Told):
    field: Literal["messages"]
    value: _MetaValue


class _MetaEntry(_Told):
    changes: Sequence[Any]


class _MetaNotification(_Told):
    object: Literal["whatsapp_business_account"]
    entry: Sequence[Any]


# --- AiSensy ---------------------------------------------------------------------------------------------


class _AisensyContent(_Told):
    text: str = ""
    title: str = ""
    callback_payload: str = Field(default="", alias="callbackPayload")


class _AisensyMessage(_Told):
    id: _IdIfAny = None
    whatsapp_id: _IdIfAny = Field(default=None, alias="messageId")
    """What WhatsApp calls it; a message that did not get there may have none."""
    submitted_message_id: _IdIfAny = None
    """What AiSensy called it when it took it from us."""
    message_content: _AisensyContent = _AisensyContent()
    context: _Context | None = None
    status: str | None = None


class _AisensyData(_Told):
    message: _AisensyMessage


class _AisensyNotification(_Told):
    topic: str
    data: _AisensyData


# --- what becomes of it -----------------------------------------------------------------------------------


async def take_aisensy_notification(database: Database, body: bytes) -> Noted:
    """Take what AiSensy tells: one thing at a time.

    Raises:
        Malformed: it is no JSON.
        UpstreamUnavailable: an answer could not be written down; it is to be told again.
    """
    told = list(_those(_AisensyNotification, [_read(body)]))
    changed = [each.data.message for each in told if each.topic == "message.status.updated"]
    said = [each.data.message for each in told if each.topic == "message.sender.user"]
    return await _note(database, [_aisensy_status(each) for each in changed], [_aisensy_answer(each) for each in said])


async def take_whatsapp_notification(database: Database, body: bytes) -> Noted:
    """Take what Meta tells: as many things as have gathered.

    Raises:
        Malformed: it is no JSON.
        UpstreamUnavailable: an answer could not be written down; it is to be told again.
    """
    entries = [entry for told in _those(_MetaNotification, [_read(body)]) for entry in told.entry]
    changes = [change for entry in _those(_MetaEntry, entries) for change in entry.changes]
    values = [change.value for change in _those(_MetaChange, changes)]
    changed = [status for value in values for status in _those(_MetaStatus, value.statuses)]
    said = [message for value in values for message in _those(_MetaMessage, value.messages)]
    return await _note(database, [_meta_status(each) for each in changed], [_meta_answer(each) for each in said])


def _aisensy_status(told: _AisensyMessage) -> _Row | None:
    """Known by the name that AiSensy gave it, which learns here by which one a tap will reply to it."""
    known_as = told.submitted_message_id or told.whatsapp_id
    return _status("aisensy", known_as, told.whatsapp_id or None, told.status or "")


def _meta_status(told: _MetaStatus) -> _Row | None:
    return _status("meta", told.id, None, told.status)


def _status(provider: Provider, message_id: str | None, reply_id: str | None, status: str) -> _Row | None:
    if not message_id or status.lower() not in _STATUSES:
        return None
    known = {"provider": provider, "provider_message_id": message_id, "reply_id": reply_id}
    return {**known, "status": status.lower()}


def _aisensy_answer(told: _AisensyMessage) -> _Row | None:
    content = told.message_content
    words = (content.callback_payload, content.text, content.title)
    return _answer("aisensy", told.whatsapp_id or told.id, told.context, words)


def _meta_answer(told: _MetaMessage) -> _Row | None:
    reply = told.interactive.button_reply
    words = (told.button.payload, reply.id, told.button.text, reply.title, told.text.body)
    return _answer("meta", told.id, told.context, words)


def _answer(provider: Provider, event_id: str | None, context: _Context | None, words: Sequence[str]) -> _Row | None:
    """The first of the words that is an answer: by a payload of ours, or by a button's label under our question."""
    if not event_id:
        return None
    told = {"provider": provider, "provider_event_id": event_id, "replied_to": context.id if context else None}
    for payload in filter(None, map(_PAYLOAD.fullmatch, words)):
        return {**told, "answer": payload[1], "token": payload[2]}
    if context is not None:
        for answer in filter(None, map(answer_of_button, words)):
            return {**told, "answer": answer, "token": None}
    return None


async def _note(database: Database, statuses: Sequence[_Row | None], answers: Sequence[_Row | None]) -> Noted:
    """Statuses first: one of them may tell by which name an answer calls our question."""
    known_statuses = [each for each in statuses if each is not None]
    known_answers = [each for each in answers if each is not None]
    for some in _portions(known_statuses):
        await database.rpc("note_message_statuses", {"p_statuses": some})
    outcomes: list[str] = []
    for some in _portions(known_answers):
        results = (await database.rpc("answer_consent_messages", {"p_answers": some}))["results"]
        outcomes += [result["outcome"] for result in results]
    if "failed" in outcomes:
        raise UpstreamUnavailable
    return Noted(answers=len(known_answers), statuses=len(known_statuses))


def _portions(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    return (rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE))


def _read(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Malformed from None


def _those(kind: type[_Part], told: Iterable[object]) -> Iterator[_Part]:
    """Those that are of this kind."""
    for each in told:
        with suppress(ValidationError):
            yield kind.model_validate(each)
