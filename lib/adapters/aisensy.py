"""WhatsApp by way of AiSensy: a live API campaign is started for one person.

A campaign belongs to one approved template in one language, so there is one for each template and language, called
``TEMPLATE_LANGUAGE``. The documented request has no place for what buttons send back: a campaign's buttons come back
with their labels, and with the message that they stood under.

Sources: https://help.aisensy.com/en/articles/5358962-api-reference-docs for the request; its version at /api/v2 is
the one that the dashboard shows, and answers ``{"success": "true", "submitted_message_id": "…"}``.
"""

from dataclasses import replace

import httpx

from lib.adapters import Letter, Receipt
from lib.posting import post

URL = "https://backend.aisensy.com/campaign/t1/api/v2"


class AiSensy:
    """Sends WhatsApp templates.

    Args:
        connections: to the provider.
        api_key: of the project, from its dashboard. It stands in each request's body.
    """

    provider = "aisensy"

    def __init__(self, connections: httpx.AsyncClient, api_key: str) -> None:
        self._connections = connections
        self._api_key = api_key

    async def send(self, letter: Letter) -> Receipt:
        """Start the template's campaign for one number. AiSensy knows no keys of repetition."""
        body: dict[str, object] = {
            "apiKey": self._api_key,
            "campaignName": f"{letter.template}_{letter.language}",
            "destination": letter.to,
            "userName": letter.name,
            "source": "Lessonkeeper",
            "templateParams": letter.parameters,
        }
        receipt, answer = await post(self._connections, URL, body)
        if receipt.outcome == "sent" and answer.get("success") in {False, "false"}:
            return replace(receipt, outcome="failed", error="The provider answered that it did not take it.")
        name = answer.get("submitted_message_id")
        return replace(receipt, provider_message_id=name) if isinstance(name, str) else receipt
