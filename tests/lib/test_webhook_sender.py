"""One webhook, sent over a real socket: its form, and what each way of answering it means."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook

from lib.adapters import Sent
from lib.adapters.webhook import Message, WebhookSender, signed_headers
from lib.posting import LONGEST_WAIT
from lib.targets import GuardedNetwork, Targets
from scripts.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ANOTHER = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
BODY = '{"id": "evt_1", "type": "session.completed", "data": {"name": "Zoë", "note": "ö"}}'.encode()
HERE = Targets(private_networks=True)
NOW = 1_795_000_000


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver([SECRET, ANOTHER]).listening() as receiver:
        yield receiver


def message(url: str, *secrets: str) -> Message:
    return Message("evt_1", url, BODY, secrets or (SECRET,))


async def send(url: str, *secrets: str, seconds: float = 5) -> Sent:
    async with WebhookSender(HERE, seconds=seconds) as sender:
        return await sender.send(message(url, *secrets))


@asynccontextmanager
async def saying(said: bytes, *, then_hang: bool = False) -> AsyncGenerator[str]:
    """A server that says this to whoever comes, whatever they want."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(said)
        await writer.drain()
        if then_hang:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"


def http(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


# --- the form -------------------------------------------------------------------------------------------


async def test_a_receiver_verifies_what_comes_and_gets_the_very_bytes(receiver: Receiver) -> None:
    assert await send(receiver.url + "/form?a=b%20c") == Sent("delivered", 204)
    (received,) = receiver.at("/form")
    assert (received.id, received.body, received.verified_by) == ("evt_1", BODY, (SECRET,))
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == receiver.url.removeprefix("http://")
    assert SECRET not in str(received.headers)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://hooks.example.com/", "hooks.example.com"),
        ("http://Hooks.example.com:80/", "hooks.example.com"),
        ("http://hooks.example.com:8080", "hooks.example.com:8080"),
        ("http://[2606:2800::1]:8080/", "[2606:2800::1]:8080"),
    ],
)
async def test_the_host_is_named_as_http_wants_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, url: str, host: str
) -> None:
    port = int(receiver.url.rpartition(":")[2])
    connect = GuardedNetwork.connect_tcp

    async def to_the_receiver(network: GuardedNetwork, **_: object) -> httpcore.AsyncNetworkStream:
        return await connect(network, "127.0.0.1", port)

    monkeypatch.setattr(GuardedNetwork, "connect_tcp", to_the_receiver)
    async with WebhookSender(HERE) as sender:
        assert await sender.send(message(url)) == Sent("delivered", 204)
    assert receiver.messages[-1].headers["host"] == host


async def test_while_two_secrets_are_valid_either_verifies(receiver: Receiver) -> None:
    await send(receiver.url + "/both", ANOTHER, SECRET)
    (received,) = receiver.at("/both")
    assert received.verified_by == (SECRET, ANOTHER)
    assert len(received.headers["webhook-signature"].split(" ")) == 2


def test_the_signature_is_the_reference_librarys() -> None:
    headers = signed_headers(message("https://x"), NOW)
    expected = Webhook(SECRET).sign("evt_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("evt_1", str(NOW))
    assert headers["webhook-signature"] == expected


def test_printing_a_message_shows_neither_secret_nor_content() -> None:
    shown = repr(message("https://hooks.example.com/a-token-in-the-path"))
    assert "whsec_" not in shown
    assert "Zo" not in shown
    assert "token" not in shown


# --- what answers mean ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_means_that_it_was_taken(status: int) -> None:
    async with saying(http(f"{status} Fine", b"" if status == 204 else b"thanks")) as url:
        assert await send(url) == Sent("delivered", status)


@pytest.mark.parametrize("status", [400, 401, 404, 418, 500, 502, 504, 599])
async def test_other_answers_mean_another_time(status: int) -> None:
    async with saying(http(f"{status} No\r\nRetry-After: 5", b"a secret of the other side")) as url:
        assert await send(url) == Sent("failed", status, f"The endpoint answered {status}.")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    before = len(receiver.messages)
    async with saying(http(f"{status} There\r\nLocation: {receiver.url}/elsewhere")) as url:
        sent = await send(url)
    assert (sent.outcome, sent.status_code) == ("failed", status)
    assert "not followed" in (sent.error or "")
    assert len(receiver.messages) == before


async def test_410_means_that_nobody_is_there_any_more() -> None:
    async with saying(http("410 Gone")) as url:
        sent = await send(url)
    assert (sent.outcome, sent.status_code) == ("gone", 410)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("0", 0),
        ("120", 120),
        ("99999999999999999999", LONGEST_WAIT),
        (f"{datetime.fromtimestamp(NOW + 90, UTC):%a, %d %b %Y %H:%M:%S GMT}", 90),
        ("Fri, 31 Dec 2100 23:59:59 GMT", LONGEST_WAIT),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("", None),
    ],
)
async def test_how_long_to_wait_is_heard_from_whoever_is_busy(status: int, said: str, heard: int | None) -> None:
    answer = f"HTTP/1.1 {status} Busy\r\nRetry-After: {said}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
    async with saying(answer) as url, WebhookSender(HERE, clock=lambda: NOW) as sender:
        sent = await sender.send(message(url))
    assert (sent.outcome, sent.status_code, sent.retry_after_seconds) == ("failed", status, heard)


async def test_whoever_says_nothing_is_given_up() -> None:
    for said in (b"", b"HTTP/1.1 200 OK\r\nContent-Le"):
        async with saying(said, then_hang=True) as url:
            assert await send(url, seconds=0.3) == Sent("failed", error="There was no answer in time.")


async def test_an_answer_without_end_is_not_listened_to(receiver: Receiver) -> None:
    receiver.behave("/endless", "endless")
    assert await send(receiver.url + "/endless") == Sent("delivered", 200)
    await asyncio.sleep(0.2)
    poured = receiver.bytes_poured
    await asyncio.sleep(0.2)
    assert receiver.bytes_poured == poured < 32_000_000, "what fits into the system's buffers, and then no more"


async def test_an_answer_whose_body_never_comes_counts_all_the_same() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then_hang=True) as url:
        assert await send(url) == Sent("delivered", 200)
    async with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as url:
        assert await send(url) == Sent("delivered", 200)


@pytest.mark.parametrize(
    "said",
    [b"hello\r\n\r\n", b"HTTP/1.1 20x\r\n\r\n", b"\x00" * 500, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, b""],
    ids=["words", "no status", "NULs", "a head without end", "nothing"],
)
async def test_what_is_no_http_means_another_time(said: bytes) -> None:
    async with saying(said) as url:
        sent = await send(url)
    assert (sent.outcome, sent.status_code) == ("failed", None)


async def test_a_closed_port_means_another_time() -> None:
    async with saying(b"") as url:
        pass
    assert await send(url) == Sent("failed", error="No connection could be made, or it broke.")
    assert (await send("http://no-such-host.invalid/")).outcome == "failed"


async def test_the_next_message_comes_through_the_same_connection(receiver: Receiver) -> None:
    async with WebhookSender(HERE) as sender:
        for _ in range(3):
            await sender.send(message(receiver.url + "/kept"))
    assert len(receiver.at("/kept")) == 3
    assert len({each.connection for each in receiver.at("/kept")}) == 1


async def test_a_proxy_in_the_environment_is_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, receiver.url + "/proxy")
    async with saying(http("200 OK")) as url:
        assert (await send(url)).outcome == "delivered"
    assert receiver.at("/hook") == []


# --- where it may not go --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1"])
async def test_nothing_leaves_for_a_private_network(receiver: Receiver, host: str) -> None:
    before, port = len(receiver.messages), receiver.url.rpartition(":")[2]
    async with WebhookSender(Targets()) as sender:
        for scheme in ("https", "http"):
            sent = await sender.send(message(f"{scheme}://{host}:{port}/hook"))
            assert (sent.outcome, sent.status_code) == ("refused", None)
            assert port not in (sent.error or "")
    assert len(receiver.messages) == before


# --- TLS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of hooks.example.com, by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.com")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "hooks.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@asynccontextmanager
async def over_tls(certificate: Path) -> AsyncGenerator[int]:
    """A server that has that certificate and answers 204; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http("204 Fine"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def to_loopback(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_the_certificate_must_be_the_hosts_though_the_connection_goes_to_a_number(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    targets = Targets(private_networks=True, resolve=to_loopback)
    async with over_tls(certificate) as port, WebhookSender(targets, trusting) as sender:
        good = await sender.send(message(f"https://hooks.example.com:{port}/"))
        other_name = await sender.send(message(f"https://other.example.com:{port}/"))
        number = await sender.send(message(f"https://127.0.0.1:{port}/"))
    assert good == Sent("delivered", 204)
    for sent in (other_name, number):
        assert sent.outcome == "failed"
        assert "certificate" in (sent.error or "")


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(certificate: Path) -> None:
    targets = Targets(private_networks=True, resolve=to_loopback)
    async with over_tls(certificate) as port, WebhookSender(targets) as sender:
        sent = await sender.send(message(f"https://hooks.example.com:{port}/"))
    assert sent.outcome == "failed"
    assert "certificate" in (sent.error or "")
