"""Which addresses outside may be spoken to: the guard against being sent into somebody's own network.

An address that a person has entered is looked at twice: when it is entered, so that they are told, and when a
connection is made, which is what counts. Then its host is resolved, every address it has must be on the public
Internet, and the connection goes to the very address that was looked at, so that a name that resolves differently
a moment later leads nowhere. Names, numbers in odd bases and mapped addresses all end as one of these addresses.

Sources: https://owasp.org/www-community/attacks/Server_Side_Request_Forgery, the registries behind ``is_global``
(RFC 6890), RFC 4291 (mapped), RFC 3056 (6to4), RFC 6052 (NAT64)
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpcore
import httpx

from lib.config import settings

Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
"""Gives the addresses of a host, in the order in which to try them. Raises OSError when it has none."""

LOOK_UP_SECONDS = 5.0
CONNECT_SECONDS = 4.0
"""For one of a host's addresses; the next one is tried after it."""

HIGHEST_PORT = 65_535

_NO_HOSTS = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")))
"""Registered for protocols and documents; which of them ``is_global`` knows depends on Python's version."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


class TargetRefused(Exception):  # noqa: N818  # an answer, as errors.Problem is
    """Nothing is sent to this address. The message says why, and never which address a name has."""


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, as this system resolves it."""
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is too long, or empty
        raise OSError(str(error)) from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Targets:
    """The addresses that may be spoken to.

    Args:
        private_networks: every address may be, also without TLS: for a stack on one's own machine.
        resolve: gives the addresses of a host.
    """

    private_networks: bool = False
    resolve: Resolve = look_up

    async def check(self, url: str) -> None:
        """Let an address through that could be spoken to now.

        Raises:
            TargetRefused: it could not.
        """
        target = self.read(url)
        if self.private_networks:
            return
        try:
            await self.addresses(target.host, target.port or 443)
        except OSError:
            raise TargetRefused("The address's host cannot be found.") from None

    def read(self, url: str) -> httpx.URL:
        """The address taken apart; nothing is resolved.

        Raises:
            TargetRefused: its form alone forbids it.
        """
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            raise TargetRefused("This is not an address.") from None
        if target.scheme != "https" and not (self.private_networks and target.scheme == "http"):
            raise TargetRefused("The address must begin with https://.")
        if target.userinfo or not target.host:
            raise TargetRefused("The address must name a host, and no user or password.")
        if target.port is not None and not 1 <= target.port <= HIGHEST_PORT:
            raise TargetRefused(f"The address's port must be 1 to {HIGHEST_PORT}.")
        return target

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to.

        Raises:
            TargetRefused: one of them is not on the public Internet.
            OSError: none was found.
        """
        found = await self.resolve(host, port)
        if not self.private_networks and not all(map(is_public, found)):
            raise TargetRefused("The address leads into a private network.")
        return found


def is_public(address: str) -> bool:
    """Whether an IP address belongs to one host on the public Internet."""
    try:
        return _is_public(ip_address(address))
    except ValueError:
        return False


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and _has_hosts(address)
    if address.scope_id is not None:
        return False
    # Whoever holds a prefix that carries an IPv4 address takes the packet there.
    if inner := address.ipv4_mapped or address.sixtofour or _behind_nat64(address):
        return _is_public(inner)
    return address in _GLOBAL_UNICAST and address.is_global and _has_hosts(address)


def _has_hosts(address: IPv4Address | IPv6Address) -> bool:
    return not any(address in network for network in _NO_HOSTS)


def _behind_nat64(address: IPv6Address) -> IPv4Address | None:
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Makes connections to targets alone, each to an address that was looked at just before.

    TLS happens above it and goes on asking for the host's name.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        # httpcore shows type checkers what it would be without anyio, which httpx brings along.
        self._network: httpcore.AsyncNetworkBackend = httpcore.AnyIOBackend()  # pyright: ignore[reportAttributeAccessIssue]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the host's addresses that takes one.

        Raises:
            TargetRefused: the host may not be spoken to; no packet was sent to it.
            httpcore.ConnectError, httpcore.ConnectTimeout: none of its addresses takes a connection.
        """
        failure: Exception = httpcore.ConnectError("no address")
        try:
            addresses = await self._targets.addresses(host, port)
        except OSError:
            raise failure from None
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, min(timeout or CONNECT_SECONDS, CONNECT_SECONDS), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


@lru_cache(maxsize=1)
def targets() -> Targets:
    """The process's, as the settings have them."""
    return Targets(private_networks=settings().allow_private_webhooks)
