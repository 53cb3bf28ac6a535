"""/webhook-endpoints."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import events, webhooks
from lib.events import DeliveryPage, DeliveryQuery
from lib.webhooks import (
    SecretRotated,
    WebhookEndpoint,
    WebhookEndpointCreated,
    WebhookEndpointCreation,
    WebhookEndpoints,
    WebhookEndpointUpdate,
)

router = APIRouter(prefix="/api/webhook-endpoints", tags=["Events"])


@router.get("", responses=problems())
async def list_webhook_endpoints(database: AsCaller) -> WebhookEndpoints:
    """The endpoints, and the kinds of event there are (admin)."""
    return await webhooks.list_webhook_endpoints(database)


@router.post("", status_code=201, responses=problems(409, body=True))
async def create_webhook_endpoint(database: AsCallerOnce, endpoint: WebhookEndpointCreation) -> WebhookEndpointCreated:
    """Enter an address that is told what happens from now on (admin). Its secret is shown here alone."""
    return await webhooks.create_webhook_endpoint(database, endpoint)


@router.patch("/{endpoint_id}", responses=problems(404, 409, body=True))
async def update_webhook_endpoint(
    database: AsCallerOnce, endpoint_id: UUID, changes: WebhookEndpointUpdate
) -> WebhookEndpoint:
    """Change an endpoint, or turn it off and on (admin). What is pending meanwhile waits."""
    return await webhooks.update_webhook_endpoint(database, endpoint_id, changes)


@router.delete("/{endpoint_id}", responses=problems(404, 409))
async def delete_webhook_endpoint(database: AsCallerOnce, endpoint_id: UUID) -> WebhookEndpoint:
    """Delete an endpoint and what is pending for it (admin). The log stays."""
    return await webhooks.delete_webhook_endpoint(database, endpoint_id)


@router.post("/{endpoint_id}/rotate-secret", responses=problems(404, 409))
async def rotate_webhook_secret(database: AsCallerOnce, endpoint_id: UUID) -> SecretRotated:
    """Give an endpoint another secret (admin). For a day messages carry the signatures of both."""
    return await webhooks.rotate_webhook_secret(database, endpoint_id)


@router.get("/{endpoint_id}/deliveries", responses=problems(404))
async def list_deliveries(
    database: AsCaller, endpoint_id: UUID, query: Annotated[DeliveryQuery, Query()]
) -> DeliveryPage:
    """What was sent to an endpoint or is to be, a deleted one too (admin)."""
    return await events.list_deliveries(database, endpoint_id, query)
