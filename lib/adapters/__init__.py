"""The ways out: one thin client for each outside service, each used by one domain module.

An adapter takes what it is given to that service and says how it went. It knows no database and decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from lib.fields import Language


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
