"""E-mail by way of Resend.

The message's id is the key under which a repeated request is carried out once, for 24 hours, which is longer than we
go on trying. A second request under the key that says something else is refused with 409 and
``invalid_idempotent_request``: then the first one had arrived.

Sources: https://resend.com/docs/api-reference/emails/send-email, …/docs/dashboard/emails/idempotency-keys,
…/docs/dashboard/emails/attachments, …/docs/api-reference/errors
"""

import base64
from dataclasses import replace

import httpx

from lib.adapters import Attachment, Letter, Receipt
from lib.posting import post

URL = "https://api.resend.com/emails"


class Resend:
    """Sends e-mails.

    Args:
        connections: to the provider.
        api_key: one that may send.
        sender: who writes, such as ``Lessons <lessons@example.com>``; its domain is verified with Resend.
    """

    provider = "resend"

    def __init__(self, connections: httpx.AsyncClient, api_key: str, sender: str) -> None:
        self._connections = connections
        self._api_key = api_key
        self._sender = sender

    async def send(self, letter: Letter) -> Receipt:
        """Send one e-mail; a repetition within a day sends nothing and is answered the same."""
        headers = {"Authorization": f"Bearer {self._api_key}", "Idempotency-Key": letter.id}
        receipt, answer = await post(self._connections, URL, self._request(letter), headers, may_repeat=True)
        if answer.get("name") == "invalid_idempotent_request":
            return replace(receipt, outcome="unknown", error="An earlier attempt had arrived, with other words.")
        name = answer.get("id")
        return replace(receipt, provider_message_id=name) if isinstance(name, str) else receipt

    def _request(self, letter: Letter) -> dict[str, object]:
        request: dict[str, object] = {
            "from": self._sender,
            "to": [letter.to],
            "subject": letter.subject,
            "text": letter.body,
            "headers": {"Auto-Submitted": "auto-generated"},
        }
        if letter.attachment is not None:
            request["attachments"] = [_attached(letter.attachment)]
        return request


def _attached(attachment: Attachment) -> dict[str, object]:
    return {
        "filename": attachment.name,
        "content": base64.b64encode(attachment.content.encode()).decode(),
        "content_type": f"text/calendar; charset=utf-8; method={attachment.method}",
    }
