"""E-mail over SMTP, against a server that answers by a script: what each answer means, and what is handed over."""

import asyncio
import email
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from email import policy
from email.message import EmailMessage
from typing import cast

import pytest

from lib.adapters import Attachment, Letter
from lib.adapters import smtp as adapter
from lib.adapters.smtp import Server, Smtp

SENDER = "Léctures <lessons@example.com>"
INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
TAKEN = "250 2.0.0 Ok: queued"
HANGS, HANGS_UP = "hangs", "hangs up"


def letter(attachment: Attachment | None = None) -> Letter:
    return Letter(
        id="00000000-0000-4000-8000-0000000000e7",
        to="zoe@example.com",
        name="Zoë Åkesson",
        subject="Neuer Termin: Größe & Übung",
        body="Guten Tag,\n\n.ein Punkt am Anfang\nund Größe.\n",
        template="session_moved",
        language="de",
        attachment=attachment,
    )


class Mailbox:
    """A server for one test.

    Args:
        replies: by the command that they answer, in place of what a friendly server says; `text` is the end of a text.
    """

    def __init__(self, replies: Mapping[str, str]) -> None:
        self._replies = replies
        self.commands: list[str] = []
        self.texts: list[bytes] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator["Mailbox"]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
            server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._reply(writer, "connect", "220 mail.example.com"):
                while line := (await reader.readline()).decode().strip():
                    command = line.partition(" ")[0].upper()
                    self.commands.append(line)
                    friendly = {"EHLO": "250 mail.example.com", "DATA": "354 Go on", "QUIT": "221 Bye"}
                    if not await self._reply(writer, command, friendly.get(command, "250 Ok")):
                        break
                    if command == "DATA" and self._replies.get("DATA", "3").startswith("3"):
                        self.texts.append(await reader.readuntil(b"\r\n.\r\n"))
                        if not await self._reply(writer, "text", TAKEN):
                            break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, command: str, friendly: str) -> bool:
        reply = self._replies.get(command, friendly)
        if reply == HANGS:
            await asyncio.sleep(5)
        if reply in {HANGS, HANGS_UP}:
            return False
        writer.write(reply.encode() + b"\r\n")
        await writer.drain()
        return True


def channel(mailbox: Mailbox) -> Smtp:
    return Smtp(Server("127.0.0.1", mailbox.port, tls_at_once=False, username=None, password=None), SENDER)


def read(mailbox: Mailbox) -> EmailMessage:
    (text,) = mailbox.texts
    unstuffed = text.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    return email.message_from_bytes(unstuffed, policy=policy.default)


async def test_a_letter_arrives_with_every_character() -> None:
    async with Mailbox({}).listening() as mailbox:
        receipt = await channel(mailbox).send(letter())
    assert (receipt.outcome, receipt.provider_message_id) == ("sent", letter().id)
    assert [each for each in mailbox.commands if each.startswith(("MAIL", "RCPT"))] == [
        "MAIL FROM:<lessons@example.com>",
        "RCPT TO:<zoe@example.com>",
    ]
    message = read(mailbox)
    assert message["From"] == SENDER
    assert message["To"] == "Zoë Åkesson <zoe@example.com>"
    assert message["Subject"] == letter().subject
    assert message["Message-ID"] == f"<{letter().id}@example.com>"
    assert (message["Auto-Submitted"], message["Content-Language"]) == ("auto-generated", "de")
    assert message.get_content().replace("\r\n", "\n") == letter().body


@pytest.mark.parametrize(("method", "kind"), [("REQUEST", "multipart/alternative"), ("PUBLISH", "multipart/mixed")])
async def test_a_calendar_is_offered_as_such(method: str, kind: str) -> None:
    async with Mailbox({}).listening() as mailbox:
        await channel(mailbox).send(letter(Attachment("lessons.ics", method, INVITATION)))
    message = read(mailbox)
    assert message.get_content_type() == kind
    text, calendar = cast("list[EmailMessage]", list(message.iter_parts()))
    assert text.get_content_type() == "text/plain"
    assert calendar.get_content_type() == "text/calendar"
    assert calendar["Content-Type"].params == {"charset": "utf-8", "method": method}
    assert calendar.get_content().splitlines() == INVITATION.splitlines()


@pytest.mark.parametrize(
    ("replies", "outcome", "code"),
    [
        ({"connect": "554 No"}, "failed", 554),
        ({"connect": HANGS_UP}, "failed", None),
        ({"MAIL": "451 Later"}, "failed", 451),
        ({"MAIL": "550 Not you"}, "failed", 550),
        ({"RCPT": "450 Later"}, "failed", 450),
        ({"RCPT": "550 Nobody"}, "refused", 550),
        ({"RCPT": HANGS_UP}, "failed", None),
        ({"DATA": "451 Later"}, "failed", 451),
        ({"text": "451 Later"}, "failed", 451),
        ({"text": "554 Spam"}, "refused", 554),
        ({"text": HANGS_UP}, "unknown", None),
        ({"QUIT": HANGS_UP}, "sent", None),
    ],
)
async def test_every_answer_has_its_meaning(replies: Mapping[str, str], outcome: str, code: int | None) -> None:
    async with Mailbox(replies).listening() as mailbox:
        receipt = await channel(mailbox).send(letter())
    assert (receipt.outcome, receipt.status_code) == (outcome, code)
    assert "zoe" not in (receipt.error or "")


@pytest.mark.parametrize(("at", "outcome"), [("connect", "failed"), ("RCPT", "failed"), ("text", "unknown")])
async def test_a_server_that_says_nothing_is_waited_for_a_short_while(
    monkeypatch: pytest.MonkeyPatch, at: str, outcome: str
) -> None:
    monkeypatch.setattr(adapter, "_SECONDS_FOR_EACH_HALF", 0.3)
    async with Mailbox({at: HANGS}).listening() as mailbox:
        receipt = await channel(mailbox).send(letter())
    assert receipt.outcome == outcome


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    async with Mailbox({}).listening() as mailbox:
        gone = channel(mailbox)
    assert (await gone.send(letter())).outcome == "failed"


async def test_a_password_goes_nowhere_without_tls() -> None:
    async with Mailbox({}).listening() as mailbox:
        server = Server("127.0.0.1", mailbox.port, tls_at_once=False, username="me", password="canary")
        receipt = await Smtp(server, SENDER).send(letter())
    assert receipt.outcome == "failed"
    assert not [command for command in mailbox.commands if command.startswith("AUTH")]
