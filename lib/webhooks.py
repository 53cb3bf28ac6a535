"""Webhook endpoints: the addresses of a business's own systems that are told what happens."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from lib.answers import Answer, Utc
from lib.database import Database
from lib.errors import Invalid
from lib.fields import Changes, Flag, Request, Title, WebAddress
from lib.targets import TargetRefused, targets

Url = Annotated[WebAddress, Field(description="Where messages are posted to: public, with `https://`.")]
Description = Annotated[Title, Field(description="What it is, in your words.", examples=["The bookkeeping"])]


def _each_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("must name each type at most once")
    return names


EventTypes = Annotated[
    list[Annotated[str, Field(max_length=100, pattern=r"^[a-z_]+\.[a-z_]+$", examples=["session.completed"])]],
    Field(
        max_length=100,
        json_schema_extra={"uniqueItems": True},
        description="Only these; the list of endpoints names all there are. Empty: every one.",
    ),
    AfterValidator(_each_once),
]
Secret = Annotated[
    str | None,
    Field(
        description="What messages are signed with, in the form of Standard Webhooks. Shown here and never again: "
        "null when the request is repeated.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="],
    ),
]


class WebhookEndpoint(Answer):
    """An address that is told what happens."""

    id: UUID
    url: str
    description: str | None
    event_types: list[str] | None = Field(description="What it is told of; null means everything.")
    is_enabled: bool
    disabled_reason: Literal["by_admin", "gone", "failing"] | None = Field(
        description="Why nothing is sent: an admin said so, it answered 410, or it failed for five days."
    )
    failing_since: Utc | None = Field(description="The first failure since its last success.")
    created_at: Utc
    updated_at: Utc


class WebhookEndpointCreated(WebhookEndpoint):
    """A new one, with its secret."""

    secret: Secret = None


class SecretRotated(WebhookEndpoint):
    """One with a new secret."""

    secret: Secret = None
    previous_valid_until: Utc = Field(description="Until then the secret before signs every message too.")


class EventType(Answer):
    """A kind of event."""

    name: str = Field(examples=["session.completed"])
    schema_version: int = Field(description="Of its `data`; grows when a consumer must look again.")
    description: str


class WebhookEndpoints(Answer):
    """The endpoints, oldest first, and the kinds of event that they may be told of."""

    endpoints: list[WebhookEndpoint]
    event_types: list[EventType]


class WebhookEndpointCreation(Request):
    """A new endpoint."""

    url: Url
    description: Description | None = None
    event_types: EventTypes | None = None


class WebhookEndpointUpdate(Changes):
    """What may change of an endpoint."""

    url: Url | None = None
    description: Description | None = None
    event_types: EventTypes | None = None
    is_enabled: Flag | None = Field(default=None, description="Enabling sends what has waited.")


async def list_webhook_endpoints(database: Database) -> WebhookEndpoints:
    """The endpoints, without their secrets."""
    return WebhookEndpoints.model_validate(await database.rpc("list_webhook_endpoints"))


async def create_webhook_endpoint(database: Database, endpoint: WebhookEndpointCreation) -> WebhookEndpointCreated:
    """Enter an address.

    Raises:
        Invalid: ``target_refused``: nothing would be sent there.
    """
    await _check(endpoint.url)
    answer = await database.write("create_webhook_endpoint", endpoint.parameters())
    return WebhookEndpointCreated.model_validate(answer)


async def update_webhook_endpoint(
    database: Database, endpoint_id: UUID, changes: WebhookEndpointUpdate
) -> WebhookEndpoint:
    """Change an endpoint.

    Raises:
        Invalid: ``target_refused``: nothing would be sent there.
    """
    await _check(changes.url)
    answer = await database.write("update_webhook_endpoint", changes.parameters(endpoint_id=str(endpoint_id)))
    return WebhookEndpoint.model_validate(answer)


async def delete_webhook_endpoint(database: Database, endpoint_id: UUID) -> WebhookEndpoint:
    """Delete an endpoint; gives what it was. The log of its deliveries stays."""
    answer = await database.write("delete_webhook_endpoint", {"p_endpoint_id": str(endpoint_id)})
    return WebhookEndpoint.model_validate(answer)


async def rotate_webhook_secret(database: Database, endpoint_id: UUID) -> SecretRotated:
    """Give an endpoint another secret; the one before goes on signing beside it for a day."""
    answer = await database.write("rotate_webhook_secret", {"p_endpoint_id": str(endpoint_id)})
    return SecretRotated.model_validate(answer)


async def _check(url: str | None) -> None:
    """Refuse an address that messages could not go to."""
    if url is None:
        return
    try:
        await targets().check(url)
    except TargetRefused as refusal:
        raise Invalid("target_refused", str(refusal), members={"field": "url"}) from None
