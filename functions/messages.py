"""/messages, /inbox: what people are told."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from functions.callers import AsCaller, AsCallerOnce
from functions.problems import problems
from lib import messages
from lib.messages import InboxPage, InboxQuery, MessagePage, MessageQuery, MessageRecord

router = APIRouter(prefix="/api", tags=["Messages"])


@router.get("/messages", responses=problems())
async def list_messages(database: AsCaller, query: Annotated[MessageQuery, Query()]) -> MessagePage:
    """What you were told or are to be told, oldest first, in pages; for an admin everybody."""
    return await messages.list_messages(database, query)


@router.post("/messages/{message_id}/retry", responses=problems(404, 409))
async def retry_message(database: AsCallerOnce, message_id: UUID) -> MessageRecord:
    """Have a message sent again that failed, reached nobody, or of which nobody can tell (admin)."""
    return await messages.retry_message(database, message_id)


@router.get("/inbox", responses=problems())
async def list_inbox(database: AsCaller, query: Annotated[InboxQuery, Query()]) -> InboxPage:
    """What a local stack would have sent, word for word, newest first (admin)."""
    return await messages.list_inbox(database, query)
