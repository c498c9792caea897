"""Going out to addresses that somebody else chose, without being led inside.

A name is resolved once, every answer must be a public address, and the connection goes to that very answer. What is
written as a number is checked as it stands. There are no redirects to follow. (notes: reliability, 3.4)
"""

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from aima_common.errors import PermanentError

_NEVER = tuple(
    ipaddress.ip_network(network)
    # Addresses that carry another one inside: NAT64, 6to4, Teredo.
    for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)


@dataclass(frozen=True)
class Egress:
    """Which addresses may be gone to."""

    private_hosts: Collection[str] = frozenset()
    """Hosts, as URLs name them, that may be inside and may be asked over plain HTTP; an operator's decision."""

    def check(self, text: str) -> URL:
        """Read a URL; raise `PermanentError` (`address_not_allowed`) that says why nobody goes there."""
        try:
            url = URL(text)
        except ValueError as error:
            raise _refused(f"it is no URL: {error}") from error
        host = url.host or ""
        if not host:
            raise _refused("it names no host")
        if url.user is not None or url.password is not None:
            raise _refused("it holds a user or a password")
        if url.fragment:
            raise _refused("it has a fragment, which no server is told")
        if host in self.private_hosts:
            if url.scheme not in {"http", "https"}:
                raise _refused("it begins neither with https:// nor with http://")
            return url
        if url.scheme != "https":
            raise _refused("it does not begin with https://")
        with contextlib.suppress(ValueError):
            if not is_public(host):
                raise _refused(f"{host} is no public address")
        return url

    @contextlib.asynccontextmanager
    async def session(self, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session whose connections reach public addresses alone; give it URLs that `check` has passed."""
        resolver = PublicResolver(self.private_hosts)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True)
        # Neither cookies nor a proxy of the environment: nobody but us says where this goes.
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=jar, trust_env=False, auto_decompress=False
        ) as session:
            yield session


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses, or not at all."""

    def __init__(self, private_hosts: Collection[str], inner: AbstractResolver | None = None) -> None:
        self._private_hosts = private_hosts
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve a name; raise `PermanentError` when one of its addresses is not public."""
        found = await self._inner.resolve(host, port, family)
        if host not in self._private_hosts:
            for answer in found:
                if not is_public(answer["host"]):
                    raise _refused(f"{host} leads to {answer['host']}, which is no public address")
        return found

    async def close(self) -> None:
        """Close what resolves."""
        await self._inner.close()


def is_public(text: str) -> bool:
    """Tell whether an address is one of the whole Internet's; raise `ValueError` for what is no address."""
    address = ipaddress.ip_address(text.partition("%")[0].strip("[]"))
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in network for network in _NEVER):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _refused(why: str) -> PermanentError:
    return PermanentError(
        f"nobody goes to this address: {why}",
        code="address_not_allowed",
        remedy="Name an https:// address that the whole Internet can reach, or ask the operator (AIMA_PRIVATE_HOSTS).",
    )
