"""S3 servers on one folder, each built once from a pinned Go module: versitygw by default, MinIO by choice.

versitygw builds in half the time and is what the tests use; MinIO is what many installations still run.
"""

import asyncio
import hashlib
import http.client
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aima_servers.means import MeansMissingError, Report, kept, program, quiet, run
from aima_servers.processes import Served, Server, free_ports, serving_from

INSTALL_GO = "install Go, version 1.25 or newer, with which S3 servers are built"


@dataclass(frozen=True)
class Product:
    """An S3 server that the Go tools can build."""

    name: str
    package: str
    version: str
    pin: str
    """`digest_of_module` of the binary."""
    build_minutes: int
    login: tuple[str, str]
    """The environment variables that it reads its access key and its secret key from."""
    arguments: Callable[[Path, int, int], Sequence[str]]
    """The arguments that make it serve a folder on a port, with a second port for what else it offers."""


VERSITYGW = Product(
    name="versitygw",
    package="github.com/versity/versitygw/cmd/versitygw",
    version="v1.8.0",
    pin="a01fae35178286c47ac2b39849d030eacd20c56835620d8ebf41f04f94da284b",
    build_minutes=2,
    login=("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY"),
    arguments=lambda data, port, _other: ["--port", f"127.0.0.1:{port}", "--quiet", "posix", str(data)],
)
MINIO = Product(
    name="minio",
    package="github.com/minio/minio",
    version="v0.0.0-20260212201848-7aac2a2c5b7c",
    pin="7f7c8d98a8f1381527e0675ad43990d4cc9eff464b405452883a7c894a5cf712",
    build_minutes=4,
    login=("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"),
    arguments=lambda data, port, other: [
        *("server", "--address", f"127.0.0.1:{port}", "--console-address", f"127.0.0.1:{other}", str(data))
    ],
)


def fetch(product: Product, report: Report = quiet) -> Path:
    """Return the folder of a server's binary, building it with Go the first time."""

    def build(folder: Path) -> None:
        go = program("go", INSTALL_GO)
        report(f"{product.name} {product.version}: building it with Go (about {product.build_minutes} minutes, once)")
        run([go, "install", f"{product.package}@{product.version}"], folder, {"GOBIN": str(folder)})
        found = digest_of_module(run([go, "version", "-m", product.name], folder))
        if found != product.pin:
            raise MeansMissingError(
                f"{product.name} was built from a module with digest {found}; {product.pin} was expected"
            )
        report(f"{product.name} {product.version}: built and checked")

    return kept(product.name, product.version, product.pin, build)


def digest_of_module(said: str) -> str:
    """Hash what `go version -m` says of the module that a binary was built from: its path, version and sum.

    The versions of all that it builds on stand in that module, and Go checks their sums against its public log.
    """
    fields = (line.split() for line in said.splitlines())
    module = [" ".join(words) for words in fields if words and words[0] in {"mod", "=>"}]
    return hashlib.sha256("\n".join(module).encode()).hexdigest()


def starter(product: Product) -> Callable[[Path, Report], AbstractAsyncContextManager[Served]]:
    """Make the context manager that runs a product with its data in a folder; its address is a URL."""

    @asynccontextmanager
    async def run_it(folder: Path, report: Report = quiet) -> AsyncIterator[Served]:
        means = await asyncio.to_thread(fetch, product, report)
        port, other = free_ports(2)
        data = folder / "data"
        data.mkdir()
        keys = (secrets.token_hex(8), secrets.token_hex(20))
        command = [str(means / product.name), *product.arguments(data, port, other)]
        report(f"{product.name} {product.version}: starting on 127.0.0.1:{port}")
        environment = dict(zip(product.login, keys, strict=True))
        server = Server(command, folder, lambda _log: _answers_requests(port), environment=environment)
        async with serving_from(server):
            report(f"{product.name} {product.version}: ready")
            yield Served(f"http://127.0.0.1:{port}", server, *keys)

    return run_it


def _answers_requests(port: int) -> bool:
    """Tell whether a stranger is refused, which is all that a stranger can see of a server that is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
