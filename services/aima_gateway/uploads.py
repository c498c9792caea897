"""Passing on to the upload replicas, in constant memory."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import aiohttp
import structlog
from aiohttp import web
from yarl import URL

from aima_common.problems import later
from aima_gateway.answers import Handlers, actor, invite_body, raw_body
from aima_gateway.upload_door import UploadDoor

CONNECT_SECONDS = 3.0
AVOID_SECONDS = 5.0
"""How long a replica that did not answer is asked last."""

PASSED_ON = (
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Idempotency-Key",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "Tus-Resumable",
)
PASSED_BACK = (
    "Content-Type",
    "Location",
    "Retry-After",
    "Upload-Offset",
    "Upload-Length",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Cache-Control",
    "Aima-Item",
    "Aima-Medium",
)

log = structlog.get_logger()
Urls = Callable[[], Awaitable[Sequence[str]]]


class UploadReplicas:
    """The upload service, however many processes it has; the least loaded is asked first."""

    def __init__(self, urls: Urls, secret: str, monotonic: Callable[[], float]) -> None:
        self._urls = urls
        self._secret = secret
        self._monotonic = monotonic
        self._under_way: Counter[str] = Counter()
        self._silent_since: dict[str, float] = {}
        self._session: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Hold the connections open while in context."""
        timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=CONNECT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            self._session = session
            yield
            self._session = None

    async def alive(self) -> str:
        """Tell "ok", or why no replica can be used."""
        try:
            async with self._ask("GET", "/livez", {}, None) as response:
                return "ok" if response.status == 200 else f"upload answers {response.status}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is in the way
            return str(error) or type(error).__name__

    async def forward(self, request: web.Request, read: bytes | None = None) -> web.StreamResponse:
        """Pass a request on, and its answer back; bytes are streamed both ways, but for those that were read here."""
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        headers |= {"Aima-Tenant": actor(request).tenant}
        body: bytes | aiohttp.StreamReader | None = read
        if read is None and request.can_read_body:
            await invite_body(request)
            body = request.content
        async with self._ask(request.method, request.rel_url.raw_path_qs, headers, body) as response:
            back = {name: response.headers[name] for name in PASSED_BACK if name in response.headers}
            return web.Response(status=response.status, body=await response.read() or None, headers=back)

    async def post(
        self, path: str, tenant: str, body: bytes, extra: Mapping[str, str]
    ) -> tuple[int, bytes, int | None]:
        """Send a small request of the gateway's own; return status, body, and when to come back if that is asked."""
        headers = {"Aima-Tenant": tenant, "Content-Type": "application/json", **extra}
        async with self._ask("POST", path, headers, body) as response:
            asked = response.headers.get("Retry-After", "")
            return response.status, await response.read(), int(asked) if asked.isdigit() else None

    @contextlib.asynccontextmanager
    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | aiohttp.StreamReader | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise later(503, "starting", "the gateway is starting or stopping")
        shown = {**headers, "Authorization": f"Bearer {self._secret}"}
        for url in await self._by_load():
            self._under_way[url] += 1
            try:
                async with self._session.request(method, _join(url, path), headers=shown, data=body) as response:
                    yield response
                    return
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                # Nothing was sent, so the next replica may have it.
                log.warning("upload_replica_away", url=url, reason=str(error))
                self._silent_since[url] = self._monotonic()
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                raise later(503, "upload_interrupted", f"the connection to upload broke: {error}") from error
            finally:
                self._under_way[url] -= 1
        raise later(503, "upload_away", "no upload process answers")

    async def _by_load(self) -> list[str]:
        now = self._monotonic()

        def burden(url: str) -> tuple[bool, int]:
            avoided = now - self._silent_since.get(url, -AVOID_SECONDS) < AVOID_SECONDS
            return avoided, self._under_way[url]

        return sorted(await self._urls(), key=burden)


class UploadRoutes:
    """Everything that upload owns is passed on to it; what may become an item goes through the door first.

    The door is asked before a byte is read: whoever has to come back has not sent a file in vain.
    """

    def __init__(self, replicas: UploadReplicas, door: UploadDoor) -> None:
        self._replicas = replicas
        self._door = door

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        passed_on = ("show_upload", "upload_offset", "abort_upload", "link_direct_parts", "change_case")
        return {
            "upload": self.upload,
            "upload_known": self.known,
            "upload_part": self.part,
            "begin_direct_upload": self.begin_direct,
            "complete_direct_upload": self.complete_direct,
            "upload_capabilities": self.capabilities,
            **dict.fromkeys(passed_on, self._replicas.forward),
        }

    async def upload(self, request: web.Request) -> web.StreamResponse:
        file = self._door.new_file(request)
        await self._door.admit_new(request, file)
        async with self._door.place(request, file) as place:
            response = await self._replicas.forward(request)
            place.ended(response.status, item=response.status == 201 and "Upload-Length" not in request.headers)
            return response

    async def known(self, request: web.Request) -> web.StreamResponse:
        body = await raw_body(request)
        async with self._door.place(request, self._door.declared(request, body)) as place:
            response = await self._replicas.forward(request, body)
            place.ended(response.status, item=response.status == 201)
            return response

    async def part(self, request: web.Request) -> web.StreamResponse:
        # Any part may be the last.
        async with self._door.place(request, await self._door.begun(request)) as place:
            response = await self._replicas.forward(request)
            place.ended(response.status, item="Aima-Item" in response.headers)
            return response

    async def begin_direct(self, request: web.Request) -> web.StreamResponse:
        body = await raw_body(request)
        file = self._door.declared(request, body)
        await self._door.admit_new(request, file)
        async with self._door.place(request, file) as place:
            response = await self._replicas.forward(request, body)
            place.ended(response.status, item=False)
            return response

    async def complete_direct(self, request: web.Request) -> web.StreamResponse:
        async with self._door.place(request, await self._door.begun(request)) as place:
            response = await self._replicas.forward(request)
            place.ended(response.status, item=response.status == 200)
            return response

    async def capabilities(self, request: web.Request) -> web.StreamResponse:
        headers = {"Tus-Resumable": "1.0.0", "Tus-Version": "1.0.0", "Tus-Extension": "creation,termination"}
        return web.Response(status=204, headers=headers)


def _join(url: str, path: str) -> URL:
    # As it came: a name with brackets or line breaks must not be quoted twice.
    return URL(url.rstrip("/") + path, encoded=True)
