"""E-mail by way of any SMTP server.

A server that was handed the text and did not answer may have taken it: from then on the outcome is unknown. Until
then nothing has been sent. The message's id is the e-mail's too, by which a mailbox may know a repetition.

Sources: RFC 5321 §4.2.1 for the replies; RFC 3834 for Auto-Submitted; https://aiosmtplib.readthedocs.io
"""

import asyncio
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as LINES_OF_SMTP
from email.utils import formatdate, parseaddr
from typing import Any, NamedTuple

import aiosmtplib

from lib.adapters import Attachment, Letter, Receipt
from lib.posting import SECONDS

_SECONDS_FOR_EACH_HALF = SECONDS / 2
_FIRST_LASTING = 500
"""A reply of 4xx says not now, one of 5xx never."""


class Server(NamedTuple):
    """Where e-mail is handed over, and as whom."""

    host: str
    port: int
    tls_at_once: bool
    """Otherwise TLS begins when the server offers it, as on port 587; a server with a password must."""
    username: str | None
    password: str | None


class Smtp:
    """Sends e-mails, each over a connection of its own.

    Args:
        server: who takes them.
        sender: who writes, such as ``Lessons <lessons@example.com>``.
    """

    provider = "smtp"

    def __init__(self, server: Server, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(self, letter: Letter) -> Receipt:
        """Hand one e-mail over."""
        connection = aiosmtplib.SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.tls_at_once,
            start_tls=True if self._server.password and not self._server.tls_at_once else None,
            username=self._server.username,
            password=self._server.password,
            timeout=SECONDS,
        )
        try:
            text = self._message(letter).as_bytes(policy=LINES_OF_SMTP)
            async with asyncio.timeout(_SECONDS_FOR_EACH_HALF):
                refusal = await self._until_the_text(connection, letter.to)
            return refusal or await self._hand_over(connection, text, letter.id)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Receipt("failed", _code_of(error), "The e-mail server could not be reached, or let nobody in.")
        finally:
            connection.close()

    async def _until_the_text(self, connection: aiosmtplib.SMTP, to: str) -> Receipt | None:
        """Sign in and name sender and reader; nothing is sent by that."""
        await connection.connect()
        await connection.mail(parseaddr(self._sender)[1])
        try:
            await connection.rcpt(to)
        except aiosmtplib.SMTPRecipientRefused as error:
            return _refusal(error.code, "The e-mail server does not take e-mails to this address.")
        return None

    async def _hand_over(self, connection: aiosmtplib.SMTP, text: bytes, name: str) -> Receipt:
        try:
            async with asyncio.timeout(_SECONDS_FOR_EACH_HALF):
                await connection.data(text)
        except aiosmtplib.SMTPResponseException as error:
            return _refusal(error.code, "The e-mail server did not take the text.")
        except (aiosmtplib.SMTPException, OSError):
            return Receipt("unknown", error="The e-mail server did not say whether it took the text.")
        return Receipt("sent", provider_message_id=name)

    def _message(self, letter: Letter) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = Address(letter.name, addr_spec=letter.to)
        message["Subject"] = letter.subject
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{letter.id}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.body)  # which clears what is said of the content, so that follows
        message["Content-Language"] = letter.language
        if letter.attachment is not None:
            _attach(message, letter.attachment)
        return message


def _attach(message: EmailMessage, calendar: Attachment) -> None:
    """One event is another form of the same letter, which mail programs offer to take over; a list is a file."""
    kind: dict[str, Any] = {"subtype": "calendar", "params": {"method": calendar.method}}
    if calendar.method == "PUBLISH":
        message.add_attachment(calendar.content, filename=calendar.name, **kind)
    else:
        message.add_alternative(calendar.content, **kind)


def _refusal(code: int, told: str) -> Receipt:
    return Receipt("refused" if code >= _FIRST_LASTING else "failed", code, told)


def _code_of(error: Exception) -> int | None:
    return error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None
