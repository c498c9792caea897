"""A gateway and an upload service, running for real on embedded plugs."""

import asyncio
import contextlib
import dataclasses
import io
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aima_common import wiring
from aima_common.ports import Ports
from aima_common.ports.objects import Objects
from aima_common.runtime import run
from aima_gateway.backlog import BacklogLimits
from aima_gateway.keys import Role
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings as GatewaySettings
from aima_upload.domain import Limits
from aima_upload.service import Upload
from aima_upload.settings import Settings as UploadSettings

SECRET = "a secret that gateway and upload share"


@dataclass
class Doors:
    """Where the services listen, and ways in."""

    url: str
    upload_url: str
    ports: Ports
    gateway: Gateway
    upload_service: Upload
    folder: Path
    http: aiohttp.ClientSession
    """Shows the key of an operator of tenant `default`."""

    async def key(self, role: Role, tenant: str = "default") -> str:
        """Make a key."""
        token, _ = await self.gateway.keys.issue(tenant, role, "test")
        return token.text

    async def case(self, name: str = "a case", **options: Any) -> str:
        """Make a case."""
        async with self.http.post("/v1/cases", json={"name": name, **options}) as answer:
            assert answer.status == 201, await answer.text()
            return str((await answer.json())["id"])

    async def upload(self, case: str, data: bytes, file_name: str = "file.bin", **headers: str) -> dict[str, Any]:
        """Upload a file whole."""
        query = {"case": case, "file_name": file_name}
        async with self.http.post("/v1/uploads", params=query, data=io.BytesIO(data), headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            return dict(await answer.json())


def bearer(key: str) -> dict[str, str]:
    """Show a key."""
    return {"Authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def running(
    folder: Path,
    limits: Limits | None = None,
    objects: Objects | None = None,
    backlog: BacklogLimits | None = None,
    url_hosts: frozenset[str] = frozenset(),
    private_hosts: frozenset[str] = frozenset(),
) -> AsyncIterator[Doors]:
    """Run both services until the context ends, on these objects if any are given."""
    settings = GatewaySettings(
        secret=SECRET, poll_seconds=0.05, backlog=backlog or BacklogLimits(), private_hosts=private_hosts
    )
    taking = UploadSettings(
        secret=SECRET,
        limits=limits or Limits(),
        idle_seconds=5,
        url_hosts=url_hosts,
        private_hosts=private_hosts,
    )
    async with wiring.embedded(folder) as embedded:
        ports = dataclasses.replace(embedded, objects=objects) if objects else embedded
        upload = Upload(ports, taking)
        gateway = Gateway(ports, settings, upload_urls=lambda: _only(upload))
        life = asyncio.create_task(run(ports, upload, gateway))
        try:
            url = await _unless_ended(life, gateway.url())
            token, _ = await gateway.keys.issue("default", Role.operator, "first")
            async with aiohttp.ClientSession(url, headers=bearer(token.text)) as http:
                yield Doors(url, await upload.url(), ports, gateway, upload, folder, http)
        finally:
            life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await life


async def _unless_ended(life: asyncio.Task[None], waiting: Coroutine[Any, Any, str]) -> str:
    answer = asyncio.create_task(waiting)
    await asyncio.wait({life, answer}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        answer.cancel()
        life.result()
    return await answer


async def _only(upload: Upload) -> list[str]:
    return [await upload.url()]


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    """Run both services on a folder of their own."""
    async with running(tmp_path / "data") as found:
        yield found


@pytest.fixture
async def small_doors(tmp_path: Path) -> AsyncIterator[Doors]:
    """Run both services with a limit of a million bytes per upload."""
    async with running(tmp_path / "data", Limits(max_upload_bytes=1_000_000)) as found:
        yield found
