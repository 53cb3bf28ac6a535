"""WhatsApp by way of Meta's own Cloud API: an approved template, sent from the house's number.

Templates have the names of ours in lower case, a positional parameter for each placeholder, and for each button a
quick reply whose payload comes back when it is pressed.

Sources: https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/message-api
and .../whatsapp/support/error-codes, which says to go by an error's ``code``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import httpx

from lib.adapters import Button, Letter, Receipt
from lib.posting import post

URL = "https://graph.facebook.com/v23.0"

_NOT_NOW = frozenset({2, 4, 80007, 130429, 131000, 131016, 131056, 133004})
"""Errors that pass: too much at once, or out of order. Some of them come with status 400."""
_OURS_TO_REPAIR = frozenset({0, 3, 10, 190, 131042, *range(200, 300)})
"""Tokens that expired, rights that are missing, a bill that is open."""


class WhatsAppCloud:
    """Sends WhatsApp templates.

    Args:
        connections: to the provider.
        access_token: of a system user who may send.
        phone_number_id: Meta's name for the number that sends.
    """

    provider = "meta"

    def __init__(self, connections: httpx.AsyncClient, access_token: str, phone_number_id: str) -> None:
        self._connections = connections
        self._headers = {"Authorization": f"Bearer {access_token}"}
        self._url = f"{URL}/{phone_number_id}/messages"

    async def send(self, letter: Letter) -> Receipt:
        """Send one template. The Cloud API knows no keys of repetition."""
        receipt, answer = await post(self._connections, self._url, _request(letter), self._headers)
        if receipt.outcome == "sent":
            return replace(receipt, provider_message_id=_name_of_message(answer))
        return _seen_by_its_code(receipt, answer)


def _request(letter: Letter) -> dict[str, object]:
    body = {"type": "body", "parameters": [{"type": "text", "text": each} for each in letter.parameters]}
    buttons = [_quick_reply(index, button) for index, button in enumerate(letter.buttons)]
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": letter.to,
        "type": "template",
        "template": {
            "name": letter.template.lower(),
            "language": {"code": letter.language},
            "components": [body, *buttons],
        },
    }


def _quick_reply(index: int, button: Button) -> dict[str, object]:
    return {
        "type": "button",
        "sub_type": "quick_reply",
        "index": str(index),
        "parameters": [{"type": "payload", "payload": button.payload}],
    }


def _name_of_message(answer: Mapping[str, Any]) -> str | None:
    match answer:
        case {"messages": [{"id": str(name)}, *_]}:
            return name
        case _:
            return None


def _seen_by_its_code(receipt: Receipt, answer: Mapping[str, Any]) -> Receipt:
    """A refusal that is none, told by the error's code rather than by its status."""
    error: object = answer.get("error")
    code = cast("Mapping[str, object]", error).get("code") if isinstance(error, dict) else None
    told = f"{receipt.error} Its code is {code}." if isinstance(code, int) else receipt.error
    passes = receipt.outcome == "refused" and code in _NOT_NOW | _OURS_TO_REPAIR
    return replace(receipt, error=told, outcome="failed" if passes else receipt.outcome)
