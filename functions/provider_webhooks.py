"""/webhooks: what the providers of messages tell us, signed by them: taps on buttons, and whether messages arrived."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse

from functions.callers import AsAisensy, AsMeta, RawBody, knows_verify_token
from functions.problems import problems
from lib import provider_webhooks
from lib.provider_webhooks import Noted

router = APIRouter(prefix="/api/webhooks", tags=["Consent"])

Challenge = Annotated[str, Query(alias="hub.challenge", pattern=r"^[A-Za-z0-9_.-]{1,255}$")]
_SIGNED_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "title": "Notification"}}},
    }
}


@router.post("/aisensy/cancel-response", responses=problems(body=True), openapi_extra=_SIGNED_BODY)
async def take_aisensy_notification(database: AsAisensy, body: RawBody) -> Noted:
    """What AiSensy tells: a guardian's tap, or the status of a message. Whatever else it tells is let pass."""
    return await provider_webhooks.take_aisensy_notification(database, body)


@router.get("/whatsapp", responses=problems(), dependencies=[Depends(knows_verify_token)])
async def verify_whatsapp_address(challenge: Challenge) -> PlainTextResponse:
    """Say Meta's challenge back to it, once, when this address is set up there."""
    return PlainTextResponse(challenge)


@router.post("/whatsapp", responses=problems(body=True), openapi_extra=_SIGNED_BODY)
async def take_whatsapp_notification(database: AsMeta, body: RawBody) -> Noted:
    """What Meta tells, several things at once: taps and statuses. Whatever else it tells is let pass."""
    return await provider_webhooks.take_whatsapp_notification(database, body)
