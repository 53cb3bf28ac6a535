"""The port to language models: two calls, behind which a provider may stand, or none.

A model is asked for JSON by a schema, or for vectors; it has no tools and decides nothing. Whoever uses it has an
answer without it: rules write the brief, words alone find what is searched. It is off unless its key is set, and says
so.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeAlias

import httpx
import structlog
from pydantic import ConfigDict, Field, SecretStr

from lib.adapters import ModelAccess, NoAnswer
from lib.adapters.gemini import Gemini
from lib.adapters.openai_compatible import OpenAICompatible
from lib.answers import Answer
from lib.config import Settings, settings
from lib.database import Database
from lib.errors import TooManyRequests

__all__ = ["Model", "ModelStanding", "NoAnswer", "missing", "model", "note_failure", "standing", "take_call"]

Use: TypeAlias = Literal["brief", "summary", "search"]
"""What a person has a model asked for; each is counted."""

_CONNECTIONS = httpx.Limits(max_connections=20, max_keepalive_connections=5, keepalive_expiry=15.0)

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Model(Protocol):
    """What every provider can do."""

    name: str
    """Of the model that writes."""
    embedding_model: str
    """Of the one that turns texts into vectors; those of two models cannot be compared."""
    dimension: int
    """How long a vector is."""
    seconds: float
    """The longest that one call takes, all in all."""

    async def complete(self, instructions: str, data: str, schema: Mapping[str, Any]) -> str:
        """A JSON document by ``schema``, as text: what ``instructions`` say, done to ``data``.

        Raises:
            NoAnswer: for whatever reason.
        """
        ...

    async def embed(self, texts: Sequence[str], *, as_question: bool = False) -> list[list[float]]:
        """A vector of ``dimension`` for each text, in their order.

        Raises:
            NoAnswer: for whatever reason.
        """
        ...


class ModelStanding(Answer):
    """Whether a model is there to ask."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    provider: Literal["gemini", "openai", "off"]
    on: bool = Field(description="False: briefs and summaries are written by rules, and search goes by words alone.")
    missing: list[str] = Field(description="What has to be set to turn it on.", examples=[["GEMINI_API_KEY"]])
    name: str | None = Field(default=None, description="The model that writes.", examples=["gemini-3.5-flash-lite"])
    embedding_model: str | None = Field(
        default=None, description="The one that finds by meaning.", examples=["gemini-embedding-2"]
    )


@lru_cache(maxsize=1)
def model() -> Model | None:
    """The model of this process; None when it is off."""
    return _made(settings())


def standing() -> ModelStanding:
    """What there is to say of it, for admins."""
    asked = model()
    return ModelStanding(
        provider=settings().model_provider,
        on=asked is not None,
        missing=missing(settings()),
        name=asked.name if asked else None,
        embedding_model=asked.embedding_model if asked else None,
    )


def missing(config: Settings) -> list[str]:
    """The settings that the chosen provider lacks."""
    if config.model_provider == "gemini" and config.gemini_api_key is None:
        return ["GEMINI_API_KEY"]
    if config.model_provider == "openai" and config.model_api_key is None and not config.model_url:
        return ["MODEL_API_KEY"]
    return []


async def take_call(database: Database, use: Use) -> None:
    """Count a call before it is made.

    Raises:
        NoAnswer: the house pays for no more today, or this person has asked too often.
    """
    try:
        answer = await database.rpc("take_model_call", {"p_kind": use})
    except TooManyRequests:
        raise NoAnswer("asked too often") from None
    if not answer["allowed"]:
        raise NoAnswer("no budget left")


def note_failure(use: Use | Literal["embedding"], failure: NoAnswer) -> None:
    """One line in the log: a model was asked, and rules spoke in its place."""
    _log.warning("model gave no answer", use=use, cause=failure.why)


def _made(config: Settings) -> Model | None:
    if config.model_provider == "off" or missing(config):
        return None
    client = httpx.AsyncClient(timeout=config.model_timeout_seconds, limits=_CONNECTIONS, follow_redirects=False)
    if config.model_provider == "gemini":
        return Gemini(client, _access(config, config.gemini_api_key))
    return OpenAICompatible(client, _access(config, config.model_api_key))


def _access(config: Settings, key: SecretStr | None) -> ModelAccess:
    return ModelAccess(
        key=key.get_secret_value() if key else "",
        seconds=config.model_timeout_seconds,
        dimension=config.embedding_dimension,
        name=config.model_name,
        embedding_model=config.embedding_model,
        url=config.model_url,
    )
