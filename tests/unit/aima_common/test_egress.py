"""Nobody is led inside: only public addresses are gone to, unless an operator says otherwise."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from aima_common.egress import Egress, PublicResolver, is_public
from aima_common.errors import PermanentError

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8"]


class Answering(AbstractResolver):
    """A resolver that answers what it was told to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_the_whole_internets_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_whole_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "file:///etc/passwd", "example.org", "https://", "https:///x",
        "https://user@example.org/", "https://user:secret@example.org/", "https://example.org/#part",
        "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data", "http://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/", "https://example.org:99999/", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_what_is_no_public_https_address_is_refused(url: str) -> None:
    with pytest.raises(PermanentError) as refused:
        Egress().check(url)
    assert refused.value.code == "address_not_allowed"
    assert refused.value.remedy


@pytest.mark.parametrize("url", ["https://example.org/x?y=z", "https://example.org:8443/", "https://93.184.216.34/"])
def test_a_public_https_address_is_allowed(url: str) -> None:
    assert str(Egress().check(url)) == url


def test_an_operator_may_allow_a_private_host_and_no_other() -> None:
    egress = Egress({"127.0.0.1", "hooks.internal"})
    assert egress.check("http://127.0.0.1:8080/x").port == 8080
    assert egress.check("http://hooks.internal/").host == "hooks.internal"
    for url in ("https://127.0.0.2/", "ftp://127.0.0.1/", "http://other.internal/"):
        with pytest.raises(PermanentError):
            egress.check(url)


async def test_a_name_that_leads_inside_leads_nowhere() -> None:
    for addresses in (["10.0.0.1"], ["93.184.216.34", "127.0.0.1"]):
        with pytest.raises(PermanentError, match="no public address"):
            await PublicResolver((), Answering(*addresses)).resolve("rebinding.example.org", 443)
    (found,) = await PublicResolver((), Answering("93.184.216.34")).resolve("example.org", 443)
    assert found["host"] == "93.184.216.34"
    (allowed,) = await PublicResolver({"inside"}, Answering("10.0.0.1")).resolve("inside", 443)
    assert allowed["host"] == "10.0.0.1"
