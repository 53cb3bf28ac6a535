"""The channels through which people are told: which of them are on, and who carries what goes through them.

A channel is on when its provider is chosen and has all that it needs. One that is off loses nothing: what has no other
way waits, and ``GET /api/health`` names the variables that are missing.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import httpx
from pydantic import Field, SecretStr

from lib import posting
from lib.adapters import Channel
from lib.adapters.aisensy import AiSensy
from lib.adapters.inbox import Inbox
from lib.adapters.resend import Resend
from lib.adapters.smtp import Server, Smtp
from lib.adapters.whatsapp_cloud import WhatsAppCloud
from lib.answers import Answer
from lib.config import Settings, settings

ChannelName: TypeAlias = Literal["whatsapp", "email"]
CHANNELS: tuple[ChannelName, ...] = ("whatsapp", "email")

_NEEDED: Mapping[ChannelName, Mapping[str, Sequence[str]]] = {
    # The link under which a guardian answers begins with PUBLIC_URL.
    "whatsapp": {
        "aisensy": ("aisensy_api_key", "public_url"),
        "meta": ("whatsapp_access_token", "whatsapp_phone_number_id", "public_url"),
        "inbox": ("public_url",),
    },
    "email": {
        "resend": ("resend_api_key", "email_from"),
        "smtp": ("smtp_url", "email_from"),
        "inbox": ("email_from",),
    },
}
_PORTS: Mapping[str, int] = {"smtp": 587, "smtps": 465}


class ChannelState(Answer):
    """Whether people can be told this way."""

    provider: str | None = Field(description="Who carries what goes out, if anybody is chosen.", examples=["resend"])
    on: bool
    missing: list[str] = Field(description="Variables without which the chosen provider is off.")


@dataclass(frozen=True)
class Post:
    """What is open while letters go out."""

    channels: Mapping[ChannelName, Channel]
    """Those that are on."""
    public_url: str
    sender: str
    """Who writes e-mails, and is asked about what they invite to."""


def channel_states(config: Settings | None = None) -> dict[ChannelName, ChannelState]:
    """Every channel, on or off, by these settings or the process's."""
    config = config or settings()
    return {name: _state(name, config) for name in CHANNELS}


@asynccontextmanager
async def open_post() -> AsyncGenerator[Post]:
    """The channels that are on, for one run."""
    config = settings()
    async with posting.client() as connections:
        on: list[ChannelName] = [name for name in CHANNELS if _state(name, config).on]
        channels: dict[ChannelName, Channel] = {name: _channel(name, config, connections) for name in on}
        yield Post(channels, config.public_url, config.email_from)


def _state(name: ChannelName, config: Settings) -> ChannelState:
    provider: str | None = getattr(config, f"{name}_provider")
    needed = _NEEDED[name][provider] if provider else ()
    missing = [variable.upper() for variable in needed if not getattr(config, variable)]
    return ChannelState(provider=provider, on=provider is not None and not missing, missing=missing)


def _channel(name: ChannelName, config: Settings, connections: httpx.AsyncClient) -> Channel:
    match name, getattr(config, f"{name}_provider"):
        case "whatsapp", "aisensy":
            return AiSensy(connections, _plain(config.aisensy_api_key))
        case "whatsapp", "meta":
            return WhatsAppCloud(connections, _plain(config.whatsapp_access_token), config.whatsapp_phone_number_id)
        case "email", "resend":
            return Resend(connections, _plain(config.resend_api_key), config.email_from)
        case "email", "smtp":
            return Smtp(_server(_plain(config.smtp_url)), config.email_from)
        case _:
            return Inbox(name)


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _server(url: str) -> Server:
    parts = urlsplit(url)
    return Server(
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        tls_at_once=parts.scheme == "smtps",
        username=parts.username and unquote(parts.username),
        password=parts.password and unquote(parts.password),
    )
