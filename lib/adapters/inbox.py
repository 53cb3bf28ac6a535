"""The inbox of a local stack: takes the place of a provider, and what would have been sent is kept to be read.

It speaks to nobody. The words travel with the report to Postgres, which puts them into ``inbox_messages``.
"""

from typing import Literal

from lib.adapters import Letter, Receipt


class Inbox:
    """Keeps letters of one channel.

    Args:
        channel: whose letters these would have been.
    """

    provider = "inbox"

    def __init__(self, channel: Literal["whatsapp", "email"]) -> None:
        self._channel = channel

    async def send(self, letter: Letter) -> Receipt:
        """Everything arrives here."""
        attachment = letter.attachment
        kept: dict[str, object] = {
            "channel": self._channel,
            "sent_to": letter.to,
            "subject": letter.subject if self._channel == "email" else None,
            "body": letter.body,
            "buttons": [{"id": button.payload, "title": button.title} for button in letter.buttons],
            "attachment_name": attachment and attachment.name,
            "attachment": attachment and attachment.content,
        }
        return Receipt("sent", provider_message_id=letter.id, inbox=kept)
