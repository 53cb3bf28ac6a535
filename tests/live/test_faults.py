"""The wire between our functions and Supabase breaks: a 503 in time, and the same request again sets it right.

What a fake network cannot show: the database may have written before the answer was lost.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import pytest

from lib import auth, config, database
from tests.house import BILAL, MATHEMATICS, NADIA
from tests.live.answers import Row, answer, problem
from tests.live.served import ServedHouse

pytestmark = pytest.mark.live

HTML = b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<h1>oops</h1>"


@dataclass
class Wire:
    """A proxy on loopback: whole by default, else with one fault.

    `arrives` says whether a request reaches Supabase; `cut` after how many bytes an answer ends, None never;
    `says` what is answered in Supabase's place; `hangs` whether nothing ever comes back.
    """

    port: int = 0
    arrives: bool = True
    cut: int | None = None
    says: bytes | None = None
    hangs: bool = False
    requests: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await read_message(reader)
                self.requests += 1
                reply = await self._forward(request) if self.arrives else b""
                if self.hangs:
                    await reader.read()
                    break
                reply = self.says or reply
                writer.write(reply[: self.cut])
                await writer.drain()
                if self.cut is not None or not reply:
                    break
        writer.close()

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        reply = await read_message(reader)
        writer.close()
        return reply


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """A request or an answer, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:] if b":" in line)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
        return head + body
    return head + await reader.readexactly(int(fields.get(b"content-length", b"0")))


@pytest.fixture
async def wire(house: ServedHouse, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    """Between the functions of `tutor` and the Supabase of the house."""
    wire = Wire(urlsplit(house.env["SUPABASE_URL"]).port or 0)
    server = await asyncio.start_server(wire.talk, "127.0.0.1", 0)
    for name in ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_JWT_SECRET"):
        monkeypatch.setenv(name, house.env[name])
    monkeypatch.setenv("SUPABASE_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("SUPABASE_TIMEOUT_SECONDS", "2")
    forget_the_process()
    yield wire
    await database.http_client().aclose()
    server.close()
    forget_the_process()


def forget_the_process() -> None:
    for read_once in (config.settings, database.http_client, auth.verifier):
        read_once.cache_clear()


@pytest.fixture
async def tutor(house: ServedHouse, wire: Wire) -> AsyncIterator[httpx.AsyncClient]:
    """Bilal, of functions at the other end of the wire."""
    assert wire.port
    from functions.main import assemble  # noqa: PLC0415  # reads the environment when imported

    transport = httpx.ASGITransport(assemble(config.settings()))
    headers = {"Authorization": f"Bearer {house.visit(BILAL).token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://wire.test/api", headers=headers) as client:
        yield client


@pytest.fixture
def lesson(house: ServedHouse) -> Row:
    """The first lesson of mathematics, which has begun."""
    generated = house.sign_in(NADIA).post(f"/matches/{MATHEMATICS.id}/sessions", json={})
    lesson: Row = answer(generated, 201)["sessions"][0]
    house.set_clock(lesson["scheduled_end_utc"])
    return lesson


FAULTS = {
    "cut before it arrives": Wire(arrives=False, cut=0),
    "slow, and never arrives": Wire(arrives=False, hangs=True),
    "HTML of a gateway, before it arrives": Wire(arrives=False, says=HTML % b"502 Bad Gateway"),
    "HTML with a 200": Wire(arrives=False, says=HTML % b"200 OK"),
    "written, then no answer": Wire(cut=0),
    "written, then cut in the head": Wire(cut=20),
    "written, then cut in the body": Wire(cut=700),
    "written, then slow": Wire(hangs=True),
    "written, then HTML": Wire(says=HTML % b"504 Gateway Timeout"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_wire_is_a_503_and_the_same_again_converges(
    house: ServedHouse, wire: Wire, tutor: httpx.AsyncClient, lesson: Row, fault: str
) -> None:
    broken, path = FAULTS[fault], f"/sessions/{lesson['id']}/status"
    body = {"status": "done", "notes": "Fractions"}
    wire.arrives, wire.cut, wire.says, wire.hangs = broken.arrives, broken.cut, broken.says, broken.hangs
    async with asyncio.timeout(20):
        response = await tutor.post(path, json=body)
    problem(response, 503, "upstream_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert wire.requests == 1, "a write is never sent twice by us"
    assert "oops" not in response.text

    wire.arrives, wire.cut, wire.says, wire.hangs = True, None, None, False
    again = answer(await tutor.post(path, json=body))
    assert again["changed"] == (not broken.arrives), "whether it was written the first time"
    once_more = answer(await tutor.post(path, json=body))
    assert once_more == again | {"changed": False}
    assert house.database.rows(
        "select status::text, tutor_notes, version from public.sessions where id = %s", lesson["id"]
    ) == [("done", "Fractions", lesson["version"] + 1)]
    assert house.database.rows("select amount from public.credit_ledger") == [(1,)]
    assert house.database.value("select count(*) from public.audit_logs where action = 'session_status_updated'") == 1


async def test_a_supabase_that_is_not_there_is_a_503(
    house: ServedHouse, wire: Wire, tutor: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, lesson: Row
) -> None:
    answer(await tutor.get("/me"))
    gone = await asyncio.start_server(wire.talk, "127.0.0.1", 0)
    monkeypatch.setenv("SUPABASE_URL", f"http://127.0.0.1:{gone.sockets[0].getsockname()[1]}")
    gone.close()
    await database.http_client().aclose()
    forget_the_process()
    problem(await tutor.post(f"/sessions/{lesson['id']}/status", json={"status": "done"}), 503, "upstream_unavailable")
    problem(await tutor.get("/sessions"), 503, "upstream_unavailable")
    assert house.database.value("select count(*) from public.credit_ledger") == 0
