"""Where webhooks may go: every way that leads into somebody's own network is closed, before a byte leaves."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpcore
import pytest

from lib.targets import GuardedNetwork, TargetRefused, Targets, is_public, look_up

PUBLIC = "93.184.216.34"

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:2800:220:1::1%eth0",
    "3fff::1",
    "4000::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "localhost",
    "",
]
OPEN = [
    PUBLIC,
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:2800:220:1:248:1893:25c8:1946",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_one_host_on_the_public_internet_is_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OPEN)
def test_what_is_one_is_public(address: str) -> None:
    assert is_public(address)


# --- as it is entered -----------------------------------------------------------------------------------


class Resolver:
    """Gives one list of addresses after the other, and the last one from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def why_refused(targets: Targets, url: str) -> str:
    with pytest.raises(TargetRefused) as refused:
        await targets.check(url)
    return str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://127.1/hook",
        "https://2130706433/hook",
        "https://0x7f.0.0.1/hook",
        "https://localhost/hook",
        "https://LOCALHOST:8443/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://[::ffff:7f00:1]:443/hook",
        "https://0/hook",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.7:6379/",
    ],
)
async def test_an_address_in_a_private_network_is_refused_however_it_is_written(url: str) -> None:
    assert await why_refused(Targets(), url) == "The address leads into a private network."


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"http://{PUBLIC}/hook", "https://"),
        (f"ftp://{PUBLIC}/hook", "https://"),
        ("file:///etc/passwd", "https://"),
        (PUBLIC, "https://"),
        ("", "https://"),
        (f"https://user@{PUBLIC}/hook", "password"),
        (f"https://user:secret@{PUBLIC}/hook", "password"),
        (f"https://:secret@{PUBLIC}/hook", "password"),
        ("https:///hook", "host"),
        (f"https://{PUBLIC}:0/hook", "port"),
        (f"https://{PUBLIC}:65536/hook", "port"),
        (f"https://{PUBLIC}:http/hook", "not an address"),
        (f"https://{PUBLIC}/\x00", "not an address"),
        ("https://0177.0.0.1/hook", "not an address"),
        ("https://no-such-host.invalid/hook", "cannot be found"),
        ("https://" + "a" * 64 + ".example/hook", "cannot be found"),
        ("https://a..example/hook", "cannot be found"),
    ],
)
async def test_what_could_not_be_sent_to_is_refused_with_the_reason(url: str, why: str) -> None:
    said = await why_refused(Targets(), url)
    assert why in said
    assert "secret" not in said


async def test_a_public_address_is_let_through_and_asked_for_with_its_port() -> None:
    resolver = Resolver([PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"])
    await Targets(resolve=resolver).check("https://hooks.example.com/a?b=c")
    await Targets(resolve=resolver).check("https://hooks.example.com:8443")
    assert resolver.asked == [("hooks.example.com", 443), ("hooks.example.com", 8443)]


@pytest.mark.parametrize("found", [["10.0.0.1", PUBLIC], [PUBLIC, "10.0.0.1"], [PUBLIC, "::ffff:127.0.0.1"]])
async def test_one_private_address_among_public_ones_is_enough_to_refuse(found: list[str]) -> None:
    assert "private" in await why_refused(Targets(resolve=Resolver(found)), "https://hooks.example.com")


async def test_where_private_networks_are_allowed_nothing_but_the_form_is_asked() -> None:
    resolver = Resolver([])
    for url in ("http://127.0.0.1:9000/hook", "https://localhost/hook", "http://nowhere.invalid"):
        await Targets(private_networks=True, resolve=resolver).check(url)
    assert resolver.asked == []
    assert "password" in await why_refused(Targets(private_networks=True), "http://user:secret@127.0.0.1/")
    assert "https://" in await why_refused(Targets(private_networks=True), "ftp://127.0.0.1/")


async def test_a_name_that_leads_nowhere_is_an_error_of_the_network() -> None:
    for host in ("no-such-host.invalid", "a" * 64):
        with pytest.raises(OSError):  # noqa: PT011  # whatever this system says
            await look_up(host, 443)


# --- as it is connected to ------------------------------------------------------------------------------


@dataclass
class Listener:
    """A port on loopback that counts who comes."""

    port: int = 0
    visits: list[str] = field(default_factory=list[str])

    async def greet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.append(writer.get_extra_info("sockname")[0])
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    server = await asyncio.start_server(listener.greet, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener


async def connect(targets: Targets, host: str, port: int) -> None:
    stream = await GuardedNetwork(targets).connect_tcp(host, port)
    assert await stream.read(1) == b""
    await stream.aclose()


async def test_the_listener_sees_who_is_let_through(listener: Listener) -> None:
    await connect(Targets(private_networks=True), "127.0.0.1", listener.port)
    assert listener.visits == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0x7f000001", "::ffff:127.0.0.1", "0.0.0.0"])
async def test_no_connection_is_made_into_a_private_network(listener: Listener, host: str) -> None:
    with pytest.raises(TargetRefused):
        await GuardedNetwork(Targets()).connect_tcp(host, listener.port)
    await asyncio.sleep(0.05)
    assert listener.visits == []


async def test_a_name_that_is_public_first_and_private_then_leads_nowhere(listener: Listener) -> None:
    """DNS rebinding: the look-up that counts is the one that the connection is made with."""
    targets = Targets(resolve=Resolver([PUBLIC], ["127.0.0.1"]))
    await targets.check(f"https://rebinding.example:{listener.port}/")
    with pytest.raises(TargetRefused):
        await GuardedNetwork(targets).connect_tcp("rebinding.example", listener.port)
    await asyncio.sleep(0.05)
    assert listener.visits == []


async def test_a_connection_goes_to_the_address_that_was_looked_at_and_asks_nobody_again(listener: Listener) -> None:
    resolver = Resolver(["127.0.0.1"], ["192.0.2.1"])
    await connect(Targets(private_networks=True, resolve=resolver), "only-the-resolver-knows.example", listener.port)
    assert resolver.asked == [("only-the-resolver-knows.example", listener.port)]
    assert listener.visits == ["127.0.0.1"]


async def test_the_next_address_is_tried_when_one_takes_no_connection(listener: Listener) -> None:
    resolver = Resolver(["127.0.0.2", "127.0.0.1"])
    await connect(Targets(private_networks=True, resolve=resolver), "two.example", listener.port)
    assert listener.visits == ["127.0.0.1"]


@pytest.mark.parametrize("found", [["127.0.0.2"], []])
async def test_a_host_that_takes_no_connection_or_has_no_address_is_an_error_of_the_network(
    listener: Listener, found: list[str]
) -> None:
    with pytest.raises(httpcore.ConnectError):
        await connect(Targets(private_networks=True, resolve=Resolver(found)), "no.example", listener.port)


async def test_a_host_that_cannot_be_found_just_now_is_not_refused_for_ever() -> None:
    with pytest.raises(httpcore.ConnectError):
        await GuardedNetwork(Targets()).connect_tcp("no-such-host.invalid", 443)
