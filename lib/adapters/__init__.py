"""The ways out: one thin client for each outside service, each used by one domain module.

An adapter takes what it is given to that service and says how it went. It knows no database and decides nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal, Protocol, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from lib.fields import Language

LONGEST_ANSWER = 16 * 1024 * 1024
"""Bytes that are read of a model's answer; a batch of long vectors has a few million."""

Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Sent:
    """How sending went: taken, not this time, never to that address, or nobody is there any more."""

    outcome: Literal["delivered", "failed", "refused", "gone"]
    status_code: int | None = None
    error: str | None = None
    """For people; without anything that the other side said."""
    retry_after_seconds: int | None = None


# --- letters to people ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press, and what comes back when it is."""

    title: str
    payload: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A calendar that goes along with an e-mail."""

    name: str
    method: str
    """As it says itself, such as REQUEST."""
    content: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Letter:
    """What one person is told, ready for any channel: e-mails take subject and body, WhatsApp the parameters."""

    id: str
    """The message's: the same however often it is tried."""
    to: str = field(repr=False)
    """A phone number in E.164 form, or an e-mail address."""
    name: str = field(repr=False)
    subject: str = field(repr=False)
    body: str = field(repr=False)
    template: str
    language: Language
    parameters: tuple[str, ...] = field(default=(), repr=False)
    buttons: tuple[Button, ...] = ()
    attachment: Attachment | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """How it went: taken, not this time, never, or nobody can tell. What nobody can tell is not sent again."""

    outcome: Literal["sent", "failed", "refused", "unknown"]
    status_code: int | None = None
    error: str | None = None
    """For people; without anything that the other side said, and without anything about the reader."""
    provider_message_id: str | None = None
    retry_after_seconds: int | None = None
    inbox: Mapping[str, object] | None = None
    """What was said, word for word; from the inbox alone."""


class Channel(Protocol):
    """A way to a person."""

    @property
    def provider(self) -> str:
        """Who carries the letters."""
        ...

    async def send(self, letter: Letter) -> Receipt:
        """Hand over one letter, within ``posting.SECONDS``, and say how it went, whatever the other side does."""
        ...


@dataclass(frozen=True, slots=True)
class ModelAccess:
    """Where a model is and how to ask it; empty text stands for what its provider is usually asked with."""

    key: str = field(repr=False)
    seconds: float
    """For one call, all in all."""
    dimension: int
    """How long its vectors are to be."""
    name: str = ""
    """Of the model that writes."""
    embedding_model: str = ""
    """Of the one that turns texts into vectors."""
    url: str = ""
    """Up to and with the version of the API."""


class NoAnswer(Exception):  # noqa: N818  # what happened, from the side of whoever asked
    """A model gave nothing that can be used: it is down, in a hurry, out of quota, or said something else.

    Args:
        why: for the log; a few words without anything that was sent or received.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


async def ask(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: Mapping[str, Any], seconds: float
) -> bytes:
    """Post JSON to a model's provider, once, and give what it answers.

    Raises:
        NoAnswer: not within ``seconds``, not with 200, or with more than anybody would say.
    """
    try:
        async with asyncio.timeout(seconds), client.stream("POST", url, json=body, headers=headers) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise NoAnswer(f"status {answer.status_code}")
            return await _all_of(answer)
    except TimeoutError:
        raise NoAnswer("no answer in time") from None
    # An address or a key that cannot be sent at all is somebody's typing error in a setting.
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise NoAnswer(type(error).__name__) from None


async def _all_of(answer: httpx.Response) -> bytes:
    content = b""
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > LONGEST_ANSWER:
            raise NoAnswer("too long an answer")
    return content


def read(shape: type[Shape], answer: bytes) -> Shape:
    """An answer as its provider documents it.

    Raises:
        NoAnswer: it is something else.
    """
    try:
        return shape.model_validate_json(answer)
    except (ValidationError, RecursionError):
        raise NoAnswer("another answer than documented") from None
