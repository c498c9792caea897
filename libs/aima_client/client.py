"""AIMA over HTTP: one coroutine per route."""

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from aima_client import sending, state
from aima_client.direct import DirectSender
from aima_client.errors import MissingError, NotRunningError, ProblemError
from aima_client.following import Event, events, finished
from aima_client.sending import FileDigest, Moved, nothing
from aima_client.transport import ATTEMPTS, Transport, Waits

Json = dict[str, Any]

POLL_SECONDS = 2.0
"""How late a case's change is noticed when no event tells of it."""

SETTLE_SECONDS = 0.2
"""Events come in bursts; a case is looked at once per burst."""


class Client:
    """Talks to one AIMA with one key. Use it as an asynchronous context."""

    def __init__(self, url: str, key: str, *, attempts: int = ATTEMPTS) -> None:
        self.url = url.rstrip("/")
        self._http = Transport(url, key, attempts=attempts)
        self._direct = DirectSender(self._http)

    @classmethod
    def from_environment(cls, data: Path | None = None, *, attempts: int = ATTEMPTS) -> "Client":
        """Find AIMA by `AIMA_URL` and `AIMA_KEY`, else the running instance (the one of folder `data`).

        Raises `NotRunningError` when there is neither.
        """
        url, key = os.environ.get("AIMA_URL"), os.environ.get("AIMA_KEY", "")
        if url:
            return cls(url, key, attempts=attempts)
        instance = state.locate(data)
        if instance is None:
            raise NotRunningError(
                "no AIMA is running here", remedy="Start one with `aima up`, or set AIMA_URL and AIMA_KEY."
            )
        return cls(instance.url, instance.key, attempts=attempts)

    async def __aenter__(self) -> Self:
        await self._http.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    @contextlib.contextmanager
    def patient(self, seconds: float, waits: Waits) -> Iterator[None]:
        """While in context, wait for as long when AIMA asks to come back later, and tell `waits` of every wait."""
        with self._http.patient(seconds, waits):
            yield

    async def create_case(self, name: str, *, idempotency_key: str | None = None, **options: Any) -> Json:
        """Create a case; `options` are priority, deadline, confidentiality and profile."""
        body = {"name": name, **{option: value for option, value in options.items() if value is not None}}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return await self._http.send("POST", "/v1/cases", body, headers=headers)

    async def cases(self, *, name: str | None = None, limit: int = 50, after: str | None = None) -> Json:
        """List cases, newest first."""
        return await self._http.get("/v1/cases", name=name, limit=limit, after=after)

    async def case(self, case: str) -> Json:
        """Show a case with the stage of every medium."""
        return await self._http.get(f"/v1/cases/{_part(case)}")

    async def find_case(self, wanted: str) -> Json:
        """Find a case by id, else the newest open one of this name, else the newest; raise `MissingError`."""
        with contextlib.suppress(MissingError):
            return await self.case(wanted)
        found = (await self.cases(name=wanted))["cases"]
        chosen = next((case for case in found if case["state"] == "open"), found[0] if found else None)
        if chosen is None:
            raise MissingError(404, {"title": "Not Found", "detail": f"no case has the id or name {wanted!r}"})
        return await self.case(chosen["id"])

    async def change_case(self, case: str, **options: Any) -> Json:
        """Change a case's priority, deadline or confidentiality."""
        return await self._http.send("PATCH", f"/v1/cases/{_part(case)}", options)

    async def cancel_case(self, case: str, reason: str = "") -> Json:
        """Stop the work on a case; what was found stays."""
        return await self._http.send("POST", f"/v1/cases/{_part(case)}/cancel", {"reason": reason})

    async def items(self, case: str, *, limit: int = 500, after: str | None = None) -> Json:
        """List a case's items in the order of their arrival."""
        return await self._http.get(f"/v1/cases/{_part(case)}/items", limit=limit, after=after)

    async def events(self, case: str, *, after: int = 0, follow: bool = True) -> AsyncIterator[Event]:
        """Follow what happens to a case, from any sequence number on; ends when the stream breaks."""
        query = {"after": after, "follow": "yes" if follow else "no"}
        async with self._http.stream(f"/v1/cases/{_part(case)}/events", query) as lines:
            async for event in events(aiter(lines)):
                yield event

    async def watch(self, case: str) -> AsyncIterator[Json]:
        """Show a case now and whenever something happens to it, until it is finished."""
        news = asyncio.Event()
        listening = asyncio.create_task(self._listen(case, news))
        try:
            while True:
                news.clear()
                shown = await self.case(case)
                yield shown
                if finished(shown) or shown["state"] == "cancelled":
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await news.wait()
                await asyncio.sleep(SETTLE_SECONDS)
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    async def wait(self, case: str) -> Json:
        """Wait until a case is finished; return it."""
        shown: Json = {}
        async for current in self.watch(case):
            shown = current
        return shown

    async def dossier(self, case: str) -> Json:
        """Read a case's current dossier; raise `MissingError` while there is none."""
        return json.loads(await self.dossier_bytes(case))  # type: ignore[no-any-return]

    async def dossier_bytes(self, case: str) -> bytes:
        """Read a case's current dossier as it was written."""
        return (await self._http.request("GET", f"/v1/cases/{_part(case)}/dossier")).body

    async def dossier_page(self, case: str) -> bytes:
        """Read a case's current dossier as an HTML page."""
        return (await self._http.request("GET", f"/v1/cases/{_part(case)}/dossier.html")).body

    async def dossier_link(self, case: str) -> str:
        """Make a link to the dossier's page that works for five minutes without a key."""
        made = await self._http.send("POST", f"/v1/cases/{_part(case)}/dossier/link", {})
        return self.url + str(made["url"])

    async def dossiers(self, *, limit: int = 50) -> Json:
        """List the current dossiers."""
        return await self._http.get("/v1/dossiers", limit=limit)

    async def upload(self, case: str, path: Path, *, content: FileDigest | None = None, moved: Moved = nothing) -> Json:
        """Make a file an item of a case; its bytes are sent only when AIMA lacks them.

        A large file goes straight to the object store where that can be reached, else through AIMA.
        Doing it again does nothing more. Raises `OSError` when the file cannot be read.
        """
        found = content or await sending.digest(path)
        key = {"Idempotency-Key": sending.idempotency_key(case, path, found)}
        named = {"case": case, "file_name": sending.file_name(path), "sha256": found.sha256}
        declared = {**named, "size_bytes": found.size_bytes}
        try:
            return await self._http.send("POST", "/v1/uploads/known", declared, headers=key)
        except ProblemError as problem:
            if problem.code != "unknown_content":
                raise
        if self._direct.takes(found):
            done = await self._direct.send(path, declared, key, moved)
            if done is not None:
                return done
        headers = {**key, "Content-Type": "application/octet-stream", "Content-Length": str(found.size_bytes)}
        body = sending.Again(path, found.size_bytes, moved)
        answer = await self._http.request("POST", "/v1/uploads", query=named, headers=headers, body=body)
        return dict(answer.json())

    async def media(self, *, case: str | None = None, limit: int = 50, after: str | None = None) -> Json:
        """List media."""
        return await self._http.get("/v1/media", case=case, limit=limit, after=after)

    async def medium(self, medium: str) -> Json:
        """Show a medium."""
        return await self._http.get(f"/v1/media/{_part(medium)}")

    async def findings(self, medium: str) -> Json:
        """List what was found in a medium so far."""
        return await self._http.get(f"/v1/media/{_part(medium)}/findings")

    async def thumbnail(self, medium: str) -> bytes:
        """Read a small picture of a medium (JPEG)."""
        return (await self._http.request("GET", f"/v1/media/{_part(medium)}/thumbnail")).body

    async def preview(self, medium: str) -> bytes:
        """Read a picture of a medium (JPEG)."""
        return (await self._http.request("GET", f"/v1/media/{_part(medium)}/preview")).body

    async def erase(self, medium: str) -> Json:
        """Ask that a medium and everything derived from it goes."""
        return dict((await self._http.request("DELETE", f"/v1/media/{_part(medium)}")).json())

    async def jobs(self, **where: Any) -> Json:
        """List jobs; `where` may name case, medium, state, kind and limit."""
        return await self._http.get("/v1/jobs", **where)

    async def queue(self, *, limit: int = 20) -> Json:
        """Show one's waiting jobs in their order, the machines, and the starts that are kept free."""
        return await self._http.get("/v1/queue", limit=limit)

    async def job(self, job: str) -> Json:
        """Show a job."""
        return await self._http.get(f"/v1/jobs/{_part(job)}")

    async def explain(self, job: str) -> Json:
        """Tell a job's position, what blocks it, and when it may start."""
        return await self._http.get(f"/v1/jobs/{_part(job)}/explain")

    async def cancel_job(self, job: str, reason: str = "") -> Json:
        """Stop the work on a job's medium."""
        return await self._http.send("POST", f"/v1/jobs/{_part(job)}/cancel", {"reason": reason})

    async def search(self, query: str, *, mode: str = "both", medium: str | None = None, limit: int = 20) -> Json:
        """Search what was said, shown and seen."""
        return await self._http.get("/v1/search", q=query, mode=mode, medium=medium, limit=limit)

    async def keys(self) -> Json:
        """List keys."""
        return await self._http.get("/v1/keys")

    async def create_key(self, role: str, *, tenant: str | None = None, name: str = "") -> Json:
        """Create a key; the answer's `token` is shown this once."""
        body = {"role": role, "name": name} | ({"tenant": tenant} if tenant else {})
        return await self._http.send("POST", "/v1/keys", body, repeatable=False)

    async def revoke_key(self, key: str) -> None:
        """Make a key worthless."""
        await self._http.request("DELETE", f"/v1/keys/{_part(key)}")

    async def webhooks(self) -> Json:
        """List webhooks."""
        return await self._http.get("/v1/webhooks")

    async def create_webhook(self, url: str, *, types: list[str] | None = None, description: str = "") -> Json:
        """Have notices sent to a URL; the answer's `secret`, for `aima_client.webhooks`, is shown this once."""
        body = {"url": url, "description": description} | ({"types": types} if types else {})
        return await self._http.send("POST", "/v1/webhooks", body, repeatable=False)

    async def enable_webhook(self, webhook: str) -> Json:
        """Deliver again to a webhook that was disabled."""
        return await self._http.send("POST", f"/v1/webhooks/{_part(webhook)}/enable", {})

    async def delete_webhook(self, webhook: str) -> None:
        """Unsubscribe."""
        await self._http.request("DELETE", f"/v1/webhooks/{_part(webhook)}")

    async def dead_letters(self, **where: Any) -> Json:
        """List what was set aside; `where` may name state, reason, service, limit and after."""
        return await self._http.get("/v1/dead-letters", **where)

    async def dead_letter(self, letter: str) -> Json:
        """Show a dead letter with its bytes."""
        return await self._http.get(f"/v1/dead-letters/{_part(letter)}")

    async def retry_dead_letter(self, letter: str) -> Json:
        """Have a dead letter tried again."""
        return await self._http.send("POST", f"/v1/dead-letters/{_part(letter)}/retry", {}, repeatable=False)

    async def discard_dead_letter(self, letter: str, reason: str = "") -> Json:
        """Put a dead letter away."""
        path = f"/v1/dead-letters/{_part(letter)}/discard"
        return await self._http.send("POST", path, {"reason": reason}, repeatable=False)

    async def ready(self) -> Json:
        """Tell whether work can be accepted now, and what is in the way."""
        try:
            return dict((await self._http.request("GET", "/readyz")).json())
        except ProblemError as problem:
            return problem.problem

    async def metrics(self) -> str:
        """Read the metrics."""
        return (await self._http.request("GET", "/metrics")).body.decode()

    async def _listen(self, case: str, news: asyncio.Event) -> None:
        after = 0
        while True:
            with contextlib.suppress(NotRunningError, ProblemError):
                async for event in self.events(case, after=after):
                    after = event.sequence
                    news.set()
            await asyncio.sleep(1.0)


def _part(text: str) -> str:
    return quote(text, safe="")
